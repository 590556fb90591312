"""DynamicQuantizeLSTM: an LSTM with dynamically quantized input and hidden state, as a Scan for each direction.

ONNX Runtime quantizes the whole input once, and the hidden state of the whole batch before each step, each by its
actual range. The products of the quantized numbers are computed in float32; weights stay in eight bits. The results
differ from ONNX Runtime's only by rounding: a value between two quantization steps may be rounded to the other one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.legalization.runtime_operators.integers import quantized
from trtpipe.legalization.runtime_operators.parts import (
    MICROSOFT,
    input_of,
    picked,
    real_of,
    since,
    size_of,
    summed,
    text_of,
    unsqueezed,
)

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.legalization.rewrites import Rewriting, Rule

_GATES = 4
_DIRECTIONS: Mapping[str, tuple[int, ...]] = {"forward": (0,), "reverse": (1,), "bidirectional": (0, 1)}
"""Whether each direction runs backwards."""
_WEIGHTS, _RECURRENT = (1, 8, 9), (2, 10, 11)
"""The inputs that hold weights, their scales and their zero points."""


def steps_in_floats(count: int) -> str:
    """The sentence that says what the arithmetic costs."""
    return (
        f"{count} DynamicQuantizeLSTM are written as loops that round the state before each step, in float32: results "
        "are equal but for values between two steps of that rounding, without the speed of int8"
    )


class _Pass(NamedTuple):
    """One direction over a sequence: its weights in float32, its states before the first step, and its bias."""

    backwards: int
    weights: str
    recurrent: str
    bias: str
    hidden: str
    cell: str


class _Results(NamedTuple):
    """The outputs of one direction: the hidden state of each step, and the final states."""

    steps: str
    hidden: str
    cell: str


def _lstm(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Computes the input's part of the gates for all steps at once, then the steps; concatenates the directions."""
    directions = _DIRECTIONS.get(text_of(node, "direction", "forward"))
    if directions is None or _is_odd(node) or work.types.dtype(node.input[0]) != "float32":
        return False
    size = work.dims[node.input[2]][1]
    passes = _passes(work, node, directions, size)
    if passes is None:
        return False
    fed = quantized(work, node.input[0])
    results = [
        _one_direction(work, one, fed, size, "" if index else node.name) for index, one in enumerate(passes)
    ]
    for output, parts, axis in zip(node.output, zip(*results, strict=True), (1, 0, 0), strict=False):
        if output:
            work.add("Concat", [unsqueezed(work, part, axis) for part in parts], output, axis=axis)
    return True


def _is_odd(node: onnx.NodeProto) -> bool:
    """Whether it uses sequence lengths, peepholes, clipping, coupled gates or unusual activation functions."""
    own = attribute_of(node, "activations")
    functions = [one.decode().lower() for one in own] if isinstance(own, list) else []
    usual = ["sigmoid", "tanh", "tanh"] * (len(functions) // 3)
    odd = input_of(node, 4) or input_of(node, 7) or integer_of(node, "input_forget")
    return bool(odd) or real_of(node, "clip", 0) > 0 or functions != usual


def _passes(
    work: Rewriting, node: onnx.NodeProto, directions: tuple[int, ...], size: int
) -> list[_Pass] | None:
    """The directions, with the weights of each; None if weights are not constant."""
    held = [[work.values(node.input[index]) for index in group] for group in (_WEIGHTS, _RECURRENT)]
    bias = work.values(input_of(node, 3))
    if any(one is None for group in held for one in group) or (input_of(node, 3) and bias is None):
        return None
    initial = [
        input_of(node, index) or _zeros(work, node.input[0], size, len(directions)) for index in (5, 6)
    ]
    made = []
    for place, backwards in enumerate(directions):
        weights, recurrent = (
            _dequantized(work, *(one[place] for one in group if one is not None)) for group in held
        )
        own = "" if bias is None else work.array(bias[place].reshape(2, -1).sum(0), "bias")
        states = [picked(work, name, place) for name in initial]
        made.append(_Pass(backwards, weights, recurrent, own, *states))
    return made


def _dequantized(work: Rewriting, weights: Array, scale: Array, zero: Array) -> str:
    """One direction's weights in float32: a row per input, a column per gate; columns may have separate scales."""
    axis = 1 if scale.ndim else None
    if scale.ndim and not zero.ndim:
        zero = zero.repeat(scale.size)
    inputs = [work.array(weights, "weights"), work.array(scale, "scale"), work.array(zero, "zero_point")]
    return work.add("DequantizeLinear", inputs, axis=axis)


def _zeros(work: Rewriting, value: str, size: int, directions: int) -> str:
    """Initial states of zero; the batch is the second axis of the input."""
    import numpy as np

    ends = [work.constant([directions], "directions"), size_of(work, value, 1), work.constant([size], "size")]
    shape = work.add("Concat", ends, axis=0)
    return work.add("Expand", [work.array(np.float32(0), "nought"), shape])


def _one_direction(work: Rewriting, one: _Pass, value: str, size: int, name: str) -> _Results:
    """The Scan of a direction: it carries both states, and outputs the hidden state of each step."""
    fed = summed(work, work.add("MatMul", [value, one.weights]), one.bias)
    inputs = {"hidden": [None, size], "cell": [None, size], "gates": [None, _GATES * size]}
    body = work.nested(inputs, lambda names: _step(work, names, one.recurrent, size))
    made = work.add_several(
        "Scan",
        [one.hidden, one.cell, fed],
        3,
        name=name,
        body=body,
        num_scan_inputs=1,
        scan_input_directions=[one.backwards],
        scan_output_directions=[one.backwards],
    )
    return _Results(made[2], made[0], made[1])


def _step(work: Rewriting, names: Sequence[str], recurrent: str, size: int) -> list[str]:
    """Both states after a step, and the hidden one again as output. ONNX's gates are input, output, forget, cell."""
    hidden, cell, gates = names
    fed = work.add("Add", [gates, work.add("MatMul", [quantized(work, hidden), recurrent])])
    gate_in, gate_out, forget, candidate = work.add_split(fed, [size] * _GATES, -1)
    kept = work.add("Mul", [work.add("Sigmoid", [forget]), cell])
    added = work.add("Mul", [work.add("Sigmoid", [gate_in]), work.add("Tanh", [candidate])])
    after = work.add("Add", [kept, added])
    shown = work.add("Mul", [work.add("Sigmoid", [gate_out]), work.add("Tanh", [after])])
    return [shown, after, work.add("Identity", [shown])]


RECURRENCES: Mapping[tuple[str, str], Rule] = {(MICROSOFT, "DynamicQuantizeLSTM"): since(13, _lstm)}
