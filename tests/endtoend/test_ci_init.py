"""`trtpipe ci init`: files that the CI systems' schemas accept, for each kind of project, and never over another's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.projects import ROOT, SPEC, Project, make_project
from trtpipe import __version__

WORKFLOW, ACTION = ".github/workflows/trtpipe.yml", ".github/actions/trtpipe/action.yml"
JOBS = ".gitlab/trtpipe.yml"
TENSORRT = SPEC + "toolchains: {trt: {flavour: tensorrt, version: 11.1.0.106}}\n"
TENSORRT = TENSORRT.replace("  ampere: {gpu: sm86}", "  server: {gpu: h100, toolchain: trt}")
REMOTE = 'schema: 1\nstore: {remote: "%s"}\n'
CODE = "schema: 1\npython: calibration.waves:draw\n"
BOTH = ("--gpu-runner", "rtx4090=self-hosted,gpu-l4", "--gpu-runner", "8.6=gpu-a10")

PROJECTS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no runner": ({}, ()),
    "a runner": ({}, ("--gpu-runner", "sm89=gpu-l4")),
    "two runners": ({"trtpipe.lock": "schema: 3\ncells: {}\nsteps: {}\n"}, BOTH),
    "other choices": ({}, ("--python", "3.12", "--branch", "release/1", "--gpu-runner", "none=big,linux")),
    "tensorrt": ({"pipelines/digits.yaml": TENSORRT}, ("--gpu-runner", "sm90=gpu-h100")),
    "s3": ({"trtpipe.yaml": REMOTE % "s3://bucket/prefix"}, ("--gpu-runner", "sm89=gpu-l4")),
    "gs": ({"trtpipe.yaml": REMOTE % "gs://bucket/prefix"}, ()),
    "az": ({"trtpipe.yaml": REMOTE % "az://container/prefix"}, ()),
    "https": ({"trtpipe.yaml": REMOTE % "https://cache.example.com/x"}, ()),
    "sftp": ({"trtpipe.yaml": REMOTE % "sftp://host/x"}, ()),
    "signed": ({"trtpipe.yaml": 'schema: 1\nstore: {remote: "s3://b/p", sign: $SIGNING_KEY}\n'}, ()),
    "code": ({"calibration/waves.yaml": CODE, "calibration/waves.py": "def draw(): ...\n"}, ()),
    "pinned": ({"requirements.txt": "trtpipe==0.1.0 --hash=sha256:00\n"}, ()),
    "large files": ({".gitattributes": "*.onnx filter=lfs diff=lfs merge=lfs -text\n"}, ()),
}


def project_with(root: Path, files: dict[str, str], directory: str = "") -> Project:
    """A project in a git repository."""
    project = make_project(root / directory)
    for name, text in files.items():
        project.write(name, text)
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", str(root)], check=True)
    return project


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each project with the files for both systems."""
    found = {}
    for name, (files, options) in PROJECTS.items():
        root = tmp_path_factory.mktemp("ci") / "project"
        project = project_with(root, files)
        for system in ("github", "gitlab"):
            done = project.run("ci", "init", system, *options)
            assert done.code == 0, done.err
        found[name] = root
    root = tmp_path_factory.mktemp("ci") / "repository"
    inner = project_with(root, {}, "vision/engines")
    for system in ("github", "gitlab"):
        assert inner.run("ci", "init", system, *BOTH).code == 0
    return {**found, "below the root": root}


def loaded(path: Path) -> dict:
    return yaml.load(path.read_text(), yaml.BaseLoader)


def shell_lines(root: Path) -> list[str]:
    """Every piece of shell in the files."""
    steps = [step for job in loaded(root / WORKFLOW)["jobs"].values() for step in job["steps"]]
    steps += loaded(root / ACTION)["runs"]["steps"]
    jobs = [job for job in loaded(root / JOBS).values() if isinstance(job, dict)]
    gitlab = ["\n".join([*job.get("before_script", []), *job.get("script", [])]) for job in jobs]
    return [*(step["run"] for step in steps if "run" in step), *gitlab]


# -- what is written


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("vendor.github-workflows", WORKFLOW),
        ("vendor.github-actions", ACTION),
        ("vendor.gitlab-ci", JOBS),
        ("vendor.gitlab-ci", ".gitlab-ci.yml"),
    ],
)
def test_the_system_that_it_is_for_accepts_it(written, schema, name):
    files = [str(root / name) for root in written.values()]

    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schemas_refuse_what_is_wrong(written, tmp_path):
    wrong = tmp_path / "workflow.yml"
    wrong.write_text((written["a runner"] / WORKFLOW).read_text().replace("runs-on:", "run-on:"))

    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        str(wrong),
    ]

    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", [*PROJECTS, "below the root"])
def test_shell_reads_its_lines_and_no_expression_stands_in_them(written, name):
    for text in shell_lines(written[name]):
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), text
        assert "${{" not in text


@pytest.mark.skipif(shutil.which("zizmor") is None, reason="not run: needs zizmor")
@pytest.mark.parametrize("name", [*PROJECTS, "below the root"])
def test_a_linter_of_workflows_finds_nothing_but_what_is_said(written, name):
    """Actions are named by their version, which the file says; a program gets onto the path by GITHUB_PATH alone; and
    an older server of GitHub knows an action of the repository by its path alone.
    """
    command = ["zizmor", "--offline", "--pedantic", "--format", "json", str(written[name])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert {one["ident"] for one in json.loads(done.stdout)} <= {
        "unpinned-uses",
        "github-env",
        "self-repository",
    }


def test_no_job_may_do_more_than_it_must(written):
    for root in written.values():
        workflow = loaded(root / WORKFLOW)
        assert workflow["permissions"] == {"contents": "read"}
        assert "pull_request_target" not in str(workflow)
        own = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
        assert own == {"report": {"contents": "read", "pull-requests": "write"}}
        for name, job in workflow["jobs"].items():
            assert "timeout-minutes" in job
            assert ("secrets." in str(job)) <= (name in ("build", "prove"))
            (checkout, *_) = job["steps"]
            assert checkout["with"]["persist-credentials"] == "false"


def test_what_is_written_depends_on_the_project(written):
    def text(name: str, file: str = WORKFLOW) -> str:
        return (written[name] / file).read_text()

    def packages(name: str) -> str:
        return loaded(written[name] / ACTION)["inputs"]["packages"]["default"]

    assert "--frozen" in text("two runners") and "lock --check" in text("two runners", JOBS)
    assert "--frozen" not in text("a runner") and "There was no trtpipe.lock" in text("a runner")
    assert "prove" not in loaded(written["no runner"] / WORKFLOW)["jobs"]
    assert not any("prove" in name for name in loaded(written["no runner"] / JOBS))
    assert "Not proved on a GPU: cells for sm86." in text("a runner")
    assert "--gpu-runner sm89=self-hosted,gpu-l4 --gpu-runner sm86=gpu-a10" in text("two runners")
    assert loaded(written["other choices"] / WORKFLOW)["jobs"]["check"]["runs-on"] == ["big", "linux"]
    assert loaded(written["other choices"] / WORKFLOW)["on"]["push"]["branches"] == ["release/1"]
    assert '"3.12"' in text("other choices", ACTION) and "python:3.12" in text("other choices", JOBS)
    for file in (WORKFLOW, JOBS):
        assert 'TRTPIPE_ALLOW_PROJECT_CODE: "1"' in text("code", file)
        assert "TRTPIPE_ALLOW_PROJECT_CODE" not in text("a runner", file)
        assert "TRTPIPE_REMOTE" in text("s3", file) and "TRTPIPE_REMOTE" not in text("a runner", file)
    assert packages("a runner") == f"trtpipe[report]=={__version__}"
    assert packages("s3") == packages("signed") == f"trtpipe[remote,report]=={__version__}"
    assert packages("sftp") == f"trtpipe[fsspec,remote,report]=={__version__}"
    assert packages("pinned").startswith("--require-hashes") and packages("pinned").endswith(
        "-r requirements.txt"
    )
    assert "lfs: true" in text("large files") and "lfs" not in text("a runner")
    inner = loaded(written["below the root"] / WORKFLOW)
    assert inner["defaults"]["run"]["working-directory"] == "vision/engines"


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("s3", {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"}),
        ("gs", {"GOOGLE_SERVICE_ACCOUNT_KEY"}),
        ("az", {"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"}),
        ("https", {"TRTPIPE_REMOTE", "TRTPIPE_REMOTE_TOKEN"}),
        (
            "signed",
            {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL", "SIGNING_KEY"},
        ),
    ],
)
def test_a_key_that_writes_is_the_main_branchs(written, name, variables):
    build = loaded(written[name] / WORKFLOW)["jobs"]["build"]["env"]

    assert build.keys() - {"CELLS"} == variables
    for text in build.values():
        if "secrets." in text:
            assert text.startswith("${{ github.ref == 'refs/heads/main' && secrets.")
            assert " || secrets.TRTPIPE_READ_" in text or text.endswith("|| '' }}")


def test_extras_are_those_that_the_specs_need(tmp_path):
    spec = SPEC.replace("models/digits.onnx", "models/digits.pt2, parser: pytorch")
    images = "schema: 1\nimages: photos/\ninputs: {image: {resize: 8}}\n"
    project = project_with(tmp_path / "p", {"pipelines/digits.yaml": spec, "calibration/photos.yaml": images})
    project.write("models/digits.pt2", "")

    out = project.run("ci", "init", "github", "--stdout").out

    assert f"trtpipe[images,pytorch,report]=={__version__}" in out
    assert not (project.root / ".github").exists()


# -- writing


def test_again_it_changes_nothing_and_never_replaces_what_is_another(tmp_path):
    project = project_with(tmp_path / "p", {})
    first = project.run("ci", "init", "github")
    text = (project.root / WORKFLOW).read_bytes()
    again = project.run("ci", "init", "github")

    assert (first.code, first.out) == (0, f"wrote {WORKFLOW}\nwrote {ACTION}\n")
    assert (again.code, again.out) == (0, f"unchanged {WORKFLOW}\nunchanged {ACTION}\n")
    assert (project.root / WORKFLOW).read_bytes() == text

    project.edit(WORKFLOW, "name: trtpipe", "name: mine")
    refused = project.run("ci", "init", "github")
    assert refused.code == 2
    assert f"{WORKFLOW} is there already, with another content" in refused.err
    assert "name: mine" in (project.root / WORKFLOW).read_text()

    forced = project.run("ci", "init", "github", "--force")
    assert (forced.code, forced.out) == (0, f"wrote {WORKFLOW}\nunchanged {ACTION}\n")
    assert (project.root / WORKFLOW).read_bytes() == text


def test_the_command_in_the_file_writes_it_again(tmp_path):
    project = project_with(tmp_path / "p", {})
    assert (
        project.run("ci", "init", "github", *PROJECTS["other choices"][1], "--gpu-runner", "sm89=l4").code
        == 0
    )
    text = (project.root / WORKFLOW).read_text()
    (command,) = re.findall(r"^#   trtpipe (.*)$", text, re.M)

    done = project.run(*command.split())

    assert (done.code, done.out) == (0, f"unchanged {WORKFLOW}\nunchanged {ACTION}\n")


def test_gitlab_gets_a_file_to_include(tmp_path):
    project = project_with(tmp_path / "p", {})
    done = project.run("ci", "init", "gitlab")
    assert done.out == f"wrote {JOBS}\nwrote .gitlab-ci.yml\n"
    assert loaded(project.root / ".gitlab-ci.yml") == {"include": [{"local": JOBS}]}
    assert project.run("ci", "init", "gitlab").out == f"unchanged {JOBS}\nunchanged .gitlab-ci.yml\n"

    mine = project.write(".gitlab-ci.yml", "test:\n  script: [make]\n")
    done = project.run("ci", "init", "gitlab")

    assert (done.code, done.out) == (0, f"unchanged {JOBS}\n")
    assert f"add this to .gitlab-ci.yml:\ninclude:\n  - local: {JOBS}\n" in done.err
    assert mine.read_text() == "test:\n  script: [make]\n"


def test_a_link_out_of_the_repository_is_not_followed(tmp_path):
    project = project_with(tmp_path / "p", {})
    (tmp_path / "elsewhere").mkdir()
    (project.root / ".github").symlink_to(tmp_path / "elsewhere")

    done = project.run("ci", "init", "github")

    assert done.code == 2
    assert "leads out of the repository" in done.err
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("jenkins",), "unknown CI system 'jenkins'"),
        (("github", "--gpu-runner", "sm89"), "names no label"),
        (("github", "--gpu-runner", "sm89=a b"), "names no label"),
        (("github", "--gpu-runner", "sm89=$(id)"), "names no label"),
        (("github", "--gpu-runner", "rtx4091=x"), "rtx4091"),
        (("github", "--gpu-runner", "sm120=x"), "no target is for that GPU"),
        (("github", "--python", "3"), "no version of Python"),
        (("github", "--branch", "a'b"), "no name of a branch"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, options, said):
    project = project_with(tmp_path / "p", {})

    done = project.run("ci", "init", *options)

    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not (project.root / ".github").exists()


def test_an_engine_that_no_runner_can_build_is_refused(tmp_path):
    project = project_with(tmp_path / "p", {"pipelines/digits.yaml": TENSORRT})

    done = project.run("ci", "init", "github")

    assert done.code == 2
    assert "digits/fp32@server, digits/fp16@server can only be built on sm90" in done.err
    assert "--gpu-runner sm90=LABEL" in done.err


def test_without_a_spec_there_is_nothing_to_write(tmp_path):
    (tmp_path / "empty").mkdir()

    done = Project(tmp_path / "empty").run("ci", "init", "github")

    assert done.code == 2
    assert "no pipeline here" in done.err


def test_a_directory_that_a_file_would_have_to_quote_is_refused(tmp_path):
    project = project_with(tmp_path / "p", {}, "my models")

    done = project.run("ci", "init", "github")

    assert done.code == 2
    assert "'my models'" in done.err


def test_the_pages_of_ci_name_what_is_written():
    page = (ROOT / "docs" / "ci.md").read_text()

    for name in (WORKFLOW, ACTION, JOBS):
        assert name in page
