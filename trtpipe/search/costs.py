"""The estimated cost of a unit in each precision, from a roofline model; nothing is measured.

The roofline model (Williams, Waterman and Patterson, 2009) takes the longer of compute time and memory time,

    max(operations / rate of the type, bytes moved / memory rate)

with the rates of `targets.rates`. Bytes are those of the unit's weights and of the tensors that it reads and writes,
each once, in its own type; tensors inside a unit count as no traffic, because TensorRT fuses its nodes. A unit with
quantized weights only computes in the base. Caches, launches, layout changes and casts are left out. Costs are
shares of the whole model in its widest types, averaged over the targets' capabilities, so that large and small boards
have equal weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.search.choices import Assignment, Ladder
from trtpipe.search.units import Unit
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.rates import BITS, Rates, rates_of

Costs = tuple[tuple[float, ...], ...]
"""For each unit, its cost at each level."""


def costs_of(
    ladder: Ladder,
    units: Sequence[Unit],
    capabilities: Sequence[ComputeCapability],
    *,
    weights_alone: bool = False,
) -> Costs:
    """The cost of every unit at every level of the ladder. `weights_alone`: its head quantizes weights only."""
    shares = [_shares(ladder, units, rates_of(one), weights_alone) for one in capabilities]
    return tuple(
        tuple(
            sum(share[index][level] for share in shares) / len(shares) for level in range(len(ladder.levels))
        )
        for index in range(len(units))
    )


def total(costs: Costs, assigned: Assignment) -> float:
    """The cost of an assignment."""
    return sum(costs[index][level] for index, level in enumerate(assigned))


def _shares(ladder: Ladder, units: Sequence[Unit], rates: Rates, weights_alone: bool) -> list[list[float]]:
    levels = range(len(ladder.levels))
    seconds = [[_seconds(ladder, unit, level, rates, weights_alone) for level in levels] for unit in units]
    whole = sum(one[-1] for one in seconds) or 1.0
    return [[time / whole for time in one] for one in seconds]


def _seconds(ladder: Ladder, unit: Unit, level: int, rates: Rates, weights_alone: bool) -> float:
    own = ladder.levels[max(level, ladder.lowest(unit))]
    base = ladder.base or own
    quantized = ladder.quantizes and own == ladder.head
    computes = base if quantized and weights_alone else own
    moved = (unit.read + unit.written) * BITS.get(computes, 32)
    moved += unit.weights * BITS.get(own, 32) + unit.others * BITS.get(base if quantized else own, 32)
    return max(unit.flops / rates.of(computes), moved / 8 / rates.memory)
