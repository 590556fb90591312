"""What is built once is built for everybody: two checkouts, a remote store, and what may go wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.projects import Project, Ran, make_project

SPEC = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets:
  ada: {gpu: rtx4090}
builder: {workspace: 1GiB}
"""
CELL = "build/digits/fp32@ada"


@pytest.fixture(scope="module")
def remote(tmp_path_factory) -> Path:
    """A remote store that somebody filled by building."""
    root = tmp_path_factory.mktemp("shared")
    (root / "remote").mkdir()
    project = checkout(root / "first", root / "remote", "read-write")
    done = project.run("build")
    assert done.code == 0, done.err
    shutil.copytree(project.root / "build", root / "build")
    shutil.copy(project.root / "trtpipe.lock", root)
    return root / "remote"


def checkout(root: Path, remote: Path, mode: str = "read-only", **env: str) -> Project:
    project = make_project(root)
    project.write("pipelines/digits.yaml", SPEC)
    project.write("trtpipe.yaml", f"schema: 1\nstore: {{remote: {remote}, mode: {mode}}}\n")
    project.env.update(env)
    return project


def engine(root: Path) -> bytes:
    return (root / "model.engine").read_bytes()


def test_another_checkout_builds_nothing_and_gets_the_same(remote, tmp_path):
    project = checkout(tmp_path / "second", remote)

    done = project.run("build", "--json")

    assert done.code == 0, done.err
    assert done.ran == []
    for name in ("model.engine", "model.onnx", "network.json", "manifest.json"):
        assert (project.root / CELL / name).read_bytes() == (remote.parent / CELL / name).read_bytes()
    assert (project.root / "trtpipe.lock").read_bytes() == (remote.parent / "trtpipe.lock").read_bytes()
    assert project.run("build").out.startswith("nothing to do")
    shutil.rmtree(project.root / ".trtpipe/store")
    assert project.run("build").out.startswith("nothing to do")
    assert not (project.root / ".trtpipe/store").exists()


def test_a_second_clone_of_the_same_commit_builds_nothing(remote, tmp_path):
    """The store is its user's: what stands there was built in another directory."""
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    store = tmp_path / "cache/trtpipe/store"
    shutil.copytree(remote.parent / "first/.trtpipe/store", store)
    clone = make_project(tmp_path / "clone", SPEC, home)

    done = clone.run("build")

    assert done.code == 0, done.err
    assert "built 0 engines, 1 restored" in done.out
    assert f"the store is {store}: " in done.err
    assert (clone.root / CELL / "model.engine").read_bytes() == engine(remote.parent / CELL)
    assert not (clone.root / ".trtpipe/store").exists()
    assert str(clone.root) in [path.read_text() for path in (store / "projects").iterdir()]
    assert clone.run("build").err == ""


@pytest.mark.slow
def test_two_clones_that_build_at_once_do_the_work_once(tmp_path):
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    clones = [make_project(tmp_path / name, SPEC, home) for name in ("one", "two")]

    running = [clone.start("build", "--json") for clone in clones]
    told = [one.communicate(timeout=300)[0] for one in running]

    assert [one.returncode for one in running] == [0, 0]
    ran = [
        event["address"]
        for text in told
        for event in Ran(0, text, "").events
        if event["event"] == "done" and event["ran"]
    ]
    assert len(ran) == len(set(ran))
    assert clones[0].engine() == clones[1].engine()


def test_a_plan_fetches_traces_only(remote, tmp_path):
    project = checkout(tmp_path / "second", remote)

    done = project.run("plan", "--json")

    assert done.code == 0, done.err
    assert '"run"' not in done.out
    assert not list((project.root / ".trtpipe/store/objects").iterdir())


def test_a_lie_costs_a_warning_and_a_build(remote, tmp_path):
    shutil.copytree(remote, tmp_path / "remote")
    trace = next(
        data
        for path in (tmp_path / "remote/v1/traces").rglob("*.json")
        if (data := json.loads(path.read_bytes()))["address"].endswith(":build_engine")
    )
    name = trace["outputs"]["model.engine"].partition("/")[0]
    (tmp_path / "remote/v1/objects" / name[:2] / name).write_bytes(b"trtpipe-" + b"a false engine")
    project = checkout(tmp_path / "second", tmp_path / "remote")

    done = project.run("build", "--json")

    assert done.code == 0, done.err
    assert done.ran == ["digits/fp32@ada:build_engine"]
    assert engine(project.root / CELL) == engine(remote.parent / CELL)
    told = [event["text"] for event in done.events if event["event"] == "warning"]
    assert len([text for text in told if "is ignored: " in text]) + done.err.count("is ignored: ") == 1


@pytest.mark.slow
def test_without_its_remote_a_project_builds_by_itself_unless_it_is_required(tmp_path):
    project = checkout(tmp_path / "second", tmp_path / "nowhere")

    refused = project.run("build", "--require-remote")
    assert refused.code == 2
    assert f"the remote store {tmp_path}/nowhere: there is no directory" in refused.err

    done = project.run("build")
    assert done.code == 0, done.err
    assert done.err.count("there is no directory") == 1
    assert "built 1 engine" in done.out
    (project.root / ".trtpipe/state.json").unlink()
    shutil.rmtree(project.root / ".trtpipe/store/traces")
    assert project.run("plan").err.count("there is no directory") == 1
    for command in (("check", "--offline"), ("build", "--offline")):
        assert "there is no directory" not in project.run(*command).err


def test_what_is_pulled_is_built_offline(remote, tmp_path):
    project = checkout(tmp_path / "second", remote)

    pulled = project.run("cache", "pull")
    assert pulled.code == 0, pulled.err
    assert "received" in pulled.out and "must be built" not in pulled.out
    done = project.run("build", "--offline", "--json")

    assert done.ran == []
    assert engine(project.root / CELL) == engine(remote.parent / CELL)


def test_a_command_that_needs_a_remote_says_so(tmp_path):
    project = make_project(tmp_path / "alone")

    for command in (("cache", "push"), ("cache", "pull"), ("build", "--require-remote")):
        done = project.run(*command)
        assert done.code == 2
        assert "trtpipe.yaml: store: {remote: s3://BUCKET/PREFIX}" in done.err
