"""Continuous integration: what a remedy says of a runner, an option or a file that is there already."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import shutil
from collections.abc import Sequence

import pytest

from tests.remedies.remedy_places import SPEC, Cure, Place, Row, apply, asking
from tests.remedies.spec_rows import FILES
from trtpipe.problem_codes import Code, ProblemCode

GITHUB = ("ci", "init", "github")
OWN_GPU = (
    SPEC.replace("gpu: sm86", "gpu: sm90, toolchain: x")
    + 'toolchains: {x: {flavour: tensorrt, version: "11.1.0.106"}}\n'
)


def row(
    name: str,
    code: ProblemCode,
    argv: Sequence[str],
    remedy: str,
    right: Sequence[str] | Cure,
    spec: str = SPEC,
    **more: object,
) -> Row:
    cure = right if callable(right) else asking(*right)
    return Row(name, code, remedy, cure, {**FILES, "pipelines/net.yaml": spec}, ask=argv, **more)  # type: ignore[arg-type]


def link_out(place: Place) -> None:
    outside = place.root.parent / f"{place.root.name}-outside"
    outside.mkdir()
    (place.root / ".github").symlink_to(outside)


def build_a_job(place: Place, _: object) -> None:
    assert place.ask(("build",)).code == 0
    shutil.copytree(place.root / "build", place.root / "jobs/first")


ROWS = [
    row("no CI system", Code.UNKNOWN_VALUE, ("ci", "init", "jenkins"), r"the systems are (\w+)", ("ci", "init", r"\1")),
    row("a runner without a label", Code.BAD_ARGUMENT, (*GITHUB, "--gpu-runner", "sm86"), r"write (--gpu-runner) sm89=LABEL", (*GITHUB, r"\1", "sm86=LABEL")),
    row("a runner for nothing", Code.NO_MATCH, (*GITHUB, "--gpu-runner", "sm89=x"), r"the targets are for (sm\d+)", (*GITHUB, "--gpu-runner", r"\1=x")),
    row("no runner that builds", Code.NO_RUNNER, GITHUB, r"name its label: (--gpu-runner) (sm90=LABEL)", (*GITHUB, r"\1", r"\2"), OWN_GPU),
    row("no version of Python", Code.BAD_ARGUMENT, (*GITHUB, "--python", "three"), r"write (--python) (3\.\d+)", (*GITHUB, r"\1", r"\2")),
    row("no branch", Code.BAD_ARGUMENT, (*GITHUB, "--branch", "a b"), r"write (--branch) (main);", (*GITHUB, r"\1", r"\2")),
    row("a workflow that is there", Code.EXISTS_ALREADY, GITHUB, r"replace it with (--force)", (*GITHUB, r"\1"),
        before=lambda place: place.write(".github/workflows/trtpipe.yml", "mine")),
    row("a link out of the repository", Code.CANNOT_WRITE, GITHUB, "remove the link", lambda place, _: (place.root / ".github").unlink(), before=link_out),
    row("no job to report", Code.NO_SUCH_FILE, ("ci", "report", "jobs"), r"a copy of each job's build/", build_a_job),
]  # fmt: skip


@pytest.mark.parametrize("one", ROWS, ids=str)
def test_the_remedy_works(one: Row, place: Place):
    apply(one, place)
