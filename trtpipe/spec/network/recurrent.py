"""The recurrent layers rnn, gru and lstm, one layer each, as TensorRT's add_rnn_v2 defined them until version 8.

Shapes: input NxSxE (batch, steps, features), hidden size H, D directions (1 or 2). Outputs, as IRNNv2Layer had them:
all hidden states NxSx(D*H), the last hidden state NxDxH, and for lstm the last cell state NxDxH.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple
from trtpipe.spec.network.fields import OneInput, TensorName, WeightRef


def _one_a_direction(value: object) -> object:
    """Two names are the weights of each direction; anything else is one tensor for all."""
    if isinstance(value, (list, tuple)) and value and all(isinstance(one, str) for one in value):
        return tuple(value)
    return (value,)


Directions = Annotated[
    tuple[WeightRef, ...],
    Field(min_length=1, max_length=2),
    BeforeValidator(_one_a_direction),
    WithJsonSchema({"type": ["string", "number", "array"], "items": {"type": ["string", "number", "array"]}}),
]
"""Weights by direction, or one tensor for all."""


class _Recurrent(OneInput):
    """What the recurrent layers have in common."""

    output_count: ClassVar[int] = 2

    hidden_size: Annotated[int, Field(ge=1)]
    """H, the size of the hidden state."""
    direction: Literal["unidirection", "bidirection", "reverse"] = "unidirection"
    """From the first step on, in both directions, or from the last step on (in ONNX, but not in TensorRT)."""
    input_weights: Directions
    """Weights D x (gates*H) x E, or (gates*H) x E of one direction; two names are the two directions'."""
    recurrent_weights: Directions
    """Weights D x (gates*H) x H, or (gates*H) x H of one direction; two names are the two directions'."""
    input_bias: Directions | None = None
    """Weights D x (gates*H); two names are the two directions'; default: 0."""
    recurrent_bias: Directions | None = None
    """Weights D x (gates*H), added to the hidden state's product; default: 0."""
    hidden_state: TensorName | None = None
    """The initial hidden state, NxDxH; default: 0."""
    seq_lengths: TensorName | None = None
    """The number of steps of each batch item, N (int32); default: all steps."""


class RNN(_Recurrent):
    """add_rnn_v2 with RNNOperation RELU or TANH → ONNX RNN. h = op(W x + Wb + R h + Rb); one gate."""

    layer: Literal["rnn"]
    """Always `rnn`."""
    op: Literal["tanh", "relu"] = "tanh"
    """The activation."""


class GRU(_Recurrent):
    """add_rnn_v2 with RNNOperation GRU → ONNX GRU. Three gates; h = (1 - update) * hidden + update * h."""

    layer: Literal["gru"]
    """Always `gru`."""
    gate_order: Annotated[tuple[Literal["update", "reset", "hidden"], ...], AsTuple] = (
        "update",
        "reset",
        "hidden",
    )
    """The order of the gates in the weights: ONNX's when left out; PyTorch has [reset, update, hidden]."""
    linear_before_reset: bool = True
    """The reset gate multiplies R h + Rb, as in TensorRT, cuDNN and PyTorch; otherwise it multiplies h."""

    @model_validator(mode="after")
    def _each_gate_once(self) -> GRU:
        _check_gates(self.name, self.gate_order, ("update", "reset", "hidden"))
        return self


class LSTM(_Recurrent):
    """add_rnn_v2 with RNNOperation LSTM → ONNX LSTM, without peepholes. Four gates; three outputs."""

    output_count: ClassVar[int] = 3

    layer: Literal["lstm"]
    """Always `lstm`."""
    gate_order: Annotated[tuple[Literal["input", "output", "forget", "cell"], ...], AsTuple] = (
        "input",
        "output",
        "forget",
        "cell",
    )
    """The order of the gates in the weights: ONNX's when left out; PyTorch has [input, forget, cell, output]."""
    cell_state: TensorName | None = None
    """The initial cell state, NxDxH; default: 0."""

    @model_validator(mode="after")
    def _each_gate_once(self) -> LSTM:
        _check_gates(self.name, self.gate_order, ("input", "output", "forget", "cell"))
        return self


def _check_gates(name: str, given: tuple[str, ...], gates: tuple[str, ...]) -> None:
    if sorted(given) != sorted(gates):
        raise WrongValue(
            Code.LAYER_KEYS,
            f"layer {name!r} has gate_order {', '.join(given)}; name each of {', '.join(gates)} once",
        )
