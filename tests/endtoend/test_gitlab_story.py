"""What `trtpipe ci init gitlab` writes, run as GitLab runs it: builds, proofs, a note that is kept up to date."""

from __future__ import annotations

import shutil

import pytest

from tests.endtoend.ci_machines import Machines, Repository
from tests.endtoend.gitlab_runner import GitLab, JobRun
from tests.endtoend.test_github_story import SPEC, SPEC_FILE, traces
from tests.projects import ROOT, Project

TOKEN = "a token that may write"
JOBS = ["trtpipe-check", "trtpipe-build", "trtpipe-prove-sm89", "trtpipe-report"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("gitlab")


@pytest.fixture(scope="module")
def remote(place):
    (place / "remote").mkdir()
    return place / "remote"


@pytest.fixture(scope="module")
def gitlab(place, remote):
    """A project below the root of its repository, built, with its jobs and a runner that has an L4."""
    (place / "origin").mkdir()
    repository = Repository(place / "origin", "vision")
    project = Project(repository.project, {"TRTPIPE_REMOTE": ""})
    project.write(SPEC_FILE, SPEC)
    project.write("trtpipe.yaml", f"schema: 1\nstore: {{remote: {remote}, mode: read-write}}\n")
    project.write(".gitignore", "build/\n.trtpipe/\n")
    (project.root / "models").mkdir()
    shutil.copy(ROOT / "pipelines/models/digits_cnn.onnx", project.root / "models/digits.onnx")
    for words in (("build",), ("ci", "init", "gitlab", "--gpu-runner", "sm89=gpu-l4")):
        done = project.run(*words)
        assert done.code == 0, done.err
    repository.commit("a project with its engines")
    return GitLab(repository, Machines(place / "machines", gpu=frozenset({"gpu-l4"})))


@pytest.fixture
def branch(gitlab):
    repository = gitlab.repository
    repository.git("checkout", "--quiet", "-B", "change", "main")
    yield repository
    repository.git("checkout", "--quiet", "--force", "main")


def rebuilt(branch: Repository, message: str) -> str:
    done = Project(branch.project, {"TRTPIPE_REMOTE": ""}).run("build")
    assert done.code == 0, done.err
    return branch.commit(message)


def results(runs: dict[str, JobRun]) -> dict[str, bool]:
    return {name: not run.failed for name, run in runs.items()}


def test_a_merge_request_reads_the_store_and_the_protected_main_branch_writes_it(gitlab, remote, branch):
    main = branch.git("rev-parse", "main")
    asked = gitlab.merge_request(with_a_word(branch))

    assert results(asked) == dict.fromkeys(JOBS, True), logs(asked)
    assert traces(remote) == []
    assert gitlab.machines.calls == []  # there was no token
    assert "no comment" in asked["trtpipe-report"].log

    pushed = gitlab.push(main)
    assert results(pushed) == dict.fromkeys(JOBS, True)
    assert len(traces(remote)) > 5
    assert 'name="fp32@ada"' in pushed["trtpipe-build"].junit


def test_only_the_protected_main_branch_may_write_the_store(gitlab):
    def modes(branch: str, *, protected: bool) -> dict[str, str]:
        jobs = gitlab.variables(gitlab.repository.git("rev-parse", "main"), branch, protected=protected)
        return {name: one["TRTPIPE_REMOTE_MODE"] for name, one in jobs.items()}

    writing = modes("main", protected=True)
    assert {name for name, mode in writing.items() if mode == "read-write"} == set(JOBS) - {"trtpipe-report"}
    assert set(modes("main", protected=False).values()) == {"read-only"}
    assert modes("other", protected=True) == {}


def with_a_word(branch):
    """A commit that changes nothing of what is built."""
    (branch.root / "README").write_text("hello\n")
    return branch.commit("a word")


def logs(runs):
    return "\n".join(run.log for run in runs.values())


def test_the_note_is_written_once_and_then_changed(gitlab, branch):
    for number in range(120):
        gitlab.machines.add_comment(id=number, body=f"remark {number}")
    branch.edit(SPEC_FILE, "opt: 16x1x8x8", "opt: 8x1x8x8")
    first = rebuilt(branch, "smaller batches")

    runs = gitlab.merge_request(first, token=TOKEN)

    assert results(runs) == dict.fromkeys(JOBS, True), logs(runs)
    (note,) = gitlab.machines.comments[120:]
    assert note["body"].startswith(f"<!-- trtpipe -->\n{first}, [pipeline ")
    assert "### Changed since the lockfile" in note["body"] and "passed on NVIDIA L4" in note["body"]

    branch.edit(SPEC_FILE, "gpu: rtx4090", "gpu: rtx4091")
    broken = branch.commit("a GPU that is none")
    runs = gitlab.merge_request(broken, token=TOKEN)

    assert results(runs) == {"trtpipe-check": False, "trtpipe-report": True}
    (problem,) = runs["trtpipe-check"].quality
    assert problem["location"] == {"path": f"vision/{SPEC_FILE}", "lines": {"begin": 7}}
    assert (problem["severity"], problem["check_name"][:2]) == ("major", "TP")
    (note,) = gitlab.machines.comments[120:]
    assert broken in note["body"] and "Nothing was built." in note["body"]


def test_a_stale_lockfile_is_red(gitlab, branch):
    branch.edit(SPEC_FILE, "opt: 16x1x8x8", "opt: 32x1x8x8")

    runs = gitlab.merge_request(branch.commit("forgot to build"))

    assert results(runs) == {"trtpipe-check": False, "trtpipe-report": True}
    assert "the lockfile differs in a cell" in runs["trtpipe-check"].log


def test_the_code_of_a_fork_is_not_run_where_the_gpu_is(gitlab, branch):
    runs = gitlab.merge_request(with_a_word(branch), source_project="99")

    assert results(runs) == {"trtpipe-check": True, "trtpipe-build": True, "trtpipe-report": True}
