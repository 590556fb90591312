"""Candidate values of shape tensors for a proposed profile, the most likely first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.canonical.summary import TensorInfo
from trtpipe.proofs.profile_values import values_length
from trtpipe.proofs.value_inputs import ShapeUse

Values = Mapping[str, tuple[int, ...]]
"""Shape tensor → its values."""


def value_choices(
    inputs: Sequence[TensorInfo], value_inputs: Mapping[str, ShapeUse], outputs: Sequence[TensorInfo]
) -> list[Values]:
    """Values to try for all shape tensors at once: an output's declared dims, ones, an inferred first dim, …"""
    lengths = {info.name: values_length(info) for info in inputs if info.name in value_inputs}
    known = {name: length for name, length in lengths.items() if length is not None}
    if not known:
        return [{}]
    declared = [
        tuple(dim if isinstance(dim, int) else 1 for dim in info.dims)
        for info in outputs
        if info.dims and all(not isinstance(dim, int) or dim >= 0 for dim in info.dims)
    ]
    choices: list[Values] = [
        dict.fromkeys(known, dims)
        for dims in declared
        if all(len(dims) == length for length in known.values())
    ]
    choices += [
        {name: _usual(value_inputs[name], length) or (size,) * length for name, length in known.items()}
        for size in (1, 2, 3, 4, 8, 32, 224, 0)
    ]
    choices.append({name: (-1, *(1,) * (length - 1)) for name, length in known.items() if length})
    return choices


def _usual(use: ShapeUse, length: int) -> tuple[int, ...] | None:
    """The usual value of an operand, where one size is as good as any: a Slice from 0 over the first axes."""
    if use.op != "Slice":
        return None
    starts, ends, axes, steps = (0,) * length, (1,) * length, tuple(range(length)), (1,) * length
    return (starts, ends, axes, steps)[use.operand - 1]
