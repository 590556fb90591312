"""Rewrites TensorFlow operators that tf2onnx leaves in the standard domain as equivalent ONNX operators.

An example is the exact GELU, which TensorFlow computes with Erfc. Digamma, Lgamma and the like have no ONNX equivalent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule

_Body = Callable[["Rewriting", str, str], str]
"""Adds the nodes for a node's one or two inputs, and gives what comes last."""


def _of_floats(body: _Body) -> Rule:
    """A rule for inputs that are known to be floats."""

    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        if not node.input or not all(work.floating(name) for name in node.input):
            return False
        second = node.input[1] if len(node.input) > 1 else ""
        made = body(work, node.input[0], second)
        work.add("Identity", [made], node.output[0], name=node.name)
        return True

    return rule


def _erfc(work: Rewriting, x: str, _: str) -> str:
    return work.add("Sub", [work.number(1, x), work.add("Erf", [x])])


def _expm1(work: Rewriting, x: str, _: str) -> str:
    """tanh(x / 2) (exp(x) + 1), which is exact near 0."""
    half = work.add("Tanh", [work.add("Mul", [x, work.number(0.5, x)])])
    return work.add("Mul", [half, work.add("Add", [work.add("Exp", [x]), work.number(1, x)])])


def _log1p(work: Rewriting, x: str, _: str) -> str:
    """log(u) x / (u - 1) for u = 1 + x, or x where u is 1: this corrects the rounding of u."""
    one = work.number(1, x)
    u = work.add("Add", [x, one])
    made = work.add("Mul", [work.add("Log", [u]), work.add("Div", [x, work.add("Sub", [u, one])])])
    return work.add("Where", [work.add("Equal", [u, one]), x, made])


def _reciprocal(work: Rewriting, x: str, _: str) -> str:
    return work.add("Reciprocal", [x])


def _half_of_squares(work: Rewriting, x: str, _: str) -> str:
    total = work.add("ReduceSumSquare", [x], keepdims=0)
    return work.add("Mul", [total, work.number(0.5, x)])


def _nothing_of_nothing(body: _Body, which: int) -> _Body:
    """0 where the first or the second operand is 0, whatever the other one is."""

    def made(work: Rewriting, x: str, y: str) -> str:
        nought = work.number(0, x)
        none = work.add("Equal", [(x, y)[which], nought])
        return work.add("Where", [none, nought, body(work, x, y)])

    return made


def _by(operator: str, *inner: str) -> _Body:
    """A rule that combines x and y (or `inner` of y) by an operator."""

    def made(work: Rewriting, x: str, y: str) -> str:
        for one in inner:
            y = work.add(one, [y])
        return work.add(operator, [x, y])

    return made


def _times_log1p(work: Rewriting, x: str, y: str) -> str:
    return work.add("Mul", [x, _log1p(work, y, "")])


def _remainder(work: Rewriting, node: onnx.NodeProto) -> bool:
    work.add("Mod", list(node.input), node.output[0], name=node.name, fmod=1)
    return True


def _norm(work: Rewriting, node: onnx.NodeProto) -> bool:
    """The root of the sum of squares, over axes that are constants."""
    axes = work.values(node.input[1]) if len(node.input) > 1 else None
    if axes is None or not work.floating(node.input[0]):
        return False
    numbers, keepdims = [int(axis) for axis in axes.reshape(-1)], int(bool(integer_of(node, "keep_dims")))
    if not numbers:
        return False
    if work.opset < 18:
        inputs, given = [node.input[0]], {"axes": numbers}
    else:
        inputs, given = [node.input[0], work.constant(numbers, "axes")], {}
    work.add("ReduceL2", inputs, node.output[0], name=node.name, keepdims=keepdims, attributes={**given})
    return True


def _nearly_equal(work: Rewriting, node: onnx.NodeProto) -> bool:
    found = attribute_of(node, "tolerance")
    if not work.floating(*node.input):
        return False
    limit = work.number(found if isinstance(found, float) else 1e-5, node.input[0])
    distance = work.add("Abs", [work.add("Sub", list(node.input))])
    work.add("Less", [distance, limit], node.output[0], name=node.name)
    return True


def _cross(work: Rewriting, node: onnx.NodeProto) -> bool:
    """The cross product a b' - a' b, where ' rotates the three elements by one and by two places."""
    if not work.floating(*node.input):
        return False
    orders = [work.constant(order, "turn") for order in ([1, 2, 0], [2, 0, 1])]
    turned = [[work.add("Gather", [name, order], axis=-1) for order in orders] for name in node.input]
    (left, left_twice), (right, right_twice) = turned
    products = [work.add("Mul", [left, right_twice]), work.add("Mul", [left_twice, right])]
    work.add("Sub", products, node.output[0], name=node.name)
    return True


TENSORFLOW: Mapping[tuple[str, str], Rule] = {
    ("", "ApproximateEqual"): _nearly_equal,
    ("", "Cross"): _cross,
    ("", "DivNoNan"): _of_floats(_nothing_of_nothing(_by("Div"), 1)),
    ("", "Erfc"): _of_floats(_erfc),
    ("", "EuclideanNorm"): _norm,
    ("", "Expm1"): _of_floats(_expm1),
    ("", "Inv"): _of_floats(_reciprocal),
    ("", "L2Loss"): _of_floats(_half_of_squares),
    ("", "Log1p"): _of_floats(_log1p),
    ("", "MulNoNan"): _of_floats(_nothing_of_nothing(_by("Mul"), 1)),
    ("", "TruncateMod"): _remainder,
    ("", "Xdivy"): _of_floats(_nothing_of_nothing(_by("Div"), 0)),
    ("", "Xlog1py"): _of_floats(_nothing_of_nothing(_times_log1p, 0)),
    ("", "Xlogy"): _of_floats(_nothing_of_nothing(_by("Mul", "Log"), 0)),
}
"""Domain and operator → the rule that writes it out."""
