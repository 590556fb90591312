"""What `trtpipe ci init github` writes, run as GitHub runs it: builds, proofs, a comment that is kept up to date."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.endtoend.ci_machines import Machines, Repository
from tests.endtoend.github_runner import GitHub, JobRun
from tests.projects import ROOT, Project

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="not run: needs jq")

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
builder: {workspace: 1GiB}
validate: {random: {seed: 1, samples: 3}, thresholds: [{metric: cosine, min: 0.99}]}
"""
CELL = "digits/fp32@ada"
SPEC_FILE = "pipelines/digits.yaml"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("github")


@pytest.fixture(scope="module")
def remote(place):
    """A remote store, as a directory that all runners see."""
    (place / "remote").mkdir()
    return place / "remote"


@pytest.fixture(scope="module")
def github(place, remote):
    """A repository whose main branch has a built project and its workflow, with a runner that has an L4."""
    repository = Repository(make(place / "origin"))
    project = Project(
        repository.root, {"HOME": str(place / "mine"), "XDG_CACHE_HOME": "", "XDG_CONFIG_HOME": ""}
    )
    project.write(SPEC_FILE, SPEC)
    project.write("trtpipe.yaml", f"schema: 1\nstore: {{remote: {remote}, mode: read-write}}\n")
    project.write(".gitignore", "build/\n.trtpipe/\n")
    shutil.copy(ROOT / "pipelines/models/digits_cnn.onnx", project.root / "models/digits.onnx")
    project.env["TRTPIPE_REMOTE"] = ""
    for words in (("build",), ("ci", "init", "github", "--gpu-runner", "sm89=gpu-l4")):
        done = project.run(*words)
        assert done.code == 0, done.err
    repository.commit("a project with its engines")
    return GitHub(repository, Machines(place / "machines", gpu=frozenset({"gpu-l4"})))


def make(root):
    (root / "models").mkdir(parents=True)
    return root


@pytest.fixture
def branch(github):
    """A branch of the repository to commit to; main is checked out again afterwards."""
    repository = github.repository
    repository.git("checkout", "--quiet", "-B", "change", "main")
    yield repository
    repository.git("checkout", "--quiet", "--force", "main")


@pytest.fixture(scope="module")
def main_run(github, remote):
    assert list(remote.iterdir()) == []
    return github.push(github.repository.git("rev-parse", "main"))


def results(runs: list[JobRun]) -> dict[str, str]:
    return {run.name: run.result for run in runs}


def log_of(runs: list[JobRun]) -> str:
    return "\n".join(run.log for run in runs)


ALL_GREEN = {"check": "success", "build": "success", "prove": "success", "report": "success"}


def traces(remote) -> list[str]:
    return (
        sorted(path.name for path in (remote / "v1").rglob("*") if path.is_file())
        if (remote / "v1").exists()
        else []
    )


def test_the_main_branch_builds_proves_and_writes_the_remote_store(github, main_run, remote):
    assert results(main_run) == ALL_GREEN, log_of(main_run)
    assert len(traces(remote)) > 5
    assert github.machines.calls == []  # there is no pull request to comment on
    (report,) = [run for run in main_run if run.name == "report"]
    assert "1 cell: 1 up to date; 1 validated on the CPU" in report.summary
    assert "passed on NVIDIA L4" in report.summary
    assert all(run.summary == "" for run in main_run if run.name != "report")
    installed = [json.loads(line) for line in github.machines.installed.read_text().splitlines()]
    assert installed == [["--disable-pip-version-check", "trtpipe[report]==0.1.0"]] * 4


def test_a_pull_request_is_commented_on_once_and_writes_no_store(github, main_run, remote, branch):
    before, told = traces(remote), github.machines
    told.add_comment(id=1, user={"login": "somebody"}, body="<!-- trtpipe -->\nmine")
    branch.edit(SPEC_FILE, "opt: 16x1x8x8", "opt: 8x1x8x8")
    assert Project(branch.root, {"TRTPIPE_REMOTE": ""}).run("build").code == 0
    first = branch.commit("smaller batches")

    runs = github.pull_request(first)

    assert results(runs) == ALL_GREEN, log_of(runs)
    assert traces(remote) == before
    (comment,) = [one for one in told.comments if one["id"] != 1]
    lines = comment["body"].splitlines()
    assert lines[0] == "<!-- trtpipe -->"
    assert lines[1].startswith(f"{first}, [run ")
    assert lines[1].endswith(": check success, build success, prove success")
    assert "### Changed since the lockfile" in comment["body"] and "passed on NVIDIA L4" in comment["body"]

    branch.edit(SPEC_FILE, "min: 0.99", "min: 0.98")
    assert Project(branch.root, {"TRTPIPE_REMOTE": ""}).run("build").code == 0
    second = branch.commit("a lower threshold")
    assert results(github.pull_request(second)) == ALL_GREEN

    (comment,) = [one for one in told.comments if one["id"] != 1]
    assert second in comment["body"] and first not in comment["body"]
    assert told.comments[0]["body"] == "<!-- trtpipe -->\nmine"


def test_a_broken_spec_is_red_and_annotated_and_the_comment_says_so(github, main_run, branch):
    branch.edit(SPEC_FILE, "gpu: rtx4090", "gpu: rtx4091")
    runs = github.pull_request(branch.commit("a GPU that is none"))

    assert results(runs) == {"check": "failure", "build": "skipped", "prove": "skipped", "report": "success"}
    (check, *_) = runs
    (line,) = check.annotations
    assert line.startswith(f"::error file={SPEC_FILE},line=7,col=14::") and "rtx4091" in line
    body = github.machines.comments[-1]["body"]
    assert "check failure, build skipped" in body and "Nothing was built." in body


@pytest.mark.slow
def test_a_stale_lockfile_is_red(github, main_run, branch):
    branch.edit(SPEC_FILE, "opt: 16x1x8x8", "opt: 32x1x8x8")
    runs = github.pull_request(branch.commit("forgot to build"))

    assert results(runs)["check"] == "failure"
    assert "the lockfile differs in a cell" in log_of(runs)


@pytest.mark.slow
def test_the_code_of_a_fork_gets_no_gpu_no_secret_and_no_comment(github, main_run, remote, branch):
    branch.edit(SPEC_FILE, "min: 0.99", "min: 0.98")
    assert Project(branch.root, {"TRTPIPE_REMOTE": ""}).run("build").code == 0
    before, calls = traces(remote), len(github.machines.calls)

    runs = github.pull_request(branch.commit("from elsewhere"), head="stranger/repo")

    assert results(runs) == {**ALL_GREEN, "prove": "skipped"}, log_of(runs)
    assert (traces(remote), len(github.machines.calls)) == (before, calls)
    assert "not run: needs sm89" in runs[-1].summary
    seen = {name: text for run in runs for one in run.environments for name, text in one.items()}
    assert "GH_TOKEN" not in seen
    assert seen["TRTPIPE_REMOTE_MODE"] == "read-only"


@pytest.mark.slow
def test_engines_that_one_gpu_alone_can_build_are_built_and_proved_there(tmp_path):
    repository = Repository(make(tmp_path / "origin"))
    project = Project(repository.root)
    project.write(
        SPEC_FILE,
        SPEC.replace(
            "targets:",
            "toolchains: {trt: {flavour: tensorrt, version: 11.1.0.106}}\n"
            "targets:\n  server: {gpu: h100, toolchain: trt}",
        ),
    )
    shutil.copy(ROOT / "pipelines/models/digits_cnn.onnx", project.root / "models/digits.onnx")
    done = project.run("ci", "init", "github", "--gpu-runner", "h100=gpu-h100")
    assert done.code == 0, done.err
    github = GitHub(repository, Machines(tmp_path / "machines", only_told=True))

    runs = github.push(repository.commit("engines that are timed where they are built"))

    assert results(runs) == ALL_GREEN, log_of(runs)
    told = [json.loads(line) for line in github.machines.told.read_text().splitlines()]
    here = "digits/fp32@server"
    assert told == [
        ["check"],
        ["build", "--keep-going", CELL],
        ["report", CELL],
        ["cache", "gc", "--older-than", "7d", "--max-size", "2GiB"],
        ["build", "--keep-going", here],
        ["report", here],
        ["validate", f"build/{here}"],
        ["report", f"build/{here}"],
        ["ci", "report", "jobs"],
    ]


@pytest.mark.slow
def test_what_the_lockfile_does_not_say_fails_the_build(github, main_run, branch):
    lock = branch.root / "trtpipe.lock"
    text = re.sub(r"^    (engine|normalised): ....", r"    \1: 0000", lock.read_text(), flags=re.M)
    lock.write_text(text)
    runs = github.pull_request(branch.commit("a forged digest"))

    assert results(runs) == {"check": "success", "build": "failure", "prove": "skipped", "report": "success"}
    assert "digits/fp32@ada: differs from the lockfile" in log_of(runs)
    assert "build failure" in github.machines.comments[-1]["body"]
    assert "1 not built" in github.machines.comments[-1]["body"]
