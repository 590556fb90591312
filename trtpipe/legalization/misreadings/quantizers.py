"""Quantization to uint8, which TensorRT takes for int8, and to int8 with a zero point, which it rejects.

TensorRT's int8 has the zero point 0. uint8 with a zero point of 128 becomes int8 by subtracting 128 from every number,
and weights become int8 if their differences from the zero point fit. Anything else is computed in float32, rounded and
clipped as the model says: the result is equal, but no faster than float32.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of, values_read
from trtpipe.canonical.tensors import dtype_name, graphs_of, nbytes_of, nodes_of, number_of_dtype
from trtpipe.legalization.misreadings.scope import LARGEST, Scope, changed, named

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array

    _Steps = Generator[onnx.NodeProto, None, str]
    """Yields nodes as it makes them and returns the name of the last one's tensor."""

_MIDDLE = 128
_COMPUTED, _FLOAT_BYTES = "float32", 4


def computed_in_floats(count: int) -> str:
    """The sentence that says what the arithmetic costs."""
    return (
        f"{count} nodes that quantize to or from uint8, or with a zero point, are written in plain arithmetic: "
        "TensorRT has int8 with zero point 0 only; results are equal, without the speed of int8"
    )


# -- uint8 around 128


def made_signed(model: onnx.ModelProto, scope: Scope) -> int:
    """Makes int8 with zero point 0 of uint8 with zero point 128, if all its readers dequantize it; returns how many."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes_of(model):
        for name in values_read(node):
            readers.setdefault(name, []).append(node)
    shown = {value.name for graph in graphs_of(model) for value in graph.output}
    count = 0
    for node in list(nodes_of(model)):
        if not _around_middle(node, "QuantizeLinear", scope) or node.output[0] in shown:
            continue
        reading = readers.get(node.output[0], [])
        if all(_around_middle(one, "DequantizeLinear", scope) for one in reading):
            for one in (node, *reading):
                one.CopyFrom(_signed(one, scope))
            scope.retype(node.output[0], "int8")
            count += 1
    return count


def _around_middle(node: onnx.NodeProto, operator: str, scope: Scope) -> bool:
    if node.op_type != operator or node.domain or len(node.input) < 3:
        return False
    zero = scope.array(node.input[2])
    return zero is not None and zero.dtype == "uint8" and bool((zero == _MIDDLE).all())


def _signed(node: onnx.NodeProto, scope: Scope) -> onnx.NodeProto:
    """The node with an int8 zero point, which determines the output type of Q."""
    made = changed(node, *(["output_dtype"] if node.op_type == "QuantizeLinear" else []))
    made.input[2] = _zeros_like(node.input[2], scope)
    return made


def _zeros_like(zero: str, scope: Scope) -> str:
    import numpy as np

    return scope.constant(f"{zero}/int8", np.zeros(tuple(scope.constants[zero].dims), np.int8))


# -- any other quantization


def rewrite_quantizer(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Rewrites quantization to uint8 or with a zero point as arithmetic, and weights as int8 if they fit.

    Block quantization, very large weights, and scales along an axis of unknown rank are left unchanged: the parser
    rejects them or warns about them.
    """
    if not _misread(node, scope) or integer_of(node, "block_size") or integer_of(node, "precision"):
        return None
    if node.op_type == "QuantizeLinear":
        return list(_quantized(node, scope)) if _alignable(node, scope) else None
    fitting = _signed_weights(node, scope)
    if fitting is not None:
        return [fitting]
    return (
        list(_dequantized(node, scope)) if _alignable(node, scope) and not _too_large(node, scope) else None
    )


def _misread(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether it quantizes to uint8, or to int8 with a zero point that is known not to be 0."""
    dtype = _stored_type(node, scope)
    zero = _zero_of(node)
    points = scope.array(zero) if dtype == "int8" and zero else None
    return dtype == "uint8" or (points is not None and bool(points.any()))


def _stored_type(node: onnx.NodeProto, scope: Scope) -> str:
    """The integer type that a node writes or reads."""
    if node.op_type == "QuantizeLinear":
        return _made_type(node, scope)
    known = scope.dtype(node.input[0])
    return scope.dtype(_zero_of(node)) if known == "undefined" else known


def _too_large(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether it dequantizes weights that are too large to be stored as floats."""
    held = scope.constants.get(node.input[0])
    return held is not None and _FLOAT_BYTES * nbytes_of(held) > LARGEST


def _made_type(node: onnx.NodeProto, scope: Scope) -> str:
    """The type that QuantizeLinear makes: that of the zero point, or the attribute's, or uint8."""
    if len(node.input) > 2 and node.input[2]:
        return scope.dtype(node.input[2])
    return dtype_name(integer_of(node, "output_dtype") or number_of_dtype("uint8"))


def _signed_weights(node: onnx.NodeProto, scope: Scope) -> onnx.NodeProto | None:
    """Dequantizes weights from int8 if their differences from the zero point fit."""
    import numpy as np

    held, zero = scope.array(node.input[0]), _zero_of(node)
    points = scope.array(zero) if zero else np.zeros((), np.uint8)
    if held is None or points is None:
        return None
    less = _along_axis(points, held.ndim, node)
    distance = held.astype(np.int16) - less.astype(np.int16)
    if distance.size and (distance.min() < -_MIDDLE or distance.max() >= _MIDDLE):
        return None
    made = changed(node)
    made.input[0] = scope.constant(f"{node.input[0]}/int8", distance.astype(np.int8))
    if zero:
        made.input[2] = _zeros_like(zero, scope)
    return made


def _zero_of(node: onnx.NodeProto) -> str:
    """The zero point; empty if there is none."""
    return node.input[2] if len(node.input) > 2 else ""


def _along_axis(array: Array, rank: int, node: onnx.NodeProto) -> Array:
    return array.reshape(_spread(rank, node)) if array.ndim == 1 and array.size > 1 else array


def _spread(rank: int, node: onnx.NodeProto) -> list[int]:
    """The shape in which a vector along the node's axis is broadcast to a tensor."""
    axis = integer_of(node, "axis", 1)
    return [-1] + [1] * (rank - axis % rank - 1)


def _alignable(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether scale and zero point are per tensor, or along a known axis."""
    ranks = [scope.rank(name) for name in node.input[1:] if name]
    return all(rank == 0 for rank in ranks) or (
        all(rank in (0, 1) for rank in ranks) and bool(scope.rank(node.input[0]))
    )


def _quantized(node: onnx.NodeProto, scope: Scope) -> Iterator[onnx.NodeProto]:
    """Clip(Round(x / s) + z, low, high), once in float for dequantization, once in the integer type."""
    import numpy as np

    near, dtype = node.output[0], _stored_type(node, scope)
    ends = np.iinfo(dtype)
    last = yield from _floats(near, node.input[0], scope)
    scale = yield from _spread_out(node, node.input[1], scope)
    last = yield from _step("Div", [last, scale], near, scope)
    last = yield from _step("Round", [last], near, scope)
    zero = _counting_zero(node, scope)
    if zero:
        shift = yield from _spread_out(node, zero, scope)
        last = yield from _step("Add", [last, shift], near, scope)
    for operator, bound in (("Max", ends.min), ("Min", ends.max)):
        limit = scope.constant(f"{near}/{operator.lower()}_bound", np.asarray(bound, np.float32))
        last = yield from _step(operator, [last, limit], near, scope)
    scope.unrounded[near] = last
    scope.retype(near, dtype)
    yield named("Cast", [last], [near], name=node.name, to=number_of_dtype(dtype))


def _dequantized(node: onnx.NodeProto, scope: Scope) -> Iterator[onnx.NodeProto]:
    """(q - z) * s, computed in float32 and cast to the scale's type."""
    import numpy as np

    near, read = node.output[0], node.input[0]
    held = scope.array(read)
    if held is not None:
        last = scope.constant(f"{read}/floats", held.astype(np.float32))
    else:
        last = yield from _floats(near, read, scope)
    zero = _counting_zero(node, scope)
    if zero:
        shift = yield from _spread_out(node, zero, scope)
        last = yield from _step("Sub", [last, shift], near, scope)
    scale = yield from _spread_out(node, node.input[1], scope)
    result = integer_of(node, "output_dtype") or number_of_dtype(scope.dtype(node.input[1]))
    if result == number_of_dtype(_COMPUTED):
        yield named("Mul", [last, scale], [near], name=node.name)
    else:
        last = yield from _step("Mul", [last, scale], near, scope)
        yield named("Cast", [last], [near], name=node.name, to=result)


def _step(operator: str, inputs: list[str], near: str, scope: Scope) -> _Steps:
    """Yields one node and returns the name of its output."""
    made = scope.node(operator, inputs, near)
    yield made
    return str(made.output[0])


def _floats(near: str, name: str, scope: Scope) -> _Steps:
    """The tensor in float32."""
    if name in scope.unrounded:
        return scope.unrounded[name]
    if scope.dtype(name) == _COMPUTED:
        return name
    made = scope.node("Cast", [name], near, to=number_of_dtype(_COMPUTED))
    yield made
    return str(made.output[0])


def _spread_out(node: onnx.NodeProto, name: str, scope: Scope) -> _Steps:
    """A scale or zero point in float32, in a shape that is broadcast along the node's axis."""
    import numpy as np

    held = scope.array(name)
    shape = [] if scope.sizes(name) == [1] else _spread(scope.rank(node.input[0]) or 1, node)
    if held is not None:
        floats = held.astype(np.float32)
        return scope.constant(f"{name}/floats", floats if held.ndim == 0 else floats.reshape(shape))
    last = yield from _floats(node.output[0], name, scope)
    if scope.rank(name) != 1:
        return last
    wanted = scope.constant(f"{name}/shape", np.asarray(shape, np.int64))
    return (yield from _step("Reshape", [last, wanted], name, scope))


def whole_in_floats(model: onnx.ModelProto, scope: Scope) -> dict[str, str]:
    """Zero points computed in uint8 → the floats that they are cast from.

    TensorRT supports uint8 only for a network's inputs and outputs. Dynamic quantization computes zero points this way.
    """
    makers = {node.output[0]: node for node in nodes_of(model) if node.output and not node.domain}
    found = {}
    for node in makers.values():
        rounded = makers.get(node.input[0]) if node.op_type == "Cast" else None
        if rounded is None or rounded.op_type != "Round":
            continue
        clipped = makers.get(rounded.input[0])
        if clipped is not None and _is_cut(clipped, scope) and scope.dtype(rounded.input[0]) == _COMPUTED:
            found[node.output[0]] = node.input[0]
    return {name: floats for name, floats in found.items() if scope.dtype(name) == "uint8"}


def _is_cut(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether it is clipped to the range of uint8."""
    bounds = [scope.array(name) for name in node.input[1:]]
    return node.op_type == "Clip" and [None if one is None else float(one) for one in bounds] == [0, 255]


def _counting_zero(node: onnx.NodeProto, scope: Scope) -> str:
    """The zero point; empty if it is absent or 0."""
    zero = _zero_of(node)
    known = scope.array(zero) if zero else None
    return "" if known is not None and not known.any() else zero
