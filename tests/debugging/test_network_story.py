"""Looking at TensorRT's network of a cell, and comparing it: as the documentation shows it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.debugging.failing_models import needs_rtx
from trtpipe.cli.debugging.compare_networks import compare_network_command
from trtpipe.cli.inspect_networks import inspect_network_command
from trtpipe.errors import SpecError, StepFailed
from trtpipe.problem_codes import Code
from trtpipe.text.networks import network_lines
from trtpipe.toolchains.engine_worker import parser_runs

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [needs_rtx, pytest.mark.engine]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A project with the digits network; what one test has made of it, others find."""
    root = tmp_path_factory.mktemp("digits")
    (root / "pipelines" / "models").mkdir(parents=True)
    shutil.copytree(ROOT / "calibration", root / "calibration")
    shutil.copy(ROOT / "pipelines" / "digits.yaml", root / "pipelines")
    shutil.copy(ROOT / "pipelines" / "models" / "digits_cnn.onnx", root / "pipelines" / "models")
    return root


@pytest.fixture
def at_digits(digits, monkeypatch):
    monkeypatch.chdir(digits)
    return digits


def shown_in(document, command):
    """What the documentation shows of a command, line by line."""
    text = (ROOT / "docs" / document).read_text()
    (shown,) = re.findall(rf"\$ {re.escape(command)}\n(.*?)```", text, re.DOTALL)
    return shown.splitlines()


def compare(cell="digits/fp16@ada", *, samples=None, as_json=False):
    return compare_network_command(cell, [], samples=samples, as_json=as_json)


def test_the_digits_network_is_what_the_typed_model_says(at_digits, capsys):
    assert compare() == 0

    printed = capsys.readouterr().out.splitlines()
    shown = shown_in("debugging.md", "trtpipe debug compare digits/fp16@ada --network")
    assert [line for line in map(but_the_bound, shown) if line not in map(but_the_bound, printed)] == []


def but_the_bound(line):
    """A line's words, the last of which is a bound in a table."""
    return line.split()[:-1]


def test_a_program_gets_the_same(at_digits, capsys):
    assert compare(samples=20, as_json=True) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["cell"], found["equal"], found["samples"]) == ("digits/fp16@ada", True, 20)
    assert found["layers"] == found["layers_read"]
    assert [one["departs"] for one in found["tensors"]] == [False] * len(found["tensors"])


def test_the_network_is_shown_layer_by_layer(at_digits, capsys):
    assert inspect_network_command("digits/fp16@ada", with_others=False, as_json=False) == 0

    printed = capsys.readouterr().out.splitlines()
    shown = shown_in("inspecting.md", "trtpipe inspect digits/fp16@ada --network")
    assert [line for line in shown if line not in printed] == []


def test_a_program_gets_the_whole_network(at_digits, capsys):
    assert inspect_network_command("digits/fp32@ada", with_others=False, as_json=True) == 0

    found = json.loads(capsys.readouterr().out)
    (first,) = [one for one in found["layers"] if one["name"] == "/c1/Conv"]
    assert first["attributes"]["kernel_size_nd"] == [3, 3]
    assert first["weights"]["kernel"]["dtype"] == "float32"
    assert found["totals"]["layers"] == len(found["layers"])


@pytest.mark.parametrize("as_json", [False, True])
def test_where_tensorrt_cannot_start_nothing_counts_as_equal(
    as_json, at_digits, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / "store"))  # where nothing was parsed yet

    def refuse(*_, **__):
        raise StepFailed(Code.WORKER_ENVIRONMENT, "TensorRT cannot start: is there a GPU and its driver?")

    monkeypatch.setattr(parser_runs, "parse_network", refuse)

    assert compare(as_json=as_json) == 1
    assert inspect_network_command("digits/fp16@ada", with_others=False, as_json=as_json) == 1

    printed = capsys.readouterr().out
    assert printed.count("TensorRT cannot start") == 2
    assert as_json or printed.splitlines()[0].startswith("not run: the network: ")


def test_what_tensorrt_refuses_fails_as_in_a_build(refused, monkeypatch):
    monkeypatch.chdir(refused)

    with pytest.raises(StepFailed, match="does not support dilations"):
        inspect_network_command("net/fp16@ada", with_others=False, as_json=False)


def test_a_cell_without_data_is_told_what_to_give(refused, monkeypatch):
    monkeypatch.chdir(refused)

    with pytest.raises(SpecError, match="no data to compare on"):
        compare("net/fp16@ada")


@pytest.mark.parametrize(
    ("target", "with_others", "fact"),
    [
        ("pipelines/digits.yaml", False, "'pipelines/digits.yaml' is none"),
        ("digits", False, "'digits' is none"),
        ("digits/fp16@ada", True, "--network can be combined only with --json"),
        ("digits/fp99@ada", False, "no cell matches"),
    ],
)
def test_what_is_no_cell_is_refused_in_a_sentence(target, with_others, fact, at_digits):
    with pytest.raises(SpecError, match=re.escape(fact)):
        inspect_network_command(target, with_others=with_others, as_json=False)


def test_a_network_of_loops_and_warnings_is_told_in_words():
    def tensor(name, shape):
        return {"name": name, "dtype": "float32", "shape": shape, "shape_tensor": False}

    record = {
        "cell": "net/fp32@ada",
        "toolchain": "tensorrt_rtx 1.7",
        "inputs": [tensor("x", [-1, 3])],
        "outputs": [tensor("y", None)],
        "layers": [
            {"number": 0, "type": "LOOP_OUTPUT", "name": "o", "node": None, "outputs": [tensor("y", None)]},
        ],
        "totals": {
            "layers": 1,
            "by_type": {"LOOP_OUTPUT": 1},
            "weights_bytes": 0,
            "loops": 1,
            "conditionals": 2,
            "attentions": 0,
        },
        "unread": [{"name": "o", "type": "LOOP_OUTPUT", "why": "axis: it crashed"}],
        "warnings": ["wrong\nlength", "wrong\nlength"],
    }

    assert network_lines(record) == [
        "TensorRT's network of net/fp32@ada, as tensorrt_rtx 1.7 parses it",
        "input x: float32 ?x3",
        "output y: float32 of unknown rank",
        "layer  type         name  ONNX node  outputs\n0      LOOP_OUTPUT  o                y: float32 of unknown rank",
        "1 layer: LOOP_OUTPUT 1",
        "weights 0 B",
        "1 loop",
        "2 conditionals",
        "not read: 'o' (LOOP_OUTPUT): axis: it crashed",
        "TensorRT's parser warns: wrong\\nlength (2 times)",
    ]
