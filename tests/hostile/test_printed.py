"""What a clone's names may not do to who reads them: a terminal, and a workflow's runner, which obeys printed lines."""

from __future__ import annotations

import json

import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from trtpipe.cli import output
from trtpipe.cli.annotations import annotate
from trtpipe.cli.main import app
from trtpipe.errors import Location, Problem
from trtpipe.problem_codes import Code

COMMANDS = (
    "::error::x",
    "  ::add-mask::x",
    "\t::stop-commands::x",
    "a ##[add-mask]x",
    "##[error]x",
    "a\n::set-env name=X::y",
)
TURNING = "\u202e\u2066\u200f\u061c\u2028"
HOSTILE = "x\n::error::pwn\n ##[add-mask]pwn" + TURNING + "\x1b[2J\r"


def obeyed(text: str) -> list[str]:
    """The lines that GitHub's runner takes for commands: `::` at their begin, `##[` anywhere."""
    return [
        line
        for line in text.replace("\r", "\n").split("\n")
        if line.strip().startswith("::") or "##[" in line
    ]


@pytest.mark.parametrize("text", COMMANDS)
def test_what_is_printed_in_a_workflow_is_no_command(monkeypatch, capsys, text):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    output.say(text)
    output.note(text)
    output.say_json({text: text})

    captured = capsys.readouterr()
    assert obeyed(captured.out + captured.err) == []
    assert json.loads(captured.out[captured.out.index("{") :]) == {text: text}


def test_elsewhere_it_is_printed_as_it_is(monkeypatch, capsys):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    output.say("::a ##[b] std::move(x)")

    assert capsys.readouterr().out == "::a ##[b] std::move(x)\n"


def test_annotations_are_the_only_commands(monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    problem = Problem(Code.BUILD_FAILED, HOSTILE, where=Location("a.yaml", 1, 1, ""))

    annotate([problem])

    assert [line.partition("::error")[0] for line in obeyed(capsys.readouterr().err)] == [""]


def test_what_turns_the_writing_direction_is_shown_as_its_escape(capsys):
    output.say(TURNING)
    output.say_json({"name": TURNING})

    out = capsys.readouterr().out
    assert not set(out) & set(TURNING)
    assert json.loads(out[out.index("{") :]) == {"name": TURNING}


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_every_name_of_a_model_stays_on_its_line(tmp_path, monkeypatch, form):
    """Of nodes, tensors, dimensions, domains, the graph and its producer; the domain broke a line."""
    nodes = [
        helper.make_node("Relu", ["in"], [HOSTILE + "m"], name=HOSTILE),
        helper.make_node("Oops" + HOSTILE, [HOSTILE + "m"], ["out"], name=HOSTILE + "2", domain=HOSTILE),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N" + HOSTILE, 3]) for name in ("in", "out")
    ]
    graph = helper.make_graph(nodes, HOSTILE, values[:1], values[1:], doc_string=HOSTILE)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(HOSTILE, 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, producer_name=HOSTILE), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    done = CliRunner().invoke(app, ["inspect", "net.onnx", *form])

    said = done.output
    assert done.exit_code == 0
    assert obeyed(said) == []
    assert not set(said) & {*TURNING, "\x1b", "\r"}
    assert form or all(not line.startswith((" :", ":")) for line in said.splitlines())
