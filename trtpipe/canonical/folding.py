"""Constant folding: values that do not depend on an input are computed once, here.

TensorRT requires constants in some places: axes, pads, scales, the condition of an If. Only results that are identical
to the last bit on every machine are folded: integers and booleans, and floating-point values that are moved, selected,
rounded or come from one correctly rounded operation (IEEE 754: + - * / sqrt), but no sums, matrix products or
transcendental functions. So the canonical bytes do not depend on the CPU that made them. Q/DQ nodes are not folded,
because they define the precision. The exception is DequantizeLinear of constants wider than eight bits, such as the
int32 biases that quantizers write: TensorRT has no such quantized type, and nothing is computed in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from trtpipe.canonical.checks import without_weights
from trtpipe.canonical.constants import constants_of
from trtpipe.canonical.edits import integer_of, keep_nodes, subgraphs, values_read
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.propagation import values_fit
from trtpipe.canonical.summary import TensorInfo, tensor_info
from trtpipe.canonical.tensors import array_of, dtype_name, is_external, nbytes_of, number_of_dtype
from trtpipe.digests import Digest, digest_bytes

if TYPE_CHECKING:
    import onnx

SMALL = 1 << 20
"""Results up to this many bytes are folded; larger ones only when they are no larger than what they come from."""

_LARGEST = 64 << 20

_EXACT_OPERATORS = (
    "Abs Add Cast CastLike Ceil Clip Concat ConstantOfShape DepthToSpace Div Expand EyeLike Flatten Floor Gather "
    "GatherElements GatherND Identity Max Min Mul Neg Pad Reciprocal Relu Reshape Round ScatterElements ScatterND "
    "Sign Slice SpaceToDepth Split Sqrt Squeeze Sub Tile Transpose Trilu Unsqueeze Where"
)
_INTEGRAL = frozenset({"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"})
_NEVER_FOLDED = (
    "Bernoulli Constant DequantizeLinear Dropout DynamicQuantizeLinear If ImageDecoder Loop Multinomial QLinearConv "
    "QLinearMatMul QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Scan"
)
_WIDE_CODES = frozenset({"int16", "int32", "uint16"})
"""Quantized types that TensorRT does not have: (x - zero point) * scale is one rounding, so it can be folded."""
_EXACT = frozenset(_EXACT_OPERATORS.split())
_NEVER = frozenset(_NEVER_FOLDED.split())


def fold_constants(model: onnx.ModelProto, evaluator: Evaluator) -> int:
    """Replaces what is constant in the main graph by initializers, one round; how many nodes that was.

    Expects `names.make_values_unique` and sorted nodes. Nodes that cannot be computed stay unchanged.
    """
    known = infer_values(model)
    folded = _fold_shapes(model, known)
    batch, limits = _batch(model, known)
    results = evaluator.evaluate(batch, constants_of(model), model.opset_import, limits) if batch else {}
    return folded + _replace(model, results)


def infer_values(model: onnx.ModelProto) -> dict[str, TensorInfo]:
    """Types and shapes by value name, from ONNX's inference, ignoring what the model declares inside.

    The last result is kept: most passes of an import look at a model that the one before has not changed.
    """
    form = digest_bytes(model.SerializeToString(deterministic=True))
    if form not in _last:
        found = _infer_values(model)
        _last.clear()
        _last[form] = found
    return dict(_last[form])


_last: dict[Digest, dict[str, TensorInfo]] = {}


def _infer_values(model: onnx.ModelProto) -> dict[str, TensorInfo]:
    import onnx

    bare = without_weights(model)
    # Declared types may be wrong and are dropped, except for the outputs of custom operators, which ONNX's
    # inference cannot compute.
    made_elsewhere = {name for node in bare.graph.node if node.domain for name in node.output}
    kept = onnx.GraphProto(
        value_info=[value for value in bare.graph.value_info if value.name in made_elsewhere]
    )
    bare.graph.ClearField("value_info")
    bare.graph.value_info.extend(kept.value_info)
    large = _large_constants(model)
    _take_as_inputs(bare, large)
    for output in bare.graph.output:
        if output.type.WhichOneof("value") == "tensor_type":
            output.type.tensor_type.ClearField("shape")
    # then only the declared types are known
    with suppress(onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        bare = onnx.shape_inference.infer_shapes(bare, data_prop=values_fit(bare))
    found = [tensor_info(value) for value in (*bare.graph.input, *bare.graph.value_info, *bare.graph.output)]
    constants = (TensorInfo(t.name, dtype_name(t.data_type), tuple(t.dims)) for t in model.graph.initializer)
    return {info.name: info for info in (*found, *constants, *large)}


def _large_constants(model: onnx.ModelProto) -> list[TensorInfo]:
    """The outputs of Constant nodes in the main graph whose values are in a file."""
    return [
        TensorInfo(node.output[0], dtype_name(one.t.data_type), tuple(one.t.dims))
        for node in model.graph.node
        if node.op_type == "Constant" and not node.domain
        for one in node.attribute
        if one.name == "value" and is_external(one.t)
    ]


def _take_as_inputs(bare: onnx.ModelProto, constants: Sequence[TensorInfo]) -> None:
    """Declares constants as inputs in place of the nodes that make them: without values, inference has no shape."""
    import onnx

    names = {one.name for one in constants}
    if not names:
        return
    keep_nodes(bare.graph, lambda node: names.isdisjoint(node.output))
    outputs = onnx.GraphProto(output=[one for one in bare.graph.output if one.name not in names])
    bare.graph.ClearField("output")
    bare.graph.output.extend(outputs.output)
    bare.graph.input.extend(
        onnx.helper.make_tensor_value_info(one.name, number_of_dtype(one.dtype), one.dims)
        for one in constants
    )


def _batch(
    model: onnx.ModelProto, known: Mapping[str, TensorInfo]
) -> tuple[list[onnx.NodeProto], dict[str, int]]:
    """The nodes to evaluate, in order, and the outputs wanted of them with the most bytes each may take."""
    sizes = {name: _nbytes(tensor) for name, tensor in constants_of(model).items()}
    batch: list[onnx.NodeProto] = []
    limits: dict[str, int] = {}
    for node in model.graph.node:
        if not _foldable(node, known) or any(name not in sizes for name in node.input if name):
            continue
        # Folding must not inflate the model: a result that is not small may be no larger than its inputs
        # together.
        limit = max(SMALL, min(_LARGEST, sum(sizes[name] for name in node.input if name)))
        expected = [_expected(known.get(name)) for name in node.output if name]
        if any(size is not None and size > limit for size in expected):
            continue
        batch.append(node)
        for name, size in zip(filter(None, node.output), expected, strict=True):
            limits[name] = limit
            sizes[name] = limit if size is None else size
    wanted = _read_outside(model, batch)
    return batch, {name: limit for name, limit in limits.items() if name in wanted}


def _read_outside(model: onnx.ModelProto, batch: Sequence[onnx.NodeProto]) -> set[str]:
    """The values that nodes outside the batch, and the model's outputs, read."""
    inside = {name for node in batch for name in node.output if name}
    read = {value.name for value in model.graph.output}
    for node in model.graph.node:
        if not inside & set(node.output):
            read.update(values_read(node))
    return read


def _foldable(node: onnx.NodeProto, known: Mapping[str, TensorInfo]) -> bool:
    if node.domain or any(True for _ in subgraphs(node)):
        return False
    if node.op_type == "DequantizeLinear":
        return bool(node.input[0] in known and known[node.input[0]].dtype in _WIDE_CODES)
    if node.op_type in _NEVER:
        return False
    # Integer arithmetic is exact on every machine; floating-point operators only if they are in _EXACT.
    dtypes = [known[name].dtype if name in known else "undefined" for name in node.output if name]
    return node.op_type in _EXACT or all(dtype in _INTEGRAL for dtype in dtypes)


def _nbytes(tensor: onnx.TensorProto) -> int:
    return nbytes_of(tensor) if tensor.data_type != tensor.STRING else 0


def _expected(info: TensorInfo | None) -> int | None:
    if info is None or info.dims is None or not all(isinstance(dim, int) for dim in info.dims):
        return None
    return math.prod(dim for dim in info.dims if isinstance(dim, int)) * 4


def _replace(model: onnx.ModelProto, results: Mapping[str, onnx.TensorProto]) -> int:
    """Replaces nodes whose used outputs are all known by initializers; returns how many.

    A graph output keeps a node that makes it: a Constant, or the old one if it has several outputs.
    """
    outputs = {value.name for value in model.graph.output}
    replaced = 0
    gone: set[str] = set()
    for node in model.graph.node:
        names = [name for name in node.output if name]
        if not names or any(name not in results for name in names):
            continue
        if not outputs & set(names):
            gone |= set(names)
        elif len(names) == 1:
            _make_constant(node, results[names[0]])
        else:
            continue
        replaced += 1
    keep_nodes(model.graph, lambda node: not (gone & set(node.output)))
    model.graph.initializer.extend(results[name] for name in results if name in gone)
    return replaced


def _make_constant(node: onnx.NodeProto, tensor: onnx.TensorProto) -> None:
    import onnx

    made = onnx.NodeProto(name=node.name, op_type="Constant", output=node.output)
    made.attribute.add(name="value", type=onnx.AttributeProto.TENSOR, t=tensor)
    node.CopyFrom(made)


def _fold_shapes(model: onnx.ModelProto, known: Mapping[str, TensorInfo]) -> int:
    """Shape and Size of fixed shapes, and the fixed entries picked out of a partly dynamic one, become constants."""
    results: dict[str, onnx.TensorProto] = {}
    constants = constants_of(model)
    partial: dict[str, tuple[int | str | None, ...]] = {}
    for node in model.graph.node:
        if node.domain:
            continue
        if node.op_type in ("Shape", "Size"):
            dims = _dims(node, known)
            if dims is not None:
                partial[node.output[0]] = dims if node.op_type == "Shape" else ()
                _settle(results, node, dims)
        elif node.op_type == "Gather" and node.input[0] in partial and node.input[1] in constants:
            _pick(results, node, partial[node.input[0]], constants[node.input[1]])
    return _replace(model, results)


def _dims(node: onnx.NodeProto, known: Mapping[str, TensorInfo]) -> tuple[int | str | None, ...] | None:
    info = known.get(node.input[0])
    if info is None or info.dims is None:
        return None
    start, end = integer_of(node, "start"), integer_of(node, "end", len(info.dims))
    return info.dims[start:end]


def _settle(
    results: dict[str, onnx.TensorProto], node: onnx.NodeProto, dims: Sequence[int | str | None]
) -> None:
    import numpy as np
    import onnx

    fixed = [dim for dim in dims if isinstance(dim, int)]
    if len(fixed) == len(dims):
        value = np.asarray(math.prod(fixed) if node.op_type == "Size" else fixed, np.int64)
        results[node.output[0]] = onnx.numpy_helper.from_array(value, node.output[0])


def _pick(
    results: dict[str, onnx.TensorProto],
    node: onnx.NodeProto,
    dims: Sequence[int | str | None],
    wanted: onnx.TensorProto,
) -> None:
    import numpy as np
    import onnx

    if is_external(wanted):
        return
    indices = array_of(wanted)
    if any(not -len(dims) <= index < len(dims) for index in indices.reshape(-1)):
        return
    picked = [dims[index] for index in indices.reshape(-1)]
    if all(isinstance(dim, int) for dim in picked):
        value = np.asarray(picked, np.int64).reshape(indices.shape)
        results[node.output[0]] = onnx.numpy_helper.from_array(value, node.output[0])
