"""Decides when to stop measuring: when the medians of the last timed windows agree, or at a limit.

Clocks ramp up, caches fill, other programs run: windows show this, while a mean over a fixed time hides it. Standard
library only, like this whole package; the parent's process measures on the CPU by the same rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

WINDOWS = 3
"""How many windows in a row must agree."""
LEAST_EXECUTIONS = 10
"""Minimum for a window, however long they take: a median of fewer says little."""


@dataclass
class Steadiness:
    """Windows of executions; feed it with `add`, ask `done` between two executions. Seconds and microseconds."""

    window: float
    """The minimum length of a window."""
    within: float
    """The medians of the last windows agree when the largest is at most this share above the smallest."""
    limit: float
    """Measuring ends after this time, steady or not."""
    began: float = 0.0
    windows: list[dict[str, float]] = field(default_factory=list)
    """`executions`, `seconds`, `median_us` and `first`, the number of its first execution."""
    _times: list[float] = field(default_factory=list)
    _opened: float = 0.0
    _count: int = 0
    _over: bool = False

    def start(self, now: float) -> None:
        """The first window opens."""
        self.began = self._opened = now

    def add(self, microseconds: float, now: float) -> None:
        """An execution is over; one that ends after `done` said so, in another stream, no longer counts."""
        if self._over:
            return
        self._times.append(microseconds)
        self._count += 1
        if now - self._opened >= self.window and len(self._times) >= LEAST_EXECUTIONS:
            self._close(now)

    def _close(self, now: float) -> None:
        count = len(self._times)
        self.windows.append(
            {
                "executions": count,
                "seconds": now - self._opened,
                "median_us": median(self._times),
                "first": self._count - count,
            }
        )
        self._times, self._opened = [], now

    @property
    def steady(self) -> bool:
        """Whether the last windows agree."""
        last = [one["median_us"] for one in self.windows[-WINDOWS:]]
        return len(last) == WINDOWS and max(last) <= min(last) * (1 + self.within)

    def done(self, now: float) -> bool:
        """Whether to stop: they agree, or time is up. Once so, it stays so."""
        self._over = self._over or self.steady or now - self.began >= self.limit
        return self._over

    def finish(self, now: float) -> None:
        """What was begun and not closed counts as a window when there is no other."""
        if self._times and not self.windows:
            self._close(now)

    def to_json(self) -> dict[str, object]:
        """The windows, and whether they agreed."""
        return {"steady": self.steady, "windows": self.windows}
