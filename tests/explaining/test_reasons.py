"""Why a step is what it is: chains from what changed to the step, and the commit that changed it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.git.blame import NOT_COMMITTED, Commit, History
from trtpipe.plan.address import Address, address
from trtpipe.plan.decisions import Pending, Restore, Run, UpToDate
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.graph import FromStep, Source, Step, plan_of
from trtpipe.plan.options import NO_TRANSFORM
from trtpipe.plan.origins import NO_INPUT, FromMaker, InDataSet, InFile, InSpec, Nowhere
from trtpipe.plan.reasons import Changed, First, Forced, MissingOutput
from trtpipe.text.causes import Cause
from trtpipe.text.reasons import because, ways_to, why_json, why_text

OLD, NEW = f"{'a' * 64}/1", f"{'b' * 64}/2"


at = Address.parse


def step(address, *needs):
    inputs = {"model": tuple(FromStep(at(need), ("model.onnx",)) for need in needs)}
    if not needs:
        inputs = {"source": (Source("model.onnx", Path("m.onnx"), digest_bytes(b"m")),)}
    return Step(at(address), NO_TRANSFORM, {}, inputs)


STEPS = [
    step("p:import"),
    step("p/a:quantize", "p:import"),
    step("p/a@x:build_engine", "p/a:quantize"),
]
PLAN = plan_of({one.address: one for one in STEPS}, ())
SOURCE = Run(
    "k", Changed((Change("inputs.source.model.onnx", OLD, NEW, ("inputs", "source", "model.onnx")),))
)


def test_a_chain_goes_from_the_file_that_changed_to_the_step_that_waits():
    decisions = {
        at("p:import"): SOURCE,
        at("p/a:quantize"): Pending((at("p:import"),)),
        at("p/a@x:build_engine"): Pending((at("p/a:quantize"),)),
    }
    commit = Commit("1a2b3c4", "2026-11-20", "Train longer")
    cause = Cause(InFile(Path("m.onnx")), "models/m.onnx", 0, commit)

    said = why_text(PLAN, decisions, {(at("p:import"), "inputs.source.model.onnx"): cause})

    assert said.split("\n\n") == [
        "p:import: run\n"
        "  inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)\n"
        "    at models/m.onnx\n"
        "    last change: 1a2b3c4 2026-11-20 Train longer",
        "p/a:quantize: pending\n"
        "  p:import -> p/a:quantize: runs if what is before it yields other bytes\n"
        "    inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)\n"
        "      at models/m.onnx\n"
        "      last change: 1a2b3c4 2026-11-20 Train longer",
        "p/a@x:build_engine: pending\n"
        "  p:import -> p/a:quantize -> p/a@x:build_engine: runs if what is before it yields other bytes\n"
        "    inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)\n"
        "      at models/m.onnx\n"
        "      last change: 1a2b3c4 2026-11-20 Train longer",
    ]


def test_an_input_that_another_step_made_is_told_with_its_maker():
    run = Run("k", Changed((Change("inputs.model.model.onnx", OLD, NEW, ("inputs", "model", "model.onnx")),)))
    decisions = {
        at("p:import"): UpToDate("k", {}),
        at("p/a:quantize"): run,
        at("p/a@x:build_engine"): Pending((at("p/a:quantize"),)),
    }

    assert because(PLAN, decisions, at("p/a:quantize"), {})[1:] == [
        "  p:import yields it, and it yields other bytes now"
    ]
    assert STEPS[0].origin(("inputs", "source", "model.onnx")) == InFile(Path("m.onnx"))
    assert STEPS[1].origin(("inputs", "model", "model.onnx")) == FromMaker(at("p:import"))
    assert STEPS[1].origin(("inputs", "scales", "scales.json")) == NO_INPUT


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        (Run("k", First()), "never built here"),
        (Run("k", Forced()), "asked for"),
        (Run("k", MissingOutput(("model.onnx",))), "the store lost model.onnx"),
        (Restore("k", {}, ("p/a@x/",)), "the store has all of it; to be delivered: p/a@x/"),
        (UpToDate("k", {}), "what it depends on is what it was, and what it yields is known"),
    ],
)
def test_every_decision_has_its_words(decision, told):
    assert because(PLAN, {at("p:import"): decision}, at("p:import"), {}) == [told]


def test_a_step_that_waits_for_two_that_run_has_two_chains():
    a, b, c, d = (address("import", name) for name in "abcd")
    decisions = {a: SOURCE, b: SOURCE, c: Pending((a, b)), d: Pending((c, a))}

    assert ways_to(decisions, d) == [[a, d], [b, c, d]]


PROFILE = Change("options.profiles[0].x.opt", [1], [2], ("options", "profiles", 0, "x", "opt"))
LEVEL = Change("options.precision", "fp32", "fp16", ("options", "precision"))


def test_a_step_that_waits_tells_its_own_changes_first_and_those_on_the_way_to_it():
    decisions = {
        at("p:import"): SOURCE,
        at("p/a:quantize"): Pending((at("p:import"),), (LEVEL,)),
        at("p/a@x:build_engine"): Pending((at("p/a:quantize"),), (PROFILE,)),
    }
    cause = Cause(InSpec(("profiles",)), "p.yaml", 7)

    said = because(
        PLAN, decisions, at("p/a@x:build_engine"), {(at("p/a@x:build_engine"), PROFILE.field): cause}
    )

    source = "inputs.source.model.onnx: aaaaaaaaaaaa (1 bytes) -> bbbbbbbbbbbb (2 bytes)"
    assert said == [
        "options.profiles[0].x.opt: [1] -> [2]",
        "  at p.yaml:7",
        "p/a:quantize -> p/a@x:build_engine: runs if what is before it yields other bytes",
        "  options.precision: fp32 -> fp16",
        "p:import -> p/a:quantize -> p/a@x:build_engine: runs if what is before it yields other bytes",
        f"  {source}",
    ]


def test_a_step_that_is_asked_for_runs_behind_what_it_waits_for():
    decisions = {
        at("p:import"): Run("k", Forced()),
        at("p/a:quantize"): Pending((at("p:import"),), forced=True),
    }

    assert because(PLAN, decisions, at("p/a:quantize"), {}) == [
        "asked for",
        "p:import -> p/a:quantize: runs behind it",
        "  asked for",
    ]


def test_json_holds_the_chain_and_leaves_out_what_is_up_to_date():
    decisions = {
        at("p:import"): SOURCE,
        at("p/a:quantize"): Pending((at("p:import"),)),
        at("p/a@x:build_engine"): UpToDate("k", {}),
    }

    cause = Cause(InFile(Path("m.onnx")), "models/m.onnx", 0, NOT_COMMITTED)
    first, second = why_json(PLAN, decisions, {(at("p:import"), "inputs.source.model.onnx"): cause})

    assert first["places"] == {"inputs.source.model.onnx": {"kind": "file", "file": "models/m.onnx"}}
    assert first["commits"]["inputs.source.model.onnx"]["committed"] is False
    assert second["follows_from"] == [["p:import", "p/a:quantize"]]


@pytest.mark.parametrize(
    ("cause", "place", "record"),
    [
        (Cause(InSpec(("builder",)), "p.yaml", 3), "p.yaml:3", {"kind": "spec", "file": "p.yaml", "line": 3}),
        (Cause(InDataSet("d"), "d.yaml", 2), "d.yaml:2", {"kind": "data_set", "file": "d.yaml", "line": 2}),
        (Cause(InDataSet("d")), "", {"kind": "data_set", "file": None, "line": None}),
        (Cause(InFile(Path("/m.onnx")), "m.onnx"), "m.onnx", {"kind": "file", "file": "m.onnx"}),
        (Cause(FromMaker(at("p:import"))), "", {"kind": "step", "address": "p:import"}),
        (Cause(Nowhere("a constant")), "", {"kind": "nowhere", "why": "a constant"}),
    ],
)
def test_a_place_as_people_read_it_and_as_json(cause, place, record):
    assert cause.place == place
    assert cause.place_json() == record


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
