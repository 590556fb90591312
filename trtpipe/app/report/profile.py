"""The parts of a build that is being recorded, for its report."""

from __future__ import annotations

import os
import time

from trtpipe.reports.models import ProfileRecord, TimedPart
from trtpipe.timings import WAIT, Recording

_DIGITS = 3
_MOST_PARTS = 1000


def profile_record(recording: Recording | None) -> ProfileRecord | None:
    """What has been recorded so far; None if nothing is recorded. The shortest are left out if there are too many."""
    if recording is None:
        return None
    own = os.getpid()
    spans = [
        one for one in recording.spans if one.kind != WAIT and (one.process == own or one.kind == "worker")
    ]
    longest = sorted(spans, key=lambda one: -one.seconds)[:_MOST_PARTS]
    parts = [
        TimedPart(
            name=one.name,
            kind=one.kind,
            lane=one.lane if one.process == own else recording.processes.get(one.process, one.lane),
            began=round(one.began - recording.began, _DIGITS),
            seconds=round(one.seconds, _DIGITS),
        )
        for one in sorted(longest, key=lambda one: one.began)
    ]
    return ProfileRecord(parts=tuple(parts), wall=round(time.monotonic() - recording.began, _DIGITS))
