"""Classes of failures: when two failures are the same, whatever the names and shapes in the model are.

An error is identified by its message without names, numbers and quotations, a crash by its signal, a missed threshold
by its output and metric. A failure may belong to several classes (a parser refuses several nodes); a smaller model
fails in the same way if its failure belongs to the requested class, whatever else is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from trtpipe.errors import TrtpipeError

_DIED = re.compile(r"died of (SIG\w+)|was ended by (SIG\w+)")
_TIME, _MEMORY = "longer than the time limit", "more than the limit of"
_WORD = re.compile(r"[^\s'\"`,;:(){}\[\]<>=]+")
_QUOTED = re.compile(r"'[^']*'|`[^`]*`|\{[^{}]*\}|\[[^\[\]]*\]")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\b\d+(?:x\d+)+\b|-?\b\d+(?:\.\d+)?(?:e[-+]?\d+)?\b")
_LISTED = re.compile(r"#(?:[\sx,]+#)+")


@dataclass(frozen=True, slots=True)
class FailureClass:
    """How something fails: `kind` is `error`, `crash`, `time limit`, `memory limit` or `threshold`."""

    kind: str
    text: str = ""

    def words(self) -> str:
        """The class in words."""
        return f"{self.kind}: {self.text}" if self.text else self.kind


def classes_of(error: TrtpipeError, names: Collection[str] = ()) -> tuple[FailureClass, ...]:
    """Every class that an error belongs to, the first problem's first; `names` are those of the model."""
    found = []
    for problem in error.problems:
        died = _DIED.search(problem.fact)
        if died:
            found.append(FailureClass("crash", died[1] or died[2]))
        elif _TIME in problem.fact:
            found.append(FailureClass("time limit"))
        elif _MEMORY in problem.fact:
            found.append(FailureClass("memory limit"))
        else:
            found.append(FailureClass("error", normalised(problem.fact, names)))
    return tuple(dict.fromkeys(found))


def normalised(text: str, names: Collection[str] = ()) -> str:
    """A message without the parts that differ between models that fail alike: names, numbers, quotes, brackets."""
    known = set(names)
    text = _WORD.sub(lambda word: "…" if word[0] in known else word[0], text)
    text = _QUOTED.sub("…", text)
    text = _LISTED.sub("#", _NUMBER.sub("#", text))
    return " ".join(text.split())


def is_settled(failure: FailureClass) -> bool:
    """Whether the failure is a property of the model; limits and kills also depend on the machine and its load."""
    return failure.kind in ("error", "threshold") or (failure.kind == "crash" and failure.text != "SIGKILL")
