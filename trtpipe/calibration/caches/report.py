"""The results of matching a cache: a report as plain data, the scales, and errors with their remedy.

Long lists are truncated: a report names the first hundred of each kind, and counts all.
"""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.calibration.caches.entries import Cache
from trtpipe.calibration.caches.matches import Match
from trtpipe.calibration.scales import Scales, TensorScale
from trtpipe.errors import ModelError, Problem
from trtpipe.json_values import Json, JsonObject, integer_in, number_in, object_in, text_in
from trtpipe.loader.grammar import nearest
from trtpipe.problem_codes import Code

_LISTED = 100
_SHOWN = 20
_LOOKED_AT = 2000

TIED_TO_WEIGHTS = (
    "scales belong to the weights that they were measured on, and no cache says which: "
    "after training, calibrate again"
)


def scales_of(cache: Cache, match: Match) -> Scales:
    """The scales of every tensor of the model that the cache knows, under the model's names."""
    tensors = {name: TensorScale(one.amax) for name, one in match.found.items()}
    return Scales(tensors, cache.method or "unknown", cache.format, source=cache.origin)


def report_of_cache(cache: Cache, match: Match, min_coverage: float) -> dict[str, Json]:
    """The report: a calibrator's, plus the results for the cache's entries under `cache`."""
    lists: dict[str, JsonObject] = {
        "repaired": {name: {"entry": one.entry, "how": one.how} for name, one in match.repaired.items()},
        "stale": match.stale,
        "unusable": match.unusable,
        "missing": match.missing,
    }
    return {
        "method": cache.method or "unknown",
        "backend": cache.format,
        "samples": None,
        "tensors": match.matched,
        "cache": {
            "format": cache.format,
            "origin": cache.origin,
            "entries": len(cache.names),
            "matched": match.matched,
            "wanted": len(match.wanted),
            "coverage": round(match.coverage, 6),
            "min_coverage": min_coverage,
            "counts": {name: len(found) for name, found in lists.items()},
            **{name: dict(list(found.items())[:_LISTED]) for name, found in lists.items()},
        },
        "warnings": list(warnings_of(cache, match)),
    }


def warnings_of(cache: Cache, match: Match) -> Iterator[str]:
    """Points that need a reviewer's attention, one sentence each."""
    if match.missing:
        name, why = next(iter(match.missing.items()))
        counts = f"{len(match.missing)} of {len(match.wanted)}"
        yield f"{counts} tensors have no scale and stay unquantized, '{name}' among them: {why}"
    if match.repaired:
        name, one = next(iter(match.repaired.items()))
        yield (
            f"{len(match.repaired)} entries were matched with tensors of another name, '{one.entry}' for '{name}' "
            f"({one.how})"
        )
    if match.stale:
        name, why = next(iter(match.stale.items()))
        yield f"{len(match.stale)} entries are not tensors of the model, '{name}' among them: {why}"
    if match.unusable:
        name, why = next(iter(match.unusable.items()))
        yield f"{len(match.unusable)} entries cannot be used, '{name}' among them: {why}"
    yield from cache.notes


def refuse_uncovered(match: Match, min_coverage: float) -> None:
    """Raises ModelError when the cache knows less than `min_coverage` of the wanted tensors."""
    if match.coverage >= min_coverage:
        return
    there = len(match.wanted) - len(match.missing)
    fact = (
        f"the cache has scales for {there} of the {len(match.wanted)} tensors that are quantized "
        f"({match.coverage:.1%}), less than min_coverage ({min_coverage:.1%})"
    )
    raise ModelError(Problem(Code.CACHE_COVERAGE, fact, "\n".join(_remedy(match)), path=("min_coverage",)))


def _remedy(match: Match) -> Iterator[str]:
    yield from missing_lines(match)
    yield "map entries with rename: {OLD: NEW}, lower min_coverage, or calibrate: data: NAME"


def missing_lines(match: Match) -> Iterator[str]:
    """Each missing tensor with the most similar entry, at most twenty of them."""
    unmatched = list(match.stale)[:_LOOKED_AT]
    for name, why in list(match.missing.items())[:_SHOWN]:
        near = nearest(name, unmatched)
        yield f"missing: '{name}': {why}" + (f"; the nearest entry is '{near}'" if near else "")
    if len(match.missing) > _SHOWN:
        yield f"and {len(match.missing) - _SHOWN} more"


def lines_of(report: JsonObject) -> Iterator[str]:
    """A report of a cache for people, line by line."""
    cache = object_in(report, "cache")
    counts = object_in(cache, "counts")
    entries, matched, wanted = (integer_in(cache, name) for name in ("entries", "matched", "wanted"))
    yield f"{text_in(cache, 'origin')}: {entries} entries, {matched} of them tensors of the model"
    covered = wanted - integer_in(counts, "missing")
    coverage = number_in(cache, "coverage")
    yield f"{covered} of the {wanted} tensors that int8 quantizes have a scale ({coverage:.1%})"
    repaired = object_in(cache, "repaired")
    for name in list(repaired)[:_SHOWN]:
        one = object_in(repaired, name)
        yield f"repaired: '{text_in(one, 'entry')}' is '{name}' ({text_in(one, 'how')})"
    for kind in ("stale", "unusable", "missing"):
        for name, why in list(object_in(cache, kind).items())[:_SHOWN]:
            yield f"{kind}: '{name}': {why}"
    for kind in counts:
        if integer_in(counts, kind) > _SHOWN:
            yield f"{kind}: {counts[kind]} in all"
