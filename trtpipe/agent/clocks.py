"""The clocks, power and temperature of a GPU while a request has it for itself: at the beginning and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtpipe.json_values import Json
from trtpipe.runners.benchmarks.gpu_state import Unknown, gpu_state
from trtpipe.toolchains.detect import DetectedGpu


@dataclass
class LeasedGpu:
    """A GPU that one request has for itself, from its beginning on; None for a request that has none."""

    gpu: DetectedGpu | None
    _before: dict[str, Json] | Unknown | None = field(init=False)

    def __post_init__(self) -> None:
        self._before = self._now()

    def ended(self) -> Mapping[str, Json]:
        """`clocks` for the answer: the state `before` and `after`, or `why_not`; nothing without a GPU."""
        before, after = self._before, self._now()
        if before is None or after is None:
            return {}
        if isinstance(before, Unknown):
            return {"clocks": {"why_not": before.why}}
        if isinstance(after, Unknown):
            return {"clocks": {"why_not": after.why}}
        return {"clocks": {"before": before, "after": after}}

    def _now(self) -> dict[str, Json] | Unknown | None:
        return gpu_state(self.gpu.uuid, self.gpu.index) if self.gpu is not None else None
