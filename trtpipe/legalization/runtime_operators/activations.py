"""GELU in its variants, with what ONNX Runtime fuses into it, and sums with a bias."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    input_of,
    other_outputs,
    real_of,
    since,
    summed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule

_GELU_SINCE = 20


def gelu(work: Rewriting, value: str, output: str = "", name: str = "") -> str:
    """x (1 + erf(x / sqrt 2)) / 2."""
    if work.opset >= _GELU_SINCE:
        return work.add("Gelu", [value], output, name=name)
    root = work.number(math.sqrt(0.5), value)
    error = work.add("Erf", [work.add("Mul", [value, root])])
    share = work.add("Add", [error, work.number(1, value)])
    half = work.add("Mul", [value, work.number(0.5, value)])
    return work.add("Mul", [half, share], output, name=name)


def gelu_by_tanh(work: Rewriting, value: str, output: str = "", name: str = "") -> str:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    if work.opset >= _GELU_SINCE:
        return work.add("Gelu", [value], output, name=name, approximate="tanh")
    cube = work.add("Mul", [work.add("Mul", [value, value]), value])
    inner = work.add("Add", [value, work.add("Mul", [cube, work.number(0.044715, value)])])
    bent = work.add("Tanh", [work.add("Mul", [inner, work.number(math.sqrt(2 / math.pi), value)])])
    share = work.add("Add", [bent, work.number(1, value)])
    half = work.add("Mul", [value, work.number(0.5, value)])
    return work.add("Mul", [half, share], output, name=name)


def _behind_sums(kind: Callable[[Rewriting, str, str, str], str]) -> Rule:
    """A rule that applies a variant of GELU to the sum of all inputs."""

    def rule(work: Rewriting, node: onnx.NodeProto) -> bool:
        if not work.floating(node.input[0]):
            return False
        kind(work, summed(work, *node.input), node.output[0], node.name)
        return True

    return rule


def _quick_gelu(work: Rewriting, node: onnx.NodeProto) -> bool:
    """x sigmoid(alpha x)."""
    value, alpha = node.input[0], real_of(node, "alpha", 1.702)
    if not work.floating(value):
        return False
    scaled = value if alpha == 1 else work.add("Mul", [value, work.number(alpha, value)])
    work.add("Mul", [value, work.add("Sigmoid", [scaled])], node.output[0], name=node.name)
    return True


def _split_gelu(work: Rewriting, node: onnx.NodeProto) -> bool:
    """The first half of the last axis times the GELU of the second."""
    size = work.types.size(node.input[0], -1) or work.types.size(node.input[1], -1)
    if not work.floating(node.input[0]) or not size or size % 2:
        return False
    left, right = work.add_split(summed(work, *node.input), [size // 2, size // 2], -1)
    work.add("Mul", [left, gelu(work, right)], node.output[0], name=node.name)
    return True


def _bias(work: Rewriting, node: onnx.NodeProto) -> bool:
    work.add(
        "Add", [summed(work, node.input[0], node.input[1]), node.input[2]], node.output[0], name=node.name
    )
    return True


def _dropout(work: Rewriting, node: onnx.NodeProto) -> bool:
    """BiasDropout; at inference nothing is dropped, so it is the sum of data, bias and residual."""
    if other_outputs(node, [0]) or input_of(node, 4):
        return False
    last = input_of(node, 2) or input_of(node, 1)
    first = summed(work, node.input[0], node.input[1]) if input_of(node, 2) else node.input[0]
    work.add("Add", [first, last], node.output[0], name=node.name)
    return True


def _gemm_gelu(work: Rewriting, node: onnx.NodeProto) -> bool:
    if not work.floating(node.input[0]):
        return False
    product = work.add("MatMul", [node.input[0], node.input[1]], name=node.name)
    gelu_by_tanh(work, summed(work, product, input_of(node, 2)), node.output[0])
    return True


ACTIVATIONS: Mapping[tuple[str, str], Rule] = {
    (MICROSOFT, "BiasAdd"): _bias,
    (MICROSOFT, "BiasDropout"): _dropout,
    (MICROSOFT, "BiasGelu"): _behind_sums(gelu),
    (MICROSOFT, "BiasSplitGelu"): since(13, _split_gelu),
    (MICROSOFT, "FastGelu"): _behind_sums(gelu_by_tanh),
    (MICROSOFT, "Gelu"): _behind_sums(gelu),
    (MICROSOFT, "GemmFastGelu"): _gemm_gelu,
    (MICROSOFT, "QuickGelu"): _quick_gelu,
}
