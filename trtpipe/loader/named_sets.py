"""Checks the data sets that a spec names, and that each variant gives what its precision requires and no more.

Checks names only; the contents of a set are checked when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from trtpipe.errors import Problem, SpecError, SpecPath
from trtpipe.loader.auto_variants import candidates_in
from trtpipe.loader.grammar import KnownNames, choose_from
from trtpipe.loader.plain import Written
from trtpipe.loader.project import Project
from trtpipe.loader.scalars import shortened
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import AUTO
from trtpipe.spec.variant import VariantSpec


def calibration_problems(data: Written, project: Project, known: KnownNames) -> Iterator[Problem]:
    """Variants with contradictory fields for their precision, and unknown data sets and backends."""
    variants = data.get("variants")
    for name, given in variants.items() if isinstance(variants, dict) else ():
        variant = given if isinstance(given, dict) else {}
        precision = _of(variant, "precision") or VariantSpec().precision
        if isinstance(precision, str) and precision in (*known.precisions, AUTO):
            yield from _variant(variant, precision, ("variants", name), (project, known))


def _variant(
    variant: Written, precision: str, path: SpecPath, where: tuple[Project, KnownNames]
) -> Iterator[Problem]:
    """The problems of a variant with a known precision."""
    (project, known), base = where, _of(variant, "base")
    for problem in known.misfits(precision, base, _of(variant, "block_size")):
        yield replace(problem, path=(*path, *problem.path))
    computed = candidates_in(variant) if precision == AUTO else (precision,)
    half = base == "fp16" if base else any(map(known.computes_in_half, computed))
    if precision == AUTO:
        yield from _blocks_tried(computed, _of(variant, "block_size"), path, known)
    else:  # a search does not support `overflow`, which another check reports
        yield from _overflow(variant, half, path)
    asking = next((one for one in computed if known.needs_calibration(one)), None)
    if asking is None:
        yield from _without_scales(variant, precision, path)
    else:
        yield from _unused_percentile(variant, path)
    given = _of(variant, "calibration")
    if given is None:
        yield from _uncalibrated(variant, asking, path)
    elif asking is None and not half:
        yield Problem(
            Code.CALIBRATION_NOT_TAKEN,
            f"precision {precision!r} does not use calibration",
            "leave it out, because only half precision has a range that values can leave",
            path=(*path, "calibration"),
        )
    else:
        yield from _calibration(given, (*path, "calibration"), project, known)
        yield from _method(variant, path, known)
        yield from _beside_a_cache(variant, asking is not None, path)


def _uncalibrated(variant: Written, asking: str | None, path: SpecPath) -> Iterator[Problem]:
    if asking is not None:
        remedy = "for example calibration: NAME, a data set described in calibration/NAME.yaml"
        place = _tried_at(variant, asking, path)
        yield Problem(
            Code.CALIBRATION_NEEDED, f"precision {asking!r} needs a calibration", remedy, path=place
        )


def _tried_at(variant: Written, precision: str, path: SpecPath) -> SpecPath:
    """The place of a precision that a search tries; else the place of its variant."""
    tried = variant.get("try")
    return (*path, "try", tried.index(precision)) if isinstance(tried, list) and precision in tried else path


def _blocks_tried(
    candidates: Sequence[str], block: object, path: SpecPath, known: KnownNames
) -> Iterator[Problem]:
    """A block size that no candidate of a search uses, or that one of the candidates with blocks does not support."""
    if block is None:
        return
    place = (*path, "block_size")
    blocked = [one for one in candidates if known.has_blocks(one)]
    if not blocked:
        remedy = "leave it out; int4 and fp4 support one"
        yield Problem(
            Code.PRECISION_OPTION, f"none of {', '.join(candidates)} uses blocks", remedy, path=place
        )
    for one in blocked:
        for problem in known.misfits(one, None, block):
            yield replace(problem, path=place)


def _without_scales(variant: Written, precision: str, path: SpecPath) -> Iterator[Problem]:
    """Calibration fields in a variant that uses no scales."""
    for key in ("method", "percentile"):
        if key in variant and not isinstance(_of(_of(variant, "calibration"), "cache"), str):
            fact = f"{key} has no effect: precision {precision!r} uses no scales of activations"
            yield Problem(Code.NO_EFFECT, fact, "leave it out", path=(*path, key))


def _unused_percentile(variant: Written, path: SpecPath) -> Iterator[Problem]:
    """A percentile given for a method that does not use one."""
    method = _of(variant, "method") or VariantSpec().method
    cached = isinstance(_of(_of(variant, "calibration"), "cache"), str)
    if "percentile" in variant and method != "percentile" and isinstance(method, str) and not cached:
        fact = f"percentile has no effect: the method is {shortened(method)!r}"
        yield Problem(
            Code.NO_EFFECT, fact, "write method: percentile, or leave it out", path=(*path, "percentile")
        )


def _overflow(variant: Written, half: bool, path: SpecPath) -> Iterator[Problem]:
    if _of(variant, "overflow") is None:
        return
    place = (*path, "overflow")
    if not half:
        yield Problem(
            Code.NO_EFFECT,
            "'overflow' applies only to variants that compute in float16",
            "leave it out",
            path=place,
        )
    elif _of(variant, "calibration") is None:
        remedy = "for example calibration: NAME, a data set described in calibration/NAME.yaml"
        yield Problem(
            Code.CALIBRATION_NEEDED,
            "overflowing tensors can be found only with calibration data",
            remedy,
            path=place,
        )


def _calibration(given: object, path: SpecPath, project: Project, known: KnownNames) -> Iterator[Problem]:
    name, place = (given, path) if isinstance(given, str) else (_of(given, "data"), (*path, "data"))
    if isinstance(name, str):
        yield from unknown_set(name, place, project)
    backend = _of(given, "backend")
    if isinstance(backend, str) and backend not in known.calibrators:
        remedy = choose_from(backend, known.calibrators, "backends")
        yield Problem(
            Code.UNKNOWN_VALUE, f"unknown backend {shortened(backend)!r}", remedy, path=(*path, "backend")
        )


def _method(variant: Written, path: SpecPath, known: KnownNames) -> Iterator[Problem]:
    """A method that the backend lacks; if none is given, the default is checked."""
    backend = _of(_of(variant, "calibration"), "backend")
    if not isinstance(backend, str) or backend not in known.calibrators:
        return
    methods = known.methods(backend)
    method = _of(variant, "method") or VariantSpec().method
    if isinstance(method, str) and methods and method not in methods:
        place = (*path, "method") if _of(variant, "method") else (*path, "calibration", "backend")
        fact = f"backend {backend!r} has no method {shortened(method)!r}"
        yield Problem(Code.UNKNOWN_VALUE, fact, f"its methods are {', '.join(methods)}", path=place)


def _beside_a_cache(variant: Written, needed: bool, path: SpecPath) -> Iterator[Problem]:
    """Fields that have no effect with a calibration cache, because it contains only finished scales."""
    if not isinstance(_of(variant["calibration"], "cache"), str):
        return
    remedy = "calibrate on data: calibration: NAME"
    if not needed:
        fact = "a calibration cache holds quantization scales, which this precision does not use"
        yield Problem(Code.NO_EFFECT, fact, remedy, path=(*path, "calibration", "cache"))
    elif _of(variant, "overflow") is not None:
        fact = "a calibration cache does not say which tensors overflow"
        yield Problem(Code.NO_EFFECT, fact, f"leave it out, or {remedy}", path=(*path, "overflow"))
    for key in ("method", "percentile"):
        if key in variant:
            fact = f"{key} has no effect: the scales of a calibration cache are computed already"
            yield Problem(Code.NO_EFFECT, fact, "leave it out", path=(*path, key))


def cache_files(data: Written) -> Iterator[tuple[SpecPath, object]]:
    """The calibration caches that variants name: the place in the spec, and the text there."""
    variants = data.get("variants")
    for name, variant in variants.items() if isinstance(variants, dict) else ():
        yield ("variants", name, "calibration", "cache"), _of(_of(variant, "calibration"), "cache")


def unknown_set(name: str, path: SpecPath, project: Project) -> tuple[Problem, ...]:
    """The problem of a name at `path` that is not a data set; nothing if it is one."""
    try:
        project.dataset(name, path)
    except SpecError as error:
        return error.problems
    return ()


def _of(data: object, key: str) -> object:
    """The value of a key in a mapping; None if it is not a mapping."""
    return data.get(key) if isinstance(data, dict) else None
