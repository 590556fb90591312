"""The ONNX graph under construction, its tensors with types and layouts, and the weights in the file.

A tensor may be available only in a layout other than the file's: in the canonical one (NC, then the spatial axes) when
a channels-last convolution made it, or as before a Transpose. An operation that needs the file's layout gets a
Transpose, which is created once, so that chains of channels-last operations need none between them. Types come from
ONNX's own inference, node by node, so that every operation knows ranks and sizes. Independent of UFF operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import GraphBuilder
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.opsets import CHOSEN
from trtpipe.canonical.tensors import dtype_name, number_of_dtype
from trtpipe.canonical.wire import LARGE
from trtpipe.frontends.uff_format.messages import Blob
from trtpipe.frontends.uff_format.orders import Permutation, inverse, is_identity

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.canonical.builder import Attribute

Dims = tuple[int | str | None, ...]


class Misfit(ValueError):
    """An operation that cannot be converted: a fact about it, and the remedy."""

    def __init__(self, fact: str, remedy: str = "") -> None:
        super().__init__(fact)
        self.fact = fact
        self.remedy = remedy


_MOST_COPIES = 16
"""As much of weights as so many times the file; nodes may share bytes, and a small file could ask for a full disk."""

_MOST_INTS = 256
"""Integers of a constant that may be a shape."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Values in the file: little-endian, row-major, as many bytes as dtype and dims require."""

    dtype: str
    dims: tuple[int, ...]
    blob: Blob


@dataclass(slots=True)
class Tensor:
    """A tensor of the file.

    `plain` is the ONNX tensor in the file's layout, `canonical` the one in the layout that it was made in, of which
    axis `order[i]` is the file's axis i; a constant may have neither yet. `ints` are the values, as far as they are
    known, of a vector or scalar of integers: what shapes are made of.
    """

    id: str
    plain: str | None = None
    canonical: str | None = None
    order: Permutation = ()
    constant: Constant | None = None
    ints: tuple[int | None, ...] | None = None
    views: dict[Permutation, str] = field(default_factory=dict)


class Net:
    """Adds nodes to a GraphBuilder and knows the type of each tensor. `ids` are the names of the file's tensors."""

    def __init__(self, builder: GraphBuilder, source: Path, ids: Iterable[str]) -> None:
        self.builder = builder
        self._source = source
        self._names = FreshNames(ids)
        self._budget = _MOST_COPIES * max(source.stat().st_size, 1 << 16)
        self._types: dict[str, onnx.TypeProto] = {}
        self._known: dict[str, onnx.TensorProto] = {}
        self._unshaped: dict[str, str] = {}

    def input(self, name: str, dtype: str, dims: Dims) -> Tensor:
        """A graph input."""
        import onnx

        self.builder.input(name, dtype, dims)
        self._types[name] = onnx.helper.make_tensor_type_proto(number_of_dtype(dtype), dims)
        return Tensor(name, plain=name)

    def emit(
        self,
        operator: str,
        inputs: Sequence[str | None],
        name: str,
        tensor: str | None = None,
        **attributes: Attribute,
    ) -> str:
        """Adds a standard node; its output is called `tensor`, or as the node when left out.

        Raises Misfit when its inputs cannot be right.
        """
        outputs = [name if tensor is None else tensor]
        (output,) = self.builder.node(operator, inputs, outputs, name=name, attributes=attributes)
        self._infer(self.builder.graph.node[-1])
        return output

    def apart(self, operator: str, inputs: Sequence[str | None], base: str, **attributes: Attribute) -> str:
        """Like `emit`, for a node that is not in the file: its name begins with `base` and is unique."""
        return self.emit(operator, inputs, self.fresh(f"{base}/{operator.lower()}"), None, **attributes)

    def fresh(self, name: str) -> str:
        """`name`, or that with a number, such that no node of the file has it."""
        return self._names(name)

    def values(self, value: npt.ArrayLike, base: str, dtype: str = "int64") -> str:
        """A small constant."""
        import numpy as np
        import onnx

        array = np.asarray(value, dtype)
        name = self.builder.constant(array, self.fresh(base))
        self._types[name] = onnx.helper.make_tensor_type_proto(number_of_dtype(dtype), array.shape)
        self._known[name] = onnx.numpy_helper.from_array(array, name)
        return name

    def declare(self, name: str, dtype: str, dims: Dims | None, *, custom: str = "") -> None:
        """Declares the output of a non-standard node; `custom` is the operation if its output may have no shape."""
        import onnx

        if dims is None:
            self._unshaped[name] = custom
        self._types[name] = onnx.helper.make_tensor_type_proto(number_of_dtype(dtype), dims)

    def unshaped_of(self, tensor: Tensor) -> str | None:
        """The custom operation because of which a tensor has no shape; None if there is another reason."""
        return self._unshaped.get(tensor.plain or tensor.canonical or "")

    def plain(self, tensor: Tensor) -> str:
        """The ONNX tensor in the file's layout, with a Transpose if needed."""
        if tensor.plain is None:
            if tensor.constant is not None:
                tensor.plain = self._as_it_stands(tensor.id, tensor.constant)
            else:
                assert tensor.canonical is not None, "a tensor is somewhere"
                perm = list(tensor.order)
                name = self.fresh(f"{tensor.id}/transpose")
                tensor.plain = self.emit("Transpose", [tensor.canonical], name, tensor.id, perm=perm)
        return tensor.plain

    def in_order(self, tensor: Tensor, order: Permutation) -> str:
        """The ONNX tensor in canonical layout, when the file has it in `order`."""
        if tensor.canonical is not None and tensor.order == order:
            return tensor.canonical
        if is_identity(order):
            return self.plain(tensor)
        if order not in tensor.views:
            tensor.views[order] = (
                self._turned(tensor.id, tensor.constant, order)
                if tensor.constant is not None
                else self.apart("Transpose", [self.plain(tensor)], tensor.id, perm=list(inverse(order)))
            )
        return tensor.views[order]

    def made(self, id_: str, name: str, order: Permutation) -> Tensor:
        """A tensor that an operation made in canonical layout."""
        if is_identity(order):
            return Tensor(id_, plain=name)
        return Tensor(id_, canonical=name, order=order)

    def name_of(self, id_: str, order: Permutation) -> str:
        """The name of a node's canonical result: the node's, unless the file has another layout."""
        return id_ if is_identity(order) else self.fresh(f"{id_}/channels_first")

    def dims(self, tensor: Tensor) -> Dims | None:
        """The dimensions in the file's layout: sizes, names, or None where unknown; None without a rank."""
        if tensor.constant is not None:
            return tensor.constant.dims
        if tensor.plain is not None:
            return self.dims_of(tensor.plain)
        assert tensor.canonical is not None, "a tensor is somewhere"
        canonical = self.dims_of(tensor.canonical)
        return None if canonical is None else tuple(canonical[axis] for axis in tensor.order)

    def dims_of(self, name: str) -> Dims | None:
        """The dimensions of an ONNX tensor."""
        shape = self._types[name].tensor_type
        if not shape.HasField("shape"):
            return None
        return tuple(
            one.dim_value if one.HasField("dim_value") else one.dim_param or None for one in shape.shape.dim
        )

    def dtype(self, tensor: Tensor) -> str:
        """The data type by its NumPy name."""
        if tensor.constant is not None:
            return tensor.constant.dtype
        name = tensor.plain or tensor.canonical
        assert name is not None, "a tensor is somewhere"
        return self.dtype_of(name)

    def dtype_of(self, name: str) -> str:
        """The data type of an ONNX tensor."""
        return dtype_name(self._types[name].tensor_type.elem_type)

    def array(self, constant: Constant) -> Array:
        """A constant's values, memory-mapped: only accessed elements are read."""
        import numpy as np

        kind = np.dtype(constant.dtype).newbyteorder("<")
        if not constant.blob.length:
            return np.zeros(constant.dims, kind)
        return np.memmap(self._source, kind, "r", constant.blob.offset, constant.dims or (1,)).reshape(
            constant.dims
        )

    def weights(self, array: Array, base: str) -> str:
        """A constant whose values the file has in another layout, if at all."""
        import onnx

        self._spend(array.nbytes)
        name = self.builder.constant(array, self.fresh(base))
        self._types[name] = onnx.helper.make_tensor_type_proto(
            onnx.helper.np_dtype_to_tensor_dtype(array.dtype.newbyteorder("=")), array.shape
        )
        return name

    def _turned(self, id_: str, constant: Constant, order: Permutation) -> str:
        """A constant in canonical layout; one of fewer dimensions is broadcast to the order's."""
        ones = (1,) * (len(order) - len(constant.dims))
        array = self.array(constant).reshape(ones + constant.dims)
        return self.weights(array.transpose(inverse(order)), f"{id_}/channels_first")

    def _spend(self, nbytes: int) -> None:
        self._budget -= nbytes
        if self._budget < 0:
            raise Misfit(
                f"the graph's weights take more than {_MOST_COPIES} times the file", "convert the model again"
            )

    def _as_it_stands(self, id_: str, constant: Constant) -> str:
        self._spend(constant.blob.length)
        if constant.blob.length < LARGE:
            name = self.builder.constant(self.array(constant).copy(), id_)
            self._known[name] = self.builder.graph.initializer[-1]
        else:
            name = self.builder.mapped_constant(
                id_, constant.dtype, constant.dims, self._source, constant.blob.offset
            )
        self.declare(name, constant.dtype, constant.dims)
        return name

    def _infer(self, node: onnx.NodeProto) -> None:
        """Types of a standard node's outputs."""
        import onnx

        types = {name: self._types[name] for name in node.input if name}
        known = {name: self._known[name] for name in node.input if name in self._known}
        schema = onnx.defs.get_schema(node.op_type, CHOSEN)
        opsets = [onnx.helper.make_opsetid("", CHOSEN)]
        try:
            found: Mapping[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
                schema, node, types, known, opset_imports=opsets
            )
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            raise Misfit(f"its inputs do not fit: {_plainly(str(error))}") from error
        because = next((self._unshaped[name] for name in node.input if name in self._unshaped), None)
        for name in node.output:
            self._types[name] = found.get(name) or onnx.TypeProto(tensor_type={})
            if because and not self._types[name].tensor_type.HasField("shape"):
                self._unshaped[name] = because


def _plainly(message: str) -> str:
    """The checker's message without its source location."""
    text = message.split("] ", maxsplit=1)[-1].split("==>", maxsplit=1)[0]
    return " ".join(text.split()).rstrip(".")[:300]


def ints_of(net: Net, constant: Constant) -> tuple[int, ...] | None:
    """The values of an integer scalar or short vector; None for anything else."""
    if not constant.dtype.startswith("int") or len(constant.dims) > 1:
        return None
    if (constant.dims or (1,))[0] > _MOST_INTS:
        return None
    return tuple(int(value) for value in net.array(constant).reshape(-1))
