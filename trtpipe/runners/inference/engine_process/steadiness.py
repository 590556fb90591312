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
    """Windows of executions: call `add` after each execution and check `done` before the next. Limits in seconds."""

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
        """Open the first window."""
        self.began = self._opened = now

    def add(self, microseconds: float, now: float) -> None:
        """Record an execution; one that ends in another stream after `done` was true no longer counts."""
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
        """Whether to stop: the windows agree, or the time is up. Once true, it stays true."""
        self._over = self._over or self.steady or now - self.began >= self.limit
        return self._over

    def finish(self, now: float) -> None:
        """Close the current window if there is no other."""
        if self._times and not self.windows:
            self._close(now)

    def to_json(self) -> dict[str, object]:
        """The windows, and whether they agreed."""
        return {"steady": self.steady, "windows": self.windows}
