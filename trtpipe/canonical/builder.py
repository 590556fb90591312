"""Builds an ONNX graph node by node, as frontends for other formats do.

Large constants are appended to a file and referenced, as in a skeleton (see `reader`), so that memory holds one of them
at a time and protobuf's limit of 2 GiB does not apply. Names are made distinct; validity is not checked here,
legalization does that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.opsets import CHOSEN
from trtpipe.canonical.tensors import nbytes_of, number_of_dtype, set_external
from trtpipe.canonical.wire import LARGE

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from trtpipe.arrays import Array

    Attribute: TypeAlias = (
        bool
        | int
        | float
        | str
        | bytes
        | Sequence[int]
        | Sequence[float]
        | Sequence[str]
        | onnx.TensorProto
        | None
    )
    """What a node's attribute may hold; None: it is left out."""

PLUGIN_DOMAIN = "trt.plugins"
"""The domain of nodes that stand for plugins: TensorRT's parser looks at an operator's name only, people at both."""

Dim = int | str | None
"""A size, a named dynamic dimension, or a dynamic one without a name."""

_ALIGNMENT = 64
_IR_VERSION = 10


class GraphBuilder:
    """A graph that is being built. `workplace` is an existing directory that must outlive the model."""

    def __init__(self, name: str, workplace: Path, *, opset: int = CHOSEN) -> None:
        import onnx

        opsets = [onnx.helper.make_opsetid("", opset)]
        self._model = onnx.helper.make_model(
            onnx.GraphProto(name=name), opset_imports=opsets, ir_version=_IR_VERSION
        )
        self._weights = workplace / "weights.bin"
        self._names = FreshNames()

    @property
    def graph(self) -> onnx.GraphProto:
        """The graph so far."""
        return self._model.graph

    def unique(self, wanted: str) -> str:
        """`wanted`, or `wanted_1`, `wanted_2`, … when a tensor of that name exists; taken from now on."""
        return self._names(wanted)

    def input(self, name: str, dtype: str, dims: Sequence[Dim]) -> str:
        """Declares a graph input; `dtype` is a NumPy-style name (`float32`, `int64`, `bfloat16`)."""
        self._names.taken.add(name)
        self.graph.input.append(_value(name, dtype, dims))
        return name

    def output(self, tensor: str, name: str | None = None, *, dtype: str, dims: Sequence[Dim] | None) -> str:
        """Declares a graph output, renamed to `name` when given; `dims` None when not even the rank is known."""
        if name is not None and name != tensor:
            tensor = self.node("Identity", [tensor], [name], name=f"{name}/output")[0]
        self.graph.output.append(_value(tensor, dtype, dims))
        return tensor

    def constant(self, value: npt.ArrayLike, name: str = "constant") -> str:
        """An initializer with this value (array, number or list; its dtype is kept); the tensor's name."""
        import numpy as np
        import onnx

        array = np.ascontiguousarray(value).reshape(np.shape(value))
        tensor_name = self.unique(name)
        if array.nbytes < LARGE:
            self.graph.initializer.append(onnx.numpy_helper.from_array(array, tensor_name))
        else:
            tensor = onnx.TensorProto(name=tensor_name, data_type=_number(array), dims=array.shape)
            stored = _packed(array, nbytes_of(tensor))
            set_external(tensor, self._weights.resolve(), self._append(stored), stored.nbytes)
            self.graph.initializer.append(tensor)
        return tensor_name

    def mapped_constant(self, name: str, dtype: str, dims: Sequence[int], file: Path, offset: int) -> str:
        """An initializer whose bytes (little-endian, row-major) are already in `file` at `offset`."""
        import onnx

        tensor = onnx.TensorProto(name=self.unique(name), data_type=number_of_dtype(dtype), dims=dims)
        set_external(tensor, file.resolve(), offset, nbytes_of(tensor))
        self.graph.initializer.append(tensor)
        return str(tensor.name)

    def node(
        self,
        operator: str,
        inputs: Sequence[str | None],
        outputs: int | Sequence[str] = 1,
        *,
        name: str,
        domain: str = "",
        attributes: Mapping[str, Attribute] | None = None,
        **more: Attribute,
    ) -> list[str]:
        """Adds a node; the names of its outputs. None among the inputs is an input left out.

        `outputs` names them, or says how many there are: they are then named after the node. Attributes that are
        None are left out.
        """
        import onnx

        names = (
            [f"{name}" if i == 0 else f"{name}:{i}" for i in range(outputs)]
            if isinstance(outputs, int)
            else outputs
        )
        made = [self.unique(one) if one else "" for one in names]
        given = {key: value for key, value in {**(attributes or {}), **more}.items() if value is not None}
        node = onnx.helper.make_node(
            operator, [one or "" for one in inputs], made, name=name, domain=domain, **given
        )
        self.graph.node.append(node)
        if domain and domain not in {item.domain for item in self._model.opset_import}:
            self._model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
        return made

    def model(self) -> onnx.ModelProto:
        """The model; its large constants refer to the workplace's file."""
        return self._model

    def _append(self, array: Array) -> int:
        with self._weights.open("ab") as file:
            start = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
            file.write(b"\0" * (start - file.tell()))
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            # not tofile, which does not report why writing failed
            file.write(little.reshape(-1).view("uint8").data)
        return start


def _number(array: Array) -> int:
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _packed(array: Array, size: int) -> Array:
    """An array as stored in `size` bytes: 4-bit types are packed two to a byte, the first in the lower half."""
    import numpy as np

    if array.nbytes == size:
        return array
    bits = np.resize(array.reshape(-1).view(np.uint8) & 15, 2 * size)
    if array.size % 2:
        bits[-1] = 0
    stored: Array = bits[0::2] | (bits[1::2] << 4)
    return stored


def _value(name: str, dtype: str, dims: Sequence[Dim] | None) -> onnx.ValueInfoProto:
    import onnx

    made: onnx.ValueInfoProto = onnx.helper.make_tensor_value_info(name, number_of_dtype(dtype), dims)
    return made
