"""A plain build that has nothing to do is answered without taking the command line apart; all else is not."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from trtpipe.cli.starting.shortcut import nothing_to_do


@pytest.fixture
def unchanged(monkeypatch):
    """What was asked of the stamp; it says that nothing changed."""
    asked = []
    monkeypatch.setattr(
        "trtpipe.building.stamp.is_unchanged", lambda specs, only: asked.append(specs) or True
    )
    return asked


@pytest.mark.parametrize("specs", [[], ["pipelines/a.yaml", "a/fp16@ada"]])
def test_nothing_to_do_is_said_at_once(unchanged, capsys, specs):
    assert nothing_to_do(["build", *specs]) == 0

    assert capsys.readouterr().out == "nothing to do\n"
    assert unchanged == [specs]


@pytest.mark.parametrize("option", [["--jobs", "4"], ["-j", "1"], ["--offline"], ["--keep-going"], ["-k"]])
def test_an_option_that_changes_no_result_asks_the_same(unchanged, capsys, option):
    assert nothing_to_do(["build", "a", *option]) == 0

    assert capsys.readouterr().out == "nothing to do\n"
    assert unchanged == [["a"]]


def test_a_program_is_answered_with_the_closing_event(unchanged, capsys):
    assert nothing_to_do(["build", "--json", "--only", "a/*@b"]) == 0

    (event,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (event["event"], event["closing"], event["built"]) == ("end", "nothing to do", [])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["plan"],
        ["--help"],
        ["build", "--force"],
        ["build", "--frozen"],
        ["build", "--check"],
        ["build", "--", "a"],
        ["build", "--jobs"],
        ["build", "--jobs", "0"],
        ["build", "-j", "two"],
        ["build", "--only"],
        ["build", "-jx"],
        ["build", "--executor", "dask"],
    ],
)
def test_whatever_is_not_that_plain_is_left_to_the_command(unchanged, capsys, arguments):
    assert nothing_to_do(arguments) is None

    assert capsys.readouterr().out == ""
    assert unchanged == []


def test_a_change_is_left_to_the_command(monkeypatch, capsys):
    monkeypatch.setattr("trtpipe.building.stamp.is_unchanged", lambda specs, only: False)

    assert nothing_to_do(["build"]) is None
    assert capsys.readouterr().out == ""


def test_what_cannot_be_looked_at_is_left_to_the_command_to_tell(monkeypatch):
    def gone(specs, only):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("trtpipe.building.stamp.is_unchanged", gone)

    assert nothing_to_do(["build"]) is None


def test_looking_imports_none_of_what_commands_need(tmp_path):
    code = (
        "import sys\nfrom trtpipe.cli.starting.shortcut import nothing_to_do\n"
        "assert nothing_to_do(['build']) is None\n"
        "print(sorted({'typer', 'pydantic', 'yaml', 'rich', 'numpy', 'onnx'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"
