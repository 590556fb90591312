"""The places in the code that offer a remedy, what becomes of each, and which of them a told problem comes from.

A place is a call that is given a code and a remedy. `places.txt` has a line for each, `PLACE = TEST`: the test makes
the problem there and applies its remedy. What cannot be tried is not offered: what is known is then said as a fact.

    REMEDY_PLACES=/tmp/found pytest tests/remedies; python -m tests.remedies.offered_places /tmp/found

writes down which row applies which place, and leaves a line that ends in `=` for each that nothing applies. It is
enough to run one module: the lines of rows that did not run stay as they are. Remove /tmp/found before the next run.
"""

from __future__ import annotations

import ast
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from trtpipe import errors
from trtpipe.layers.from_onnx.node import NoForm
from trtpipe.loader.remotes import _Wrong as WrongAddress
from trtpipe.loader.sources import _Wrong as WrongSource

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "trtpipe"
LEDGER = Path(__file__).with_name("places.txt")
APPLIED = " = "


@dataclass(frozen=True)
class Offer:
    """A call that words a problem with a remedy."""

    place: str
    """`trtpipe/a.py function CODE`, and ` #2` behind the second one of a function."""
    code: str
    first: int
    last: int


def _codes_in(node: ast.AST) -> list[str]:
    return [
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "Code"
    ]


def _code_of(call: ast.Call) -> str:
    """The code that a call is given together with a remedy; empty where it is no such call."""
    codes, words = [], []
    given = [*call.args, *(one.value for one in call.keywords)]
    if any(isinstance(one, ast.Attribute) and one.attr == "remedy" for one in given):
        return ""  # hands on what was worded elsewhere
    if any(isinstance(one, ast.Constant) and one.value == "" for one in given):
        return ""  # says that there is no remedy
    for one in [*call.args, *(one.value for one in call.keywords if one.arg == "code")]:
        alone = isinstance(one, (ast.Attribute, ast.IfExp)) and _codes_in(one)
        if alone:
            codes += alone
        else:
            words.append(one)
    named = any(one.arg == "remedy" for one in call.keywords)
    text = ast.unparse(call.func).endswith("WrongValue") and words and "; " in ast.unparse(words[0])
    if codes and (named or len(words) > 1 or text):
        return codes[0]
    noform = ast.unparse(call.func) in ("NoForm", "_Wrong") and not codes and (named or len(words) > 1)
    return "-" if noform else ""


def offers_in(text: str, path: str) -> Iterator[Offer]:
    """The places of one module, in its order."""
    numbers: Counter[str] = Counter()
    found: list[tuple[ast.Call, str, str]] = []

    def visit(node: ast.AST, scope: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            scope = f"{scope}.{node.name}".lstrip(".")
        if isinstance(node, ast.Call) and (code := _code_of(node)):
            found.append((node, scope, code))
        for child in ast.iter_child_nodes(node):
            visit(child, scope)

    visit(ast.parse(text), "")
    for call, scope, code in sorted(found, key=lambda one: (one[0].lineno, one[0].col_offset)):
        stem = f"{path} {scope or '-'} {code}"
        numbers[stem] += 1
        number = f" #{numbers[stem]}" if numbers[stem] > 1 else ""
        yield Offer(stem + number, code, call.lineno, call.end_lineno or call.lineno)


@cache
def offers() -> Mapping[str, tuple[Offer, ...]]:
    """Module, as a path below the repository → its places."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        found[name] = tuple(offers_in(path.read_text(encoding="utf-8"), name))
    return found


def all_places() -> list[str]:
    return [one.place for module in offers().values() for one in module]


@cache
def ledger() -> dict[str, str]:
    """Place → the test that applies it."""
    applied: dict[str, str] = {}
    for line in LEDGER.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        place, _, test = line.partition(APPLIED.rstrip())
        assert place.strip() not in applied, f"{place} stands twice"
        applied[place.strip()] = test.strip()
    return applied


def summary() -> str:
    """How far the remedies are applied, in a line."""
    applied = [place for place, test in ledger().items() if test]
    return f"remedies: {len(applied)} applied, of {len(all_places())} places that offer one"


# -- which place a problem comes from


@dataclass
class Origins:
    """The places that problems came from while one row was run."""

    made: list[tuple[str, str, str]] = field(default_factory=list)
    """Fact, remedy and place of each, in the order in which they were made."""

    def note(self, fact: str, remedy: str) -> None:
        place = _place_on_the_stack()
        if remedy and place:
            self.made.append((fact, remedy, place))

    def of(self, problem: errors.Problem) -> str:
        """Where the problem was made; empty where that was in another process."""
        for _, remedy, place in self.made:
            if remedy == problem.remedy and " - #" in f"{place} #":
                return place  # words without a code, which somebody else gave one
        for exactly in (True, False):
            for fact, remedy, place in self.made:
                if remedy == problem.remedy and (fact == problem.fact or not exactly):
                    return place
        held = [one for one in self.made if one[1] in problem.remedy or one[1] in problem.fact]
        return max(held, key=lambda one: len(one[1]))[2] if held else ""


def _place_on_the_stack() -> str:
    """The innermost place that is being called."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(str(PACKAGE)):
            module = offers()[Path(path).relative_to(ROOT).as_posix()]
            here = [one for one in module if one.first <= frame.f_lineno <= one.last]
            if here:
                return min(here, key=lambda one: one.last - one.first).place
        frame = frame.f_back
    return ""


def listen_to_origins(patch: pytest.MonkeyPatch) -> Origins:
    """Have noted where each problem is made from now on."""
    origins = Origins()
    of_problem, of_value = errors.Problem.__init__, errors.WrongValue.__init__
    of_address, of_form, of_source = WrongAddress.__init__, NoForm.__init__, WrongSource.__init__

    def problem(self, code, fact, remedy="", *more, **named):
        origins.note(fact, remedy)
        of_problem(self, code, fact, remedy, *more, **named)

    def value(self, code, text):
        origins.note(*text.partition("; ")[::2])
        of_value(self, code, text)

    def address(self, fact, remedy=""):
        origins.note(fact, remedy)
        of_address(self, fact, remedy)

    def form(self, reason="", remedy=""):
        origins.note(reason, remedy)
        of_form(self, reason, remedy)

    def source(self, code, fact, remedy=""):
        origins.note(fact, remedy)
        of_source(self, code, fact, remedy)

    patch.setattr(WrongSource, "__init__", source)
    patch.setattr(errors.Problem, "__init__", problem)
    patch.setattr(errors.WrongValue, "__init__", value)
    patch.setattr(WrongAddress, "__init__", address)
    patch.setattr(NoForm, "__init__", form)
    return origins


def note_applied(place: str, test: str) -> None:
    """Note which row applied a place, if places are being written down; else hold the row against the ledger."""
    file = os.environ.get("REMEDY_PLACES")
    if file:
        if place:
            with Path(file).open("a", encoding="utf-8") as stream:
                stream.write(f"{place}{APPLIED}{test}\n")
        return
    claimed = {known for known, by in ledger().items() if by == test}
    assert not claimed or place in claimed, f"the remedy came from {place}, and the ledger says {claimed}"


def rewritten(found: str) -> str:
    """The ledger's text anew: what rows have applied, and the lines of the rows that did not run."""
    noted = {(place, test) for place, _, test in (line.partition(APPLIED) for line in found.splitlines())}
    ran = {test for _, test in noted}
    before = ledger().items()
    still = {place: test for place, test in before if test and (test not in ran or (place, test) in noted)}
    rows = dict(sorted(noted, reverse=True)) | still
    lines = [f"{place}{APPLIED}{rows.get(place, '')}".rstrip() for place in all_places()]
    heading = [line for line in LEDGER.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return "\n".join([*heading, *sorted(lines)]) + "\n"


if __name__ == "__main__":
    LEDGER.write_text(rewritten(Path(sys.argv[1]).read_text(encoding="utf-8")), encoding="utf-8")
