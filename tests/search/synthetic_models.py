"""Searches without a model: units whose errors and costs are numbers, and a ladder of three types."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.search.choices import Choice, Ladder, exactly, ladders_of
from trtpipe.search.measurements import Ledger, Measured
from trtpipe.search.search import Space
from trtpipe.search.units import Unit

KEEPS = {
    "int8": ("fp32", "fp16", "bf16"),
    "fp8": ("fp32", "fp16"),
    "fp16": ("fp32", "fp16"),
    "bf16": ("fp32", "bf16"),
    "fp32": (),
}
LADDER: Ladder = ladders_of(["int8", "fp16"], ["int8"], KEEPS)[0]


def units(count: int) -> tuple[Unit, ...]:
    return tuple(Unit(f"conv{i}", "Conv", (f"conv{i}", f"relu{i}"), (f"conv{i}",)) for i in range(count))


class World:
    """Noise of each unit in each type adds up; the budget is a bound on the sum."""

    def __init__(self, noise: Sequence[tuple[float, float]], costs: Sequence[float], budget: float) -> None:
        self.noise, self.budget = noise, budget
        self.units = units(len(noise))
        self.space = Space(LADDER, self.units, tuple((cost, 2 * cost, 4 * cost) for cost in costs))
        self.measured: list[Choice] = []

    def level(self, choice: Choice, unit: Unit) -> str:
        """What a unit computes in, read from the choice as a typed model would."""
        globs = {exactly(unit.nodes[0])}
        kept = next((name for name, given in choice.keep.items() if globs & set(given)), None)
        return kept or choice.precision

    def noise_of(self, choice: Choice) -> float:
        table = [{"int8": low, "fp16": half, "fp32": 0.0} for low, half in self.noise]
        return sum(one[self.level(choice, unit)] for one, unit in zip(table, self.units, strict=True))

    def measure(self, choice: Choice) -> Measured:
        self.measured.append(choice)
        noise = self.noise_of(choice)
        return Measured(noise <= self.budget, noise, max(noise - self.budget, 0.0), noise)

    def ledger(self, most: int = 10_000) -> Ledger:
        return Ledger(self.measure, most)
