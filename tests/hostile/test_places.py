"""What a clone may not do by what lies where trtpipe reads and writes: pipes, links, and marks of others.

Each test is an attack that was tried on the whole once it was thought to be safe.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trtpipe import permissions
from trtpipe.app.look.which import _specs_of
from trtpipe.app.upgrade.upgrade import _is_ours, _manifest_in
from trtpipe.datasets.spools.run import samples_of
from trtpipe.delivery.failing_inputs import clear
from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.git import command
from trtpipe.git.blame import History
from trtpipe.loader.project import Project, load_project
from trtpipe.loader.user import write_allowed
from trtpipe.lockfile.reader import lock_in
from trtpipe.stores.buckets import Unusable
from trtpipe.stores.buckets.directory import DirectoryBucket
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.local import LocalStore
from trtpipe.stores.marks import made_by_another
from trtpipe.stores.state import STATE_FILE, ProjectState, steps_in
from trtpipe.toolchains.wheel_lock import WheelLock
from trtpipe.workspace.former_stores import adopt
from trtpipe.workspace.locked_scales import LockedScales
from trtpipe.workspace.project_code import code_in
from trtpipe.workspace.reports_mark import found_mark
from trtpipe.workspace.stores import open_store
from trtpipe.workspace.written_places import refuse_links_outside


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Iterator[Path]:
    """A user who has allowed nothing."""
    for name in ("TRTPIPE_ALLOW_PROJECT_CODE", "TRTPIPE_STORE", "TRTPIPE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    permissions.forget_grants()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path
    permissions.forget_grants()


def project(root: Path, more: str = "") -> Project:
    root.mkdir(parents=True, exist_ok=True)
    (root / "trtpipe.yaml").write_text(f"schema: 1\n{more}")
    return load_project(root)


def allow(found: Project) -> None:
    write_allowed(found.root, [one.code.digest for one in code_in(found, ())])
    load_project(found.root)


class Waited(BaseException):
    """It waits for somebody to write into a pipe."""


@pytest.fixture
def no_waiting() -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise Waited

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 2)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def wheels(path: Path) -> object:
    with pytest.raises(TrtpipeError, match=r"cannot be read|damaged"):
        WheelLock(path).wheels("tensorrt_rtx-1.6.1.120")
    return {}


READ: dict[str, tuple[str, Callable[[Path], object], object]] = {
    "state": (STATE_FILE, lambda path: ProjectState.load(path).steps, {}),
    "state, by the collector": (STATE_FILE, steps_in, None),
    "mark of reports": (".trtpipe/reports.behind", lambda path: found_mark(path).is_set, False),
    "mark of a store": ("store.json", lambda path: made_by_another(path.parent), True),
    "toolchains' lockfile": ("trtpipe-toolchains.lock", wheels, {}),
    "spec, by `which`": ("pipelines/a.yaml", lambda path: _specs_of({"a"}, path.parents[1]), {}),
    "manifest, by `upgrade`": ("manifest.json", lambda path: _manifest_in(path.parent, "."), None),
    "upgrade's mark": (".gitignore", lambda path: _is_ours(path.parent), False),
}


@pytest.mark.skipif(sys.platform == "win32", reason="not run: needs named pipes")
@pytest.mark.parametrize("kind", ["pipe", "endless"])
@pytest.mark.parametrize("what", READ)
def test_no_command_waits_for_a_pipe_nor_reads_without_end(tmp_path, no_waiting, what, kind):
    name, read, expected = READ[what]
    path = tmp_path / "p" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:  # which git has as a link
        path.symlink_to("/dev/full" if not Path("/dev/zero").exists() else "/dev/zero")

    assert read(path) == expected


def test_committed_scales_are_files(tmp_path, no_waiting):
    from trtpipe.lockfile import Lock

    (tmp_path / "p/calibration").mkdir(parents=True)
    os.mkfifo(tmp_path / "p/calibration/a.scales.json")
    (tmp_path / "p/calibration/b.scales.json").symlink_to("/dev/zero")
    state = ProjectState.load(tmp_path / "p" / STATE_FILE)
    scales = LockedScales({}, LocalStore(tmp_path / "store"), state, tmp_path / "p")

    assert not scales.holds(digest_bytes(b"{}"))
    assert Lock().steps == {}


@pytest.mark.parametrize(
    "part", ["objects", "traces", "from", "timing", "tmp/partial-1/counted", "locks", "projects"]
)
def test_a_part_of_a_store_that_came_with_a_clone_does_not_become_ones_own(tmp_path, part):
    """Without the mark that a whole one has: timing caches, and what a calibration has counted so far."""
    clone = project(tmp_path / "clone", "store: {path: vendor/results}\n")
    (clone.root / "vendor/results" / part).mkdir(parents=True)

    with pytest.raises(SpecError, match="came with the project"):
        open_store(clone)


def test_a_mark_that_the_user_made_elsewhere_is_worth_nothing_here(tmp_path):
    """Whoever shares a directory can read the mark of the store in it."""
    shared = LocalStore(tmp_path / "team")
    shared.open()
    clone = project(tmp_path / "clone", "store: project\n")
    store = clone.root / ".trtpipe/store"
    (store / "traces").mkdir(parents=True)
    shutil.copy(shared.root / "store.json", store)

    assert not made_by_another(shared.root)
    with pytest.raises(SpecError, match="came with the project"):
        open_store(clone)


def test_the_leave_to_read_a_directory_is_none_to_write_there(tmp_path):
    (tmp_path / "data").mkdir()
    clone = project(tmp_path / "clone", "reach: ['../data']\n")
    allow(clone)
    (clone.root / "build").symlink_to(tmp_path / "data")
    load_project(clone.root)

    with pytest.raises(SpecError, match=r"'build' is a link to .*, outside the project"):
        refuse_links_outside(clone.root)
    allow(clone)
    refuse_links_outside(clone.root)


DEEP = (
    ".trtpipe/failed",
    ".trtpipe/failed/net",
    ".trtpipe/failed/net/fp32",
    "upgrade",
    "upgrade/1.7",
    "upgrade/1.7/build",
)


@pytest.mark.parametrize("link", DEEP)
def test_nothing_is_written_behind_a_link_that_lies_deep(tmp_path, link):
    clone = project(tmp_path / "clone")
    (tmp_path / "mine").mkdir()
    (clone.root / link).parent.mkdir(parents=True, exist_ok=True)
    (clone.root / link).symlink_to(tmp_path / "mine")

    with pytest.raises(SpecError, match=f"'{link}' is a link to ") as caught:
        refuse_links_outside(clone.root)
    assert len(caught.value.problems) == 1


def test_a_link_where_failing_inputs_go_is_not_followed(tmp_path):
    """Of an engine's directory that was copied here: it is not a project's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine/failed").symlink_to(tmp_path / "mine")

    clear(tmp_path / "engine/failed")

    assert not (tmp_path / "engine/failed").exists()
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize("kind", ["objects", "fan", "file"])
def test_adopting_a_store_moves_nothing_from_behind_a_link(tmp_path, kind):
    """A former store's `objects` led to the user's own store, whose artifacts were then removed as taken over."""
    clone = project(tmp_path / "clone")
    mine = open_store(clone)
    mine.open()
    (tmp_path / "new").write_bytes(b"precious")
    digest = mine.put(tmp_path / "new")
    key = tmp_path / "private"
    key.write_bytes(b"precious")
    key.chmod(0o600)
    former = clone.root / ".trtpipe/store"
    artifact = mine.object_path(digest)
    if kind == "objects":
        former.mkdir(parents=True)
        (former / "objects").symlink_to(mine.root / "objects")
    elif kind == "fan":
        (former / "objects").mkdir(parents=True)
        (former / "objects" / artifact.parent.name).symlink_to(artifact.parent)
    else:
        name = digest_bytes(b"another").hex
        (former / "objects" / name[:2]).mkdir(parents=True)
        (former / "objects" / name[:2] / name).symlink_to(key)

    adopted = adopt(clone, mine)

    assert (adopted.artifacts, adopted.left_out) == (0, 1)
    assert mine.path(digest).read_bytes() == b"precious"
    assert key.stat().st_mode & 0o777 == 0o600
    assert not any(path.is_symlink() for path in mine.root.rglob("*"))


@pytest.mark.parametrize("where", ["build", ".trtpipe"])
def test_allowed_code_imports_none_from_where_trtpipe_writes(tmp_path, where):
    """What lies there was held to be trtpipe's own; a clone may ship it."""
    root = tmp_path / "clone"
    (root / where).mkdir(parents=True)
    (root / where / "evil_helper.py").write_text("open('PWNED', 'w')")
    (root / "waves.py").write_text(
        f"import sys\nsys.path.insert(0, {where!r})\nimport evil_helper\ndef draw(): yield {{'a': [1]}}\n"
    )

    with pytest.raises(
        SpecError, match=f"reads files that the data set does not declare: {where}/evil_helper.py"
    ):
        list(samples_of("waves:draw", root / "waves.py", root, ()))

    assert not (root / "PWNED").exists()


@pytest.mark.parametrize("protocol", ["ext::sh -c touch% PWNED", "file:///nowhere"])
def test_git_fetches_nothing_for_a_repository_that_lacks_objects(tmp_path, monkeypatch, protocol):
    """A partial clone's configuration names a program, and allows its own protocol; older gits know no other ban."""
    monkeypatch.delitem(command._ASKED, "GIT_NO_LAZY_FETCH")
    root = tmp_path / "clone"
    (root / "pipelines").mkdir(parents=True)
    spec = root / "pipelines/net.yaml"

    def git(*words: str) -> str:
        own = ("git", "-c", "user.name=a", "-c", "user.email=a@b", *words)
        return subprocess.run(own, cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    for text in ("a", "b"):
        spec.write_text(text)
        git("add", "-A")
        git("commit", "-qm", text)
    missing = git("rev-parse", "HEAD~1:pipelines")
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": protocol,
        "remote.origin.uploadpack": "touch PWNED",
        "protocol.ext.allow": "always",
        "protocol.file.allow": "always",
    }.items():
        git("config", name, value)
    (root / ".git/objects" / missing[:2] / missing[2:]).unlink()

    assert History(root).last_change(spec) is None
    assert not list(tmp_path.rglob("PWNED"))


def aliases(kind: str) -> str:
    facts = "".join(f"    f{number}: x\n" for number in range(50))
    more = "".join(f"  c{number}: *a\n" for number in range(50))
    texts = "".join(f"    g{number}: *t\n" for number in range(50))
    return {
        "cells": f"schema: 3\ncells:\n  a: &a\n{facts}{more}",
        "texts": f"schema: 3\ncells:\n  a:\n    f: &t {'x' * 100}\n{texts}",
        "steps": f"schema: 3\ncells: {{}}\nsteps:\n  a: &a\n    recipe: x\n{facts}{more}",
    }[kind]


@pytest.mark.parametrize("kind", ["cells", "texts", "steps"])
def test_a_lockfile_whose_lines_stand_for_many_more_is_refused(tmp_path, kind):
    with pytest.raises(TrtpipeError, match="it contains aliases, which trtpipe never writes"):
        lock_in(tmp_path / "trtpipe.lock", aliases(kind))


def test_a_toolchains_lockfile_whose_lines_stand_for_many_more_is_refused(tmp_path):
    wheel = f"{{a.whl: {'0' * 64}}}"
    path = tmp_path / "trtpipe-toolchains.lock"
    path.write_text(f"schema: 1\ntoolchains:\n  a: &a {wheel}\n  b: *a\n")

    with pytest.raises(TrtpipeError, match="it contains aliases, which trtpipe never writes"):
        WheelLock(path).wheels("b")


@pytest.fixture
def shared(tmp_path) -> tuple[LocalStore, Digest]:
    """A store of others, and an artifact in it."""
    theirs = LocalStore(tmp_path / "theirs")
    theirs.open()
    (tmp_path / "new").write_bytes(b"an honest engine")
    return theirs, theirs.put(tmp_path / "new")


def test_who_shares_a_directory_changes_nothing_that_was_taken_from_it(tmp_path, shared):
    """What was taken was a hard link: its owner could write other bytes into it after they had been verified."""
    theirs, digest = shared
    mine = LayeredStore(tmp_path / "mine", shared=[theirs])

    mine.fetch(digest, tmp_path / "model.engine")
    theirs.object_path(digest).chmod(0o644)
    theirs.object_path(digest).write_bytes(b"a poisoned engin")

    assert (tmp_path / "model.engine").read_bytes() == b"an honest engine"


def test_an_artifact_that_is_a_link_is_taken_as_a_file(tmp_path, shared):
    theirs, digest = shared
    theirs.object_path(digest).rename(tmp_path / "theirs/elsewhere")
    theirs.object_path(digest).symlink_to(tmp_path / "theirs/elsewhere")
    mine = LayeredStore(tmp_path / "mine", shared=[theirs])

    mine.fetch(digest, tmp_path / "model.engine")

    assert not (tmp_path / "model.engine").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="not run: needs named pipes")
def test_a_shared_directory_full_of_pipes_is_not_waited_for(tmp_path, no_waiting):
    theirs, empty, key = LocalStore(tmp_path / "theirs"), digest_bytes(b""), "ab" * 32
    for path in (theirs.object_path(empty), theirs.trace_path(key)):
        path.parent.mkdir(parents=True)
        os.mkfifo(path)
    mine = LayeredStore(tmp_path / "mine", shared=[theirs])

    assert not mine.has(empty)
    assert mine.trace(key) is None
    bucket = DirectoryBucket(tmp_path / "theirs")
    with pytest.raises(Unusable, match="not a regular file"):
        bucket.read(f"traces/ab/{key}.json", 100)
    with pytest.raises(Unusable, match="not a regular file"):
        list(bucket.stream(f"traces/ab/{key}.json", 100))
