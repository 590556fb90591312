"""Build, change one thing, build: what runs, why, and that the next build has nothing to do."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper


def change_a_weight(project):
    path = project.root / "models" / "digits.onnx"
    model = onnx.load(path)
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += np.float32(0.5)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)


def use_an_older_toolchain(project):
    project.edit("pipelines/digits.yaml", "ada: {gpu: rtx4090}", "ada: {gpu: rtx4090, toolchain: old}")
    project.edit(
        "pipelines/digits.yaml",
        "builder:",
        'toolchains:\n  old: {flavour: tensorrt_rtx, version: "1.6.1.120"}\nbuilder:',
    )


CHANGES = {
    "a weight": (change_a_weight, "digits:import", "inputs.source.model.onnx"),
    "a shape": (
        lambda p: p.edit("pipelines/digits.yaml", "opt: 16x1x8x8", "opt: 8x1x8x8"),
        "digits/fp32@ada:build_engine",
        "options.profiles[0].image.opt",
    ),
    "an option": (
        lambda p: p.edit("pipelines/digits.yaml", "workspace: 1GiB", "workspace: 512MiB"),
        "digits/fp32@ada:build_engine",
        "options.builder.workspace",
    ),
    "a target": (
        lambda p: p.edit("pipelines/digits.yaml", "ada: {gpu: rtx4090}", "ada: {gpu: [rtx4090, sm120]}"),
        "digits/fp32@ada:build_engine",
        "options.compute_capabilities",
    ),
    "the toolchain": (
        use_an_older_toolchain,
        "digits/fp32@ada:build_engine",
        "tools.toolchain.version",
    ),
    "what is kept": (
        lambda p: p.edit(
            "pipelines/digits.yaml", "{precision: fp16}", '{precision: fp16, keep: {fp32: ["op:Gemm"]}}'
        ),
        "digits/fp16:quantize",
        "options.keep",
    ),
}


def test_a_build_delivers_whole_cells(built):
    cell = built.root / "build" / "digits" / "fp16@ada"
    manifest = built.manifest("fp16@ada")

    assert {"model.engine", "model.onnx", "manifest.json", "build.log", "summary.md"} <= {
        path.name for path in cell.iterdir()
    }
    assert manifest["engine"]["bytes"] == (cell / "model.engine").stat().st_size
    assert manifest["compute_capabilities"] == ["sm89"]
    assert [one["name"] for one in manifest["io"]] == ["image", "logits"]
    assert manifest["toolchain"]["flavour"] == "tensorrt_rtx"
    assert "not run" in " ".join(manifest["not_run"]) or manifest["not_run"]
    assert built.leftovers() == []


def test_what_is_of_this_machine_keeps_itself_out_of_git(built):
    assert (built.root / ".trtpipe" / ".gitignore").read_text() == "*\n"


def test_a_second_build_has_nothing_to_do(copy):
    first = copy.run("build")
    second = copy.run("build")

    assert (first.code, second.code) == (0, 0)
    assert second.out == "nothing to do\n"
    assert second.err == ""


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_runs_what_depends_on_it_and_says_why(copy, what):
    change, address, field = CHANGES[what]
    change(copy)

    plan = json.loads(copy.run("plan", "--json").out)
    step = next(step for step in plan["steps"] if step["address"] == address)

    assert step["decision"] == "run"
    assert step["reason"]["cause"] == "changed"
    assert any(change["field"].startswith(field) for change in step["reason"]["changes"])


@pytest.mark.parametrize("what", ["a weight", "a shape", "what is kept"])
def test_after_a_change_is_built_nothing_is_to_do(copy, what):
    change, address, _ = CHANGES[what]
    change(copy)

    built = copy.run("build", "--json")
    again = copy.run("build")

    assert built.code == 0, built.err
    assert address in built.ran
    assert again.out == "nothing to do\n"


def test_a_change_that_does_not_matter_runs_nothing(copy):
    """A comment, a renamed target, a touched model: equal work keeps its key."""
    copy.edit("pipelines/digits.yaml", "schema: 1", "# a comment\nschema: 1")
    copy.edit("pipelines/digits.yaml", "ampere: {gpu: sm86}", "thirty: {gpu: 8.6}")
    (copy.root / "models" / "digits.onnx").touch()

    built = copy.run("build", "--json")

    assert built.ran == []
    assert (copy.root / "build" / "digits" / "fp32@thirty" / "manifest.json").exists()
    assert "digits/fp32@thirty:" in (copy.root / "trtpipe.lock").read_text()
    assert "digits/fp32@ampere:" not in (copy.root / "trtpipe.lock").read_text()


def test_a_removed_build_directory_is_restored(copy):
    engine = copy.engine()
    shutil.rmtree(copy.root / "build")

    built = copy.run("build", "--json")

    assert built.ran == []
    assert copy.engine() == engine
    assert copy.run("build").out == "nothing to do\n"


def test_a_changed_engine_in_the_build_directory_is_restored(copy):
    engine = copy.engine()
    path = copy.root / "build" / "digits" / "fp32@ada" / "model.engine"
    path.unlink()
    path.write_bytes(b"not an engine")

    built = copy.run("build", "--json")

    assert built.ran == []
    assert copy.engine() == engine


def test_a_removed_store_builds_nothing_while_cells_are_in_place(copy):
    copy.run("build")  # a copy has other inodes: deliver once
    shutil.rmtree(copy.root / ".trtpipe" / "store")

    assert copy.run("build").out == "nothing to do\n"


@pytest.mark.slow
def test_without_any_memory_everything_is_built_to_the_same_bytes(copy):
    engine, lock = copy.engine(), (copy.root / "trtpipe.lock").read_text()
    shutil.rmtree(copy.root / ".trtpipe")
    shutil.rmtree(copy.root / "build")

    built = copy.run("build", "--json")

    assert len(built.ran) == 9
    assert copy.engine() == engine
    assert (copy.root / "trtpipe.lock").read_text() == lock


def test_force_runs_every_step_to_the_same_bytes(copy):
    engine = copy.engine()

    built = copy.run("build", "--json", "--force")

    assert len(built.ran) == 9
    assert copy.engine() == engine


def test_only_builds_the_cells_that_match(project):
    built = project.run("build", "--json", "--only", "*/fp16@ada")

    assert built.code == 0, built.err
    stages = [address.rpartition(":")[2] for address in built.ran]
    assert stages == ["quantize", "build_engine", "parse", "import"]
    lock = (project.root / "trtpipe.lock").read_text()
    assert "digits/fp16@ada:" in lock
    assert "fp32" not in lock


def test_explain_tells_the_field_that_changed(copy):
    copy.edit("pipelines/digits.yaml", "workspace: 1GiB", "workspace: 512MiB")

    told = copy.run("explain", "digits/fp32@ada").out

    assert "options.builder.workspace: 1073741824 -> 536870912" in told
    assert "tools" in told and "tensorrt_rtx" in told


def test_the_plan_is_a_mermaid_graph_on_demand(built):
    graph = built.run("plan", "--graph", "mermaid").out

    assert graph.startswith("flowchart LR\n")
    assert graph.count("-->") == 8
