"""Reductions over no axes, and LpPool: the parser omits the operation that applies to each element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of, integers_of
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.misreadings.scope import Scope, changed, named

if TYPE_CHECKING:
    import onnx


def rewrite_reduction(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Replaces a reduction without axes and with `noop_with_empty_axes` by its elementwise operation.

    The parser handles this correctly if the empty axes are a constant.
    """
    if any(node.input[1:]) or not integer_of(node, "noop_with_empty_axes"):
        return None
    operator = _EACH[node.op_type]
    if operator == "Log" and not scope.dtype(node.input[0]).startswith(("float", "bfloat")):
        return None  # ONNX's Log does not support integers
    inputs = [node.input[0]] * (2 if operator == "Mul" else 1)
    return [named(operator, inputs, node.output, name=node.name)]


_EACH = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log", "ReduceSumSquare": "Mul"}


def rewrite_lp_pool(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Inserts the absolute value before GlobalLpPool with an odd `p`, once: the parser omits it."""
    if integer_of(node, "p", 2) % 2 == 0 or node.input[0] in scope.magnitudes:
        return None
    size = scope.node("Abs", [node.input[0]], node.output[0])
    made = changed(node)
    made.input[0] = size.output[0]
    return [size, made]


def rewrite_norm_pool(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Rewrites LpPool with `p` other than 1 and 2, which the parser rejects, as a mean of powers times their number.

    Dilated windows, and windows that extend beyond the padding, are left unchanged.
    """
    import numpy as np
    import onnx

    power, kernel = integer_of(node, "p", 2), integers_of(node, "kernel_shape")
    odd = any(one != 1 for one in integers_of(node, "dilations")) or integer_of(node, "ceil_mode")
    if power in (1, 2) or power < 1 or odd or not scope.dtype(node.input[0]).startswith(("float", "bfloat")):
        return None
    dtype = onnx.helper.tensor_dtype_to_np_dtype(number_of_dtype(scope.dtype(node.input[0])))
    near = node.output[0]
    numbers = (power, math.prod(kernel), 1 / power)
    up, count, down = (scope.constant(f"{near}/number", np.asarray(one, dtype)) for one in numbers)
    size = scope.node("Abs", [node.input[0]], near)
    raised = scope.node("Pow", [size.output[0], up], near)
    pool = changed(node, "p", "dilations", "ceil_mode", count_include_pad=1)
    pool.op_type, pool.input[0], pool.output[0] = "AveragePool", raised.output[0], scope.names(f"{near}/mean")
    total = scope.node("Mul", [pool.output[0], count], near)
    return [size, raised, pool, total, named("Pow", [total.output[0], down], node.output)]
