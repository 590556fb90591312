"""The options of every stage as typed values; fingerprints, traces and tasks hold them as JSON records.

The planner creates them and records where each value comes from. Code in another process, such as a stage's child,
reads them back with `from_record`, without those origins. `record` is part of the key: changing a field, a default or a
name in it would rebuild every engine.
"""

from __future__ import annotations

from typing import TypeAlias

from trtpipe.plan.options.bundles import BundleOptions, EdgeOptions
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
    | BundleOptions
)
"""The options of some stage."""

__all__ = [
    "NO_TRANSFORM",
    "UNPLACED",
    "BundleOptions",
    "CacheOptions",
    "CacheReading",
    "CalibrateOptions",
    "EdgeOptions",
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
