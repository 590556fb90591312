"""Convolutions and matrix products with what ONNX Runtime fused into them: an addend, an activation, transposes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    attributes_of,
    real_of,
    summed,
    text_of,
    transposed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule

_OF_NONE = ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")
_BY_NAME = {"Elu": 1, "HardSigmoid": 2, "LeakyRelu": 1, "Selu": 2, "ThresholdedRelu": 1, "Celu": 1}
"""Activations with parameters, alpha and beta (for Selu gamma), and how many they have."""


def activation_taken(name: str, values: Sequence[float]) -> bool:
    """Whether an activation and its parameters are supported; without parameters the standard's defaults apply."""
    if name == "Clip":
        return len(values) == 2
    return name in ("", "HardSwish", *_OF_NONE) or (name in _BY_NAME and len(values) in (0, _BY_NAME[name]))


def activate(work: Rewriting, name: str, values: Sequence[float], value: str, output: str) -> str:
    """Adds the activation; `value` must be of a known type for Clip."""
    if name == "Clip":
        low, high = (work.number(one, value) for one in values)
        return work.add("Clip", [value, low, high], output)
    called = ("alpha", "gamma" if name == "Selu" else "beta")
    given = dict(zip(called, values, strict=False)) if name in _BY_NAME else {}
    return work.add(name, [value], output, attributes=given)


def convolve(work: Rewriting, node: onnx.NodeProto, inputs: Sequence[str], output: str) -> str | None:
    """A convolution, plus its fourth input, and its activation; None when the activation is not known."""
    name = text_of(node, "activation")
    values = attribute_of(node, "activation_params")
    values = list(values) if isinstance(values, list) else []
    if not activation_taken(name, values) or (name == "Clip" and not work.floating(inputs[0])):
        return None
    addend = inputs[3] if len(inputs) > 3 else ""
    operands = [one for one in inputs[:3] if one]
    kept = attributes_of(node, ("activation", "activation_params"))
    made = work.add("Conv", operands, "" if addend or name else output, name=node.name, attributes=kept)
    if addend:
        made = work.add("Add", [made, addend], "" if name else output)
    return activate(work, name, values, made, output) if name else made


def _convolution(work: Rewriting, node: onnx.NodeProto) -> bool:
    return convolve(work, node, list(node.input), node.output[0]) is not None


def _gemm(work: Rewriting, node: onnx.NodeProto) -> bool:
    name = text_of(node, "activation")
    named = [f"activation_{one}" for one in ("alpha", "beta", "gamma")]
    given = [attribute_of(node, one) for one in named]
    values = [one for one in given if isinstance(one, float)]
    if name not in _BY_NAME:
        values = []
    elif not activation_taken(name, values):
        values = values[: _BY_NAME[name]]
    if name == "Clip" or not activation_taken(name, values):
        return False
    kept = attributes_of(node, ("activation", *named))
    made = work.add("Gemm", list(node.input), "" if name else node.output[0], name=node.name, attributes=kept)
    if name:
        activate(work, name, values, made, node.output[0])
    return True


def _matrix_product(work: Rewriting, node: onnx.NodeProto) -> bool:
    made = _product(work, node)
    return made is not None


def _product(work: Rewriting, node: onnx.NodeProto, output: str | None = None) -> str | None:
    """alpha A B, with both operands transposed as the attributes say; None if a needed rank is unknown."""
    target = node.output[0] if output is None else output
    turns = [_turn(work, node, side) for side in (0, 1)]
    alpha = real_of(node, "alpha", 1.0)
    if any(turn is None for turn in turns) or (alpha != 1 and not work.floating(node.input[0])):
        return None
    operands = [
        transposed(work, value, turn) if turn else value
        for value, turn in zip(node.input, turns, strict=True)
    ]
    if alpha == 1:
        return work.add("MatMul", operands, target, name=node.name)
    made = work.add("MatMul", operands, name=node.name)
    return work.add("Mul", [made, work.number(alpha, node.input[0])], target)


def _turn(work: Rewriting, node: onnx.NodeProto, side: int) -> list[int] | None:
    """The order of an operand's axes, empty if it needs no change; None if its rank is needed and unknown."""
    letter = "AB"[side]
    inner, outer = integer_of(node, f"trans{letter}"), integer_of(node, f"transBatch{letter}")
    if not inner and not outer:
        return []
    rank = work.types.rank(node.input[side])
    if rank is None:
        return None
    order = list(range(rank))
    if rank < 2:
        return []
    if outer:
        order = [*order[1:-1], order[0], order[-1]]
    if inner:
        order[-2:] = order[:-3:-1]
    return order if order != sorted(order) else []


def _activated_product(work: Rewriting, node: onnx.NodeProto) -> bool:
    name = text_of(node, "activation")
    values = [
        one
        for one in (attribute_of(node, f"activation_{which}") for which in ("alpha", "beta", "gamma"))
        if isinstance(one, float)
    ]
    if name == "Softmax":
        values = []
    elif name not in _OF_NONE or values:
        return False
    made = _product(work, node, "")
    if made is None:
        return False
    if name == "Softmax":
        work.add(name, [made], node.output[0], axis=integer_of(node, "activation_axis", -1))
    else:
        activate(work, name, values, made, node.output[0])
    return True


def _softmax(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Softmax over the last axis of data plus a bias that is broadcast."""
    rank, axis = work.types.rank(node.input[0]), integer_of(node, "axis", 1)
    if axis != -1 and (rank is None or axis != rank - 1):
        return False
    made = summed(work, node.input[0], node.input[1])
    work.add("Softmax", [made], node.output[0], name=node.name, axis=-1 if rank is None else rank - 1)
    return True


FUSED: Mapping[tuple[str, str], Rule] = {
    (MICROSOFT, "BiasSoftmax"): _softmax,
    (MICROSOFT, "FusedConv"): _convolution,
    (MICROSOFT, "FusedGemm"): _gemm,
    (MICROSOFT, "FusedMatMul"): _matrix_product,
    (MICROSOFT, "FusedMatMulActivation"): _activated_product,
    (MICROSOFT, "TransposeMatMul"): _matrix_product,
}
