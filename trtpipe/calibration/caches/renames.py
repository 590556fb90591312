"""`rename`: the spec's mapping from a cache's names to the model's. Rules are exact names, or globs with `*`.

A `*` matches any text, which is inserted for the `*` of the new name; brackets and question marks are literal, because
they are common in names. A rule that equals a name of the cache exactly is literal too, `*` included: TensorRT's
generated names contain one. An exact rule takes precedence over globs, and a longer glob over a shorter one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from trtpipe.calibration.caches.graph_names import ModelNames
from trtpipe.errors import Problem
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code

_LOOKED_AT = 2000  # similar names are searched only among this many, because the search is quadratic


def renamed(names: Iterable[str], rules: Mapping[str, str]) -> dict[str, str]:
    """Name → the new one, for the names that a rule matches."""
    known = dict.fromkeys(names)
    globs = [
        (re.compile(_pattern(old), re.DOTALL), new)
        for old, new in sorted(rules.items(), key=lambda rule: (-len(rule[0]), rule[0]))
        if "*" in old and old not in known
    ]
    found: dict[str, str] = {}
    for name in known:
        if name in rules:
            found[name] = rules[name]
            continue
        for pattern, new in globs:
            match = pattern.fullmatch(name)
            if match is not None:
                found[name] = _filled(new, match.groups())
                break
    return found


def rule_problems(
    rules: Mapping[str, str], names: Iterable[str], model: ModelNames | None = None
) -> Iterator[Problem]:
    """Rules that match no name of the cache or, with a `model`, yield a name that is not a tensor of it.

    Each problem has its place in `rename` as path.
    """
    known = list(dict.fromkeys(names))
    exact = rules.keys() & set(known)
    for old, new in rules.items():
        if old not in exact and old.count("*") != new.count("*"):
            fact = f"{old!r} has {old.count('*')} stars, but {new!r} has {new.count('*')}"
            yield Problem(
                Code.CACHE_RENAMING,
                fact,
                "each * of the new name corresponds to one of the old name",
                path=("rename", old),
            )
            continue
        about = renamed(known, {old: new})
        if not about:
            remedy = choose_from(old, known[:_LOOKED_AT], "names of the cache")
            yield Problem(
                Code.CACHE_RENAMING, f"the cache has no entry {old!r}", remedy, path=("rename", old)
            )
        elif model is not None and not any(name in model.tensors for name in about.values()):
            wrong = next(iter(about.values()))
            remedy = choose_from(wrong, sorted(model.tensors)[:_LOOKED_AT], "tensors")
            yield Problem(
                Code.UNKNOWN_TENSOR, f"the model has no tensor {wrong!r}", remedy, path=("rename", old)
            )


def _pattern(glob: str) -> str:
    return "(.*)".join(re.escape(part) for part in glob.split("*"))


def _filled(new: str, parts: tuple[str, ...]) -> str:
    pieces = new.split("*")
    return "".join(piece + part for piece, part in zip(pieces, (*parts, ""), strict=True))
