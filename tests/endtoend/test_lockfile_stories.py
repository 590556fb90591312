"""The lockfile enforced: what CI refuses and what it builds, `lock`, and branches that were merged."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.endtoend.test_build_stories import change_a_weight
from tests.projects import Project, make_project

SMALL = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants:
  fp32: {}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
builder: {workspace: 1GiB}
"""
SPEC, LOCK = "pipelines/digits.yaml", "trtpipe.lock"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """One cell, built."""
    project = make_project(tmp_path_factory.mktemp("small") / "project", SMALL)
    done = project.run("build")
    assert done.code == 0, done.err
    return project


@pytest.fixture
def mine(small, tmp_path):
    """A copy of what was built, store included."""
    shutil.copytree(small.root, tmp_path / "mine", symlinks=True)
    return Project(tmp_path / "mine")


@pytest.fixture
def clone(small, tmp_path):
    """What is in version control, on a machine that never built anything."""
    ignored = shutil.ignore_patterns("build", ".trtpipe")
    shutil.copytree(small.root, tmp_path / "clone", ignore=ignored)
    return Project(tmp_path / "clone")


def lock_of(project):
    return (project.root / LOCK).read_text()


def nothing_was_written(project, lock):
    return lock_of(project) == lock and not (project.root / "build").exists()


# -- in CI


def test_a_clone_that_is_what_the_lockfile_says_is_checked_without_building_and_built(small, clone):
    checked = clone.run("lock", "--check")
    assert (checked.code, checked.out) == (
        0,
        "the lockfile agrees with the cell; 1 engine is not built here, but equal by key\n",
    )
    assert not (clone.root / ".trtpipe").exists()

    built = clone.run("build", "--frozen")

    assert built.code == 0, built.err
    assert clone.engine() == small.engine()
    assert lock_of(clone) == lock_of(small)
    assert clone.run("build", "--frozen").out == "nothing to do\n"
    assert clone.run("lock", "--check").out == "the lockfile agrees with the cell\n"


def add_a_target(project):
    project.edit(SPEC, "  ada: {gpu: rtx4090}", "  ada: {gpu: rtx4090}\n  ampere: {gpu: sm86}")


REFUSED = {
    "a weight": (change_a_weight, ["source model.onnx: ", "digits:import recipe: "]),
    "a profile": (lambda p: p.edit(SPEC, "opt: 16x1x8x8", "opt: 8x1x8x8"), ["  key: "]),
    "a precision": (
        lambda p: p.edit(SPEC, "fp32: {}", "fp32: {precision: fp16}"),
        ["digits/fp32:quantize recipe: "],
    ),
    "a gpu": (lambda p: p.edit(SPEC, "rtx4090", "sm86"), ["compute_capabilities: sm89 -> sm86", "  key: "]),
    "a new target": (add_a_target, ["digits/fp32@ampere:", "cell: not in the lockfile -> to be built"]),
    "a target that is gone": (
        lambda p: p.edit(SPEC, "ada:", "lovelace:"),
        ["digits/fp32@ada:", "cell: in the lockfile -> not in the spec"],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_the_lockfile_does_not_say_is_refused_before_anything_runs(clone, what):
    change, told = REFUSED[what]
    lock = lock_of(clone)
    change(clone)

    refused = clone.run("build", "--frozen")
    checked = clone.run("lock", "--check")

    assert (refused.code, checked.code) == (3, 3)
    for text in told:
        assert text in refused.err
        assert text in checked.out
    assert not (clone.root / ".trtpipe").exists()
    assert nothing_was_written(clone, lock)


def test_where_it_was_built_the_difference_is_told_down_to_the_option(mine):
    mine.edit(SPEC, "workspace: 1GiB", "workspace: 2GiB")
    lock = lock_of(mine)

    refused = mine.run("build", "--frozen")

    assert refused.code == 3
    assert "digits/fp32@ada:build_engine options.builder.workspace: 1073741824 -> 2147483648" in refused.err
    assert "run `trtpipe build` and commit the lockfile, or undo the change" in refused.err
    assert lock_of(mine) == lock


def test_an_engine_that_comes_out_otherwise_is_told_and_not_delivered(clone):
    lock = lock_of(clone)
    start = lock.index("engine: ") + len("engine: ")
    forged = lock[:start] + "0" * 64 + lock[start + 64 :]
    clone.write(LOCK, forged)

    refused = clone.run("build", "--frozen", "--json")

    assert refused.code == 3
    end = refused.events[-1]
    assert (end["built"], end["lock_changed"]) == ([], False)
    (failed,) = end["failed"]
    assert "engine: 000000000000 (" in failed["problems"][0]["remedy"]
    assert nothing_was_written(clone, forged)
    clone.write(LOCK, lock)
    again = clone.run("build", "--frozen", "--json")
    assert (again.code, again.ran) == (0, [])


def test_a_lockfile_that_is_missing_old_or_in_conflict_cannot_be_kept_to(mine):
    lock = lock_of(mine)
    texts = {
        "has schema 1": lock[: lock.index("steps:")].replace("schema: 3", "schema: 1"),
        "contains a merge conflict": lock.replace(
            "    python: ", "<<<<<<< HEAD\n    python: x\n=======\n    python: y\n>>>>>>> b\n    base: "
        ),
    }
    for told, text in texts.items():
        mine.write(LOCK, text)
        refused = mine.run("build", "--frozen")
        assert (refused.code, told in refused.err) == (3, True), refused.err
        assert lock_of(mine) == text
    (mine.root / LOCK).unlink()
    assert "there is no lockfile" in mine.run("build", "--frozen").err

    assert mine.run("build").code == 0
    assert lock_of(mine) == lock


def test_a_remote_source_without_a_pin_is_an_error_where_the_lockfile_is_kept_to(mine):
    mine.edit(SPEC, "models/digits.onnx", "https://example.com/digits.onnx")

    refused = mine.run("build", "--frozen")

    assert refused.code == 2
    assert f"{SPEC}:3:17: https://example.com/digits.onnx has no pin" in refused.err


# -- lock


def test_lock_writes_what_is_known_and_names_what_is_not(mine):
    lock = lock_of(mine)
    (mine.root / LOCK).unlink()

    assert (mine.run("lock").out, lock_of(mine)) == ("lockfile written\n", lock)
    shutil.rmtree(mine.root / "build")  # the store knows as much
    (mine.root / LOCK).unlink()
    assert (mine.run("lock").code, lock_of(mine)) == (0, lock)

    add_a_target(mine)
    told = mine.run("lock")
    report = json.loads(mine.run("lock", "--check", "--json").out)

    assert (told.code, told.out) == (3, "unknown without a build: digits/fp32@ampere\nnothing to write\n")
    assert report["not_known_without_a_build"] == ["digits/fp32@ampere"]
    assert [one["cell"] for one in report["differences"]] == ["digits/fp32@ampere"]
    assert not (mine.root / "build").exists()


def test_a_line_that_was_cut_out_of_the_lockfile_is_missed(clone):
    lines = lock_of(clone).splitlines(True)
    steps = lines.index("steps:\n")
    clone.write(LOCK, "".join([*lines[:steps], *(one for one in lines[steps:] if "model.onnx" not in one)]))

    checked = clone.run("lock", "--check")

    assert (checked.code, checked.err) == (3, "")
    assert "the lockfile's own facts do not lead to its engine -> to be built" in checked.out


# -- branches


def git(project, *arguments, code=0):
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=trunk")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=project.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def commit_all(project, words):
    git(project, "add", "pipelines", "models", LOCK)
    git(project, "commit", "-q", "-m", words)


@pytest.fixture
def versioned(mine):
    if shutil.which("git") is None:
        pytest.skip("not run: needs git")
    git(mine, "init", "-q")
    commit_all(mine, "Begin")
    return mine


def on_a_branch(project, name, change):
    git(project, "checkout", "-q", "trunk")
    git(project, "checkout", "-q", "-b", name)
    change(project)
    built = project.run("build")
    assert built.code == 0, built.err
    commit_all(project, name)


def test_branches_that_build_different_cells_merge_and_need_no_build(versioned):
    def add_a_pipeline(project):
        text = (project.root / SPEC).read_text()
        project.write("pipelines/other.yaml", text.replace("pipeline: digits", "pipeline: other"))

    on_a_branch(versioned, "other", add_a_pipeline)
    on_a_branch(versioned, "narrow", lambda p: p.edit(SPEC, "workspace: 1GiB", "workspace: 2GiB"))

    git(versioned, "merge", "-q", "--no-edit", "other")

    checked = versioned.run("lock", "--check")
    assert (checked.code, checked.out) == (0, "the lockfile agrees with all 2 cells\n")
    assert versioned.run("build", "--frozen").code == 0
    assert versioned.run("build").out == "nothing to do\n"


def test_a_merge_conflict_in_the_lockfile_is_settled_by_a_build(versioned):
    on_a_branch(versioned, "weight", change_a_weight)
    on_a_branch(versioned, "room", lambda p: p.edit(SPEC, "workspace: 1GiB", "workspace: 2GiB"))
    git(versioned, "merge", "-q", "--no-edit", "weight", code=1)
    assert "<<<<<<< HEAD" in lock_of(versioned)

    frozen = versioned.run("build", "--frozen")
    checked = versioned.run("lock", "--check")
    built = versioned.run("build", "--json")

    assert frozen.code == 3 and "contains a merge conflict" in frozen.err
    assert checked.code == 3 and "contains a merge conflict" in checked.out
    assert built.code == 0, built.err
    assert "digits/fp32@ada:build_engine" in built.ran  # neither branch had this engine
    assert "<<<<<<<" not in lock_of(versioned)
    assert versioned.run("build", "--frozen").out == "nothing to do\n"
    assert versioned.run("build").out == "nothing to do\n"


# -- built again


@pytest.mark.slow
def test_everything_built_again_is_graded_and_nothing_is_replaced(mine):
    lock = lock_of(mine)
    before = {path: path.stat().st_mtime_ns for path in (mine.root / ".trtpipe" / "store").rglob("*.json")}

    checked = mine.run("build", "--check")
    forged = lock.replace("engine: ", "engine: 0").replace("normalised: ", "normalised: 0")
    mine.write(LOCK, forged)
    other = mine.run("build", "--check", "--json")
    mine.edit(SPEC, "workspace: 1GiB", "workspace: 2GiB")
    changed = mine.run("build", "--check", "digits/fp32@ada")

    assert checked.code == 0, checked.err
    assert checked.out.splitlines()[1:] == [
        "digits:import         identical  ok",
        "digits/fp32:quantize  identical  ok",
        "digits/fp32@ada       identical  ok",
        "built 3 again: 3 identical",
    ]
    grades = {one["name"]: one["grade"] for one in other.events if one["event"] == "graded"}
    assert (other.code, grades["digits/fp32@ada"]) == (3, "different")
    assert changed.code == 3
    assert "not run: the lockfile has another key" in changed.out
    assert lock_of(mine) == forged
    after = {path: path.stat().st_mtime_ns for path in (mine.root / ".trtpipe" / "store").rglob("*.json")}
    assert after == before


def test_a_decision_names_the_commit_that_changed_its_input(versioned):
    versioned.edit(SPEC, "workspace: 1GiB", "workspace: 2GiB")
    commit_all(versioned, "Give the builder more room")

    why = versioned.run("plan", "--why").out
    told = versioned.run("explain", "digits/fp32@ada").out

    line = 1 + (versioned.root / SPEC).read_text().splitlines().index("builder: {workspace: 2GiB}")
    changed = "options.builder.workspace: 1073741824 -> 2147483648"
    for text in (why, told):
        assert f"{changed}\n    at {SPEC}:{line}\n    last change: " in text
        assert "Give the builder more room" in text
