"""Checks of variants with `precision: auto` that need no model: budget, candidates, search data.

Checks only names and whether there is a budget, not the budget's values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.grammar import KnownNames, choose_from
from trtpipe.loader.plain import Written
from trtpipe.loader.scalars import shortened
from trtpipe.problem_codes import Code
from trtpipe.spec.budget import AUTO

_BUDGET = (
    "for example budget: {metric: cosine, min: 0.999}, or {accuracy_drop: 0.005} where the data has labels"
)


def auto_problems(data: Written, known: KnownNames) -> Iterator[Problem]:
    """Problems of auto variants that lack what a search needs, and of other variants with fields only a search uses."""
    variants = data.get("variants")
    for name, variant in variants.items() if isinstance(variants, dict) else ():
        if not isinstance(variant, dict):
            continue
        path: SpecPath = ("variants", name)
        yield from _unknown_candidates(variant, path, known)
        if variant.get("precision") == AUTO:
            yield from _auto(variant, path, data)
        else:
            for key in ("budget", "try"):
                if variant.get(key) is not None:
                    remedy = f"leave it out, or write precision: {AUTO}"
                    yield Problem(
                        Code.AUTO_OPTION,
                        f"'{key}' applies to precision '{AUTO}' only",
                        remedy,
                        path=(*path, key),
                    )


def candidates_in(variant: Written) -> tuple[str, ...]:
    """The precisions that an auto variant tries; entries that are not text are skipped."""
    tried = variant.get("try")
    if tried is None:
        return ("int8", "fp16") if variant.get("calibration") is not None else ("fp16",)
    listed: Sequence[object] = tried if isinstance(tried, (list, tuple)) else (tried,)
    return tuple(one for one in listed if isinstance(one, str))


def _auto(variant: Written, path: SpecPath, data: Written) -> Iterator[Problem]:
    if variant.get("budget") is None:
        yield Problem(Code.AUTO_NEEDS, f"precision '{AUTO}' needs a budget", _BUDGET, path=path)
    if variant.get("overflow") is not None:
        fact = f"precision '{AUTO}' does not support overflow: overflowing nodes are always kept in fp32"
        yield Problem(Code.AUTO_OPTION, fact, "leave it out", path=(*path, "overflow"))
    if variant.get("base") is not None:
        remedy = "name it in 'try': the first floating-point type there is the base of quantized variants"
        yield Problem(
            Code.AUTO_OPTION, f"precision '{AUTO}' does not support base", remedy, path=(*path, "base")
        )
    if variant.get("try") == []:
        yield Problem(
            Code.AUTO_NEEDS, "'try' names no precision", "for example try: [int8, fp16]", path=(*path, "try")
        )
    validate = data.get("validate")
    given = validate if isinstance(validate, dict) else {}
    reference = given.get("reference")
    golden = isinstance(reference, dict) and reference.get("golden") is not None
    if not golden and given.get("data") is None and given.get("random") is None:
        fact = f"precision '{AUTO}' measures on the validation data, but the spec has none"
        yield Problem(Code.AUTO_NEEDS, fact, "for example validate: {data: NAME}", path=path)


def _unknown_candidates(variant: Written, path: SpecPath, known: KnownNames) -> Iterator[Problem]:
    written = variant.get("try")
    tried: list[object] = written if isinstance(written, list) else []
    for index, name in enumerate(tried):
        if isinstance(name, str) and name not in known.precisions:
            remedy = choose_from(name, known.precisions, "precisions")
            yield Problem(
                Code.UNKNOWN_NAME,
                f"unknown precision {shortened(name)!r}",
                remedy,
                path=(*path, "try", index),
            )
        elif name in tried[:index]:
            yield Problem(
                Code.LISTED_TWICE,
                f"precision {name!r} is tried twice",
                "leave one out",
                path=(*path, "try", index),
            )
