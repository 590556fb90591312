"""Lowers rnn, gru and lstm to ONNX's operators, which have the steps first and another order of gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trtpipe.layers.scope import Scope
from trtpipe.layers.values import INTEGERS, may_equal
from trtpipe.spec.network.recurrent import GRU, LSTM, RNN

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.canonical.builder import Attribute

_Recurrent = RNN | GRU | LSTM
_DIRECTIONS = {"unidirection": "forward", "bidirection": "bidirectional", "reverse": "reverse"}
_STEPS_FIRST = [1, 0, 2]


def rnn(layer: RNN, at: Scope) -> list[str]:
    """RNN."""
    count = 2 if layer.direction == "bidirection" else 1
    return _recurrent(layer, at, "RNN", (), activations=["Relu" if layer.op == "relu" else "Tanh"] * count)


def gru(layer: GRU, at: Scope) -> list[str]:
    """GRU, whose gates ONNX orders update, reset, hidden."""
    order = [layer.gate_order.index(gate) for gate in ("update", "reset", "hidden")]
    return _recurrent(layer, at, "GRU", order, linear_before_reset=int(layer.linear_before_reset))


def lstm(layer: LSTM, at: Scope) -> list[str]:
    """LSTM, whose gates ONNX orders input, output, forget, cell."""
    order = [layer.gate_order.index(gate) for gate in ("input", "output", "forget", "cell")]
    return _recurrent(layer, at, "LSTM", order)


def _recurrent(
    layer: _Recurrent, at: Scope, operator: str, order: Sequence[int], **attributes: Attribute
) -> list[str]:
    x = at.input
    if at.rank(x) != 3:
        at.refuse(f"reads '{x.name}' {x.text}", "give batch x steps x features", "input")
    features, size = at.size(x, 2, "the features"), layer.hidden_size
    directions = 2 if layer.direction == "bidirection" else 1
    gates = max(len(order), 1)
    rows = gates * size
    dims = {"input_weights": (rows, features), "recurrent_weights": (rows, size)}
    weights = [
        at.constant(_ordered(_stacked(at, name, wanted, directions), order, size), name, x.dtype)
        for name, wanted in dims.items()
    ]
    bias = _bias(at, rows, directions, order, size)
    states = [
        _state(at, name, directions, size)
        for name in ("hidden_state", "cell_state")[: layer.output_count - 1]
    ]
    inputs = (at.emit("Transpose", x.name, perm=_STEPS_FIRST), *weights, bias, _lengths(at), *states)
    made = at.emit_many(
        operator, inputs, layer.output_count, hidden_size=size,
        direction=_DIRECTIONS[layer.direction] if layer.direction != "unidirection" else None, **attributes,
    )  # fmt: skip
    batches_first = at.emit("Transpose", made[0], perm=[2, 0, 1, 3])
    together = at.emit("Reshape", batches_first, at.constant([0, 0, directions * size], "dims"))
    return [together, *(at.emit("Transpose", one, perm=_STEPS_FIRST) for one in made[1:])]


def _lengths(at: Scope) -> str | None:
    """The number of steps of each batch item, as int32; None when all items use all steps."""
    lengths = at.tensor("seq_lengths")
    if lengths is None:
        return None
    if lengths.dtype not in INTEGERS:
        at.refuse(f"has seq_lengths of {lengths.dtype}", "they must be whole numbers", "seq_lengths")
    return lengths.name if lengths.dtype == "int32" else at.emit("Cast", lengths.name, to=6)


def _stacked(at: Scope, name: str, dims: tuple[int, ...], directions: int) -> Array:
    """The weights of a field with the directions as their first axis."""
    import numpy as np

    written = getattr(at.layer, name)
    if len(written) == 1:
        own = at.dims_of_weights(written[0], name)
        whole = (directions, *dims) if directions > 1 or len(own) == len(dims) + 1 else dims
        return at.weights_array(written[0], whole, at.input.dtype, name).reshape(directions, *dims)
    if directions == 1:
        at.refuse(f"has {name} for two directions and runs in one", "write direction: bidirection", name)
    parts = [at.weights_array(one, dims, at.input.dtype, name, index) for index, one in enumerate(written)]
    return np.stack(parts)


def _ordered(weights: Array, order: Sequence[int], size: int) -> Array:
    """The gates, which are concatenated on the second axis, in ONNX's order."""
    import numpy as np

    if not len(order):
        return weights
    return np.concatenate([weights[:, gate * size : (gate + 1) * size] for gate in order], axis=1)


def _bias(at: Scope, rows: int, directions: int, order: Sequence[int], size: int) -> str | None:
    """Both biases concatenated, as ONNX requires; None if there is none."""
    import numpy as np

    given = [getattr(at.layer, name) for name in ("input_bias", "recurrent_bias")]
    if given == [None, None]:
        return None
    parts = [
        _ordered(_stacked(at, name, (rows,), directions), order, size)
        if getattr(at.layer, name) is not None
        else np.zeros((directions, rows))
        for name in ("input_bias", "recurrent_bias")
    ]
    return at.constant(np.concatenate(parts, axis=1), "bias", at.input.dtype)


def _state(at: Scope, name: str, directions: int, size: int) -> str | None:
    given = at.tensor(name)
    if given is None:
        return None
    dims, wanted = at.dims(given), (at.dims(at.input)[0], directions, size)
    if len(dims) != 3 or not all(may_equal(one, two) for one, two in zip(dims, wanted, strict=True)):
        at.refuse(
            f"has {name} '{given.name}' {given.text} for {directions} directions of size {size}",
            "give batch x directions x hidden_size", name,
        )  # fmt: skip
    return at.emit("Transpose", given.name, perm=_STEPS_FIRST)
