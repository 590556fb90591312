"""Every place that offers a remedy has a row that applies it: none offers what was not tried."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

from pytest import MonkeyPatch

from tests.remedies.offered_places import (
    LEDGER,
    all_places,
    ledger,
    listen_to_origins,
    offers_in,
    rewritten,
)
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code

HERE = Path(__file__).parent


def rows() -> set[str]:
    """Every row, as the ledger names it."""
    found = set()
    for path in sorted(HERE.glob("test_*.py")):
        if path != Path(__file__):
            module = importlib.import_module(f"tests.remedies.{path.stem}")
            found |= {f"{path.stem} / {row.name}" for row in getattr(module, "ROWS", ())}
    return found


def test_every_place_that_offers_a_remedy_has_a_row():
    applied = {place for place, test in ledger().items() if test}

    assert set(all_places()) - applied == set(), (
        "apply the remedy in a row of tests/remedies (offered_places.py says how), or offer none"
    )


def test_no_line_outlives_its_place():
    assert ledger().keys() - set(all_places()) == set()


def test_the_rows_that_are_said_to_apply_a_remedy_are_there():
    known = rows()
    lone = {test for test in ledger().values() if test not in known}

    for test in lone:
        module, _, name = test.partition(" / ")
        assert f'"{name}"' in (HERE / f"{module}.py").read_text(), f"{test} is nowhere"


def test_each_row_has_a_name_of_its_own_in_its_module():
    for path in sorted(HERE.glob("test_*.py")):
        names = [
            row.name for row in getattr(importlib.import_module(f"tests.remedies.{path.stem}"), "ROWS", ())
        ]
        assert sorted(set(names)) == sorted(names), path


def test_the_ledger_is_sorted_so_that_branches_merge():
    lines = [line for line in LEDGER.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]

    assert lines == sorted(lines)


# -- how places are found


def places_in(text: str) -> list[str]:
    return [one.place for one in offers_in(textwrap.dedent(text), "a.py")]


def test_a_new_remedy_is_a_new_place():
    text = """
        def f():
            raise SpecError(Code.NO_EFFECT, "a", "do this")
            Problem(Code.NO_EFFECT, "a", path=())
            Problem(Code.NO_EFFECT, "a", path=(), remedy="do that")
            WrongValue(Code.NOT_A_SHAPE, "a; do it")
            WrongValue(Code.NOT_A_SHAPE, "a")
    """

    assert places_in(text) == ["a.py f NO_EFFECT", "a.py f NO_EFFECT #2", "a.py f NOT_A_SHAPE"]


def test_what_hands_on_a_remedy_is_no_place():
    assert places_in("Problem(Code.NO_EFFECT, one.fact, one.remedy)") == []


def test_an_empty_remedy_is_none():
    text = """
        Problem(Code.NO_EFFECT, "a", "")
        Problem(Code.NO_EFFECT, "a", "", where)
        Problem(Code.NO_EFFECT, "a", path=(), remedy="")
    """

    assert places_in(text) == []


def test_a_told_problem_is_traced_to_its_place():
    from trtpipe.shapes import parse_shape

    with MonkeyPatch.context() as patch:
        origins = listen_to_origins(patch)
        try:
            parse_shape("1*3")
        except ValueError as error:
            fact, _, remedy = str(error).partition("; ")
        told = SpecError(Problem(Code.NOT_A_SHAPE, fact, remedy)).problems[0]

        assert origins.of(told) == "trtpipe/shapes.py _dims_of NOT_A_SHAPE"


# -- how the ledger is rewritten


def test_a_run_of_one_row_changes_only_the_lines_of_this_row():
    place, test = next((place, test) for place, test in ledger().items() if test)

    assert rewritten("") == LEDGER.read_text(encoding="utf-8")
    assert rewritten(f"{place} = {test}\n") == LEDGER.read_text(encoding="utf-8")


def test_a_row_that_applies_another_place_now_leaves_the_one_before_open():
    (first, one), (second, _) = [(place, test) for place, test in ledger().items() if test][:2]
    lines = rewritten(f"{second} = {one}\n").splitlines()

    assert f"{first} =" in lines
    assert len(set(lines) - set(LEDGER.read_text(encoding="utf-8").splitlines())) == 1
