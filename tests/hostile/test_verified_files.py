"""What was verified once is not read again, and nobody can make a user's store believe that of other bytes.

Each test is an attack, or an accident that looks like one, on the record of verified files.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from trtpipe import permissions
from trtpipe.digests import Digest
from trtpipe.errors import ArtifactDamaged, SpecError
from trtpipe.homes import cache_home, seal_of, user_file
from trtpipe.loader.project import Project, load_project
from trtpipe.stores import local
from trtpipe.stores.local import LocalStore
from trtpipe.stores.verification import verify
from trtpipe.stores.verified_files import FOLDER
from trtpipe.workspace.stores import open_store

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has neither owners nor change times")

GOOD, BAD = b"the engine" * 1000, b"poisonous!" * 1000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("TRTPIPE_ALLOW_PROJECT_CODE", "TRTPIPE_STORE", "TRTPIPE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    use_home(tmp_path / "home", monkeypatch)
    yield
    permissions.forget_grants()


def use_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    permissions.forget_grants()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that a store digests."""
    found: list[Path] = []
    real = local.digest_file
    monkeypatch.setattr(local, "digest_file", lambda path: found.append(path) or real(path))
    return found


def project(root: Path, store: str = "") -> Project:
    root.mkdir(exist_ok=True)
    (root / "trtpipe.yaml").write_text("schema: 1\n" + (f"store: {store}\n" if store else ""))
    return load_project(root)


def stored(store: LocalStore) -> Digest:
    """An artifact that was written a while ago."""
    with store.scratch() as scratch:
        (scratch / "x").write_bytes(GOOD)
        long_ago = time.time() - 60
        os.utime(scratch / "x", (long_ago, long_ago))
        return store.put(scratch / "x")


def overwrite(path: Path, data: bytes = BAD) -> None:
    """Other bytes of the same size with the same times as far as a program can set them, and the same mode."""
    found = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(stat.S_IMODE(found.st_mode))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert path.stat().st_mtime_ns == found.st_mtime_ns


@pytest.mark.parametrize("link", [True, False], ids=["linked", "copied"])
def test_an_artifact_is_read_once_and_then_placed_without_reading(tmp_path, read, link):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first", link=link)
    read.clear()

    for number in range(3):
        store.fetch(digest, tmp_path / f"again{number}", link=link)

    assert read == []
    assert (tmp_path / "again2").read_bytes() == GOOD


def test_another_project_and_process_of_the_user_need_not_read_it_either(tmp_path, read):
    digest = stored(open_store(project(tmp_path / "one")))
    open_store(project(tmp_path / "one")).fetch(digest, tmp_path / "first")
    read.clear()

    open_store(project(tmp_path / "two")).fetch(digest, tmp_path / "second")

    assert read == []


@pytest.mark.parametrize("through", ["the store", "a delivered link"])
@pytest.mark.parametrize("link", [True, False], ids=["linked", "copied"])
def test_bytes_written_under_the_old_size_and_time_are_found(tmp_path, link, through):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    delivered = tmp_path / "first"
    overwrite(store.object_path(digest) if through == "the store" else delivered)
    if delivered.stat().st_ino != store.object_path(digest).stat().st_ino and through != "the store":
        pytest.skip("not run: this file system clones")

    with pytest.raises(ArtifactDamaged):
        store.fetch(digest, tmp_path / "second", link=link)

    assert not (tmp_path / "second").exists()


def test_bytes_written_through_a_link_that_is_then_removed_are_found(tmp_path):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    overwrite(store.object_path(digest))
    (tmp_path / "first").unlink()

    with pytest.raises(ArtifactDamaged):
        store.fetch(digest, tmp_path / "second")


def test_another_file_put_in_its_place_is_found(tmp_path):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    path = store.object_path(digest)
    found = path.stat()
    (tmp_path / "other").write_bytes(BAD)
    (tmp_path / "other").chmod(0o444)
    os.utime(tmp_path / "other", ns=(found.st_atime_ns, found.st_mtime_ns))
    (tmp_path / "other").replace(path)

    with pytest.raises(ArtifactDamaged):
        store.fetch(digest, tmp_path / "second")


def test_a_symbolic_link_in_its_place_is_read(tmp_path, read):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    path = store.object_path(digest)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    read.clear()

    store.fetch(digest, tmp_path / "second", link=False)

    assert read != []


def test_verify_reads_what_is_known_too(tmp_path, read):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    read.clear()

    assert verify(store).damaged == []

    assert read == [store.object_path(digest)]


def test_a_record_without_this_users_seal_is_not_believed(tmp_path, read, monkeypatch):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    (record,) = (path for path in (tmp_path / "home/cache/trtpipe" / FOLDER).rglob("*") if path.is_file())
    body = record.read_bytes()[64:]
    use_home(tmp_path / "attacker", monkeypatch)
    forged = seal_of(body).encode() + body
    use_home(tmp_path / "home", monkeypatch)
    record.write_bytes(forged)
    read.clear()

    store.fetch(digest, tmp_path / "second")

    assert len(read) == 1


def test_records_that_came_with_a_clone_are_nowhere_looked_for(tmp_path, read):
    """Also those that this user made: a clone may have been packed from this very machine."""
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.fetch(digest, tmp_path / "first")
    made = cache_home() / FOLDER
    for inside in (".trtpipe", ".trtpipe/store", "build"):
        shutil.copytree(made, tmp_path / "clone" / inside / FOLDER)
    shutil.rmtree(made)
    read.clear()

    open_store(project(tmp_path / "clone")).fetch(digest, tmp_path / "second")

    assert len(read) == 1


@pytest.mark.parametrize("store", ["project", "{path: .trtpipe/store}"])
def test_a_store_that_the_project_names_is_read_each_time(tmp_path, read, store):
    named = open_store(project(tmp_path / "p", store))
    digest = stored(named)
    named.fetch(digest, tmp_path / "first")
    read.clear()

    named.fetch(digest, tmp_path / "second")

    assert len(read) == 1
    assert not (cache_home() / FOLDER).exists()


def test_the_users_store_is_read_each_time_when_the_project_names_it(tmp_path, read):
    """It is refused unless the user allows it; then it is still the project's choice."""
    own = open_store(project(tmp_path / "p"))
    digest = stored(own)
    own.fetch(digest, tmp_path / "first")

    with pytest.raises(SpecError):
        open_store(project(tmp_path / "clone", f"{{path: {own.root}}}"))
    user_file().parent.mkdir(parents=True, exist_ok=True)

    assert LocalStore(own.root).verified is None


def test_the_environments_store_inside_the_project_is_read_each_time(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / "p/.trtpipe/store"))

    assert open_store(project(tmp_path / "p")).verified is None


def test_a_file_that_others_can_write_is_read_each_time(tmp_path, read):
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    store.object_path(digest).chmod(0o466)
    store.fetch(digest, tmp_path / "first")
    read.clear()

    store.fetch(digest, tmp_path / "second")

    assert len(read) == 1


def test_a_file_written_just_now_is_not_recorded(tmp_path, read, monkeypatch):
    """Within a tick of the clock, a write does not change the signature."""
    store = open_store(project(tmp_path / "p"))
    digest = stored(store)
    os.utime(store.object_path(digest), (time.time() + 60, time.time() + 60))
    store.fetch(digest, tmp_path / "first")
    read.clear()

    store.fetch(digest, tmp_path / "second")

    assert len(read) == 1
