"""Rewrites AffineGrid of a fixed size as a matrix product, because ONNX's function body fails for a batch of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.constants import constants_of
from trtpipe.canonical.edits import integer_of, replace_nodes
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.tensors import array_of, graphs_of, nodes_of, number_of_dtype

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

_COMPUTED = ("float32", "float16", "bfloat16")
_LARGEST = 64 << 20


def rewrite_affine_grids(model: onnx.ModelProto) -> int:
    """Rewrites AffineGrid nodes of constant size; returns how many. Types and constants must be settled."""
    if not any(node.op_type == "AffineGrid" for node in nodes_of(model)):
        return 0
    types, constants = infer_values(model), constants_of(model)
    taken = {name for node in nodes_of(model) for name in (*node.input, *node.output)}
    names = FreshNames(taken | set(types) | set(constants))
    count = 0
    for graph in reversed(list(graphs_of(model))):
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            known = node.op_type == "AffineGrid" and node.input[1] in constants and node.input[0] in types
            sizes = array_of(constants[node.input[1]]).reshape(-1).tolist() if known else []
            dtype = types[node.input[0]].dtype if known else ""
            usable = dtype in _COMPUTED and len(sizes) in (4, 5) and 0 < _volume(sizes) <= _LARGEST
            nodes += _written(model, node, sizes, dtype, names) if usable else [node]
            count += usable
        if len(nodes) > len(graph.node):
            replace_nodes(graph, nodes)
    return count


def _volume(sizes: list[int]) -> int:
    volume = 4 * len(sizes)
    for size in sizes[2:]:
        volume *= max(size, 0)
    return volume


def _written(
    model: onnx.ModelProto, node: onnx.NodeProto, sizes: list[int], dtype: str, names: FreshNames
) -> list[onnx.NodeProto]:
    """The homogeneous coordinates of an even grid, times the matrix of each batch item."""
    import numpy as np
    import onnx

    kind = onnx.helper.tensor_dtype_to_np_dtype(number_of_dtype(dtype))
    places = _places(sizes[2:], bool(integer_of(node, "align_corners"))).astype(kind)
    shape = np.asarray([-1, *sizes[2:], len(sizes) - 2], np.int64)
    held = []
    for what, array in (("places", places), ("sizes", shape)):
        tensor = onnx.numpy_helper.from_array(array, names(f"{node.output[0]}/{what}"))
        model.graph.initializer.append(tensor)
        held.append(tensor.name)
    turned, product = (names(f"{node.output[0]}/{what}") for what in ("transpose", "matmul"))
    make = onnx.helper.make_node
    return [
        make("Transpose", [node.input[0]], [turned], perm=[0, 2, 1]),
        make("MatMul", [held[0], turned], [product]),
        make("Reshape", [product, held[1]], [node.output[0]], name=node.name or None),
    ]


def _places(sizes: list[int], at_corners: bool) -> Array:
    """Homogeneous coordinates (1, place, axis + 1): from -1 to 1 along each axis, the last axis first, then a 1."""
    import numpy as np

    lines = []
    for size in sizes:
        if at_corners:
            # the same formula as in ONNX Runtime
            lines.append(np.linspace(-1, 1, size) if size > 1 else np.ones(1))
        else:
            lines.append((2 * np.arange(size) + 1) / size - 1)
    grids = np.meshgrid(*lines, indexing="ij")
    made: Array = np.stack([*(grid.reshape(-1) for grid in reversed(grids)), np.ones(grids[0].size)], -1)
    return made[None]
