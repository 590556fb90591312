"""The schema of a pipeline's spec, made once in a process of tests: it takes seconds, and nobody changes it."""

from __future__ import annotations

from functools import cache
from typing import Any

from trtpipe.loader.schema import pipeline_schema
from trtpipe.workspace.known_names import known_names


@cache
def whole_schema() -> dict[str, Any]:
    """With every plug-in that is installed."""
    return pipeline_schema(known_names())
