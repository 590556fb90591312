"""The store from the command line: what is told, and what goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED
from trtpipe.cli.stores import cache
from trtpipe.digests import Digest, key_of
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import STATE_FILE, ProjectState

DAY = 24 * 3600.0


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TRTPIPE_STORE", raising=False)
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root / ".trtpipe/store")


def keep(store: LocalStore, address: str, name: str, data: bytes, days: float = 0.0) -> Trace:
    """A step's trace and artifact, last of use so long ago."""
    with store.scratch() as scratch:
        (scratch / "x").write_bytes(data)
        digest = store.put(scratch / "x")
    record = {"stage": address.rpartition(":")[2], "options": {"from": data.hex()}}
    trace = Trace(key_of(record), address, record, {name: digest})
    store.record(trace)
    then = time.time() - days * DAY
    os.utime(store.trace_path(trace.key), (then, then))
    return trace


def locks(root: Path, trace: Trace) -> None:
    """A lockfile that names the trace's engine."""
    engine = trace.outputs["model.engine"]
    lines = [f"    key: {trace.key}", f"    engine: {engine.hex} ({engine.size} bytes)"]
    (root / "trtpipe.lock").write_text("schema: 1\ncells:\n  digits/fp32@ada:\n" + "\n".join(lines) + "\n")


def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came just now counts as if it had come long ago."""
    from trtpipe.stores import collector

    given = collector.Limits
    monkeypatch.setattr(collector, "Limits", lambda age, size=None, grace=-1.0: given(age, size, grace))


def test_ls_lists_what_was_used_last_first(store, capsys):
    keep(store, "digits:import", "model.onnx", b"model", days=3.0)
    engine = keep(store, "digits/fp32@ada:build_engine", "model.engine", b"engine" * 1000)

    assert cache.list_command(as_json=False) == EXIT_DONE

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["key", "step", "size", "used", "artifacts"]
    assert lines[1].split()[:2] == [engine.key[:12], "digits/fp32@ada:build_engine"]
    assert "3d ago" in lines[2]


def test_ls_of_an_empty_store_says_so_and_makes_none(root, capsys):
    cache.list_command(as_json=False)

    assert "is empty" in capsys.readouterr().out
    assert not (root / ".trtpipe").exists()


def test_gc_keeps_what_the_lockfile_names_and_tells_what_went(root, store, capsys, monkeypatch):
    no_grace(monkeypatch)
    named = keep(store, "digits/fp32@ada:build_engine", "model.engine", b"named", days=90.0)
    old = keep(store, "digits/fp16@ada:build_engine", "model.engine", b"old one", days=90.0)
    locks(root, named)

    cache.gc_command([], None, None, dry_run=True, as_json=False)
    assert store.trace_path(old.key).exists()
    cache.gc_command([], None, None, dry_run=False, as_json=False)

    assert store.has(named.outputs["model.engine"])
    assert not store.has(old.outputs["model.engine"])
    assert capsys.readouterr().out.splitlines() == [
        "1 artifact and 1 trace would go, 7 B; 5 B stay, 5 B of it needed by lockfiles and last builds",
        "1 artifact and 1 trace went, 7 B; 5 B stay, 5 B of it needed by lockfiles and last builds",
    ]


def test_gc_heeds_the_projects_that_share_the_store(root, tmp_path, capsys, monkeypatch):
    no_grace(monkeypatch)
    monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / "shared"))
    other = tmp_path / "other"
    other.mkdir()
    trace = keep(
        LocalStore(tmp_path / "shared", project=other), "a:build_engine", "model.engine", b"x", days=90
    )
    locks(other, trace)

    cache.gc_command([], "1d", None, dry_run=False, as_json=True)

    assert json.loads(capsys.readouterr().out)["artifacts"] == []


def test_gc_heeds_roots_that_are_given(root, store, tmp_path, capsys, monkeypatch):
    no_grace(monkeypatch)
    other = tmp_path / "elsewhere"
    other.mkdir()
    locks(other, keep(store, "a:build_engine", "model.engine", b"x", days=90.0))

    cache.gc_command([other], "1d", None, dry_run=True, as_json=True)
    cache.gc_command([], "1d", None, dry_run=True, as_json=True)

    kept, gone = capsys.readouterr().out.split("}\n{")
    assert '"artifacts": []' in kept
    assert '"artifacts": []' not in gone


def test_gc_keeps_what_either_side_of_a_merge_conflict_names(root, store, capsys, monkeypatch):
    no_grace(monkeypatch)
    texts = []
    for data in (b"ours", b"theirs"):
        locks(root, keep(store, "a:build_engine", "model.engine", data, days=90.0))
        texts.append("".join((root / "trtpipe.lock").read_text().splitlines(keepends=True)[3:]))
    head = "schema: 1\ncells:\n  digits/fp32@ada:\n"
    conflict = f"{head}<<<<<<< ours\n{texts[0]}=======\n{texts[1]}>>>>>>> theirs\n"
    (root / "trtpipe.lock").write_text(conflict)

    cache.gc_command([], "1d", None, dry_run=True, as_json=True)

    told = json.loads(capsys.readouterr().out)
    assert (told["artifacts"], told["needed"]) == ([], 10)


def test_gc_keeps_what_the_last_build_left(root, store, capsys, monkeypatch):
    no_grace(monkeypatch)
    trace = keep(store, "digits:import", "model.onnx", b"model", days=90.0)
    state = ProjectState.load(root / STATE_FILE)
    state.remember_step("digits:import", trace.key, trace.outputs)
    state.save()

    cache.gc_command([], "1d", None, dry_run=False, as_json=True)

    assert json.loads(capsys.readouterr().out)["needed"] == 5


def test_gc_takes_nothing_when_a_lockfile_cannot_be_read(root, store):
    keep(store, "digits:import", "model.onnx", b"model", days=90.0)
    (root / "trtpipe.lock").write_text("schema: 1\ncells: [")

    with pytest.raises(TrtpipeError, match="lockfile"):
        cache.gc_command([], "1d", None, dry_run=False, as_json=False)


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1y", "1d ", "9999999d"])
def test_an_age_that_is_none_is_refused(root, age):
    with pytest.raises(SpecError, match="not an age"):
        cache.gc_command([], age, None, dry_run=True, as_json=False)


def test_a_size_limit_that_cannot_be_reached_is_said(root, store, capsys):
    keep(store, "digits:import", "model.onnx", b"model" * 100)

    cache.gc_command([], None, "100B", dry_run=False, as_json=False)

    assert "what must stay is more than 100 B (500 B came within the last hour)" in capsys.readouterr().err


def test_verify_finds_damage_and_puts_it_aside(store, capsys):
    trace = keep(store, "digits:import", "model.onnx", b"model")
    path = store.path(trace.outputs["model.onnx"])
    path.chmod(0o644)
    path.write_bytes(b"mudel")

    assert cache.verify_command(as_json=False) == EXIT_FAILED
    told = capsys.readouterr()
    assert "is damaged: its bytes are" in told.err
    assert "verified 1 artifact (5 B) and 1 trace: 1 damaged and quarantined" in told.out
    assert cache.verify_command(as_json=False) == EXIT_DONE
    assert (
        "1 trace without all artifacts: they are fetched or made again when needed" in capsys.readouterr().err
    )


def test_verify_finds_a_damaged_trace(store, capsys):
    trace = keep(store, "digits:import", "model.onnx", b"model")
    store.trace_path(trace.key).write_text("{}")

    assert cache.verify_command(as_json=True) == EXIT_FAILED
    assert json.loads(capsys.readouterr().out)["damaged"] == [f"trace {trace.key[:12]} is damaged"]


def test_stats_tell_what_is_needed(root, store, capsys):
    keep(store, "digits:import", "model.onnx", b"model", days=90.0)
    locks(root, keep(store, "digits/fp32@ada:build_engine", "model.engine", b"engine"))

    cache.stats_command(as_json=True)

    stats = json.loads(capsys.readouterr().out)
    assert (stats["traces"], stats["artifacts"], stats["bytes"], stats["needed"]) == (2, 2, 11, 6)
    assert stats["projects"] == [str(root)]


def test_path_finds_an_artifact_by_its_digest_and_by_its_cell(root, store, capsys):
    engine = keep(store, "digits/fp32@ada:build_engine", "model.engine", b"engine")
    proof = keep(store, "digits/fp32:validate", "validation.json", b"{}")
    state = ProjectState.load(root / STATE_FILE)
    for one in (engine, proof):
        state.remember_step(one.address, one.key, one.outputs)
    state.save()
    digest = engine.outputs["model.engine"]

    cache.path_command(digest.short, "")
    cache.path_command("digits/fp32@ada", "model.engine")
    cache.path_command("digits/fp32@ada", "validation.json")

    first, second, third = capsys.readouterr().out.splitlines()
    assert first == second == str(store.object_path(digest))
    assert Path(third).read_bytes() == b"{}"
    with pytest.raises(SpecError, match="has no artifact 'x'"):
        cache.path_command("digits/fp32@ada", "x")
    with pytest.raises(SpecError, match="no digest and no cell that was built here"):
        cache.path_command("../../etc", "x")
    with pytest.raises(SpecError, match="no artifact that begins with 'abcd'"):
        cache.path_command("abcd", "x")


def test_two_artifacts_with_the_same_beginning_are_told_apart(store):
    folder = store.root / "objects" / "ab"
    folder.mkdir(parents=True)
    for end in "01":
        (folder / ("ab" + "c" * 61 + end)).write_bytes(b"")

    with pytest.raises(SpecError, match="2 artifacts begin with 'abcc'"):
        cache.path_command("abcc", "")
    assert Digest("ab" + "c" * 61 + "0", 0)
