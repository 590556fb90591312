"""ONNX Runtime's dynamic quantization: tensors quantized at run time, and integer matrix products.

Computed in float32, where sums of up to 2^24 are exact. The integers that DynamicQuantizeLinear produces are kept as
floats too, because TensorRT lacks their own type (uint8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    attributes_of,
    cast,
    input_of,
    reduced,
    unsqueezed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule

_WHOLE = ("int8", "uint8")
_LEAST_OPSET = 13


def _dynamic(work: Rewriting, node: onnx.NodeProto) -> bool:
    """DynamicQuantizeLinear: scale and zero point from the range of the values and 0, and the quantized values.

    Needs opset 13, like the rules for the products that read the results: both must apply in the same pass.
    """
    if work.opset < _LEAST_OPSET or work.types.dtype(node.input[0]) != "float32":
        return False
    number = number_of_dtype("uint8")
    codes, scale, zero = _codes(work, node.input[0])
    names = [*node.output, "", ""]
    work.twins[names[0]] = codes
    cast(work, codes, number, names[0])
    if names[1]:
        work.add("Identity", [scale], names[1])
    if names[2]:
        work.twins[names[2]] = zero
        cast(work, zero, number, names[2])
    return True


def _codes(work: Rewriting, value: str) -> tuple[str, str, str]:
    """Values mapped to 0 … 255 by their own range, with scale and zero point, all in float32."""
    nought, most = work.number(0, value), work.number(255, value)
    low = work.add("Min", [reduced(work, "ReduceMin", value, None, keepdims=False), nought])
    high = work.add("Max", [reduced(work, "ReduceMax", value, None, keepdims=False), nought])
    span = work.add("Sub", [high, low])
    flat = work.add("Equal", [span, nought])
    scale = work.add("Where", [flat, work.number(1, value), work.add("Div", [span, most])])
    from_low = work.add("Div", [work.add("Sub", [nought, low]), scale])
    zero = work.add("Round", [work.add("Clip", [from_low, nought, most])])
    near = work.add("Round", [work.add("Div", [value, scale])])
    return work.add("Clip", [work.add("Add", [near, zero]), nought, most]), scale, zero


def quantized(work: Rewriting, value: str) -> str:
    """Values quantized and dequantized by their own range, in float32."""
    codes, scale, zero = _codes(work, value)
    return work.add("Mul", [work.add("Sub", [codes, zero]), scale])


def _floats(work: Rewriting, name: str) -> str:
    """An integer tensor as float32; weights by DequantizeLinear, so that they stay in eight bits."""
    if name in work.twins:
        return work.twins[name]
    if name in work.tensors:
        import numpy as np

        return work.add("DequantizeLinear", [name, work.array(np.float32(1), "one")])
    return cast(work, name, number_of_dtype("float32"))


def _distances(work: Rewriting, name: str, zero: str, axis: int | None) -> str | None:
    """The difference from the zero point, which may be one per row or column; None if it is unknown."""
    if not zero:
        return _floats(work, name)
    rank = work.types.rank(zero)
    several = rank == 1 and work.types.size(zero, 0) != 1
    if rank is None or rank > 1 or (several and axis is None):
        return None
    points = work.values(zero)
    if name in work.tensors and points is not None:
        return _weights(work, name, zero, axis if several else None)
    behind = (work.types.rank(name) or 0) - 1  # axes after the first, along which the zero points are equal
    if several and axis == 0 and behind < 1:
        return None
    less = _floats(work, zero) if zero in work.twins else cast(work, zero, number_of_dtype("float32"))
    if several and axis == 0:
        less = unsqueezed(work, less, *range(1, behind + 1))
    return work.add("Sub", [_floats(work, name), less])


def _weights(work: Rewriting, name: str, zero: str, axis: int | None) -> str:
    import numpy as np

    points = work.values(zero)
    assert points is not None, "the zero point is a constant"
    count = points.size if axis is not None else 1
    flat = points.reshape(-1) if axis is not None else points.reshape(())
    ones = np.ones(count, np.float32) if axis is not None else np.float32(1)
    inputs = [name, work.array(np.asarray(ones), "ones"), work.array(flat, "zero_point")]
    return work.add("DequantizeLinear", inputs, axis=axis)


def _known(work: Rewriting, *names: str) -> bool:
    return work.opset >= _LEAST_OPSET and all(work.types.dtype(name) in _WHOLE for name in names)


def _operands(work: Rewriting, node: onnx.NodeProto, zeros: tuple[int, int]) -> list[str] | None:
    """Both factors of a matrix product minus their zero points; None if too little is known about them."""
    left, right = node.input[0], node.input[1]
    if not _known(work, left, right):
        return None
    columns = (work.types.rank(right) or 0) - 1
    first = _distances(work, left, input_of(node, zeros[0]), 0 if work.types.rank(left) == 2 else None)
    second = _distances(work, right, input_of(node, zeros[1]), columns if columns > 0 else None)
    return None if first is None or second is None else [first, second]


def _matmul(work: Rewriting, node: onnx.NodeProto) -> bool:
    operands = _operands(work, node, (2, 3))
    if operands is None:
        return False
    cast(work, work.add("MatMul", operands, name=node.name), number_of_dtype("int32"), node.output[0])
    return True


def _convolution(work: Rewriting, node: onnx.NodeProto) -> bool:
    """ConvInteger. Padding has the value of the zero point, so it is 0 after the subtraction."""
    if not _known(work, node.input[0], node.input[1]):
        return False
    first = _distances(work, node.input[0], input_of(node, 2), None)
    second = _distances(work, node.input[1], input_of(node, 3), 0)
    if first is None or second is None:
        return False
    made = work.add("Conv", [first, second], name=node.name, attributes=attributes_of(node))
    cast(work, made, number_of_dtype("int32"), node.output[0])
    return True


def _to_float(work: Rewriting, node: onnx.NodeProto) -> bool:
    """MatMulIntegerToFloat: the product of both operands in their scales, plus a bias."""
    operands = _operands(work, node, (4, 5))
    if operands is None or work.types.dtype(node.input[2]) != "float32":
        return False
    scaled = [work.add("Mul", [operands[0], node.input[2]]), work.add("Mul", [operands[1], node.input[3]])]
    return _summed_product(work, node, scaled, input_of(node, 6))


def _dynamic_matmul(work: Rewriting, node: onnx.NodeProto) -> bool:
    """DynamicQuantizeMatMul: its first operand is rounded as DynamicQuantizeLinear does."""
    value, weights = node.input[0], node.input[1]
    columns = (work.types.rank(weights) or 0) - 1
    if work.types.dtype(value) != "float32" or not _known(work, weights) or columns < 1:
        return False
    second = _distances(work, weights, input_of(node, 3), columns)
    if second is None:
        return False
    first = quantized(work, value)
    scaled = work.add("Mul", [second, node.input[2]])
    return _summed_product(work, node, [first, scaled], input_of(node, 4))


def _summed_product(work: Rewriting, node: onnx.NodeProto, operands: list[str], bias: str) -> bool:
    made = work.add("MatMul", operands, "" if bias else node.output[0], name=node.name)
    if bias:
        work.add("Add", [made, bias], node.output[0])
    return True


INTEGERS: Mapping[tuple[str, str], Rule] = {
    ("", "ConvInteger"): _convolution,
    ("", "DynamicQuantizeLinear"): _dynamic,
    ("", "MatMulInteger"): _matmul,
    (MICROSOFT, "DynamicQuantizeMatMul"): _dynamic_matmul,
    (MICROSOFT, "MatMulIntegerToFloat"): _to_float,
}
