"""Accuracy as a gate: types are searched for within a budget, kept in the lockfile, and bisected when one fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
from fnmatch import fnmatchcase

import numpy as np
import onnx
import pytest
import yaml

from tests.projects import ROOT, Project, make_project
from tests.rescaled_digits import write_rescaled
from trtpipe.app.debug.subjects import open_subject
from trtpipe.building.performer import Performer
from trtpipe.building.planned import make_plan
from trtpipe.building.silent import Unheard
from trtpipe.errors import StepFailed
from trtpipe.plan.address import address
from trtpipe.plan.decisions import Run
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import open_workspace

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  auto: {precision: auto, calibration: digits-calib, budget: {accuracy_drop: 0.005}}
  int8: {precision: int8, calibration: digits-calib}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
builder: {workspace: 1GiB}
validate: {data: digits-val, corners: false, thresholds: [{metric: accuracy, min: 0.98}]}
"""
AUTO = "digits/auto@ada"


def digits(root, spec=SPEC):
    project = make_project(root, spec)
    shutil.copytree(ROOT / "calibration", project.root / "calibration")
    return project


@pytest.fixture
def healthy(tmp_path):
    return digits(tmp_path / "healthy")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The network with channels of very different magnitudes, built as far as it can be; and what the build said."""
    project = digits(tmp_path_factory.mktemp("rescaled") / "project")
    write_rescaled(project.root / "models/digits.onnx")
    project.plots = True
    return project, project.run("build", "--json", "--keep-going")


def copied(project, tmp_path, *, store=True):
    left_out = shutil.ignore_patterns() if store else shutil.ignore_patterns(".trtpipe", "build")
    shutil.copytree(project.root, tmp_path / "copy", symlinks=True, ignore=left_out)
    return Project(tmp_path / "copy")


def searched(done):
    """What the search said when it ended; None when it did not run."""
    ended = [e for e in done.events if e["event"] == "done" and e["ran"] and e["address"].endswith(":search")]
    return ended[0]["summary"] if ended else None


def delivered(project, name):
    return json.loads((project.root / "build/digits/auto@ada" / name).read_bytes())


def test_channels_of_all_magnitudes_trip_the_gate_and_the_search_recovers_them(built):
    project, done = built

    failed = done.events[-1]["failed"]
    assert [one["step"] for one in failed] == ["digits/int8@ada"]
    assert "accuracy 0.12, which must be at least 0.98" in failed[0]["problems"][0]["fact"]
    assert done.events[-1]["built"] == [AUTO]
    assert delivered(project, "precision.json")["keep"] == {"fp16": ["/c3/Conv"]}
    manifest = project.manifest("auto@ada")
    assert manifest["precision"] == "int8"
    assert manifest["validation"]["budget"] == {
        "goal": "accuracy at most 0.005 below the reference's", "value": 0.0, "inside": True,
        "spec": {"accuracy_drop": 0.005, "output": "*"},
    }  # fmt: skip


def test_points_are_in_the_manifest_and_the_front_in_the_summary(built):
    project, _ = built

    search = project.manifest("auto@ada")["search"]
    assert search["plot"] == "pareto.svg" and (project.root / "build/digits/auto@ada/pareto.svg").exists()
    summary = (project.root / "build/digits/auto@ada/summary.md").read_text()

    assert search["sensitivities"][0]["unit"] == "/c3/Conv"
    assert search["evaluations"] == len(delivered(project, "search.json")["points"])
    costs = [point["cost"] for point in search["front"]]
    noises = [point["noise"] for point in search["front"]]
    assert costs == sorted(costs)
    assert noises == sorted(noises, reverse=True)
    assert "| int8 | 1 fp16 |" in summary
    assert "found by a search within its budget" in summary


def test_searching_again_measures_nothing_and_finds_the_same(built, tmp_path):
    project = copied(built[0], tmp_path)
    before = delivered(project, "search.json")

    again = project.run("build", "--json", "--search-again", "--only", AUTO)

    assert again.ran == ["digits/auto:search"]
    assert searched(again)["evaluations_run"] == 0
    assert delivered(project, "search.json") == before
    assert project.run("build", "--only", AUTO).out == "nothing to do\n"


@pytest.mark.slow
def test_another_limit_searches_on_what_is_known_and_builds_nothing(built, tmp_path):
    project = copied(built[0], tmp_path)
    project.edit("pipelines/digits.yaml", "accuracy_drop: 0.005", "accuracy_drop: 0.005, max_evaluations: 50")

    again = project.run("build", "--json", "--only", AUTO)

    assert again.ran == ["digits/auto:search"]
    assert searched(again)["evaluations_run"] == 0


def test_a_clean_clone_takes_the_lockfiles_choice_without_searching(built, tmp_path, monkeypatch):
    project, _ = built
    clone = copied(project, tmp_path, store=False)
    locked = (clone.root / "trtpipe.lock").read_text()
    assert '    keep_fp16:\n      - "/c3/Conv"\n' in locked

    done = clone.run("build", "--json", "--only", AUTO)

    assert done.code == 0, done.err
    assert searched(done)["from"] == "the lockfile"
    assert not [one for one in done.events if one["event"] == "evaluated"]
    assert (clone.root / "trtpipe.lock").read_text() == locked

    assert_edited_choices_are_refused(clone, monkeypatch)


def assert_edited_choices_are_refused(clone, monkeypatch):
    """What was taken from a lockfile holds only as long as the lockfile says so, for a build and for `debug` alike."""
    lock = clone.root / "trtpipe.lock"
    lock.write_text(lock.read_text().replace("/c3/Conv", "/c1/Conv"))
    monkeypatch.chdir(clone.root)
    monkeypatch.delenv("TRTPIPE_STORE", raising=False)
    planned = make_plan(open_workspace([], (AUTO,)))
    search = address("search", "digits", "auto")
    ran = []

    def perform(self, action, scratch, control):
        ran.append(action.address)
        raise StepFailed(Code.STEP_CRASHED, "it is not to be taken from the store")

    monkeypatch.setattr(Performer, "__call__", perform)
    with pytest.raises(StepFailed), open_subject("digits/auto", [], Unheard(), searched=True):
        pass

    assert isinstance(planned.decisions[search], Run)
    assert ran == [search]


@pytest.mark.slow
def test_debug_prints_the_keep_that_mends_it(built, tmp_path):
    project = copied(built[0], tmp_path)

    found = project.run("debug", "digits/int8@ada")

    assert found.code == 0, found.err
    keep = "variants:\n  int8:\n    keep:\n      fp16: [/c3/Conv]\n"
    assert keep in found.out
    project.edit(
        "pipelines/digits.yaml",
        "int8: {precision: int8, calibration: digits-calib}",
        "int8: {precision: int8, calibration: digits-calib, keep: {fp16: [/c3/Conv]}}",
    )
    assert project.run("build", "--only", "digits/int8@ada").code == 0
    assert project.manifest("int8@ada")["validation"]["accuracy"] >= 0.98


@pytest.mark.slow
def test_debug_and_sensitivity_find_each_others_measurements(built, tmp_path):
    project = copied(built[0], tmp_path)

    told = project.run("sensitivity", "digits/int8", "--json")
    ranked = json.loads(told.out)
    again = json.loads(project.run("sensitivity", "digits/int8@ada", "--json", "--metric", "accuracy").out)

    assert told.err == "search   digits/int8: sensitivity\n", "no search of the plan is meant"
    assert ranked["units"][0]["unit"] == "/c3/Conv"
    assert ranked["units"][0]["value"] < 0.5
    assert ranked["units"][1]["value"] > 0.999
    assert again["evaluations_run"] == 0
    assert again["units"][0]["value"] == 0.12


@pytest.mark.slow
def test_an_auto_variant_is_ranked_by_what_it_may_try(built, tmp_path):
    project = copied(built[0], tmp_path)

    ranked = project.run("sensitivity", "digits/auto", "--kept", "--samples", "64")

    assert ranked.code == 0, ranked.err
    assert ranked.out.splitlines()[0].split()[-3:] == ["cosine", "if", "kept"]
    assert ranked.out.splitlines()[1].startswith("/c3/Conv")


@pytest.mark.parametrize(
    ("argv", "fact"),
    [
        (("sensitivity", "digits/plain"), "digits/plain@ada computes in fp32: no node is lowered"),
        (("debug", "digits/plain"), "digits/plain@ada computes in fp32: no node is lowered"),
        (
            ("sensitivity", "digits/int8", "--metric", "cosin"),
            "unknown metric 'cosin'\n  did you mean 'cosine'?",
        ),
        (("debug", "digits/int4"), "no cell matches 'digits/int4@*'"),
        (("debug", "digits/*"), "'digits/*' matches cells of several variants"),
    ],
    ids=["sensitivity of fp32", "debug of fp32", "metric", "no cell", "several"],
)
@pytest.mark.slow
def test_what_cannot_be_looked_at_is_told(healthy, argv, fact):
    healthy.edit("pipelines/digits.yaml", "  int8: {", "  plain: {}\n  int8: {")

    done = healthy.run(*argv)

    assert done.code == 2
    assert fact in done.err


@pytest.mark.slow
def test_debug_says_when_nothing_fails_and_when_it_is_not_the_precision(built, tmp_path):
    project = copied(built[0], tmp_path)

    fine = json.loads(project.run("debug", AUTO, "--json").out)
    project.edit("pipelines/digits.yaml", "metric: accuracy, min: 0.98", "metric: accuracy, min: 0.999")
    hopeless = project.run("debug", "digits/int8@ada")

    assert fine["verdict"] == "nothing fails"
    assert hopeless.code == 1
    assert "fails with every node in fp32, so its precision is not the cause" in hopeless.out


@pytest.mark.slow
def test_a_healthy_network_stays_cheap_whatever_runs_beside(healthy, tmp_path):
    other = copied(healthy, tmp_path, store=False)

    alone = healthy.run("build", "--json", "--only", AUTO, "--jobs", "1")
    beside = other.run("build", "--json", "--jobs", "3")

    assert alone.code == beside.code == 0, alone.err + beside.err
    assert delivered(healthy, "precision.json")["precision"] == "int8"
    assert delivered(healthy, "precision.json")["keep"] == {}
    assert delivered(healthy, "search.json") == delivered(other, "search.json")
    assert searched(alone)["evaluations"] == 1


@pytest.mark.slow
def test_a_tight_budget_is_bounded_by_evaluations_and_says_so(healthy):
    healthy.edit(
        "pipelines/digits.yaml",
        "budget: {accuracy_drop: 0.005}",
        "budget: {metric: cosine, min: 0.99998, samples: 64, max_evaluations: 5}",
    )

    done = healthy.run("build", "--json", "--only", AUTO)

    assert done.code == 0, done.err
    found = searched(done)
    assert (found["bounded"], found["evaluations"], found["evaluations_run"]) == ("max_evaluations", 5, 5)
    summary = (healthy.root / "build/digits/auto@ada/summary.md").read_text()
    assert "the search stopped at max_evaluations after 5 evaluations" in summary


@pytest.mark.slow
def test_a_budget_out_of_reach_names_the_best_and_what_limits_it(healthy):
    healthy.edit(
        "pipelines/digits.yaml", "budget: {accuracy_drop: 0.005}", "budget: {metric: accuracy, min: 0.995}"
    )

    done = healthy.run("build", "--only", AUTO)

    assert done.code == 1
    assert (
        "no types of int8, fp16 and fp32 that were tried satisfy the budget: accuracy at least 0.995"
        in done.err
    )
    assert "the best reached is accuracy 0.988, with precision" in done.err
    assert "pipelines/digits.yaml:5:" in done.err
    assert not (healthy.root / "build/digits").exists()


@pytest.mark.slow
def test_samples_that_are_too_few_do_not_ship_what_the_whole_set_refuses(healthy):
    arrays = dict(np.load(healthy.root / "calibration/digits/val.npz"))
    arrays["image"][8:] *= 4  # beyond what was calibrated
    np.savez(healthy.root / "calibration/digits/val.npz", **arrays)
    healthy.edit(
        "pipelines/digits.yaml",
        "budget: {accuracy_drop: 0.005}",
        "budget: {metric: cosine, min: 0.99, samples: 8}",
    )

    done = healthy.run("build", "--only", AUTO)

    assert done.code == 1
    assert "over its budget: output 'logits' has cosine" in done.err
    assert "the search measured only 8 samples: raise budget.samples" in done.err


@pytest.mark.parametrize(
    ("old", "new", "fact"),
    [
        (", budget: {accuracy_drop: 0.005}", "", "precision 'auto' needs a budget"),
        ("accuracy_drop: 0.005", "metric: cosine, min: 0.9, output: logit", "matches no output of the model"),
        ("budget:", "try: [int9], budget:", "unknown precision 'int9'"),
        ("budget:", "try: [fp16, fp16], budget:", "precision 'fp16' is tried twice"),
        ("auto, calibration: digits-calib,", "auto, try: [int8],", "precision 'int8' needs a calibration"),
        ("budget:", "base: fp16, budget:", "precision 'auto' does not support base"),
        ("precision: auto, ", "precision: int8, ", "'budget' applies to precision 'auto' only"),
        ("data: digits-val", "random: {samples: 4}", "the validation data has no labels"),
        (
            "gpu: rtx4090}",
            "gpu: sm86}",
            "digits/auto@ada: TensorRT-RTX has no fp8 for sm86",
        ),
        ("budget:", "block_size: 64, budget:", "none of int8, fp16 uses blocks"),
        ("budget:", "try: [int4, mxfp8], block_size: 64, budget:", "precision 'mxfp8' has blocks of 32"),
    ],
    ids=[
        "no budget",
        "output",
        "unknown",
        "twice",
        "no scales",
        "base",
        "not auto",
        "no labels",
        "no type",
        "no blocks",
        "other blocks",
    ],
)
def test_check_refuses_what_no_search_could_do(healthy, old, new, fact):
    if "no fp8" in fact:
        healthy.edit("pipelines/digits.yaml", "budget:", "try: [fp8, fp16], budget:")
    healthy.edit("pipelines/digits.yaml", old, new)

    done = healthy.run("check")

    assert done.code == 2
    assert fact in done.err
    assert "pipelines/digits.yaml:" in done.err


@pytest.mark.slow
def test_what_every_candidate_of_a_search_refuses_is_said_once(healthy):
    healthy.edit("pipelines/digits.yaml", "budget:", "keep: {fp32: [op:Nope]}, budget:")

    done = healthy.run("check", "--only", AUTO)

    assert done.code == 2
    assert done.err.count("no node of the model has operator 'Nope'") == 1


ODD = 'op:c3 [0]*: "it\'s" #\x85é\n'


@pytest.mark.slow
def test_a_name_that_is_no_plain_glob_goes_through_lockfile_and_yaml(tmp_path):
    project = digits(tmp_path / "project")
    path = project.root / "models/digits.onnx"
    write_rescaled(path)
    model = onnx.load(path)
    next(node for node in model.graph.node if node.name == "/c3/Conv").name = ODD
    onnx.save(model, path)

    done = project.run("build", "--json", "--only", AUTO)
    debugged = project.run("debug", "digits/int8@ada")
    clone = copied(project, tmp_path, store=False)
    again = clone.run("build", "--json", "--only", AUTO)

    assert done.code == again.code == 0, done.err + again.err
    (kept,) = delivered(project, "precision.json")["keep"]["fp16"]
    assert fnmatchcase(ODD, kept)
    assert yaml.safe_load((project.root / "trtpipe.lock").read_text())["cells"][AUTO]["keep_fp16"] == [kept]
    assert searched(again)["from"] == "the lockfile"
    pasted = debugged.out[debugged.out.index("variants:") : debugged.out.rindex("\n", 0, -1)]
    assert yaml.safe_load(pasted)["variants"]["int8"]["keep"]["fp16"] == [kept]


@pytest.mark.slow
def test_a_lockfile_that_was_edited_into_nonsense_is_searched_past(built, tmp_path):
    clone = copied(built[0], tmp_path, store=False)
    clone.edit("trtpipe.lock", "precision: int8", "precision: int3")

    done = clone.run("build", "--json", "--only", AUTO)

    assert done.code == 0, done.err
    assert searched(done)["from"] == "a search"


@pytest.mark.slow
def test_an_edited_choice_does_not_outlive_the_edit(built, tmp_path):
    clone = copied(built[0], tmp_path, store=False)
    good = (clone.root / "trtpipe.lock").read_text()
    assert '      - "/c3/Conv"\n' in good
    clone.edit("trtpipe.lock", '      - "/c3/Conv"\n', '      - "/c3/Conv"\n      - "/c2/Conv"\n')
    edited = clone.run("build", "--json", "--only", AUTO)
    assert edited.code == 0 and searched(edited)["from"] == "the lockfile"

    clone.write("trtpipe.lock", good)
    back = clone.run("build", "--json", "--only", AUTO)
    assert back.code == 0 and searched(back)["from"] == "the lockfile"
    assert (clone.root / "trtpipe.lock").read_text() == good

    (clone.root / "trtpipe.lock").unlink()
    anew = clone.run("build", "--json", "--only", AUTO)
    assert anew.code == 0 and searched(anew)["from"] == "a search"


@pytest.mark.parametrize(
    "glob",
    ["**", pytest.param("nosuch", marks=pytest.mark.slow), pytest.param("op:Conv", marks=pytest.mark.slow)],
)
def test_a_choice_that_names_no_node_is_searched_past_and_told(built, tmp_path, glob):
    clone = copied(built[0], tmp_path, store=False)
    clone.edit("trtpipe.lock", '      - "/c3/Conv"\n', f'      - "{glob}"\n')

    done = clone.run("build", "--only", AUTO)

    assert done.code == 0, done.err
    assert "is not a possible result of a search: searching again" in done.err
    assert '      - "/c3/Conv"\n' in (clone.root / "trtpipe.lock").read_text()


@pytest.mark.slow
def test_an_interrupted_search_leaves_nothing_behind_and_goes_on_where_it_stopped(healthy):
    healthy.edit("pipelines/digits.yaml", "accuracy_drop: 0.005", "metric: cosine, min: 0.99998")
    running = healthy.start("build", "--json", "--only", AUTO)
    assert running.stdout is not None
    measured = 0
    for line in running.stdout:
        measured += json.loads(line)["event"] == "evaluated"
        if measured == 2:
            os.killpg(running.pid, signal.SIGTERM)
            break
    running.communicate(timeout=60)

    done = healthy.run("build", "--json", "--only", AUTO)

    assert running.returncode == 130
    assert done.code == 0, done.err
    found = searched(done)
    assert found["evaluations_run"] <= found["evaluations"] - 2
    assert healthy.leftovers() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "validate"),
    [
        ("{precision: auto, budget: {metric: cosine, min: 0.999}}", "{random: {samples: 4}}"),
        ("{precision: auto, try: [bf16, fp16], budget: {metric: snr, min: 50}}", "{random: {samples: 4}}"),
        (
            "{precision: auto, try: [mxfp8, fp8, fp16], calibration: digits-calib, budget: {accuracy_drop: 0.01}}",
            "{data: digits-val, samples: 64}",
        ),
        (
            "{precision: auto, try: [int8], calibration: digits-calib, "
            "keep: {fp32: [/c1/Conv, /c2/Conv, /c3/Conv]}, budget: {accuracy_drop: 0.01}}",
            "{data: digits-val, samples: 64}",
        ),
        (
            "{precision: auto, try: [int4, bf16], block_size: 16, keep: {fp32: [/c1/Conv]}, "
            "budget: {metric: top1_agreement, min: 0.98}}",
            "{data: digits-val, samples: 64}",
        ),
    ],
    ids=["random inputs", "bf16", "two quantized types", "most held", "weights alone"],
)
def test_every_kind_of_candidate_can_be_searched(healthy, variant, validate):
    healthy.edit(
        "pipelines/digits.yaml",
        "{precision: auto, calibration: digits-calib, budget: {accuracy_drop: 0.005}}",
        variant,
    )
    healthy.edit(
        "pipelines/digits.yaml",
        "{data: digits-val, corners: false, thresholds: [{metric: accuracy, min: 0.98}]}",
        validate,
    )

    done = healthy.run("build", "--json", "--only", AUTO)

    assert done.code == 0, done.err
    assert healthy.manifest("auto@ada")["validation"]["budget"]["inside"]
    held = delivered(healthy, "precision.json")["keep"].get("fp32", [])
    assert ("/c1/Conv" in held) == ("/c1/Conv" in variant)
