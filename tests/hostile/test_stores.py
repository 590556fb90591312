"""What a clone may not do to the store that all projects of its user share, nor make its user believe.

Each test is an attack: results that nobody built here, brought by a clone or by a place that it names.
"""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from tests.stores.places import fingerprint, needs, step
from trtpipe import permissions
from trtpipe.digests import digest_bytes
from trtpipe.errors import SpecError
from trtpipe.homes import user_file
from trtpipe.loader.project import Project, load_project
from trtpipe.loader.user import write_allowed
from trtpipe.spec.public_keys import is_small_order, raw_key
from trtpipe.spec.store import StoreSpec
from trtpipe.stores.local import LocalStore
from trtpipe.stores.sealed_files import CONTENT_AT, sealed
from trtpipe.stores.signatures import new_key, signed
from trtpipe.stores.state import STATE_FILE, ProjectState
from trtpipe.workspace.former_stores import adopt, former_line
from trtpipe.workspace.project_code import code_in
from trtpipe.workspace.stores import open_store

KEY = fingerprint("digits")[0]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user who has allowed nothing."""
    for name in ("TRTPIPE_ALLOW_PROJECT_CODE", "TRTPIPE_STORE", "TRTPIPE_REMOTE"):
        monkeypatch.delenv(name, raising=False)
    use_home(tmp_path / "home", monkeypatch)
    yield
    permissions.forget_grants()


def use_home(home: Path, monkeypatch) -> None:
    permissions.forget_grants()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))


def project(root: Path, store: str = "") -> Project:
    root.mkdir(exist_ok=True)
    (root / "trtpipe.yaml").write_text("schema: 1\n" + (f"store: {store}\n" if store else ""))
    return load_project(root)


def lie(folder: Path, monkeypatch, tmp_path: Path) -> None:
    """A store that an attacker filled at home: what the victim will ask for, with another outcome."""
    use_home(tmp_path / "attacker", monkeypatch)
    step(LocalStore(folder), "digits", b"a poisoned engine")
    use_home(tmp_path / "home", monkeypatch)


def allow(found: Project) -> None:
    """What `trtpipe allow --yes` does."""
    write_allowed(found.root, [one.code.digest for one in code_in(found, ())])
    load_project(found.root)


def test_a_store_that_came_with_the_project_is_refused_until_it_is_gone_or_allowed(tmp_path, monkeypatch):
    clone = project(tmp_path / "clone", "project")
    lie(clone.root / ".trtpipe/store", monkeypatch, tmp_path)

    with pytest.raises(SpecError, match="came with the project: its results were not built here"):
        open_store(clone)

    allow(clone)
    assert open_store(clone).trace(KEY)
    permissions.forget_grants()
    shutil.rmtree(clone.root / ".trtpipe")
    step(open_store(clone), "digits", b"an honest engine")
    assert open_store(clone).trace(KEY).outputs == {"out0": digest_bytes(b"an honest engine")}


@pytest.mark.parametrize(
    "mark", [None, "{}", '{"schema": 1}', '{"schema": 1, "id": "a", "seal": "b"}', "[", "own"]
)
def test_no_mark_that_others_can_write_passes_for_ones_own(tmp_path, monkeypatch, mark):
    clone = project(tmp_path / "clone", "{path: vendor/results}")
    lie(clone.root / "vendor/results", monkeypatch, tmp_path)
    file = clone.root / "vendor/results/store.json"
    if mark is None:
        file.unlink()
    elif mark != "own":  # the attacker's
        file.write_text(mark)

    with pytest.raises(SpecError, match="came with the project"):
        open_store(clone)


def test_what_was_allowed_is_that_store_and_not_the_next_one_in_its_place(tmp_path, monkeypatch):
    clone = project(tmp_path / "clone", "project")
    lie(clone.root / ".trtpipe/store", monkeypatch, tmp_path)
    allow(clone)
    shutil.rmtree(clone.root / ".trtpipe")
    lie(clone.root / ".trtpipe/store", monkeypatch, tmp_path)
    load_project(clone.root)

    with pytest.raises(SpecError, match="came with the project"):
        open_store(clone)


def test_a_store_outside_the_project_is_not_written_by_the_projects_word(tmp_path):
    clone = project(tmp_path / "clone", "{path: ../elsewhere}")

    with pytest.raises(SpecError, match="this project uses the store '") as caught:
        open_store(clone)
    assert "trtpipe allow" in caught.value.problems[0].remedy
    allow(clone)
    step(open_store(clone), "digits", b"engine")
    assert open_store(clone).trace(KEY), "its mark, which it has by now, is not what was allowed"


@pytest.mark.parametrize("place", ["evil", "../evil"])
@pytest.mark.parametrize("kind", ["shared", "remote"])
def test_directories_that_only_the_project_names_are_not_believed(tmp_path, monkeypatch, kind, place):
    clone = project(tmp_path / "clone", f"{{{kind}: {[place] if kind == 'shared' else place}}}")
    lie(clone.root / place, monkeypatch, tmp_path)

    store = open_store(clone)

    assert store.trace(KEY) is None
    assert store.warnings == [
        f"the {kind} store {place} is not used: only this project names that directory; "
        "`trtpipe allow` shows it and asks you"
    ]


def test_what_one_clone_was_allowed_to_believe_no_other_project_does(tmp_path, monkeypatch):
    clone = project(tmp_path / "clone", "{shared: [evil]}")
    lie(clone.root / "evil", monkeypatch, tmp_path)
    allow(clone)

    mine = open_store(clone)
    poisoned = mine.trace(KEY)
    assert poisoned is not None
    mine.fetch(poisoned.outputs["out0"], tmp_path / "engine")
    own = open_store(project(tmp_path / "own"))

    assert own.root == mine.root
    assert own.trace(KEY) is None
    assert own.word != mine.word


def test_what_a_remote_of_a_clone_said_no_other_project_believes(tmp_path, monkeypatch):
    from trtpipe.stores.kept import kept_places
    from trtpipe.workspace import stores

    (tmp_path / "bucket").mkdir()
    opened = stores.open_bucket
    monkeypatch.setattr(stores, "open_bucket", lambda address, *rest: opened(str(tmp_path / "bucket"), *rest))
    monkeypatch.setenv("TRTPIPE_REMOTE_MODE", "read-write")
    use_home(tmp_path / "attacker", monkeypatch)
    theirs = open_store(project(tmp_path / "theirs", "{remote: s3://evil/x}"))
    step(theirs, "digits", b"a poisoned engine")
    theirs.settle()
    use_home(tmp_path / "home", monkeypatch)
    monkeypatch.delenv("TRTPIPE_REMOTE_MODE")

    clone = open_store(project(tmp_path / "clone", "{remote: s3://evil/x}"))
    assert clone.trace(KEY)
    assert [one.place for one in kept_places(clone.root)] == ["the remote store s3://evil/x"]

    for store in ("", "{remote: s3://other/x}"):
        own = open_store(project(tmp_path / "own", store))
        for one in getattr(own, "remotes", ()):
            one.stop()
        assert own.trace(KEY) is None


def test_nothing_is_sent_to_a_remote_by_the_word_of_the_clone(tmp_path, monkeypatch):
    """A pin names bytes that another project may have fetched: what is made of them is not the clone's to have."""
    clone = project(tmp_path / "clone", "{remote: s3://evil/x, mode: read-write}")

    store = open_store(clone)
    assert not store.remote.terms.writes
    assert (
        "nothing is sent to the remote store s3://evil/x, which only this project names" in store.warnings[0]
    )

    allow(clone)
    assert open_store(clone).remote.terms.writes
    permissions.forget_grants()
    monkeypatch.setenv("TRTPIPE_REMOTE_MODE", "read-write")
    assert open_store(clone).remote.terms.writes


def test_a_former_store_is_not_taken_over_in_silence_and_never_for_others(tmp_path, monkeypatch):
    clone = project(tmp_path / "clone")
    lie(clone.root / ".trtpipe/store", monkeypatch, tmp_path)

    assert open_store(clone).trace(KEY) is None
    assert "if you built it; else remove it" in former_line(clone, open_store(clone))
    adopt(clone, open_store(clone))  # by a user who was talked into it

    assert open_store(clone).trace(KEY)
    assert open_store(project(tmp_path / "own")).trace(KEY) is None


def test_a_former_store_lies_about_no_bytes(tmp_path, monkeypatch):
    clone = project(tmp_path / "clone")
    lie(clone.root / ".trtpipe/store", monkeypatch, tmp_path)
    wanted = digest_bytes(b"an honest engin!!")
    path = LocalStore(clone.root / ".trtpipe/store").object_path(wanted)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a poisoned engine")

    adopt(clone, open_store(clone))

    assert not open_store(project(tmp_path / "own")).has(wanted)


def test_a_state_that_came_with_the_project_is_not_believed(tmp_path, monkeypatch):
    def remembered() -> object:
        return ProjectState.load(tmp_path / STATE_FILE).last_outputs("digits:import", KEY)

    use_home(tmp_path / "attacker", monkeypatch)
    state = ProjectState.load(tmp_path / STATE_FILE)
    state.remember_step("digits:import", KEY, {"out": digest_bytes(b"poison")})
    state.save()
    assert remembered()
    use_home(tmp_path / "home", monkeypatch)

    assert remembered() is None
    text = (tmp_path / STATE_FILE).read_bytes()
    body = text[CONTENT_AT:]
    for seal in (digest_bytes(body).hex, "0" * 64, ""):
        (tmp_path / STATE_FILE).write_bytes(f'{{"seal":"{seal}"}}\n'.encode() + body)
        assert remembered() is None
    (tmp_path / STATE_FILE).write_bytes(sealed(body))
    assert remembered(), "which only this user can write"


@needs("cryptography")
def test_a_clone_adds_no_key_to_those_that_its_user_trusts(tmp_path, monkeypatch):
    secret, attackers = new_key()
    clone = project(tmp_path / "clone", f"{{shared: [evil], trust: ['{attackers}']}}")
    use_home(tmp_path / "attacker", monkeypatch)
    evil = LocalStore(clone.root / "evil")
    evil.sign = lambda data: signed(data, secret)
    step(evil, "digits", b"a poisoned engine")
    use_home(tmp_path / "home", monkeypatch)
    allow(clone)
    assert open_store(clone).trace(KEY)
    text = user_file().read_text()

    user_file().write_text(text + f"trust: ['{new_key()[1]}']\n")

    store = open_store(clone)
    assert store.trace(KEY) is None
    assert "you trust none of the keys that trtpipe.yaml trusts" in store.warnings[0]


def points_of_small_order() -> list[bytes]:
    """Every encoding of a point whose order divides 8, found by arithmetic on the curve."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p) % p
    root = pow(2, (p - 1) // 4, p)

    def x_of(y: int) -> int | None:
        square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
        x = pow(square, (p + 3) // 8, p)
        return next((one for one in (x, x * root % p) if (one * one - square) % p == 0), None)

    def doubled(point: tuple[int, int]) -> tuple[int, int]:
        x, y = point
        both = d * x * x * y * y
        return 2 * x * y * pow(1 + both, -1, p) % p, (y * y + x * x) * pow(1 - both, -1, p) % p

    def eight_times(y: int) -> tuple[int, int] | None:
        x = x_of(y)
        return doubled(doubled(doubled((x, y)))) if x is not None else None

    # An eighth of the identity: y = 0, 1, -1, and those whose double has y = 0.
    fourth = [y for y in (0, 1, p - 1) if eight_times(y) == (0, 1)]
    eighth = [y for y in _roots_of_order_8(p, d) if eight_times(y) == (0, 1)]
    assert (len(fourth), len(eighth)) == (3, 2)
    forms = [*fourth, *eighth, p, p + 1]
    return [(y | sign << 255).to_bytes(32, "little") for y in forms for sign in (0, 1)]


def _roots_of_order_8(p: int, d: int) -> list[int]:
    """The y with x² = -y², which double to a point with y = 0: d·y⁴ + 2·y² - 1 = 0 by the curve's equation."""

    def square_root(value: int) -> int | None:
        found = pow(value, (p + 3) // 8, p)
        tried = (found, found * pow(2, (p - 1) // 4, p) % p)
        return next((one for one in tried if (one * one - value) % p == 0), None)

    rooted = square_root((1 + d) % p)
    assert rooted is not None
    found = []
    for sign in (1, -1):
        y = square_root((-1 + sign * rooted) * pow(d, -1, p) % p)
        found += [y, p - y] if y is not None else []
    return found


def test_a_key_that_anybody_can_sign_for_is_refused():
    tried = points_of_small_order()

    for raw in tried:
        text = "ed25519:" + base64.b64encode(raw).decode()
        assert raw_key(text) == raw
        assert is_small_order(raw)
        with pytest.raises(ValueError, match="signatures can be forged for the public key"):
            StoreSpec(remote="s3://a/b", trust=(text,))
    assert len(tried) == 14


@needs("cryptography")
def test_an_honest_key_is_not_refused():
    for _ in range(20):
        assert not is_small_order(raw_key(new_key()[1]))


@needs("cryptography")
@pytest.mark.parametrize("where", ["signing.key", "sub/signing.key", "../signing.key", "../../signing.key"])
def test_a_signing_key_that_gets_committed_is_refused(tmp_path, monkeypatch, where):
    monkeypatch.setenv("TRTPIPE_REMOTE_MODE", "read-write")
    (tmp_path / "repository/.git").mkdir(parents=True)
    (tmp_path / "repository/p/sub").mkdir(parents=True)
    path = tmp_path / "repository/p" / where
    path.write_text(new_key()[0])
    path.chmod(0o600)
    store = f"{{remote: s3://a/b, mode: read-write, sign: {where}}}"

    if where.startswith("../../"):
        assert open_store(project(tmp_path / "repository/p", store)).remote.terms.secret
        return
    with pytest.raises(SpecError, match="is inside the repository, where it would be committed and copied"):
        open_store(project(tmp_path / "repository/p", store))


@needs("cryptography")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_signing_key_that_is_open_to_others_is_refused(tmp_path, mode):
    path = tmp_path / "signing.key"
    path.write_text(new_key()[0])
    path.chmod(mode)
    clone = project(tmp_path / "p", "{remote: s3://a/b, sign: ../signing.key}")

    with pytest.raises(SpecError, match="others can read or write the signing key") as caught:
        open_store(clone)
    assert caught.value.problems[0].remedy == f"chmod 600 {path}"
    path.chmod(0o600)
    assert open_store(clone).sign is not None
