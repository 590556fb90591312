"""A project in which a problem is made, its remedy applied as a user would, and the same thing asked for again.

The command runs in this process, and what it prints of problems is recorded, so a row takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import io
import re
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.remedies.offered_places import Origins, listen_to_origins, note_applied
from trtpipe import errors
from trtpipe.errors import Problem, TrtpipeError
from trtpipe.problem_codes import ProblemCode

SPEC = """\
schema: 1
pipeline: net
model: {source: net.onnx}
variants: {fp32: {}}
targets: {t: {gpu: sm86}}
"""
CHECK = ("check", "--no-parse")


@dataclass
class Asked:
    """What came of asking once: how it ended, what was printed, and every problem that was told."""

    code: int
    out: str
    err: str
    problems: list[Problem]

    def of(self, code: ProblemCode) -> list[Problem]:
        return [one for one in self.problems if one.code == code]


@dataclass
class Place:
    """A project's directory, which is the working directory as well."""

    root: Path
    patch: pytest.MonkeyPatch
    told: list[Problem] = field(default_factory=list)
    origins: Origins = field(default_factory=Origins)
    test: str = ""
    """The module and the name of the row that runs."""

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.root / name).read_text()
        assert old in text, f"{name} does not hold what the cure replaces: {old!r}"
        (self.root / name).write_text(text.replace(old, new))

    def ask(self, question: Question) -> Asked:
        """Run a command's arguments or call a function, and see what was told."""
        self.told.clear()
        if callable(question):
            return self._called(question)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _signals_kept():
            code = _command(question)
        return Asked(code, out.getvalue(), err.getvalue(), list(self.told))

    def _called(self, question: Callable[[Place], object]) -> Asked:
        try:
            answer = question(self)
        except TrtpipeError as error:
            return Asked(error.exit_code, "", str(error), list(error.problems))
        problems = answer if isinstance(answer, (list, tuple)) else ()
        found = [one for one in problems if isinstance(one, Problem)]
        wrong = any(one.severity == "error" for one in found)
        return Asked(2 if wrong else 0, "", "\n".join(map(str, found)), found)


Question: TypeAlias = "Sequence[str] | Callable[[Place], object]"
Cure: TypeAlias = "Callable[[Place, re.Match[str]], Question | None]"


@dataclass(frozen=True)
class Row:
    """A problem and its cure.

    `remedy` is a pattern that the printed remedy holds; `cure` is given the match, so that what a message says
    literally is applied literally. It may return another question: a remedy that is about the command line.
    """

    name: str
    code: ProblemCode
    remedy: str
    cure: Cure
    files: Mapping[str, str | bytes | Callable[[], bytes]] = field(default_factory=dict)
    ask: Question = CHECK
    before: Callable[[Place], object] | None = None
    ends: int = 0
    """How the second question ends; -1 where that says nothing of the remedy."""

    def __str__(self) -> str:
        return self.name


def apply(row: Row, place: Place) -> str:
    """Make the problem, read its remedy, apply it, and see the problem gone and the thing done.

    Returns the place in the code that offers the remedy; empty where another process made the problem.
    """
    for name, content in row.files.items():
        place.write(name, content() if callable(content) else content)
    if row.before is not None:
        row.before(place)
    first = place.ask(row.ask)
    told = first.of(row.code)
    assert told, f"the problem is not told:\n{first.out}\n{first.err}"
    found = [
        (one, match) for one in told if one.remedy and (match := re.search(row.remedy, one.remedy, re.DOTALL))
    ]
    assert found, "no remedy reads like this:\n" + "\n".join(f"{one.fact}\n  {one.remedy}" for one in told)
    offered = place.origins.of(found[0][0])
    again = row.cure(place, found[0][1])
    second = place.ask(row.ask if again is None else again)
    assert not second.of(row.code), f"the remedy leaves the problem:\n{second.err}"
    assert row.ends in (second.code, -1), f"the remedy brings another problem:\n{second.err}"
    note_applied(offered, f"{place.test} / {row.name}")
    return offered


def rewrite(*edits: tuple[str, str], file: str = "pipelines/net.yaml") -> Cure:
    """A cure that replaces text in a file; in what replaces it, \\1 is the first group of the remedy's match."""

    def cure(place: Place, match: re.Match[str]) -> None:
        for old, new in edits:
            place.edit(file, old, match.expand(new))

    return cure


def asking(*argv: str) -> Cure:
    """A cure that is another command line; \\1 is the first group of the remedy's match."""

    def cure(place: Place, match: re.Match[str]) -> Question:
        return [match.expand(one) for one in argv]

    return cure


def assert_extra_brings(extra: str, package: str) -> None:
    """Raises unless the extra that a remedy names asks for the package, so that pip would bring it."""
    wanted = [
        line for line in metadata.requires("trtpipe") or () if f'extra == "{extra}"' in line.replace("'", '"')
    ]
    names = [re.split(r"[^\w.-]", line)[0].lower() for line in wanted]
    assert package in names, f"the extra {extra} brings no {package}: {names}"


@cache
def _trtpipe() -> Callable[..., object]:
    """The command as typer makes it of its functions, which takes as long as what a command then does."""
    from typer.main import get_command

    from trtpipe.cli import main

    return get_command(main.app)


def _command(argv: Sequence[str]) -> int:
    try:
        _trtpipe()(list(argv), prog_name="trtpipe")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def listen(place: Place) -> None:
    """Have every problem that is put into words noted in the place."""
    worded = errors.render_problem

    def render(problem: Problem) -> str:
        place.told.append(problem)
        return worded(problem)

    place.patch.setattr(errors, "render_problem", render)
    place.origins = listen_to_origins(place.patch)
