"""The exception hierarchy, and how a problem is presented to the user.

    TrtpipeError              anything a user can act on; carries Problems and an exit code
    ├── SpecError        2    the spec, a data set file or an argument is wrong
    ├── ModelError       2    a model file cannot be read, or is not supported
    ├── PlanError        2    the plan cannot be made (unknown cell, clashing names)
    ├── ToolchainError   2    TensorRT, an interpreter or a GPU that is not what the spec needs
    ├── StoreError       2    the store cannot be read or written
    │   ├── ArtifactMissing   it has no artifact of that digest
    │   └── ArtifactDamaged   what it has is not what the digest says
    ├── PackageError     2    a package cannot be made, read or trusted
    ├── StepFailed       1    a step ran and failed
    ├── ValidationFailed 1    a threshold was missed
    ├── LockMismatch     3    the lockfile differs
    └── Interrupted    130    the user pressed Ctrl-C

A bug is never one of these: it is an AssertionError or another Python exception, and shows its traceback. Every Problem
has a code from `problem_codes.py`, which stays the same when the wording changes. This module is independent of YAML,
ONNX and TensorRT.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, overload

from trtpipe.problem_codes import Code, ProblemCode

_USER = re.compile(r"(\w://)[^\s/@'\"]*@")
_QUERY = re.compile(r"(\w://[^\s'\"?]*\?)[^\s'\",}\]]+")

Severity = Literal["error", "warning", "note"]
SpecPath = tuple[str | int, ...]
"""Where a value stands in a spec: keys and list indices from the root, e.g. ("profiles", 0, "x", "min")."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text file; line and column count from 1."""

    file: str
    line: int
    column: int
    source_line: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fact that is wrong, what kind of mistake that is, where it is, and what to do about it.

    `fact` and `remedy` are lower case, without a full stop, and quote the offending name; `remedy` may span
    lines (a profile to paste), and contains only advice that a test applies; `details` are further lines of facts:
    reasons, or the last output of a process. `path` is the place in the spec when the line is not known yet; code
    that has the YAML's line numbers turns it into `where`.
    """

    code: ProblemCode
    fact: str
    remedy: str = ""
    where: Location | None = None
    path: SpecPath = ()
    severity: Severity = "error"
    details: str = ""

    @property
    def facts(self) -> str:
        """The fact, and the details on lines of their own."""
        return f"{self.fact}\n{self.details}".rstrip("\n")

    def at(self, where: Location | None) -> Problem:
        """This problem, with its location known."""
        return replace(self, where=where)

    def __str__(self) -> str:
        return render_problem(self)


class WrongValue(ValueError):
    """A validator of the spec's models rejects a value: `fact; remedy`, and the kind of mistake."""

    def __init__(self, code: ProblemCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def code_of(error: object) -> ProblemCode:
    """The code of a validator's error; validators of plug-ins may raise plain ValueErrors."""
    return error.code if isinstance(error, WrongValue) else Code.INVALID_VALUE


def masked(text: str) -> str:
    """The text without credentials that its addresses may contain: user names, passwords, queries."""
    return _QUERY.sub(r"\1…", _USER.sub(r"\1…@", text)) if "://" in text else text


def render_problem(problem: Problem) -> str:
    """`file:line:column: fact`, the source line with a caret under the column, then the remedy and the details."""
    mark = "" if problem.severity == "error" else f"{problem.severity}: "
    where = problem.where
    fact = problem.fact.replace("\n", "\\n")  # names in a model must not imitate our output
    if where is None:
        lines = [mark + fact]
    else:
        lines = [f"{where}: {mark}{fact}"]
        if where.source_line.strip():
            lines += [
                f"    {masked(where.source_line.expandtabs(1))}",
                "    " + " " * (where.column - 1) + "^",
            ]
    more = [*problem.remedy.splitlines(), *problem.details.splitlines()]
    lines += [f"  {line}".rstrip() for line in more]
    return "\n".join(lines)


class TrtpipeError(Exception):
    """Anything that went wrong which a user can act on. Raise a subclass.

    Made of Problems, or of one problem's code, fact and remedy: `SpecError(Code.UNKNOWN_NAME, "no data set 'val'")`.
    """

    exit_code = 2

    @overload
    def __init__(self, problems: Problem | Sequence[Problem], /) -> None: ...
    @overload
    def __init__(self, problems: ProblemCode, fact: str, remedy: str = "", /) -> None: ...
    def __init__(
        self, problems: Problem | Sequence[Problem] | ProblemCode, fact: str = "", remedy: str = "", /
    ) -> None:
        self.problems: tuple[Problem, ...] = _all_of(problems, fact, remedy)
        assert self.problems, "an error needs at least one problem"
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(render_problem(problem) for problem in self.problems)

    def __reduce__(self) -> tuple[type, tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def _all_of(
    problems: Problem | Sequence[Problem] | ProblemCode, fact: str, remedy: str
) -> tuple[Problem, ...]:
    if isinstance(problems, ProblemCode):
        return (Problem(problems, fact, remedy),)
    return (problems,) if isinstance(problems, Problem) else tuple(problems)


class SpecError(TrtpipeError):
    """The spec, a data set file or a command-line argument is wrong."""


class ModelError(TrtpipeError):
    """A model file cannot be read, or contains something that trtpipe does not support."""


class PlanError(TrtpipeError):
    """The plan cannot be made from what was asked."""


class ToolchainError(TrtpipeError):
    """TensorRT, its interpreter or a GPU is not what the spec needs."""


class FleetError(TrtpipeError):
    """A fleet of machines cannot be reached, or none of them can do what is asked."""


class StoreError(TrtpipeError):
    """The store cannot be read or written."""


class ArtifactMissing(StoreError):
    """The store has no artifact of that digest."""


class ArtifactDamaged(StoreError):
    """An artifact in the store does not match its digest; it was quarantined."""


class PackageError(TrtpipeError):
    """A package of engines cannot be made, or is not what its index or its signature says."""


class StepFailed(TrtpipeError):
    """A step ran and failed; `log` holds what it printed."""

    exit_code = 1

    @overload
    def __init__(self, problems: Problem | Sequence[Problem], /, *, log: str = "") -> None: ...
    @overload
    def __init__(self, problems: ProblemCode, fact: str, remedy: str = "", /, *, log: str = "") -> None: ...
    def __init__(
        self,
        problems: Problem | Sequence[Problem] | ProblemCode,
        fact: str = "",
        remedy: str = "",
        /,
        *,
        log: str = "",
    ) -> None:
        super().__init__(_all_of(problems, fact, remedy))
        self.log = log


class ValidationFailed(TrtpipeError):
    """An output missed a threshold."""

    exit_code = 1


class LockMismatch(TrtpipeError):
    """The lockfile differs from the current state."""

    exit_code = 3


class Interrupted(TrtpipeError):
    """The user pressed Ctrl-C."""

    exit_code = 130
