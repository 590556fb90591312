"""Grades of a rebuilt engine: what is equal, what passes for which flavour, and what is told of the difference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trtpipe.app.prove.grades import GRADES, OUTPUTS, grade_engine, grade_outputs
from trtpipe.digests import digest_bytes, digest_file
from trtpipe.lockfile import shown_digest
from trtpipe.metrics.engines import header_differences, io_differences, layer_differences, same_tactics
from trtpipe.plan.address import address
from trtpipe.plan.fingerprint import Fingerprint
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.toolchains.engine_digest import normalised_digest

RELU = {"name": "relu", "type": "ACTIVATION", "inputs": ["x"], "outputs": [{"name": "y", "dtype": "float16"}]}
FUSED = {"name": "{Node}", "type": "Myelin", "tactic": "0x0000000000000001", "inputs": "x", "outputs": "y"}
PORT = {"name": "x", "mode": "input", "dtype": "float32", "shape": [-1, 4]}
ALSO_TOLD = {"version": "1.7.1.116", "layer_counts": {}, "io": []}
"""What the trace of a build tells besides, and nobody here asks for."""


class Bench:
    """A store with one built engine, and rebuilds of it."""

    def __init__(self, folder: Path, flavour: str = "tensorrt_rtx") -> None:
        self.folder, self.store = folder, LocalStore(folder / "store")
        fingerprint = Fingerprint("build_engine", 3, {}, {"toolchain": {"flavour": flavour}})
        self.action = Action(address("build_engine", "p", "v", "t"), fingerprint)

    def result(self, name, engine, *, layers=(FUSED,), network=(RELU,), io=(PORT,), **summary):
        folder = self.folder / name
        folder.mkdir()
        (folder / "model.engine").write_bytes(engine)
        (folder / "layers.json").write_text(json.dumps(list(layers)))
        (folder / "network.json").write_text(json.dumps({"io": list(io), "layers": list(network)}))
        files = {path.name: path for path in folder.iterdir()}
        told = {"normalised": normalised_digest(files["model.engine"]), "address_randomisation": "off"}
        return ActionResult(files, {**told, "addresses": "fixed", **ALSO_TOLD, **summary})

    def locked(self, engine=b"engine __mye12 __mye7", *, stored=True, **facts):
        """Build it for the first time: the lockfile's facts, the artifacts in the store."""
        made = self.result("locked", engine, **facts)
        entry = {
            "engine": shown_digest(digest_file(made.files["model.engine"])),
            "normalised": made.summary["normalised"],
            "address_randomisation": "off",
        }
        if made.summary.get("tactics"):
            entry["tactics"] = made.summary["tactics"]
        if stored:
            outputs = {name: self.store.put(path) for name, path in made.files.items()}
            record = self.action.fingerprint.record()
            self.store.record(Trace(self.action.key, str(self.action.address), record, outputs, made.summary))
        return entry

    def grade(self, entry, engine, **facts):
        return grade_engine("p/v@t", self.action, entry, self.result("again", engine, **facts), self.store)


@pytest.fixture
def rtx(tmp_path):
    return Bench(tmp_path)


@pytest.fixture
def enterprise(tmp_path):
    return Bench(tmp_path, "tensorrt")


def test_the_same_bytes_are_identical(rtx):
    graded = rtx.grade(rtx.locked(), b"engine __mye12 __mye7")

    assert (graded.grade, graded.passed, graded.details) == ("identical", True, [])


@pytest.mark.parametrize(
    ("facts", "passed"),
    [({}, False), ({"address_randomisation": "on"}, True), ({"addresses": "varying"}, True)],
)
def test_generated_names_pass_only_where_addresses_may_vary(rtx, facts, passed):
    graded = rtx.grade(rtx.locked(), b"engine __mye99 __mye3", **facts)

    assert (graded.grade, graded.passed) == ("generated names", passed)
    assert ("addresses were fixed in both builds" in "".join(graded.details)) != passed


def test_for_rtx_anything_beyond_generated_names_fails(rtx):
    graded = rtx.grade(rtx.locked(), b"engine __mye12 __myeX", addresses="varying")

    assert (graded.grade, graded.passed) == ("different", False)
    assert graded.not_run == [OUTPUTS]
    assert graded.details == ["bytes: 1 of 21 differ, the first at 20, the last at 20"]


def test_what_differs_is_told_by_network_layers_and_size(rtx):
    wide = {**RELU, "outputs": [{"name": "y", "dtype": "float32"}]}

    graded = rtx.grade(
        rtx.locked(),
        b"a longer engine of other layers",
        layers=[{**FUSED, "name": "{Other}"}],
        network=[wide],
        io=[{**PORT, "shape": [-1, 8]}],
    )

    assert graded.details == [
        "tensor x: input float32 [-1, 4] -> input float32 [-1, 8]",
        "network layer 'relu' outputs: [{'name': 'y', 'dtype': 'float16'}] -> [{'name': 'y', 'dtype': 'float32'}]",
        "layer '{Node}' is only in the locked engine",
        "layer '{Other}' is only in the rebuilt engine",
        "size: 21 -> 31 bytes",
    ]


def test_without_the_locked_engine_there_is_a_grade_and_no_story(rtx):
    graded = rtx.grade(rtx.locked(stored=False), b"other")

    assert graded.grade == "different"
    assert graded.details == ["the locked engine is not in the store, so the differences are unknown"]


@pytest.mark.parametrize(("tactic", "grade"), [("0x1", "same tactics"), ("0x2", "different")])
def test_for_the_flavour_tensorrt_the_same_tactics_pass(enterprise, tactic, grade):
    layers = [{**FUSED, "tactic": "0x1"}]

    graded = enterprise.grade(
        enterprise.locked(layers=layers), b"retimed", layers=[{**FUSED, "tactic": tactic}]
    )

    assert (graded.grade, graded.passed) == (grade, grade == "same tactics")


@pytest.mark.parametrize(("now", "grade"), [("t1", "same tactics"), ("t2", "different")])
def test_locked_tactics_count_before_what_layers_say(enterprise, now, grade):
    graded = enterprise.grade(enterprise.locked(tactics={"key": "t1"}), b"retimed", tactics={"key": now})

    assert graded.grade == grade


def test_a_step_before_the_engines_is_identical_or_different(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"typed")
    result = ActionResult({"model.onnx": tmp_path / "model.onnx"})
    right = {"model.onnx": shown_digest(digest_bytes(b"typed"))}

    same = grade_outputs("p/v:quantize", right, result)
    other = grade_outputs("p/v:quantize", {"model.onnx": "x", "scales.json": "y"}, result)

    assert (same.grade, same.passed) == ("identical", True)
    assert (other.grade, other.passed) == ("different", False)
    assert other.details == [f"model.onnx: x -> {right['model.onnx']}", "scales.json: y -> (none)"]


def test_a_header_is_compared_field_by_field():
    old = {"weight_bytes": 10, "tf32": False, "version": "1.7"}

    assert header_differences(old, {**old, "weight_bytes": 12}) == ["header weight_bytes: 10 -> 12"]
    assert header_differences(None, old) == []


def test_of_many_differences_the_first_are_told():
    many = [{**RELU, "name": f"n{index}"} for index in range(30)]

    assert layer_differences(many, [])[-1] == "and 24 more"
    assert io_differences([PORT], [PORT]) == []


def test_layers_of_one_name_are_compared_in_their_order():
    twice = [{**FUSED, "tactic": "0x1"}, {**FUSED, "tactic": "0x2"}]

    assert same_tactics(twice, list(twice))
    assert not same_tactics(twice, twice[::-1])
    assert not same_tactics([], [])


def test_grades_are_ordered_from_best_to_worst():
    assert (GRADES[0], GRADES[-1]) == ("identical", "different")
