"""Where each step of a build ran, and when: for the report's timeline of machines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trtpipe.fleet.lanes import Lane
    from trtpipe.fleet.protocol import Answer
    from trtpipe.plan.graph import Action


@dataclass(frozen=True, slots=True)
class Placed:
    """One step on one lane. Times are seconds since the epoch on the client's clock."""

    address: str
    key: str
    agent: str
    lane: str
    began: float
    """When its inputs began to be sent."""
    asked: float
    """When they were all there."""
    answered: float
    """When the agent had answered."""
    ended: float
    """When its results were here."""
    waited: float
    """Seconds that it waited on the agent for the GPU or a free lane."""
    ran: float
    """Seconds that the agent worked."""

    @classmethod
    def of(
        cls, action: Action, lane: Lane, times: tuple[float, float, float, float], answer: Answer
    ) -> Placed:
        """The record of an action that an agent answered."""
        seconds = answer.seconds
        return cls(
            str(action.address),
            action.key,
            lane.agent.name,
            str(lane),
            *times,
            seconds.get("waited", 0.0),
            seconds.get("ran", 0.0),
        )


@dataclass
class Timeline:
    """The steps that a fleet ran in one build; several threads add to it."""

    _steps: list[Placed] = field(default_factory=list)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def add(self, placed: Placed) -> None:
        """Add a step that ended."""
        with self._mutex:
            self._steps.append(placed)

    def __iter__(self) -> Iterator[Placed]:
        with self._mutex:
            return iter(sorted(self._steps, key=lambda one: (one.began, one.address)))

    def __len__(self) -> int:
        return len(self._steps)
