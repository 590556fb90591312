"""One store per user: where it is, who decides that, and how projects share it."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.stores.places import fingerprint, needs, step
from trtpipe import homes
from trtpipe.app.store.retention import Cache, roots_of
from trtpipe.errors import SpecError, StoreError, TrtpipeError
from trtpipe.homes import cache_home, user_file
from trtpipe.loader.project import load_project
from trtpipe.stores.local import LocalStore
from trtpipe.stores.marks import made_by_another
from trtpipe.workspace.former_stores import adopt, former_line, store_line
from trtpipe.workspace.stores import open_store

KEYS = ["ed25519:" + 42 * "A" + "I=", "ed25519:" + 42 * "A" + "M="]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/trtpipe"


def configure(text: str) -> None:
    file = user_file()
    assert file is not None
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("schema: 1\n" + text)


def project(root: Path, store: str = ""):
    root.mkdir(exist_ok=True)
    (root / "trtpipe.yaml").write_text("schema: 1\n" + (f"store: {store}\n" if store else ""))
    return load_project(root)


def test_what_one_clone_made_another_has(tmp_path, home):
    trace = step(open_store(project(tmp_path / "one")), "digits", b"engine")

    store = open_store(project(tmp_path / "two"))

    assert store.root == home / "store"
    assert store.trace(trace.key) == trace
    assert store.has(trace.outputs["out0"])
    assert not (tmp_path / "one/.trtpipe/store").exists()


def test_a_store_that_several_make_at_once_is_nobody_elses(tmp_path):
    """It appears with its mark, so that no other process takes half of it for a stranger's."""
    roots = [tmp_path / f"{number}/.trtpipe/store" for number in range(40)]
    seen: list[bool] = []

    def use(start: threading.Barrier) -> None:
        for root in roots:
            start.wait()
            seen.append(made_by_another(root))
            LocalStore(root).open()
            seen.append(made_by_another(root))

    start = threading.Barrier(6)
    threads = [threading.Thread(target=use, args=(start,)) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert seen == [False] * len(roots) * 12
    assert all([one.name for one in root.parent.iterdir()] == ["store"] for root in roots)


def test_a_store_is_made_where_a_volume_is_mounted(tmp_path):
    """Such a directory cannot be replaced, its parent may be of another file system and closed to the user."""
    root = tmp_path / "volume/store"
    (root / "lost+found").mkdir(parents=True)
    root.parent.chmod(0o555)

    assert not made_by_another(root)
    LocalStore(root).open()

    assert not made_by_another(root)
    assert [one.name for one in root.parent.iterdir()] == ["store"]
    root.parent.chmod(0o755)


@pytest.mark.parametrize(
    ("environment", "in_project", "configured", "root"),
    [
        ("", "", "", "cache/trtpipe/store"),
        ("", "", "store: {path: TMP/own}\n", "own"),
        ("", "", "store: project\n", "p/.trtpipe/store"),
        ("", "project", "store: {path: TMP/own}\n", "p/.trtpipe/store"),
        ("", "{path: kept}", "", "p/kept"),
        ("TMP/named", "project", "store: {path: TMP/own}\n", "named"),
    ],
)
def test_the_environment_decides_before_the_project_and_that_before_the_user(
    tmp_path, monkeypatch, environment, in_project, configured, root
):
    if environment:
        monkeypatch.setenv("TRTPIPE_STORE", environment.replace("TMP", str(tmp_path)))
    configure(configured.replace("TMP", str(tmp_path)))

    assert open_store(project(tmp_path / "p", in_project)).root == tmp_path / root


def test_a_cache_directory_that_is_relative_is_ignored(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert cache_home() == tmp_path / ".cache/trtpipe"


def test_a_user_without_a_home_is_told_what_to_do_and_can(tmp_path, monkeypatch):
    def nowhere() -> Path:
        raise RuntimeError

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", nowhere)

    with pytest.raises(SpecError, match="no home directory to keep the store in") as caught:
        open_store(project(tmp_path / "p"))
    assert "`store: project` into trtpipe.yaml" in caught.value.problems[0].remedy
    for _ in range(2):  # its own store again, though there is no place for a secret
        trace = step(open_store(project(tmp_path / "p", "project")), "digits", b"x")
    monkeypatch.setenv("TRTPIPE_STORE", str(tmp_path / "other"))
    assert open_store(project(tmp_path / "q")).trace(trace.key) is None


def test_a_home_that_cannot_be_written_is_one_error(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    store = open_store(project(tmp_path / "p"))

    with pytest.raises(StoreError, match="/dev/null/cache"):
        store.open()


class TestTheSecret:
    @pytest.fixture(autouse=True)
    def forgotten(self, monkeypatch):
        """As a process begins that has read none."""
        monkeypatch.setattr(homes, "_secrets", {})

    def test_only_its_user_can_read_it(self, home):
        seal = homes.seal_of(b"x")

        assert (home / "secret").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in home.iterdir()] == ["secret"]
        assert homes.is_sealed(b"x", seal)
        assert not homes.is_sealed(b"y", seal)

    def test_another_process_has_the_same(self, monkeypatch):
        seal = homes.seal_of(b"x")
        monkeypatch.setattr(homes, "_secrets", {})

        assert homes.seal_of(b"x") == seal

    def test_one_that_was_cut_short_is_made_anew(self, home, monkeypatch):
        home.mkdir(parents=True)
        (home / "secret").write_bytes(b"half")

        seal = homes.seal_of(b"x")
        monkeypatch.setattr(homes, "_secrets", {})

        assert homes.seal_of(b"x") == seal
        assert len((home / "secret").read_bytes()) == 32


def test_locks_are_files_where_the_user_or_the_project_says_so(tmp_path):
    assert not open_store(project(tmp_path / "p"))._lock_files
    assert open_store(project(tmp_path / "p", "{locks: files}"))._lock_files
    configure("store: {locks: files}\n")
    assert open_store(project(tmp_path / "p"))._lock_files


def test_remotes_of_the_user_are_asked_by_every_project_and_only_the_first_takes(tmp_path, monkeypatch):
    monkeypatch.setenv("TRTPIPE_REMOTE_MODE", "read-write")
    configure("remotes: [s3://mine/a, s3://mine/b]\n")

    def remotes(store: str = "") -> list[tuple[str, bool]]:
        opened = open_store(project(tmp_path / "p", store))
        return [(one.shown, one.terms.writes) for one in getattr(opened, "remotes", ())]

    assert remotes() == [("s3://mine/a", True), ("s3://mine/b", False)]
    assert remotes("{remote: s3://team/x}")[0] == ("s3://team/x", True)
    assert remotes("{remote: s3://mine/b}") == [("s3://mine/b", True), ("s3://mine/a", False)]
    monkeypatch.setenv("TRTPIPE_REMOTE", "")
    assert remotes("{remote: s3://team/x}") == []


def test_offline_none_of_them_is_asked(tmp_path):
    from trtpipe.workspace.stores import use_remote

    configure("remotes: [s3://mine/a, s3://mine/b]\n")
    store = open_store(project(tmp_path / "p", "{remote: s3://team/x}"))

    use_remote(store, offline=True, required=False)

    assert [one.is_up for one in store.remotes] == [False, False, False]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (
            "store: {path: cache}",
            "config.yaml:2:15: 'cache' is relative and would be another directory in each project",
        ),
        (
            "store: {shared: [../team]}",
            "'../team' is relative and would be another directory in each project",
        ),
        ("remotes: [remote]", "'remote' is relative and would be another directory in each project"),
        ("remotes: ['http://cache.example.com']", "plain http can be altered in transit"),
        ("remotes: ['https://me:secret@host/x']", "credentials come from the environment"),
        ("trust: [ed25519:AAAA]", "not a public key"),
        ("store: everywhere", "store"),
    ],
)
def test_what_the_configuration_cannot_mean_is_refused(tmp_path, text, fact):
    configure(text + "\n")

    with pytest.raises(SpecError) as caught:
        project(tmp_path / "p")
    assert fact in str(caught.value)
    assert "secret@" not in str(caught.value)


@needs("cryptography")
def test_a_project_can_trust_no_key_that_its_user_does_not(tmp_path):
    def trusted(trust: list[str]) -> tuple[str, ...]:
        store = open_store(project(tmp_path / "p", f"{{remote: s3://team/x, trust: {trust}}}"))
        return store.remote.terms.trusted if hasattr(store, "remote") else ("nobody", *store.warnings)

    assert trusted(KEYS[:1]) == (KEYS[0],)
    configure(f"trust: {KEYS}\n")
    assert trusted([]) == tuple(KEYS)
    assert trusted(KEYS[1:]) == (KEYS[1],)
    configure(f"trust: {KEYS[0]}\n")
    nobody, told = trusted(KEYS[1:])
    assert nobody == "nobody"
    assert "you trust none of the keys that trtpipe.yaml trusts" in told


def test_the_collector_knows_a_project_that_only_reads(tmp_path):
    trace = step(open_store(project(tmp_path / "one")), "digits", b"engine")
    reads = project(tmp_path / "two")
    (reads.root / "trtpipe.lock").write_text(f"schema: 1\ncells:\n  a/b@c:\n    key: {trace.key}\n")
    open_store(reads).introduce()
    shutil.rmtree(tmp_path / "one")
    cache = Cache(project(tmp_path / "three"), open_store(project(tmp_path / "three")))

    assert reads.root in cache.projects()
    assert trace.key in roots_of(cache.projects()).keys


def test_a_damaged_lockfile_of_another_project_is_named_and_all_that_it_may_need_is_kept(tmp_path):
    first, second = (
        step(open_store(project(tmp_path / "one")), name, name.encode()) for name in ("digits", "b")
    )
    reads = project(tmp_path / "two")
    lockfile = reads.root / "trtpipe.lock"
    lockfile.write_text(f"schema: 1\ncells:\n  a/b@c:\n    key: {first.key}\n")
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@x", "-C", str(reads.root)]
    for words in (["init", "-q"], ["add", "trtpipe.lock"], ["commit", "-qm", "built"]):
        subprocess.run([*git, *words], check=True)
    lockfile.write_text(f"schema: 1\ncells: {{{{\n    key: {second.key}\n")
    open_store(reads).introduce()
    cache = Cache(project(tmp_path / "three"), open_store(project(tmp_path / "three")))
    shutil.rmtree(tmp_path / "one")

    roots = cache.roots()

    assert {first.key, second.key} <= roots.keys
    (warning,) = [text for text in cache.store.warnings if "damaged" in text]
    assert str(reads.root) in warning


def test_a_damaged_lockfile_of_a_project_that_is_named_ends_the_collection(tmp_path):
    reads = project(tmp_path / "two")
    (reads.root / "trtpipe.lock").write_text("schema: 1\ncells: {{\n")
    cache = Cache(project(tmp_path / "three"), open_store(project(tmp_path / "three")))

    with pytest.raises(TrtpipeError):
        cache.roots([reads.root])


def test_two_projects_at_once_do_the_work_once(tmp_path):
    from trtpipe.plan.control import Control

    ran, key = [], fingerprint("digits")[0]

    def build(name: str) -> None:
        store = open_store(project(tmp_path / name))
        with store.lock(key, Control().check):
            if store.trace(key) is None:
                ran.append(step(store, "digits", b"engine"))

    builders = [threading.Thread(target=build, args=(name,)) for name in ("one", "two")]
    for one in builders:
        one.start()
    for one in builders:
        one.join()

    assert len(ran) == 1


class TestAFormerStore:
    @pytest.fixture
    def former(self, tmp_path: Path) -> LocalStore:
        project(tmp_path / "p")
        return LocalStore(tmp_path / "p/.trtpipe/store")

    def test_its_size_is_named_until_it_is_taken_over(self, tmp_path, former):
        step(former, "digits", b"engine")
        p = project(tmp_path / "p")

        assert former_line(p, open_store(p)).startswith(".trtpipe/store holds 6 B of a former store")
        adopt(p, open_store(p))
        assert former_line(p, open_store(p)) == ""
        assert store_line(open_store(p)).endswith("cache/trtpipe/store: 6 B in 1 artifact")
        assert not former.root.exists()
        with pytest.raises(SpecError, match="there is no former store"):
            adopt(p, open_store(p))

    def test_its_project_believes_what_it_says_and_no_other_does(self, tmp_path, former):
        trace = step(former, "digits", b"engine")
        adopt(project(tmp_path / "p"), open_store(project(tmp_path / "p")))

        store, another = open_store(project(tmp_path / "p")), open_store(project(tmp_path / "q"))

        assert store.trace(trace.key) == trace
        assert store.has_here(trace.outputs["out0"])
        assert another.trace(trace.key) is None
        configure(f"trust: {KEYS[0]}\n")
        assert open_store(project(tmp_path / "p")).trace(trace.key) is None

    def test_damage_is_left_behind(self, tmp_path, former):
        trace, other = step(former, "digits", b"engine"), step(former, "other", b"x")
        former.trace_path(other.key).write_text("{")
        path = former.object_path(trace.outputs["out0"])
        path.chmod(0o644)
        path.write_bytes(b"emgine")

        found = adopt(project(tmp_path / "p"), open_store(project(tmp_path / "p")))

        assert (found.traces, found.left_out) == (1, 1)
        assert not open_store(project(tmp_path / "p")).has_here(trace.outputs["out0"])

    def test_a_store_of_the_project_that_is_in_use_is_none(self, tmp_path, former):
        step(former, "digits", b"engine")
        p = project(tmp_path / "p", "project")

        assert former_line(p, open_store(p)) == ""
