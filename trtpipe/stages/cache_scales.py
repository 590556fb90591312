"""Reads the scales of a calibration cache for a canonical model, for steps of a plan and for commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.calibration.caches.reader import read_cache
from trtpipe.errors import ModelError, SpecPath

if TYPE_CHECKING:
    import onnx

    from trtpipe.calibration.caches.entries import Cache
    from trtpipe.calibration.caches.matches import Match


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How a cache is read."""

    declared: str
    """Its format, as the spec declares it."""
    min_coverage: float
    """The share of the tensors to quantize for which it must have scales."""
    rename: Mapping[str, str]
    """Name in the cache → name in the model."""


def scales_from_cache(
    model: Path,
    cache: Path,
    out: Path,
    use: CacheUse,
    place: SpecPath = (),
) -> dict[str, Any]:
    """Writes the scales that a cache has for a canonical model; returns a summary for reports.

    `place` is the path of `calibration` in the spec. Raises ModelError when the cache cannot be read, or has scales for
    too few of the tensors to quantize.
    """
    from trtpipe.calibration.caches.report import refuse_uncovered, report_of_cache, scales_of
    from trtpipe.canonical.reader import read_skeleton

    proto = read_skeleton(model).proto
    with located(place):
        found = read_cache(cache, use.declared)
        match = matched(found, proto, use.rename)
        refuse_uncovered(match, use.min_coverage)
    scales_of(found, match).write(out)
    return report_of_cache(found, match, use.min_coverage)


@contextmanager
def located(place: SpecPath) -> Iterator[None]:
    """Adds the place in the spec, below `place`, to problems raised inside; those without one get the cache's own."""
    try:
        yield
    except ModelError as error:
        raise ModelError(
            [replace(one, path=(*place, *(one.path or ("cache",)))) for one in error.problems]
        ) from error


def matched(cache: Cache, model: onnx.ModelProto, rename: Mapping[str, str] | None = None) -> Match:
    """Matches a cache's entries with the model's tensors. Raises ModelError when `rename` does not fit."""
    import onnx_ir

    from trtpipe.calibration.caches.graph_names import names_of
    from trtpipe.calibration.caches.matches import match_cache
    from trtpipe.precisions.quantization.places import tensors_to_scale

    return match_cache(cache, names_of(model), tensors_to_scale(onnx_ir.from_proto(model)), rename)
