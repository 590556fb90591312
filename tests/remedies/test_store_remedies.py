"""What was built, the lockfile, the store and what is shared: each is damaged as happens, and mended as the remedy says."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.remedies.remedy_places import SPEC, Asked, Cure, Place, Question, Row, apply, asking, listen
from tests.remedies.spec_rows import FILES
from trtpipe.problem_codes import Code, ProblemCode

pytestmark = pytest.mark.engine
pytest.importorskip("tensorrt_rtx", reason="not run: needs a tensorrt_rtx wheel")

TWO = SPEC.replace("fp32: {}", "fp32: {}, h: {precision: fp16}")
CELL, HALF = "net/fp32@t", "net/h@t"
MANIFEST = f"build/{CELL}/manifest.json"
ENGINE = f"build/{CELL}/model.engine"
LOCK = "trtpipe.lock"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two cells that was built once."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("built")
        patch.chdir(root)
        place = Place(root, patch)
        listen(place)
        for name, content in {**FILES, "pipelines/net.yaml": TWO}.items():
            place.write(name, content() if callable(content) else content)
        done = place.ask(("build",))
        assert done.code == 0, done.err
    return root


@pytest.fixture
def place(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Place:
    return copied(built, tmp_path, monkeypatch, request.module.__name__)


def copied(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: str) -> Place:
    """A copy of it."""
    root = tmp_path / "copy"
    shutil.copytree(built, root, symlinks=True)
    monkeypatch.chdir(root)
    made = Place(root, monkeypatch, test=test)
    listen(made)
    return made


def damaged(name: str, content: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.write(name, content)


def gone(*names: str) -> Callable[[Place], None]:
    def remove(place: Place) -> None:
        for name in names:
            (place.root / name).unlink()

    return remove


def after(*argv: str, remove: str = "", again: Sequence[str] | None = None) -> Cure:
    """Run a command, as the remedy says, after a file is away if it says so; then ask as before, or something else."""

    def cure(place: Place, match: re.Match[str]) -> Question | None:
        if remove:
            (place.root / remove).unlink()
        done = place.ask([match.expand(one) for one in argv])
        assert done.code == 0, done.err
        return again

    return cure


def row(
    name: str,
    code: ProblemCode,
    before: Callable[[Place], object] | None,
    ask: Question,
    remedy: str,
    cure: Cure,
    ends: int = 0,
) -> Row:
    return Row(name, code, remedy, cure, {}, ask=ask, before=before, ends=ends)


RUN = ("run", CELL, "--random", "--cpu")
BUILD = ("build",)
FROZEN = ("build", "--frozen")


def conflict(place: Place) -> None:
    text = (place.root / LOCK).read_text()
    place.write(LOCK, f"<<<<<<< ours\n{text}=======\n{text.replace('fp32', 'fp33')}>>>>>>> theirs\n")


def torn(place: Place) -> None:
    place.write(LOCK, "<<<<<<< ours\n" + (place.root / LOCK).read_text())


def take_ours(place: Place, _: re.Match[str]) -> Question:
    """Either side, and a build."""
    text = (place.root / LOCK).read_text()
    place.write(LOCK, text.replace("<<<<<<< ours\n", ""))
    return BUILD


def object_of(place: Place) -> Path:
    """The store's copy of the engine."""
    digest = json.loads((place.root / MANIFEST).read_bytes())["engine"]["blake3"]
    (found,) = (place.root / ".trtpipe/store").rglob(f"*{digest[2:]}*")
    return found


def spoil(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def another_precision(place: Place) -> None:
    place.edit("pipelines/net.yaml", "precision: fp16", "precision: bf16")


def _edit(place: Place, name: str, old: str, new: str) -> None:
    text, count = re.subn(old, new, (place.root / name).read_text())
    assert count
    place.write(name, text)


def _done(asked: Asked) -> None:
    assert asked.code == 0, asked.err


def _elsewhere(place: Place) -> Question:
    """The directory that holds the model: here that of the other cell."""
    return ("run", f"build/{HALF}", "--random")


def _validated(place: Place) -> None:
    place.write("pipelines/net.yaml", TWO + "validate: {data: val}\n")


def _recorded(place: Place) -> None:
    from tests.remedies.small_models import recorded

    place.write("golden/net.npz", recorded())
    place.write("pipelines/net.yaml", TWO + "validate: {data: val, reference: {golden: golden/net.npz}}\n")


def _aged(place: Place) -> None:
    """A manifest as it was before thresholds stood in it."""
    manifest = json.loads((place.root / MANIFEST).read_bytes())
    manifest["validation"] = {"outcome": "passed"}
    place.write(MANIFEST, json.dumps(manifest))


def _path_of(place: Place) -> object:
    from trtpipe.digests import Digest
    from trtpipe.stores.local import LocalStore

    manifest = json.loads((place.root / MANIFEST).read_bytes())["engine"]
    return LocalStore(place.root / ".trtpipe/store").path(Digest(manifest["blake3"], manifest["bytes"]))


def _of_another(place: Place) -> None:
    place.patch.delenv("TRTPIPE_ALLOW_PROJECT_CODE")
    place.write("trtpipe.yaml", "schema: 1\nstore: {path: mine}\n")
    place.write("mine/store.json", '{"schema": 1}')


def _rebuilt(place: Place) -> None:
    shutil.rmtree(place.root / "build")
    _done(place.ask(BUILD))


CELLS = [
    row("several cells", Code.AMBIGUOUS_NAME, None, ("run", "net/*@t", "--random", "--cpu"), r"name one of '?(net/fp32@t)",
        asking("run", r"\1", "--random", "--cpu")),
    row("no such cell", Code.WRONG_FILE, None, ("run", "net/fp23@t", "--random", "--cpu"), r"did you mean '(\S+)'",
        asking("run", r"\1", "--random", "--cpu")),
    row("a damaged manifest", Code.MANIFEST_DAMAGED, damaged(MANIFEST, "{"), RUN, "build the cell again", after("build", "--force", CELL)),
    row("a lost engine", Code.NO_ENGINE, gone(ENGINE), RUN, "build it again", after(*BUILD)),
    row("an engine cut short", Code.ENGINE_DAMAGED, lambda place: place.write(ENGINE, (place.root / ENGINE).read_bytes()[:-9]),
        ("inspect", CELL), "build it again", after(*BUILD)),
    row("no engine", Code.NOT_AN_ENGINE, damaged(ENGINE, b"nothing of the kind"), ("inspect", CELL), "an engine starts with the letters 'vtrt'",
        after(*BUILD)),
    row("an engine that cannot run here", Code.CANNOT_RUN_HERE, None, ("run", CELL, "--random", "--require-gpu"), "leave out --require-gpu",
        asking("run", CELL, "--random")),
    row("an engine without its model", Code.CANNOT_RUN_HERE, gone(f"build/{CELL}/model.onnx"), ("run", CELL, "--random"),
        r"name the directory with its model\.onnx", lambda place, _: _elsewhere(place)),
    row("not validated here", Code.CANNOT_RUN_HERE, _validated, ("golden", CELL, "--engine"), "leave out --engine",
        asking("golden", CELL)),
    row("no place for a recording", Code.WRONG_FILE, _validated, ("golden", CELL, "--output", "y.npy"), r"ends in (\.npz)",
        asking("golden", CELL, "--output", r"y\1")),
    row("a recording outside", Code.OUTSIDE_PROJECT, _validated, ("golden", CELL, "--output", "../y.npz"),
        r"a spec names files below", asking("golden", CELL, "--output", "y.npz")),
    row("an artifact of another name", Code.NO_ARTIFACT, None, ("cache", "path", CELL, "engin"), r"its artifacts are (?:.*, )?'?(model\.\w+|engine)'?",
        asking("cache", "path", CELL, r"\1")),
    row("a cell that was not built", Code.NO_ARTIFACT, None, ("cache", "path", "net/fp33@t"), r"(net/fp32@t)", asking("cache", "path", r"\1")),
    row("a file in the way of the engines", Code.CANNOT_DELIVER, lambda place: (shutil.rmtree(place.root / "build"), place.write("build", "x")),
        BUILD, "move it away and build again", lambda place, _: (place.root / "build").unlink()),
    row("nothing to reproduce", Code.NOTHING_FAILS, None, ("debug", "repro", CELL), r"name a step with (--step)",
        asking("debug", "repro", CELL, r"\1", "quantize")),
    row("an unknown step", Code.NO_SUCH_STEP, None, ("debug", "repro", CELL, "--step", "quantise"), r"did you mean '(\w+)'",
        asking("debug", "repro", CELL, "--step", r"\1")),
    row("random weights of no engine", Code.NOT_REPRODUCIBLE, None, ("debug", "repro", CELL, "--step", "quantize", "--random-weights"), "leave it out",
        asking("debug", "repro", CELL, "--step", "quantize")),
    row("a record of an old build", Code.OLD_RECORD, _aged, ("validate", f"build/{CELL}", "--cpu"), "build it again",
        lambda place, _: _rebuilt(place), ends=-1),
    row("a recording for a reference", Code.REFERENCE, _recorded, ("golden", CELL, "--force"), r"take `reference` out of the spec",
        lambda place, _: place.edit("pipelines/net.yaml", ", reference: {golden: golden/net.npz}", "")),
    row("not built yet", Code.NO_SUCH_FILE, lambda place: shutil.rmtree(place.root / "build/net/h@t"), ("inspect", HALF),
        r"trtpipe (build) (\S+)", after(r"\1", r"\2")),
]  # fmt: skip


def _no_ports(place: Place) -> None:
    manifest = json.loads((place.root / MANIFEST).read_bytes())
    manifest["io"] = 5
    place.write(MANIFEST, json.dumps(manifest))


def _compared(place: Place) -> None:
    shutil.copy(place.root / LOCK, place.root / "before.lock")


MODEL = f"build/{CELL}/model.onnx"
MEASURED = ("validate", CELL, "--cpu")
IN_TIME = ("--window", "0.01", "--within", "90", "--time-limit", "1")
CELLS += [
    row("a report with a filter", Code.OPTIONS_EXCLUDE, None, ("report", f"build/{CELL}", "--only", CELL), "leave them out, because they select cells of specs",
        asking("report", f"build/{CELL}")),
    row("one result of several", Code.NOT_FOR_SEVERAL, None, ("bench", CELL, HALF, "--output", "b.json"), r"as (bench\.json) beside its engine",
        asking("bench", CELL, *IN_TIME)),
    row("a manifest without ports", Code.MANIFEST_DAMAGED, _no_ports, RUN, "build the cell again", after("build", "--force", CELL)),
    row("an engine of a few bytes", Code.ENGINE_DAMAGED, lambda place: place.write(ENGINE, (place.root / ENGINE).read_bytes()[:10]), ("inspect", CELL),
        "build it again", after(*BUILD)),
    row("a report since nothing", Code.NO_SUCH_FILE, None, ("report", "--since", "before.lock"), "writes one to compare with", lambda place, _: _compared(place)),
    row("a reproduction that is there", Code.EXISTS_ALREADY, lambda place: place.write("there/x", ""),
        ("debug", "repro", CELL, "--step", "quantize", "--output", "there"), r"name a new directory with (--output)",
        asking("debug", "repro", CELL, "--step", "quantize", r"\1", "new")),
    row("no manifest", Code.NO_ENGINE, gone(MANIFEST), MEASURED, r"run `trtpipe (build)`", after(r"\1"), ends=-1),
    row("no manifest in a directory", Code.NO_ENGINE, gone(MANIFEST), ("validate", f"build/{CELL}", "--cpu"), "copy the whole directory of a cell",
        lambda place, _: ("validate", f"build/{HALF}", "--cpu"), ends=-1),
    row("no model beside an engine", Code.CANNOT_READ, gone(MODEL), MEASURED, "build the cell again", after(*BUILD), ends=-1),
    row("another model beside an engine", Code.ENGINE_DAMAGED, lambda place: spoil(place.root / MODEL), MEASURED, "build the cell again", after(*BUILD), ends=-1),
    row("a model to validate", Code.NO_ENGINE, None, ("validate", "net.onnx", "--cpu"), "name a cell", asking(*MEASURED), ends=-1),
    row("layers of a network", Code.OPTIONS_EXCLUDE, None, ("inspect", CELL, "--network", "--layers"), "leave the other options out",
        asking("inspect", CELL, "--network")),
    row("shapes of an engine", Code.OPTIONS_EXCLUDE, None, ("inspect", ENGINE, "--shape", "x=1x3"), "", asking("inspect", ENGINE)),
    row("an unknown metric", Code.UNKNOWN_VALUE, None, ("sensitivity", HALF, "--metric", "cosin"), r"did you mean '(\w+)'",
        asking("sensitivity", HALF, "--metric", r"\1"), ends=-1),
    row("no cell for its network", Code.BAD_ARGUMENT, None, ("export", "network", "pipelines/net.yaml", "--parsed", "--output", "o"), "name a cell",
        asking("export", "network", CELL, "--parsed", "--output", "o"), ends=-1),
]  # fmt: skip

LOCKS = [
    row("a lockfile of an older schema", Code.LOCK_SCHEMA, lambda place: _edit(place, LOCK, r"schema: \d+", "schema: 2"), FROZEN, r"run `trtpipe (build)` once",
        after(r"\1")),
    row("no lockfile to check against", Code.NO_LOCKFILE, gone(LOCK), ("build", "--check", CELL), r"run `trtpipe (build)`", after(r"\1")),
    row("a conflict to check against", Code.LOCK_CONFLICT, conflict, ("build", "--check", CELL), r"run `trtpipe (build)`: it resolves the conflict", after(r"\1")),
    row("no lockfile", Code.NO_LOCKFILE, gone(LOCK), FROZEN, r"`trtpipe (build)`", after(r"\1")),
    row("a lockfile that is none", Code.LOCK_DAMAGED, damaged(LOCK, "cells: [\n"), BUILD, "delete it and build again",
        lambda place, _: (place.root / LOCK).unlink()),
    row("a lockfile of a later schema", Code.LOCK_SCHEMA, lambda place: _edit(place, LOCK, r"schema: \d+", "schema: 99"), BUILD,
        "delete it and build again", lambda place, _: (place.root / LOCK).unlink()),
    row("a merge conflict", Code.LOCK_CONFLICT, conflict, FROZEN, r"run `trtpipe (build)`: it resolves the conflict", after(r"\1")),
    row("half a merge conflict", Code.LOCK_CONFLICT, torn, BUILD, "use either side and build again", take_ours),
    row("a store with another result", Code.STORE_CONTRADICTS,
        lambda place: _edit(place, LOCK, r"(net/fp32:quantize:\n    recipe: \w+\n    model.onnx: )\w{8}", r"\g<1>00000000"),
        BUILD, r"`trtpipe (build) (--force)`", after(r"\1", r"\2")),
    row("another precision", Code.LOCK_DIFFERS, another_precision, FROZEN, r"`trtpipe (build)`", after(r"\1")),
]  # fmt: skip

STORES = [
    row("a store without its mark", Code.STORE_SCHEMA, damaged(".trtpipe/store/store.json", "{"), ("build", "--force", CELL),
        r"point \$(TRTPIPE_STORE) to another directory", lambda place, m: place.patch.setenv(m[1], str(place.root / "other"))),
    row("a damaged artifact", Code.ARTIFACT_DAMAGED, lambda place: spoil(object_of(place)),
        _path_of, "build again", lambda place, _: _rebuilt(place)),
    row("a store of a later schema", Code.STORE_SCHEMA, lambda place: _edit(place, ".trtpipe/store/store.json", r'"schema": ?\d+', '"schema": 99'),
        ("build", "--force", CELL), r"point \$(TRTPIPE_STORE) to another directory", lambda place, m: place.patch.setenv(m[1], str(place.root / "other"))),
    row("something in the store's place", Code.STORE_REFUSED, lambda place: (shutil.rmtree(place.root / ".trtpipe"), place.write(".trtpipe", "x")),
        BUILD, "move it away and build again", lambda place, _: (place.root / ".trtpipe").rename(place.root / "away") and None),
    row("a remote that is not there", Code.REMOTE_STORE, damaged("trtpipe.yaml", "schema: 1\nstore: {remote: remote}\n"),
        ("build", "--force", CELL, "--require-remote"), "make it, or mount it", lambda place, _: (place.root / "remote").mkdir()),
    row("no remote to require", Code.OPTIONS_EXCLUDE, None, ("build", "--require-remote"), r"(store: \{remote: )s3://BUCKET/PREFIX\}",
        lambda place, m: ((place.root / "remote").mkdir(), place.write("trtpipe.yaml", f"schema: 1\n{m[1]}remote}}\n"), None)[2]),
    row("no signing key", Code.SIGNING_KEY, lambda place: _signed(place, "x", 0o600),
        ("cache", "push"), r"make one: trtpipe (cache keygen) FILE",
        lambda place, m: ((place.root / "../key").unlink(), _done(place.ask([*m[1].split(), "../key"])), None)[2]),
    row("a signing key that is open to others", Code.SIGNING_KEY, lambda place: _signed(place, _secret(), 0o644),
        ("cache", "push"), r"chmod (600) (\S+)", lambda place, m: Path(m[2]).chmod(int(m[1], 8))),
    row("a signing key in the project", Code.SIGNING_KEY, lambda place: _signed(place, _secret(), 0o600, "key"),
        ("cache", "push"), r"move it to a directory outside, write that into `sign`",
        lambda place, _: ((place.root / "key").rename(place.root / "../key"), place.edit("trtpipe.yaml", "sign: key", "sign: ../key"), None)[2]),
    row("a store that came with the project", Code.STORE_OF_ANOTHER, _of_another, BUILD, "remove it and build again",
        lambda place, _: shutil.rmtree(place.root / "mine")),
]  # fmt: skip


def _signed(place: Place, text: str, mode: int, name: str = "../key") -> None:
    place.write("trtpipe.yaml", SIGNED.replace("../key", name))
    place.write(name, text)
    (place.root / name).chmod(mode)
    (place.root / "remote").mkdir()


def _secret() -> str:
    from trtpipe.stores.signatures import new_key

    return new_key()[0]


SIGNED = "schema: 1\nstore: {remote: remote, mode: read-write, sign: ../key}\n"

ROWS = [*CELLS, *LOCKS, *STORES]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    if "signing key" in row.name:
        pytest.importorskip("cryptography", reason="not run: needs the extra remote")
    apply(row, place)
