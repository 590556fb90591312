"""Makes a model smaller without removing nodes: attributes, sizes, weights.

Each function yields copies; a trial decides whether one is still valid and useful. Independent of operators: a size is
changed wherever it occurs, in inputs, weights and integer constants.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.checks import check_model
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import array_of, dtype_name, has_size, nbytes_of, set_inline
from trtpipe.errors import ModelError
from trtpipe.proofs.corners import inference_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_SIZES = (1, 2, 8, 32)
_SMALL = 16  # weights of fewer elements are parameters: scales, slopes, bounds
_LARGEST = 512 << 20  # new tensors are held in memory, and protobuf is limited to 2 GiB
_WHOLE_BYTES = frozenset(
    {"float64", "float32", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool"}
)


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def attributes_of(model: onnx.ModelProto) -> list[tuple[int, str]]:
    """Every attribute that could be removed, as node and name."""
    return [
        (index, attribute.name)
        for index, node in enumerate(model.graph.node)
        for attribute in node.attribute
        if not attribute.HasField("g")
    ]


def without_attribute(model: onnx.ModelProto, node: int, name: str) -> onnx.ModelProto:
    """A copy in which a node lacks an attribute: its default applies."""
    made = copy_of(model)
    attributes = made.graph.node[node].attribute
    del attributes[next(index for index, one in enumerate(attributes) if one.name == name)]
    return made


def is_valid(model: onnx.ModelProto) -> bool:
    """Whether the copy is valid ONNX: a required attribute must stay."""
    try:
        check_model(model)
    except ModelError:
        return False
    return True


def sizes_of(model: onnx.ModelProto) -> list[int]:
    """Sizes of inputs and weights above 1, the largest first."""
    found = {dim.dim_value for one in model.graph.input for dim in one.type.tensor_type.shape.dim}
    found |= {dim for one in model.graph.initializer for dim in one.dims}
    return sorted((size for size in found if size > 1), reverse=True)


def resized(model: onnx.ModelProto, size: int) -> Iterator[onnx.ModelProto]:
    """Copies in which `size` is less wherever it occurs, smallest first, as far as ONNX's inference accepts them."""
    for less in sorted({one for one in (*_SIZES, size // 2) if 0 < one < size}):
        made = _with_sizes(model, {size: less})
        if made is None:
            continue
        inferred = inference_of(made)({}, {})
        if not inferred.problems:
            _shape_outputs(made, inferred.values)
            yield made


def _shape_outputs(model: onnx.ModelProto, known: Mapping[str, TensorInfo]) -> None:
    for value in model.graph.output:
        info = known.get(value.name)
        for dim in (info.dims if info is not None else None) or ():
            added = value.type.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                added.dim_value = dim


def _cut(tensor: onnx.TensorProto, sizes: Mapping[int, int]) -> bool:
    """Cuts a weight along axes with these sizes; False when that is impossible."""
    if not any(dim in sizes for dim in tensor.dims) and dtype_name(tensor.data_type) != "int64":
        return True
    if dtype_name(tensor.data_type) not in _WHOLE_BYTES:
        return False
    array = array_of(tensor)
    cut = array[tuple(slice(sizes.get(dim, dim)) for dim in array.shape)]
    if cut.nbytes > _LARGEST:
        return False
    set_inline(tensor, _renumbered(cut, sizes).tobytes())
    tensor.dims[:] = cut.shape
    return True


def _with_sizes(model: onnx.ModelProto, sizes: Mapping[int, int]) -> onnx.ModelProto | None:
    """The copy; None if a weight has a packed type."""
    made = copy_of(model)
    if not all(_cut(tensor, sizes) for tensor in made.graph.initializer):
        return None
    for value in (*made.graph.input, *made.graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value in sizes:
                dim.dim_value = sizes[dim.dim_value]
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    return made


def _renumbered(array: Array, sizes: Mapping[int, int]) -> Array:
    """Replaces the size in integer constants, such as the target of a Reshape."""
    import numpy as np

    if array.dtype != np.int64 or array.ndim > 1:
        return array
    renumbered = np.array([sizes.get(int(one), int(one)) for one in array.ravel()], np.int64)
    return renumbered.reshape(array.shape)


def without_weights_values(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A copy whose weights are all zeros; None when it has no weights."""
    if sum(nbytes_of(tensor) for tensor in model.graph.initializer if has_size(tensor)) > _LARGEST:
        return None
    made = copy_of(model)
    zeroed = 0
    for tensor in made.graph.initializer:
        if math.prod(tensor.dims) > _SMALL and dtype_name(tensor.data_type) not in (
            "int64",
            "int32",
            "string",
        ):
            set_inline(tensor, bytes(nbytes_of(tensor)))
            zeroed += 1
    return made if zeroed else None
