"""The data sets that a spec names, and whether its variants write what their precisions need and take.

Knows names only; what a set holds is looked at when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.loading.grammar import KnownNames, choose_from
from trtpipe.loading.project import Project
from trtpipe.loading.scalars import shortened
from trtpipe.spec.pipeline import VariantSpec


def calibration_problems(data: dict[str, Any], project: Project, known: KnownNames) -> Iterator[Problem]:
    """Variants whose precision and other fields do not go together, and sets and backends that nobody knows."""
    variants = data.get("variants")
    for name, variant in variants.items() if isinstance(variants, dict) else ():
        path = ("variants", name)
        precision = _of(variant, "precision") or VariantSpec().precision
        given = _of(variant, "calibration")
        if precision not in known.precisions:
            continue
        for problem in known.misfits(precision, _of(variant, "base"), _of(variant, "block_size")):
            yield replace(problem, path=(*path, *problem.path))
        needed = known.needs_calibration(precision)
        base = _of(variant, "base")
        half = base == "fp16" if base else known.computes_in_half(precision)
        yield from _overflow(variant, half, path)
        if needed and given is None:
            remedy = "for example calibration: NAME, a data set described in calibration/NAME.yaml"
            yield Problem(f"precision {precision!r} needs a calibration", remedy, path=path)
        elif not needed and not half and given is not None:
            remedy = "leave it out: only half precision has a range that data leave"
            yield Problem(
                f"precision {precision!r} takes no calibration", remedy, path=(*path, "calibration")
            )
        elif given is not None:
            yield from _calibration(given, (*path, "calibration"), project, known)


def _overflow(variant: Any, half: bool, path: SpecPath) -> Iterator[Problem]:
    if _of(variant, "overflow") is None:
        return
    place = (*path, "overflow")
    if not half:
        yield Problem("nothing overflows in a variant without half precision", "leave it out", path=place)
    elif _of(variant, "calibration") is None:
        remedy = "for example calibration: NAME, a data set described in calibration/NAME.yaml"
        yield Problem("what overflows is known from a calibration only", remedy, path=place)


def _calibration(given: Any, path: SpecPath, project: Project, known: KnownNames) -> Iterator[Problem]:
    name, place = (given, path) if isinstance(given, str) else (_of(given, "data"), (*path, "data"))
    if isinstance(name, str):
        yield from unknown_set(name, place, project)
    backend = _of(given, "backend")
    if isinstance(backend, str) and backend not in known.calibrators:
        remedy = choose_from(backend, known.calibrators, "backends")
        yield Problem(f"unknown backend {shortened(backend)!r}", remedy, path=(*path, "backend"))


def unknown_set(name: str, path: SpecPath, project: Project) -> tuple[Problem, ...]:
    """The problem of a name at `path` that no data set has; nothing when one has."""
    try:
        project.dataset(name, path)
    except SpecError as error:
        return error.problems
    return ()


def _of(data: Any, key: str) -> Any:
    """What a mapping holds; None when it is none."""
    return data.get(key) if isinstance(data, dict) else None
