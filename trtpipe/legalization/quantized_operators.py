"""Rewrites the QOperator forms of ONNX Runtime's quantizer as float operators between Q/DQ nodes.

`QLinearConv` and the like read integers with scales and zero points and produce integers. TensorRT has none of them; it
fuses operators between DequantizeLinear and QuantizeLinear instead. Sums are then computed in float, so a result may
differ from ONNX Runtime's by one quantization step. A node without the zero point of its result is left unchanged,
because that zero point's type defines the type of the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of, integers_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.builder import Attribute
    from trtpipe.legalization.rewrites import Rewriting, Rule

_MICROSOFT = "com.microsoft"


def _input(node: onnx.NodeProto, index: int) -> str:
    return str(node.input[index]) if index < len(node.input) else ""


def _attributes(node: onnx.NodeProto, left_out: Iterable[str] = ()) -> dict[str, Attribute]:
    import onnx

    gone = set(left_out)
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute if one.name not in gone}


def _scalar(work: Rewriting, name: str) -> str:
    """A scale or zero point of one element as a scalar, because a vector would mean one per channel."""
    return work.add("Squeeze", [name]) if name and work.dims.get(name) == (1,) else name


def _dequantized(work: Rewriting, parts: Sequence[str], axis: int | None = None) -> str:
    """A quantized tensor in float; `parts` are the tensor, its scale and its zero point."""
    scale, zero = _scalar(work, parts[1]), _scalar(work, parts[2])
    per_channel = work.rank(parts[1]) == 1 and work.dims[parts[1]] != (1,)
    inputs = [parts[0], scale, zero] if zero else [parts[0], scale]
    return work.add("DequantizeLinear", inputs, axis=axis if per_channel else None)


def _operand(work: Rewriting, parts: Sequence[str]) -> str:
    """A quantized tensor in float; a constant is dequantized here: in TensorRT only weights have 8 bits."""
    import numpy as np

    arrays = [work.values(name) if name else np.zeros((), np.int8) for name in parts[:3]]
    if any(array is None for array in arrays) or arrays[1].size != 1:  # type: ignore[union-attr]
        return _dequantized(work, parts)
    held, scale, zero = (np.asarray(array) for array in arrays)
    distance = held.astype(np.int32) - zero.astype(np.int32).reshape(())
    return work.array(np.asarray(distance.astype(np.float32) * scale.reshape(())))


def _quantized(work: Rewriting, value: str, parts: Sequence[str], output: str) -> None:
    work.add("QuantizeLinear", [value, _scalar(work, parts[0]), _scalar(work, parts[1])], output)


def _per_tensor(work: Rewriting, *names: str) -> bool:
    """Whether none of these scales is known to be one for each channel."""
    return all(work.dims.get(name) in (None, (), (1,)) for name in names)


def _too_old(work: Rewriting, *scales: str) -> bool:
    """Whether Q/DQ of the model's opset have no axis although one of these scales needs it."""
    return work.opset < 13 and not _per_tensor(work, *scales)


def _convolution(work: Rewriting, node: onnx.NodeProto) -> bool:
    x, weight, result = node.input[0:3], node.input[3:6], node.input[6:8]
    if _too_old(work, weight[1]) or not _per_tensor(work, x[1], result[0]):
        return False
    orders = _channel_orders(work, node)
    if orders is None:
        return False
    data = _dequantized(work, x)
    operands = [_turned(work, data, orders, 0), _dequantized(work, weight, axis=0)]
    if _input(node, 8):  # the bias has the scale of the products
        scale = work.add("Mul", [_scalar(work, x[1]), _scalar(work, weight[1])])
        per_channel = work.rank(weight[1]) == 1 and work.dims[weight[1]] != (1,)
        axis = 0 if per_channel else None
        operands.append(work.add("DequantizeLinear", [node.input[8], scale], axis=axis))
    made = work.add("Conv", operands, name=node.name, attributes=_attributes(node, ("channels_last",)))
    _quantized(work, _turned(work, made, orders, 1), result, node.output[0])
    return True


def _channel_orders(work: Rewriting, node: onnx.NodeProto) -> tuple[list[int], list[int]] | None:
    """The permutations that move channels to the front and back, empty if unnecessary; None if unknown."""
    if not integer_of(node, "channels_last"):
        return [], []
    convolves = node.op_type == "QLinearConv"
    rank = work.types.rank(node.input[0]) or (work.types.rank(node.input[3]) if convolves else None)
    if rank is None or rank < 3:
        return None
    return [0, rank - 1, *range(1, rank - 1)], [0, *range(2, rank), 1]


def _turned(work: Rewriting, value: str, orders: tuple[list[int], list[int]], which: int) -> str:
    return work.add("Transpose", [value], perm=orders[which]) if orders[which] else value


def _matrix_product(work: Rewriting, node: onnx.NodeProto) -> bool:
    left, right, result = node.input[0:3], node.input[3:6], node.input[6:8]
    ranks = [work.rank(left[1]) or 0, work.rank(right[1]) or 0]
    if _too_old(work, left[1], right[1]) or max(ranks) > 1 or not _per_tensor(work, result[0]):
        return False
    operands = [_dequantized(work, left, axis=-2), _dequantized(work, right, axis=-1)]
    _quantized(work, work.add("MatMul", operands, name=node.name), result, node.output[0])
    return True


def _gemm(work: Rewriting, node: onnx.NodeProto) -> bool:
    """QGemm; its result is float when it has no output scale."""
    left, right = node.input[0:3], node.input[3:6]
    result = [_input(node, 7), _input(node, 8)]
    if _too_old(work, right[1]) or not _per_tensor(work, left[1]) or (result[0] and not result[1]):
        return False
    column = 0 if integer_of(node, "transB") else 1
    operands = [_dequantized(work, left), _dequantized(work, right, axis=column)]
    if _input(node, 6):
        operands.append(_gemm_bias(work, node))
    output = "" if result[0] else node.output[0]
    made = work.add("Gemm", operands, output, name=node.name, attributes=_attributes(node))
    if result[0]:
        _quantized(work, made, result, node.output[0])
    return True


def _gemm_bias(work: Rewriting, node: onnx.NodeProto) -> str:
    """The bias of QGemm, whose scale is alpha times the scales of the factors."""
    import numpy as np
    import onnx

    bias, alpha = node.input[6], attribute_of(node, "alpha")
    scale = work.add("Mul", [_scalar(work, node.input[1]), _scalar(work, node.input[4])])
    if isinstance(alpha, float) and alpha != 1:
        factor = work.add("Constant", [], value=onnx.numpy_helper.from_array(np.asarray(alpha, np.float32)))
        scale = work.add("Mul", [scale, factor])
    return work.add("Mul", [work.add("Cast", [bias], to=onnx.TensorProto.FLOAT), scale])


def _pair(operator: str) -> Rule:
    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        if not _input(node, 7) or not _per_tensor(work, node.input[1], node.input[4], node.input[6]):
            return False
        operands = [_operand(work, node.input[0:3]), _operand(work, node.input[3:6])]
        _quantized(work, work.add(operator, operands, name=node.name), node.input[6:8], node.output[0])
        return True

    return rule


def _single(operator: str, left_out: Iterable[str] = ()) -> Rule:
    """An operator of one operand; forms of pools and Softmax that standard ONNX lacks are left unchanged."""

    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        # before opset 13 Softmax was another function
        later = operator != "Softmax" or min(work.opset, integer_of(node, "opset")) >= 13
        orders = _channel_orders(work, node)
        if not _input(node, 4) or orders is None or not later:
            return False
        made = work.add(
            operator,
            [_turned(work, _dequantized(work, node.input[0:3]), orders, 0)],
            name=node.name,
            attributes=_attributes(node, left_out),
        )
        _quantized(work, _turned(work, made, orders, 1), node.input[3:5], node.output[0])
        return True

    return rule


def _mean(work: Rewriting, node: onnx.NodeProto) -> bool:
    axes = integers_of(node, "axes")
    if not _input(node, 4) or work.opset < 13 or not axes:
        return False
    value, keepdims = _dequantized(work, node.input[0:3]), integer_of(node, "keepdims", 1)
    if work.opset < 18:
        made = work.add("ReduceMean", [value], name=node.name, axes=axes, keepdims=keepdims)
    else:
        operands = [value, work.constant(axes, "axes")]
        made = work.add("ReduceMean", operands, name=node.name, keepdims=keepdims)
    _quantized(work, made, node.input[3:5], node.output[0])
    return True


def _choice(work: Rewriting, node: onnx.NodeProto) -> bool:
    if not _input(node, 8) or not _per_tensor(work, node.input[2], node.input[5], node.input[7]):
        return False
    operands = [node.input[0], *(_operand(work, node.input[at : at + 3]) for at in (1, 4))]
    _quantized(work, work.add("Where", operands, name=node.name), node.input[7:9], node.output[0])
    return True


def _concatenation(work: Rewriting, node: onnx.NodeProto) -> bool:
    if not _input(node, 1):
        return False
    operands = [_operand(work, node.input[at : at + 3]) for at in range(2, len(node.input) - 2, 3)]
    made = work.add("Concat", operands, name=node.name, axis=integer_of(node, "axis"))
    _quantized(work, made, node.input[0:2], node.output[0])
    return True


def _of_the_standard(operator: str) -> Rule:
    """Replaces Microsoft's copy of a standard operator, which is equal for 8-bit types; others are not exported."""

    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        per_tensor = _per_tensor(work, node.input[1])
        if not _input(node, 2) or _too_old(work, node.input[1]):
            return False
        inputs = [node.input[0], _scalar(work, node.input[1]), _scalar(work, node.input[2])]
        axis = None if per_tensor else integer_of(node, "axis", 1)
        work.add(operator, inputs, node.output[0], name=node.name, axis=axis)
        return True

    return rule


QUANTIZED: Mapping[tuple[str, str], Rule] = {
    ("", "QLinearConv"): _convolution,
    ("", "QLinearMatMul"): _matrix_product,
    (_MICROSOFT, "QGemm"): _gemm,
    (_MICROSOFT, "QLinearConv"): _convolution,
    (_MICROSOFT, "QLinearReduceMean"): _mean,
    (_MICROSOFT, "QLinearWhere"): _choice,
    (_MICROSOFT, "QLinearAdd"): _pair("Add"),
    (_MICROSOFT, "QLinearMul"): _pair("Mul"),
    (_MICROSOFT, "QLinearSigmoid"): _single("Sigmoid"),
    (_MICROSOFT, "QLinearLeakyRelu"): _single("LeakyRelu"),
    (_MICROSOFT, "QLinearSoftmax"): _single("Softmax", ("opset",)),
    (_MICROSOFT, "QLinearAveragePool"): _single("AveragePool", ("channels_last",)),
    (_MICROSOFT, "QLinearGlobalAveragePool"): _single("GlobalAveragePool", ("channels_last",)),
    (_MICROSOFT, "QLinearConcat"): _concatenation,
    (_MICROSOFT, "QuantizeLinear"): _of_the_standard("QuantizeLinear"),
    (_MICROSOFT, "DequantizeLinear"): _of_the_standard("DequantizeLinear"),
}
"""Domain and operator → the rule that writes it out."""
