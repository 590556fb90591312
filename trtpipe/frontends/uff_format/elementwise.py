"""Element-wise operations: Identity, Unary, Binary, Activation, LeakyRelu.

They work in any layout that their inputs are available in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from trtpipe.frontends.uff_format.net import Misfit, Tensor
from trtpipe.frontends.uff_format.operation import Operation, Rule
from trtpipe.frontends.uff_format.orders import Permutation

_BINARY = {
    "min": "Min", "max": "Max", "mul": "Mul", "sub": "Sub", "div": "Div", "add": "Add", "pow": "Pow",
}  # fmt: skip
_ON_INTS: dict[str, Callable[[int, int], int]] = {
    "min": min, "max": max, "mul": operator.mul, "sub": operator.sub, "add": operator.add,
}  # fmt: skip
_UNARY = {
    "neg": "Neg", "exp": "Exp", "log": "Log", "abs": "Abs", "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tan": "Tan",
    "sinh": "Sinh", "cosh": "Cosh", "asin": "Asin", "acos": "Acos", "atan": "Atan", "asinh": "Asinh",
    "acosh": "Acosh", "atanh": "Atanh", "ceil": "Ceil", "floor": "Floor",
}  # fmt: skip
_ACTIVATION = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu", "selu": "Selu", "softsign": "Softsign",
    "softplus": "Softplus",
}  # fmt: skip
_LARGEST_INT = (1 << 31) - 1


def _func(op: Operation, *known: str) -> str:
    func = op.fields.text("func")
    if func not in known:
        raise op.fields.wrong("func", f"is '{func}'", f"it must be one of {', '.join(known)}")
    return func


def _unary(op: Operation) -> Tensor:
    func = _func(op, *_UNARY, "rsqrt", "square")
    order = op.layout()
    (x,) = op.in_layout(order)
    if func == "rsqrt":
        return op.canonical("Reciprocal", [op.net.apart("Sqrt", [x], op.id)], order)
    if func == "square":
        return op.canonical("Mul", [x, x], order)
    return op.canonical(_UNARY[func], [x], order)


def _activation(op: Operation) -> Tensor:
    func = _func(op, *_ACTIVATION, "relu6")
    order = op.layout()
    (x,) = op.in_layout(order)
    if func != "relu6":
        return op.canonical(_ACTIVATION[func], [x], order)
    dtype = op.net.dtype(op.inputs[0])
    bounds = [op.net.values(bound, f"{op.id}/{bound}", dtype) for bound in (0, 6)]
    return op.canonical("Clip", [x, *bounds], order)


def _leaky_relu(op: Operation) -> Tensor:
    order = op.layout()
    return op.canonical("LeakyRelu", [*op.in_layout(order)], order, alpha=op.fields.number("alpha"))


def _identity(op: Operation) -> Tensor:
    order = op.layout()
    made = op.canonical("Identity", [*op.in_layout(order)], order)
    made.ints = op.inputs[0].ints
    return made


def _binary(op: Operation) -> Tensor:
    func = _func(op, *_BINARY)
    op.alike()
    order = op.layout()
    made = op.canonical(_BINARY[func], [*op.in_layout(order)], order)
    made.ints = _ints(op, func, order)
    return made


def _ints(op: Operation, func: str, order: Permutation) -> tuple[int | None, ...] | None:
    """The known values of a result that may be a shape."""
    left, right = (tensor.ints for tensor in op.inputs)
    compute = _ON_INTS.get(func)
    if not left or not right or compute is None or order:
        return None
    length = max(len(left), len(right))
    if not {len(left), len(right)} <= {1, length}:
        raise Misfit(f"its inputs have {len(left)} and {len(right)} values")
    pairs = zip(left * (length // len(left)), right * (length // len(right)), strict=True)
    results = [None if a is None or b is None else compute(a, b) for a, b in pairs]
    return tuple(None if one is None or abs(one) > _LARGEST_INT else one for one in results)


RULES = {
    "Identity": Rule(_identity),
    "Unary": Rule(_unary),
    "Binary": Rule(_binary, inputs=2),
    "Activation": Rule(_activation),
    "LeakyRelu": Rule(_leaky_relu),
}
