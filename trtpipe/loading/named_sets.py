"""The data sets that a spec names, and whether its variants name those that their precisions need.

Knows names only; what a set holds is looked at when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.loading.grammar import KnownNames, choose_from
from trtpipe.loading.project import Project
from trtpipe.loading.scalars import shortened
from trtpipe.spec.pipeline import VariantSpec


def calibration_problems(data: dict[str, Any], project: Project, known: KnownNames) -> Iterator[Problem]:
    """Variants whose precision and calibration do not go together, and sets and backends that nobody knows."""
    variants = data.get("variants")
    for name, variant in variants.items() if isinstance(variants, dict) else ():
        path = ("variants", name)
        precision = _of(variant, "precision") or VariantSpec().precision
        given = _of(variant, "calibration")
        if precision not in known.precisions:
            continue
        needed = known.needs_calibration(precision)
        if needed and given is None:
            remedy = "for example calibration: NAME, a data set described in calibration/NAME.yaml"
            yield Problem(f"precision {precision!r} needs a calibration", remedy, path=path)
        elif not needed and given is not None:
            yield Problem(
                f"precision {precision!r} takes no calibration", "leave it out", path=(*path, "calibration")
            )
        elif given is not None:
            yield from _calibration(given, (*path, "calibration"), project, known)
            yield from _method(variant, path, known)


def _calibration(given: Any, path: SpecPath, project: Project, known: KnownNames) -> Iterator[Problem]:
    name, place = (given, path) if isinstance(given, str) else (_of(given, "data"), (*path, "data"))
    if isinstance(name, str):
        yield from unknown_set(name, place, project)
    backend = _of(given, "backend")
    if isinstance(backend, str) and backend not in known.calibrators:
        remedy = choose_from(backend, known.calibrators, "backends")
        yield Problem(f"unknown backend {shortened(backend)!r}", remedy, path=(*path, "backend"))


def _method(variant: Any, path: SpecPath, known: KnownNames) -> Iterator[Problem]:
    """A method that the backend lacks; where none is written, the default is what it lacks."""
    backend = _of(_of(variant, "calibration"), "backend")
    if not isinstance(backend, str) or backend not in known.calibrators:
        return
    methods = known.methods(backend)
    method = _of(variant, "method") or VariantSpec().method
    if isinstance(method, str) and methods and method not in methods:
        place = (*path, "method") if _of(variant, "method") else (*path, "calibration", "backend")
        fact = f"backend {backend!r} has no method {shortened(method)!r}"
        yield Problem(fact, f"its methods are {', '.join(methods)}", path=place)


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
