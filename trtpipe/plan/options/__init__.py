"""The options of every stage, as typed values; in a fingerprint, a trace and a task they stand as JSON records.

The planner makes them and says where each value comes from. Code behind a border, such as a stage's own process, reads
them back with `from_record`, without that. `record` gives what a key is made of: what it holds, leaves out and calls
by which name must stay as it is, or every engine is built again.
"""

from __future__ import annotations

from typing import TypeAlias

from trtpipe.plan.options.engine import EngineOptions
from trtpipe.plan.options.measures import EvaluateOptions, SearchOptions, UnitsOptions, ValidateOptions
from trtpipe.plan.options.model import NO_TRANSFORM, FetchOptions, ImportOptions, TransformOptions
from trtpipe.plan.options.networks import ParseOptions, ReadbackOptions
from trtpipe.plan.options.precision import (
    CacheOptions,
    CacheReading,
    CalibrateOptions,
    QuantizeOptions,
    calibrating,
)
from trtpipe.plan.options.stage_options import UNPLACED, Origins

Options: TypeAlias = (
    FetchOptions
    | ImportOptions
    | TransformOptions
    | CalibrateOptions
    | CacheOptions
    | SearchOptions
    | EvaluateOptions
    | UnitsOptions
    | QuantizeOptions
    | ValidateOptions
    | ParseOptions
    | ReadbackOptions
    | EngineOptions
)
"""The options of some stage."""

__all__ = [
    "NO_TRANSFORM",
    "UNPLACED",
    "CacheOptions",
    "CacheReading",
    "CalibrateOptions",
    "EngineOptions",
    "EvaluateOptions",
    "FetchOptions",
    "ImportOptions",
    "Options",
    "Origins",
    "ParseOptions",
    "QuantizeOptions",
    "ReadbackOptions",
    "SearchOptions",
    "TransformOptions",
    "UnitsOptions",
    "ValidateOptions",
    "calibrating",
]
