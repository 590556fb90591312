"""Validating engines from their directory alone: what passes, what is caught and named, and what cannot be run.

The engines are stand-ins that copy; their typed models are Identity nodes.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest

from tests.runners.engine_bench import tensor
from trtpipe.app.prove import validate
from trtpipe.app.prove.engine_places import engine_places
from trtpipe.app.prove.validate import HowToValidate, validate_places
from trtpipe.cli.validate import validate_command
from trtpipe.delivery.engine_proofs import read_proof
from trtpipe.digests import digest_file
from trtpipe.runners.validation.recordings import RecordedRun, read_recording, write_recording
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu
from trtpipe.workspace.target_facts import TargetResolver

TYPED = """<ir_version: 9, opset_import: ["" : 17]>
g (float[N,4] x, float[N,4] z) => (float[N,4] y, float[N,4] w) { y = Identity(x)  w = Identity(z) }"""
THRESHOLDS = [{"output": "*", "metric": "cosine", "min": 0.999}]
RNG = np.random.default_rng(0)
RUNS = [
    RecordedRun({"x": x, "z": z}, {"y": x, "w": z}, labels=np.arange(3) % 4)
    for x, z in RNG.standard_normal((2, 2, 3, 4)).astype(np.float32)
]


def engine_record(greatest=8, **wiring):
    """An engine for rows from 1 to `greatest`; `wiring` says which input an output is copied from."""
    sources = {"y": "x", "w": "z", **wiring}
    names = [("x", "INPUT"), ("z", "INPUT"), ("y", "OUTPUT"), ("w", "OUTPUT")]
    return {
        "tensors": [tensor(name, mode, shape=(-1, 4)) for name, mode in names],
        "profiles": [{name: [[1, 4], [2, 4], [greatest, 4]] for name in ("x", "z")}],
        "ops": [{"op": "copy", "from": source, "to": name} for name, source in sources.items()],
    }


def write_cell(folder, engine, **changes):
    """An engine's directory as a build leaves it."""
    folder.mkdir(parents=True)
    (folder / "model.engine").write_text(json.dumps(engine))
    onnx.save(onnx.parser.parse_model(TYPED), folder / "model.onnx")
    write_recording(folder / "golden.npz", RUNS)
    shapes = {"min": [1, 4], "opt": [2, 4], "max": [8, 4]}
    recorded = {"samples": 6, "of": 6, "blake3": digest_file(folder / "golden.npz").hex}
    manifest = {
        "cell": "net/fp32@ada",
        "engine": {"blake3": digest_file(folder / "model.engine").hex},
        "model": {"model.onnx": {"blake3": digest_file(folder / "model.onnx").hex}},
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"},
        "compute_capabilities": ["sm89"],
        "profiles": [{"x": shapes, "z": shapes}],
        "steps": {"build_engine": {"fingerprint": {"options": {}}}},
        "validation": {"outcome": "passed", "thresholds": THRESHOLDS, "recorded": recorded},
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def gpus(*names):
    return TargetResolver(_here=tuple(DetectedGpu(0, "a GPU", ComputeCapability.parse(one)) for one in names))


@pytest.fixture
def with_stand_in(bench, monkeypatch):
    monkeypatch.setattr(validate, "toolchain_for", lambda delivered, how: bench.toolchain)
    monkeypatch.setattr(validate, "TargetResolver", lambda: gpus("sm89"))


def validated(folder, targets=None, **how):
    (found,) = validate_places(
        engine_places([str(folder)], folder), HowToValidate(**how), targets or gpus("sm89")
    )
    return found


def facts_of(found):
    return [problem.fact for problem in found.verdict.problems]


@pytest.fixture
def cell(tmp_path):
    return write_cell(tmp_path / "cell", engine_record())


def test_a_right_engine_passes_on_data_and_at_every_corner(with_stand_in, cell):
    found = validated(cell)

    proof, ignored = read_proof(cell, digest_file(cell / "model.engine").hex)
    assert (found.engine, found.typed, ignored) == ("passed", None, "")
    assert [place["place"] for place in proof["places"]] == [
        "data", "profile 0 at min", "profile 0 at opt", "profile 0 at max",
    ]  # fmt: skip
    assert proof["gpu"]["name"] == "Make-believe GPU"
    assert (proof["cell"], proof["outcome"], proof["recorded"]) == ("net/fp32@ada", "passed", 6)
    assert proof["places"][0]["outputs"]["y"]["metrics"]["accuracy"] is not None
    assert found.kept == []


def test_swapped_outputs_are_caught_and_named_and_their_inputs_kept(with_stand_in, tmp_path):
    folder = write_cell(tmp_path / "cell", engine_record(y="z", w="x"))

    found = validated(folder)

    assert found.engine == "failed"
    assert facts_of(found)[0].startswith("on Make-believe GPU (sm89): output 'y' has cosine ") and facts_of(
        found
    )[0].endswith(", which must be at least 0.999 (data)")
    assert "output 'w' has cosine" in facts_of(found)[1]
    (kept,) = read_recording(found.kept[0])
    assert found.kept[0] == folder / "failed" / "data.npz"
    assert kept.inputs["x"].shape == (1, 4)
    assert np.array_equal(kept.got["y"], kept.inputs["z"])
    assert read_proof(folder, digest_file(folder / "model.engine").hex)[0]["outcome"] == "failed"

    (folder / "model.engine").write_text(json.dumps(engine_record()))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["engine"]["blake3"] = digest_file(folder / "model.engine").hex
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert validated(folder).engine == "passed"
    assert not (folder / "failed").exists()


def test_a_corner_that_breaks_is_named_and_the_others_are_measured(with_stand_in, tmp_path):
    found = validated(write_cell(tmp_path / "cell", engine_record(greatest=4)))

    assert found.engine == "failed"
    (fact,) = facts_of(found)
    assert fact.startswith("on Make-believe GPU (sm89): ") and fact.endswith("(profile 0 at max)")
    assert {one["place"] for one in found.verdict.record["verdicts"]} == {
        "data", "profile 0 at min", "profile 0 at opt",
    }  # fmt: skip


def test_an_engine_that_runs_nowhere_is_an_error_and_no_proof(with_stand_in, tmp_path, capsys):
    record = engine_record()
    record["ops"].append({"op": "refuse", "text": "no kernel image"})
    folder = write_cell(tmp_path / "cell", record)

    assert validate_command([str(folder)], HowToValidate(), as_json=False) == 1
    assert "no kernel image" in capsys.readouterr().out
    assert not (folder / "proof.json").exists()


def test_another_gpu_is_one_sentence_and_exit_code_2(monkeypatch, cell, capsys):
    monkeypatch.setattr(validate, "TargetResolver", lambda: gpus("sm90"))

    code = validate_command([str(cell)], HowToValidate(), as_json=False)

    assert code == 2
    assert capsys.readouterr().out == (
        "net/fp32@ada: the engine was not run: needs sm89, this machine has sm90\n"
        "0 engines passed, 1 not run\n"
    )
    assert not (cell / "proof.json").exists()


def test_what_tensorrt_refuses_is_told_in_its_sentence(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(validate, "toolchain_for", lambda delivered, how: bench.toolchain)
    monkeypatch.setattr(validate, "TargetResolver", lambda: gpus("sm89"))
    folder = write_cell(tmp_path / "cell", engine_record() | {"validity": 2})

    assert validate_command([str(folder)], HowToValidate(), as_json=False) == 2
    assert "the engine was not run: the engine was built for sm89" in capsys.readouterr().out


def test_without_a_gpu_the_typed_model_is_validated_and_the_engine_stays_not_run(monkeypatch, cell, capsys):
    monkeypatch.setattr(validate, "TargetResolver", gpus)

    code = validate_command([str(cell)], HowToValidate(), as_json=False)
    told = capsys.readouterr().out.splitlines()

    assert code == 2
    assert told[:2] == [
        "net/fp32@ada: the engine was not run: needs sm89, this machine has no GPU",
        "  validated instead: its typed model on the CPU: passed",
    ]
    assert told[-1] == "0 engines passed, 1 not run"
    assert not (cell / "proof.json").exists()


@pytest.mark.parametrize("change", ["", "a typed model with swapped outputs"])
def test_the_cpu_may_be_asked_for(monkeypatch, tmp_path, capsys, change):
    monkeypatch.setattr(validate, "TargetResolver", gpus)
    cell = write_cell(tmp_path / "cell", engine_record())
    if change:
        onnx.save(
            onnx.parser.parse_model(
                TYPED.replace("y = Identity(x)  w = Identity(z)", "y = Identity(z)  w = Identity(x)")
            ),
            cell / "model.onnx",
        )
        manifest = json.loads((cell / "manifest.json").read_text())
        manifest["model"]["model.onnx"]["blake3"] = digest_file(cell / "model.onnx").hex
        (cell / "manifest.json").write_text(json.dumps(manifest))

    code = validate_command([str(cell)], HowToValidate(cpu=True), as_json=True)
    (told,) = json.loads(capsys.readouterr().out)["cells"]

    assert (code, told["engine"], told["typed_model"]) == (
        (1, "not_run", "failed") if change else (0, "not_run", "passed")
    )
    assert told["subject"] == "typed model on the CPU"


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "model.engine"])
def test_files_of_another_build_are_refused(with_stand_in, cell, name):
    path = cell / name
    path.write_bytes(path.read_bytes() + b"\0")

    found = validated(cell)

    assert found.engine == "not_run"
    expected = (
        "is in no manifest and no lockfile" if name == "model.engine" else "is not the one that was built"
    )
    assert expected in found.error.problems[0].fact


def test_an_engine_that_is_in_no_manifest_needs_the_users_word(with_stand_in, cell):
    (cell / "model.engine").write_text(json.dumps(engine_record(), indent=1))
    digest = digest_file(cell / "model.engine").hex

    untrusted, trusted = validated(cell), validated(cell, trust=(digest,))

    assert f"--trust {digest}" in untrusted.error.problems[0].remedy
    assert "header" in trusted.error.problems[0].fact or "engine" in trusted.error.problems[0].fact
    assert "--trust" not in trusted.error.problems[0].remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"validation": None},
        {"validation": {"outcome": "passed", "thresholds": [{"metric": "none", "min": 1}]}},
        {"validation": {"outcome": "passed", "thresholds": 3}},
        {"validation": {"outcome": "passed", "thresholds": [], "recorded": 3}},
        {"profiles": [{"x": {"min": [1]}}]},
        {"profiles": 3},
        {"compute_capabilities": ["what"]},
        {"steps": []},
        {"model": {"model.onnx": {"blake3": 3}}},
        {"model": []},
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(with_stand_in, tmp_path, changes):
    found = validated(write_cell(tmp_path / "cell", engine_record(), **changes))

    assert found.engine == "not_run" and found.error is not None
    assert found.error.exit_code == 2


def test_a_manifest_without_thresholds_says_to_build_again(with_stand_in, tmp_path):
    found = validated(write_cell(tmp_path / "cell", engine_record(), validation={"outcome": "passed"}))

    assert "was built by an older trtpipe" in found.error.problems[0].fact


def test_without_samples_nothing_is_invented(with_stand_in, tmp_path):
    cell = write_cell(tmp_path / "cell", engine_record(), validation={"outcome": "not_run"})
    (cell / "golden.npz").unlink()

    found = validated(cell)

    assert found.engine == "not_run"
    assert found.why == "nothing could be compared"
    assert found.verdict.not_run[0] == "data: there is no golden.npz with recorded samples"


def test_accuracy_is_not_judged_on_a_part_of_the_samples(with_stand_in, tmp_path):
    thresholds = [*THRESHOLDS, {"output": "y", "metric": "accuracy", "min": 0.99}]
    cell = write_cell(tmp_path / "cell", engine_record())
    manifest = json.loads((cell / "manifest.json").read_text())
    manifest["validation"]["thresholds"] = thresholds
    (cell / "manifest.json").write_text(json.dumps(manifest))
    whole = validated(cell)
    manifest["validation"]["recorded"]["of"] = 500
    (cell / "manifest.json").write_text(json.dumps(manifest))
    part = validated(cell)

    assert "output 'y' has accuracy" in facts_of(whole)[0]
    assert part.engine == "passed"
    assert "accuracy: 6 of 500 samples were recorded" in part.verdict.not_run


def test_a_budget_holds_for_the_engine_too(with_stand_in, tmp_path):
    budget = {
        "goal": "",
        "value": 1.0,
        "inside": True,
        "spec": {"metric": "max_abs", "max": 1e-9, "output": "*"},
    }
    validation = {"outcome": "passed", "thresholds": [], "budget": budget, "recorded": {"of": 6}}
    right = validated(write_cell(tmp_path / "right", engine_record(), validation=validation))
    wrong = validated(write_cell(tmp_path / "wrong", engine_record(y="z"), validation=validation))

    assert wrong.engine == "failed" and "over its budget" in facts_of(wrong)[0]
    assert facts_of(right) == []


def test_a_directory_that_cannot_be_written_loses_the_proof_and_says_so(with_stand_in, cell, monkeypatch):
    def refuse(folder, record):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(validate, "write_proof", refuse)

    found = validated(cell)

    assert (found.engine, found.proof) == ("passed", None)
    assert found.notes == ["cannot write the proof: read-only file system"]


def test_a_tree_of_directories_is_walked_and_one_that_fails_stops_none(with_stand_in, tmp_path, capsys):
    write_cell(tmp_path / "build/net/a@ada", engine_record(), cell="net/a@ada")
    write_cell(tmp_path / "build/net/b@ada", engine_record(y="z"), cell="net/b@ada")
    (tmp_path / "build/net/c@ada").mkdir()
    shutil.copy(tmp_path / "build/net/a@ada/model.engine", tmp_path / "build/net/c@ada")

    code = validate_command([str(tmp_path / "build")], HowToValidate(), as_json=True)
    told = json.loads(capsys.readouterr().out)["cells"]

    assert code == 1
    assert [one["engine"] for one in told] == ["passed", "failed", "not_run"]
    assert "has no manifest.json" in told[2]["why"]


def test_a_proof_of_another_engine_or_a_damaged_one_is_left_out(with_stand_in, cell):
    validated(cell)

    assert "belongs to another engine" in read_proof(cell, "0" * 64)[1]
    for text in ("", "[]", "{}", "[" * 100_000, '{"engine": 3}', '{"places": [{}]}'):
        (cell / "proof.json").write_text(text)
        assert "is damaged" in read_proof(cell, "0" * 64)[1]
    (cell / "proof.json").unlink()
    assert read_proof(cell, "0" * 64) == (None, "")
