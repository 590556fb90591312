"""The registry of problems: codes are unique, used, and never change what they mean."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

from tests.package_source import ROOT, modules, nodes_of
from trtpipe import errors
from trtpipe.errors import Location, Problem, SpecError, StepFailed, TrtpipeError, WrongValue, code_of
from trtpipe.problem_codes import Code, all_codes
from trtpipe.processes.child import error_from_json, error_json

GIVEN = Path(__file__).with_name("problem_codes.txt")
"""Number and name of every code that was ever given; `retired` behind those that are no longer used."""
TREE = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, TrtpipeError)}


def given() -> dict[str, str]:
    lines = [line.split() for line in GIVEN.read_text().splitlines()]
    assert len({number for number, *_ in lines}) == len(lines), "a number is given once"
    return {number: name for number, name, *retired in lines if not retired}


def calls_in(path: Path) -> list[ast.Call]:
    return [node for node in nodes_of(path) if isinstance(node, ast.Call)]


def called(call: ast.Call) -> str:
    return ast.unparse(call.func).rsplit(".", 1)[-1]


def codes_named_in(path: Path) -> set[str]:
    return {
        node.attr
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Code"
    }


def test_no_code_is_renumbered_renamed_or_lost():
    """A new code gets a line at its place in problem_codes.txt; the line of one that goes gets `retired`."""
    assert {code.value: code.name for code in all_codes()} == given()


def test_numbers_are_unique_and_in_order():
    assert len({code.value for code in all_codes()}) == len(all_codes()), "two names have one number"
    numbers = [code.value for code in all_codes()]
    assert all(re.fullmatch(r"TP[1-9]\d{2,3}", number) for number in numbers)
    assert [int(number[2:]) for number in numbers] == sorted(int(number[2:]) for number in numbers)


def test_every_meaning_is_one_sentence_of_its_own():
    meanings = [code.meaning for code in all_codes()]
    assert all(re.fullmatch(r"[A-Z][^.]*(\.\w[^.]*)*\.", meaning) for meaning in meanings)
    assert len(set(meanings)) == len(meanings)


def test_every_code_is_used():
    used = set().union(*(codes_named_in(path) for path in modules() if path.name != "problem_codes.py"))
    assert used == {code.name for code in all_codes()}


def test_every_problem_is_made_with_a_code():
    """mypy says the same, but only of what it can type."""
    calls = [(path, call) for path in modules() for call in calls_in(path)]
    for path, call in calls:
        if call.args and called(call) in {"Problem", "WrongValue", *TREE}:
            first = call.args[0]
            text = isinstance(first, ast.JoinedStr) or (
                isinstance(first, ast.Constant) and isinstance(first.value, str)
            )
            assert not text, f"{path.relative_to(ROOT)}:{call.lineno} words a problem and gives it no code"


def test_an_error_of_a_child_process_keeps_its_code():
    problem = Problem(Code.UNKNOWN_KEY, "unknown key 'a'", "", Location("a.yaml", 1, 2), ("a",), "warning")

    error = error_from_json(error_json(SpecError([problem])))

    assert isinstance(error, SpecError)
    assert error.problems == (problem,)


def test_an_error_of_code_fact_and_remedy():
    error = StepFailed(Code.STEP_CRASHED, "it died", "try again", log="x")

    assert error.problems == (Problem(Code.STEP_CRASHED, "it died", "try again"),)
    assert error.log == "x"
    assert str(error) == "it died\n  try again"


def test_what_a_validator_refuses_has_the_code_that_it_gives():
    assert code_of(WrongValue(Code.NOT_A_SHAPE, "not a shape")) is Code.NOT_A_SHAPE
    assert code_of(ValueError("of a plug-in")) is Code.INVALID_VALUE


def test_a_problem_in_json_has_its_code(tmp_path):
    spec = tmp_path / "net.yaml"
    spec.write_text("pipeline: net\npipeline: net\n")
    command = [sys.executable, "-m", "trtpipe", "check", "--json", str(spec)]

    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    codes = [problem["code"] for problem in json.loads(done.stdout)["problems"]]
    assert codes == ["TP110", "TP110", "TP110", "TP105"], done.stderr


def test_the_page_of_problems_is_up_to_date():
    spec = importlib.util.spec_from_file_location("problems_page", ROOT / "docs" / "problems.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/problems.py"
