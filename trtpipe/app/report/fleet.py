"""What a fleet did in a build, for the report: times, the critical path, transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.fleet.records import Placed
from trtpipe.plan.address import Address
from trtpipe.plan.graph import Step
from trtpipe.reports.models import FleetRecord, PlacedStep

_DIGITS = 3


def fleet_record(placed: Sequence[Placed], steps: Mapping[Address, Step]) -> FleetRecord | None:
    """The record of the steps that a fleet ran; None if it ran none."""
    if not placed:
        return None
    start = min(one.began for one in placed)
    return FleetRecord(
        steps=tuple(_step(one, start) for one in placed),
        wall=round(max(one.ended for one in placed) - start, _DIGITS),
        work=round(sum(one.ran for one in placed), _DIGITS),
        critical=round(_critical(placed, steps), _DIGITS),
        transfers=round(sum(one.asked - one.began + one.ended - one.answered for one in placed), _DIGITS),
    )


def _step(one: Placed, start: float) -> PlacedStep:
    began, asked, answered, ended = (
        round(time - start, _DIGITS) for time in (one.began, one.asked, one.answered, one.ended)
    )
    waited, ran = round(one.waited, _DIGITS), round(one.ran, _DIGITS)
    return PlacedStep(
        address=one.address, lane=one.lane, began=began, asked=asked, answered=answered, ended=ended,
        waited=waited, ran=ran,
    )  # fmt: skip


def _critical(placed: Sequence[Placed], steps: Mapping[Address, Step]) -> float:
    """The work along the longest chain of steps that wait for each other; `steps` are in the plan's order."""
    work: dict[str, float] = {}
    for one in placed:
        work[one.address] = one.ran  # a step that was tried again counts once
    longest: dict[Address, float] = {}
    for address, step in steps.items():
        before = max((longest.get(one, 0.0) for one in step.awaited()), default=0.0)
        longest[address] = before + work.get(str(address), 0.0)
    return max(longest.values(), default=0.0)
