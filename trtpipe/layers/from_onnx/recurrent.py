"""Converts RNN, GRU and LSTM to declared layers.

ONNX has the steps first and the directions in an axis of their own; the declared layers have the batch first and the
directions side by side (ONNX operators; `spec.network.recurrent`). Shuffle layers convert between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import array_of
from trtpipe.layers.from_onnx.node import NodeForm

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_DIRECTIONS = {"forward": None, "bidirectional": "bidirection", "reverse": "reverse"}
_GATES = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_STATE, _CELL, _PEEPHOLES = 5, 6, 7


def _recurrent(form: NodeForm) -> None:
    form.only(layout=0, clip=None, input_forget=0, activation_alpha=None, activation_beta=None)
    kernel = form.constant_tensor(1, "weights")
    directions, hidden = (
        kernel.dims[0],
        form.attribute("hidden_size") or form.constant_tensor(2, "weights").dims[2],
    )
    fields: dict[str, Json] = {
        "hidden_size": hidden,
        "direction": _DIRECTIONS[form.attribute("direction", "forward")],
        "input_weights": form.weight(1, "weights"),
        "recurrent_weights": form.weight(2, "recurrent weights"),
        **_biases(form),
        **_kind(form, directions),
    }
    fields["seq_lengths"] = form.tensor(4) if form.has(4) else None
    fields["hidden_state"] = _state(form, _STATE, "hidden_state")
    if form.operator == "LSTM":
        fields["cell_state"] = _state(form, _CELL, "cell_state")
    x = form.step("shuffle", "batch_first", input=form.tensor(), first_transpose=[1, 0, 2])
    count = 3 if form.operator == "LSTM" else 2
    made = [form.model.unique(f"{form.name}/{what}") for what in ("all", "last", "cell")[:count]]
    form.step(form.operator.lower(), "layer", outputs=made, input=x, **fields)
    apart = [0, 0, directions, hidden]
    form.yields(0, "shuffle", input=made[0], reshape_dims=apart, second_transpose=[1, 2, 0, 3])
    for index in range(1, count):
        form.yields(index, "shuffle", input=made[index], first_transpose=[1, 0, 2])


def _kind(form: NodeForm, directions: int) -> dict[str, Json]:
    """The fields specific to rnn, gru or lstm. Raises NoForm for activations that TensorRT lacks."""
    given = form.attribute("activations") or _GATES[form.operator] * directions
    if form.operator == "RNN" and set(given) == {"Relu"}:
        return {"op": "relu"}
    if given != _GATES[form.operator] * directions:
        form.refuse(f"its activations are {', '.join(given)}")
    if form.operator == "LSTM" and form.has(_PEEPHOLES):
        peepholes = form.array(_PEEPHOLES, "peepholes")
        if peepholes is not None and peepholes.any():
            form.refuse("it has peepholes")
    if form.operator == "GRU" and not form.attribute("linear_before_reset", 0):
        return {"linear_before_reset": False}
    return {}


def _biases(form: NodeForm) -> dict[str, Json]:
    """ONNX has both biases in one tensor, side by side."""
    if not form.has(3):
        return {}
    name, both = form.node.input[3], array_of(form.constant_tensor(3, "bias"))
    half = both.shape[1] // 2
    return {
        "input_bias": form.model.derived(f"{name}/input", both[:, :half]),
        "recurrent_bias": form.model.derived(f"{name}/recurrent", both[:, half:]),
    }


def _state(form: NodeForm, index: int, what: str) -> str | None:
    if not form.has(index):
        return None
    return form.step("shuffle", what, input=form.tensor(index), first_transpose=[1, 0, 2])


FORMS: dict[str, Callable[[NodeForm], None]] = {"RNN": _recurrent, "GRU": _recurrent, "LSTM": _recurrent}
