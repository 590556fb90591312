"""The steps that take scales from a calibration cache: their options and their names in a plan."""

from __future__ import annotations

import re

from trtpipe.plan.options import CacheReading
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.spec.variant import CalibrationSpec


def cache_reading(asked: CalibrationSpec) -> CacheReading:
    """The spec's options for reading a cache."""
    return CacheReading(asked.format, asked.min_coverage, dict(sorted(asked.rename.items())))


def cache_name(spec: PipelineSpec, asked: CalibrationSpec) -> str:
    """The cache's file, for people; numbered where the spec uses files of that name in several ways."""
    name = _plain_name(asked.cache or "")
    caches = [one.calibration for one in spec.variants.values() if one.calibration and one.calibration.cache]
    alike: list[tuple[str | None, CacheReading]] = []
    for one in caches:
        way = (one.cache, cache_reading(one))
        if _plain_name(one.cache or "") == name and way not in alike:
            alike.append(way)
    number = alike.index((asked.cache, cache_reading(asked)))
    return f"{name}+cache" + (f"+{number + 1}" if number else "")


def _plain_name(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", path.rsplit("/", 1)[-1])
