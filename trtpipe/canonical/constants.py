"""Normalizes constants to initializers of the main graph, dense and raw.

Constant nodes are moved there, so that testing whether a value is constant is one look-up. A Constant that is a graph
output stays a node, and small ones inside nested graphs stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, keep_nodes
from trtpipe.canonical.tensors import array_of, graphs_of, is_external, set_inline
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

_MOST_DENSE = 1 << 30  # the most bytes that one sparse tensor may take when it is made dense


def constants_of(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The main graph's initializers by name; every graph of the model can read them."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def drop_initializers_from_inputs(model: onnx.ModelProto) -> int:
    """Inputs with a default value become constants, as TensorRT takes them; how many."""
    dropped = 0
    for graph in graphs_of(model):
        given = {tensor.name for tensor in graph.initializer} | {
            s.values.name for s in graph.sparse_initializer
        }
        shadowed = [index for index, value in enumerate(graph.input) if value.name in given]
        for index in reversed(shadowed):
            del graph.input[index]
        dropped += len(shadowed)
    return dropped


def lift_constants(model: onnx.ModelProto) -> int:
    """Moves Constant nodes of the main graph, and large ones of nested graphs, to the main graph's initializers."""
    lifted = 0
    for depth, graph in enumerate(graphs_of(model)):
        outputs = {value.name for value in graph.output}
        moved: list[str] = []
        for node in graph.node:
            if node.op_type != "Constant" or node.domain or node.output[0] in outputs:
                continue
            tensor = tensor_of_constant(node)
            if tensor is None or (depth and not is_external(tensor)):
                continue
            tensor.name = node.output[0]
            model.graph.initializer.append(tensor)
            moved.append(tensor.name)
        gone = set(moved)
        keep_nodes(graph, lambda node, gone=gone: not (gone & set(node.output)))  # type: ignore[misc]
        lifted += len(moved)
    return lifted


def tensor_of_constant(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node, whichever attribute holds it; None for strings."""
    import numpy as np
    import onnx

    (attribute, *_) = node.attribute
    if attribute.name == "value":
        tensor = onnx.TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    if attribute.name == "sparse_value":
        return _dense(attribute.sparse_tensor, node.output[0])
    dtypes: dict[str, type[np.generic]] = {
        "value_int": np.int64,
        "value_ints": np.int64,
        "value_float": np.float32,
        "value_floats": np.float32,
    }
    if attribute.name not in dtypes:
        return None
    value = np.asarray(attribute_of(node, attribute.name), dtypes[attribute.name])
    made: onnx.TensorProto = onnx.numpy_helper.from_array(value)
    return made


def densify(model: onnx.ModelProto) -> int:
    """Sparse initializers become dense ones. Raises ModelError when one would take more than a gibibyte."""
    count = 0
    for graph in graphs_of(model):
        for sparse in graph.sparse_initializer:
            graph.initializer.append(_dense(sparse, sparse.values.name))
            count += 1
        del graph.sparse_initializer[:]
    return count


def _dense(sparse: onnx.SparseTensorProto, name: str) -> onnx.TensorProto:
    import numpy as np
    import onnx

    values, indices = array_of(sparse.values), array_of(sparse.indices)
    dims = tuple(sparse.dims)
    size = int(np.prod(dims, dtype=object)) * values.dtype.itemsize
    if size > _MOST_DENSE:
        raise ModelError(Code.BAD_TENSOR, f"sparse tensor '{name}' would take {size} bytes when dense")
    dense = np.zeros(dims, values.dtype)
    where = tuple(indices.T) if indices.ndim == 2 else np.unravel_index(indices, dims)
    try:
        dense[where] = values
    except (IndexError, ValueError) as error:
        raise ModelError(
            Code.BAD_TENSOR, f"sparse tensor '{name}' has indices outside its dims {list(dims)}"
        ) from error
    made: onnx.TensorProto = onnx.numpy_helper.from_array(dense, name)
    return made


def make_raw(model: onnx.ModelProto) -> None:
    """Stores every initializer as raw bytes, so that typed and raw fields give the same result."""
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            tensor.doc_string = ""
            tensor.ClearField("metadata_props")
            if tensor.data_type == tensor.STRING or is_external(tensor) or tensor.HasField("raw_data"):
                continue
            set_inline(tensor, _raw(tensor))


def _raw(tensor: onnx.TensorProto) -> bytes:
    import onnx

    try:
        made: onnx.TensorProto = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise ModelError(
            Code.WEIGHTS_CUT_SHORT,
            f"the values of tensor '{tensor.name}' do not fit its dims {list(tensor.dims)}",
        ) from error
    return bytes(made.raw_data)
