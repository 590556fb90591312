"""Why a step is what it is: chains from what changed to the step, and the commit that changed it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.plan.decisions import Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import FromStep, Source, Step, plan_of
from trtpipe.plan.reasons import Changed, First, Forced, MissingOutput
from trtpipe.rendering.reasons import because, maker_of, ways_to, why_json, why_text
from trtpipe.system.causes import spec_path_of
from trtpipe.system.commits import NOT_COMMITTED, Commit, History

OLD, NEW = f"{'a' * 64}/1", f"{'b' * 64}/2"


def step(address, *needs, stage="quantize"):
    inputs = {"model": tuple(FromStep(need, ("model.onnx",)) for need in needs)}
    if not needs:
        inputs = {"source": (Source("model.onnx", Path("m.onnx"), digest_bytes(b"m")),)}
    return Step(address, stage, {}, {}, inputs)


STEPS = [
    step("p:import", stage="import"),
    step("p/a:quantize", "p:import"),
    step("p/a@x:build_engine", "p/a:quantize", stage="build_engine"),
]
PLAN = plan_of({one.address: one for one in STEPS}, ())
SOURCE = Run("k", Changed((Change("inputs.source.model.onnx", OLD, NEW),)))


def test_a_chain_goes_from_the_file_that_changed_to_the_step_that_waits():
    decisions = {
        "p:import": SOURCE,
        "p/a:quantize": Pending(("p:import",)),
        "p/a@x:build_engine": Pending(("p/a:quantize",)),
    }
    commit = Commit("1a2b3c4", "2026-11-20", "Train longer")

    said = why_text(PLAN, decisions, {("p:import", "inputs.source.model.onnx"): commit})

    assert said.split("\n\n") == [
        "p:import: run\n"
        "  inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)\n"
        "    last change: 1a2b3c4 2026-11-20 Train longer",
        "p/a:quantize: pending\n"
        "  p:import -> p/a:quantize: runs if what is before it yields other bytes\n"
        "    inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)\n"
        "      last change: 1a2b3c4 2026-11-20 Train longer",
        "p/a@x:build_engine: pending\n"
        "  p:import -> p/a:quantize -> p/a@x:build_engine: runs if what is before it yields other bytes\n"
        "    inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)\n"
        "      last change: 1a2b3c4 2026-11-20 Train longer",
    ]


def test_an_input_that_another_step_made_is_told_with_its_maker():
    run = Run("k", Changed((Change("inputs.model.model.onnx", OLD, NEW),)))
    decisions = {
        "p:import": UpToDate("k", {}),
        "p/a:quantize": run,
        "p/a@x:build_engine": Pending(("p/a:quantize",)),
    }

    assert because(PLAN, decisions, "p/a:quantize", {})[1:] == [
        "  p:import yields it, and it yields other bytes now"
    ]
    assert maker_of(STEPS[0], "inputs.source.model.onnx") == ""


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (Run("k", First()), "never built here"),
        (Run("k", Forced()), "asked for"),
        (Run("k", MissingOutput(("model.onnx",))), "the store lost model.onnx"),
        (Restore("k", {}, ("p/a@x/",)), "the store has all of it; not in build/: p/a@x/"),
        (UpToDate("k", {}), "what it depends on is what it was, and what it yields is known"),
    ],
)
def test_every_decision_has_its_words(decision, told):
    assert because(PLAN, {"p:import": decision}, "p:import", {}) == [told]


def test_a_step_that_waits_for_two_that_run_has_two_chains():
    decisions = {"a": SOURCE, "b": SOURCE, "c": Pending(("a", "b")), "d": Pending(("c", "a"))}

    assert ways_to(decisions, "d") == [["a", "d"], ["b", "c", "d"]]


def test_json_holds_the_chain_and_leaves_out_what_is_up_to_date():
    decisions = {
        "p:import": SOURCE,
        "p/a:quantize": Pending(("p:import",)),
        "p/a@x:build_engine": UpToDate("k", {}),
    }

    first, second = why_json(PLAN, decisions, {("p:import", "inputs.source.model.onnx"): NOT_COMMITTED})

    assert first["commits"]["inputs.source.model.onnx"]["committed"] is False
    assert second["follows_from"] == [["p:import", "p/a:quantize"]]


@pytest.mark.parametrize(
    ("address", "stage", "name", "path"),
    [
        ("p/a@x:build_engine", "build_engine", "options.builder.workspace", ("builder", "workspace")),
        ("p/a@x:build_engine", "build_engine", "options.profiles[1].image.opt", ("profiles", 1, "image")),
        ("p/a@x:build_engine", "build_engine", "options.compute_capabilities", ("targets", "x", "gpu")),
        ("p/a@x:build_engine", "build_engine", "tools.toolchain.version", ("targets", "x")),
        ("p/a:quantize", "quantize", "options.keep.fp32", ("variants", "a", "keep")),
        ("p/a:validate", "validate", "options.samples", ("validate", "samples")),
        ("p:import", "import", "options.options.opset", ("model", "options", "opset")),
        ("p:transform", "transform", "options.bind.sr", ("transform", "bind")),
        ("p:import", "import", "tools.onnx", ()),
    ],
)
def test_a_field_leads_to_its_place_in_the_spec(address, stage, name, path):
    assert spec_path_of(step(address, stage=stage), name) == path


# -- git


@pytest.fixture
def repository(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("not run: needs git")

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    for number, words in enumerate(("Begin", "Change the second line")):
        (tmp_path / "spec.yaml").write_text(f"one: 1\ntwo: {number}\n")
        git("add", "spec.yaml")
        git("commit", "-q", "-m", words)
    return tmp_path


def test_git_knows_who_changed_a_file_and_a_line(repository):
    history, path = History(repository), repository / "spec.yaml"

    assert history.last_change(path).subject == "Change the second line"
    assert history.last_change(path, 2).subject == "Change the second line"
    assert history.last_change(path, 1).subject == "Begin"


def test_what_is_not_committed_is_said_to_be_so(repository):
    path = repository / "spec.yaml"
    path.write_text("one: 1\ntwo: 9\n")
    (repository / "new.yaml").write_text("x")
    history = History(repository)

    assert history.last_change(path) == NOT_COMMITTED
    assert history.last_change(path, 2) == NOT_COMMITTED
    assert history.last_change(path, 1).subject == "Begin"
    assert history.last_change(repository / "new.yaml") == NOT_COMMITTED


def test_without_a_repository_or_without_time_there_is_silence(tmp_path, repository):
    (tmp_path / "alone").mkdir()

    assert History(repository, _left=0).last_change(repository / "spec.yaml") is None
    assert History(repository).last_change(repository / "spec.yaml", 99) is None
    assert History(tmp_path / "gone").last_change(tmp_path / "x") is None
