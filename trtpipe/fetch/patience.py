"""Time-outs for servers, as set by environment variables."""

from __future__ import annotations

import os

from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code


def seconds_from(variable: str, otherwise: float) -> float:
    """The value of an environment variable in seconds, or the default. Raises SpecError."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else otherwise
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise SpecError(
            Code.BAD_VARIABLE, f"${variable} is {text!r}", f"write seconds, for example {otherwise:.0f}"
        )
    return seconds
