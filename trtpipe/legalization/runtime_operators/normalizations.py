"""Layer and RMS normalization with a preceding sum, embeddings with normalization, and group normalization."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    cast,
    input_of,
    other_outputs,
    real_of,
    reduced,
    since,
    size_of,
    summed,
    transposed,
    unsqueezed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.rewrites import Rewriting, Rule

_LAYERS_SINCE = 17
_LEAST = 1e-12
"""The default `epsilon` of the operators for transformers."""


def _never(work: Rewriting, node: onnx.NodeProto) -> bool:
    """The standard's own LayerNormalization, except that it may be saved in an older opset."""
    return False


def _simplified(work: Rewriting, node: onnx.NodeProto) -> bool:
    """RMS normalization over the last axes, computed in float32 for float16 values."""
    value, axis = node.input[0], integer_of(node, "axis", -1)
    rank = work.types.rank(value)
    last = axis == -1 or (rank is not None and axis == rank - 1)
    if other_outputs(node, [0, 1]) or not last or not work.floating(value, node.input[1]):
        return False
    _rms(work, node, value, node.input[1], real_of(node, "epsilon", 1e-5), _output_of(node, 1))
    return True


def _output_of(node: onnx.NodeProto, index: int) -> str:
    return str(node.output[index]) if index < len(node.output) else ""


def _rms(work: Rewriting, node: onnx.NodeProto, value: str, scale: str, epsilon: float, inverse: str) -> None:
    """x / sqrt(mean(x^2) + epsilon) scale; `inverse` is the name of 1 / sqrt(…) if it is an output."""
    wide = number_of_dtype("float32")
    dtype, out = work.types.dtype(value), work.types.dtype(scale)
    exact = value if dtype == "float32" else cast(work, value, wide)
    mean = reduced(work, "ReduceMean", work.add("Mul", [exact, exact]), [-1])
    root = work.add("Sqrt", [work.add("Add", [mean, work.number(epsilon, exact)])])
    normal = work.add("Div", [exact, root])
    if out != "float32":
        normal = cast(work, normal, number_of_dtype(out))
    work.add("Mul", [normal, scale], node.output[0], name=node.name)
    if inverse:
        work.add("Reciprocal", [root], inverse)


def _skip_simplified(work: Rewriting, node: onnx.NodeProto) -> bool:
    if other_outputs(node, [0, 2, 3]) or not work.floating(node.input[0], node.input[2]):
        return False
    total = _skipped(work, node, input_of(node, 3))
    _rms(work, node, total, node.input[2], real_of(node, "epsilon", _LEAST), _output_of(node, 2))
    return True


def _skipped(work: Rewriting, node: onnx.NodeProto, bias: str) -> str:
    """The normalization of the sum of input, bias and skip connection; the sum is the fourth output."""
    shown = node.output[3] if len(node.output) > 3 else ""
    first = summed(work, node.input[0], bias)
    return work.add("Add", [first, node.input[1]], shown)


def _skip_layer(work: Rewriting, node: onnx.NodeProto) -> bool:
    if not work.floating(node.input[0]):
        return False
    total = _skipped(work, node, input_of(node, 4))
    _layer(work, node, [total, node.input[2], input_of(node, 3)], list(node.output[:3]))
    return True


def _layer(work: Rewriting, node: onnx.NodeProto, inputs: list[str], outputs: list[str]) -> None:
    """The standard operator; if mean and deviation are used, a later pass computes them."""
    import onnx

    given = inputs if inputs[-1] else inputs[:-1]
    epsilon = real_of(node, "epsilon", _LEAST)
    while len(outputs) > 1 and not outputs[-1]:
        outputs.pop()
    work.keep(
        onnx.helper.make_node("LayerNormalization", given, outputs, name=node.name, axis=-1, epsilon=epsilon)
    )


def _embedding(work: Rewriting, node: onnx.NodeProto) -> bool:
    """The sum of the rows of words, positions and segments, normalized; the mask is summed for attention."""
    ids, words, places = node.input[0], node.input[2], node.input[3]
    if not work.floating(words) or work.types.dtype(ids) == "undefined":
        return False
    total = work.add("Gather", [words, ids])
    given = input_of(node, 8)
    if given:
        rows = work.add("Gather", [places, given])
    else:
        start, axis = work.constant([0], "start"), work.constant([0], "axis")
        rows = work.add("Slice", [places, start, size_of(work, ids, 1), axis])
    shown = node.output[2] if len(node.output) > 2 else ""
    segments = input_of(node, 1)
    if segments:
        total = work.add("Add", [total, rows])
        rows = work.add("Gather", [node.input[4], segments])
    total = work.add("Add", [total, rows], shown)
    _layer(work, node, [total, node.input[5], input_of(node, 6)], [node.output[0]])
    if len(node.output) > 1 and node.output[1]:
        _counted(work, ids, input_of(node, 7), node.output[1])
    return True


def _counted(work: Rewriting, ids: str, mask: str, output: str) -> None:
    """The number of unmasked words in each row, 0 if there is no mask."""
    number = number_of_dtype("int32")
    if mask:
        ones = cast(work, work.add("Equal", [mask, work.number(1, mask)]), number)
        work.add("ReduceSum", [ones, work.constant([1], "axes")], output, keepdims=0)
    else:
        none = work.add("ConstantOfShape", [size_of(work, ids, 0)])
        cast(work, none, number_of_dtype("int32"), output)


def _groups(work: Rewriting, node: onnx.NodeProto) -> bool:
    """GroupNorm and SkipGroupNorm: a GroupNormalization, channels last or first, optionally followed by SiLU."""
    value, groups = node.input[0], integer_of(node, "groups")
    skips = node.op_type == "SkipGroupNorm"
    bad = integer_of(node, "activation") not in (0, 1) or groups < 1
    if bad or work.types.rank(value) != 4 or not work.floating(value, node.input[1]):
        return False
    shown = node.output[1] if len(node.output) > 1 else ""
    if skips:
        value = _with_skip(work, node, shown)
    last = integer_of(node, "channels_last", 1)
    first = transposed(work, value, [0, 3, 1, 2]) if last else value
    silu = integer_of(node, "activation") == 1
    made = _normal_groups(work, node, first, groups, "" if last or silu else node.output[0])
    if silu:
        made = work.add("Mul", [made, work.add("Sigmoid", [made])], "" if last else node.output[0])
    if last:
        transposed(work, made, [0, 2, 3, 1], node.output[0])
    return True


def _with_skip(work: Rewriting, node: onnx.NodeProto, shown: str) -> str:
    """The sum of input, skip connection (which may be one vector of channels per image) and bias."""
    skip = node.input[3]
    if work.types.rank(skip) == 2:
        skip = unsqueezed(work, skip, *((1, 2) if integer_of(node, "channels_last", 1) else (2, 3)))
    return work.add("Add", [summed(work, node.input[0], input_of(node, 4)), skip], shown)


def _normal_groups(work: Rewriting, node: onnx.NodeProto, value: str, groups: int, output: str) -> str:
    """An InstanceNormalization with each group flattened into one channel; scales are per channel."""
    import numpy as np

    wide = number_of_dtype("float32")
    dtype = work.types.dtype(value)
    exact = value if dtype == "float32" else cast(work, value, wide)
    laid = work.add("Reshape", [exact, work.constant([0, groups, -1], "groups")])
    ones, zeros = (work.array(np.full(groups, number, np.float32), "flat") for number in (1, 0))
    normal = work.add(
        "InstanceNormalization", [laid, ones, zeros], name=node.name, epsilon=real_of(node, "epsilon", 1e-5)
    )
    shaped = work.add("Reshape", [normal, work.add("Shape", [value])])
    for operator, operand in (("Mul", node.input[1]), ("Add", node.input[2])):
        floats = operand if work.types.dtype(operand) == "float32" else cast(work, operand, wide)
        done = operator == "Add" and dtype == "float32"
        shaped = work.add(operator, [shaped, unsqueezed(work, floats, 1, 2)], output if done else "")
    return shaped if dtype == "float32" else cast(work, shaped, number_of_dtype(dtype), output)


NORMALIZATIONS: Mapping[tuple[str, str], Rule] = {
    ("", "LayerNormalization"): _never,
    ("", "SimplifiedLayerNormalization"): since(13, _simplified),
    (MICROSOFT, "EmbedLayerNormalization"): since(_LAYERS_SINCE, _embedding),
    (MICROSOFT, "GroupNorm"): since(13, _groups),
    (MICROSOFT, "SimplifiedLayerNormalization"): since(13, _simplified),
    (MICROSOFT, "SkipGroupNorm"): since(13, _groups),
    (MICROSOFT, "SkipLayerNormalization"): since(_LAYERS_SINCE, _skip_layer),
    (MICROSOFT, "SkipSimplifiedLayerNormalization"): since(13, _skip_simplified),
}
