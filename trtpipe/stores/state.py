"""What this project's last builds saw: each step's last key and outputs, each cell's delivered files, source digests.

Everything here saves work only and may be deleted at any time; it never overrides a digest. It is one small JSON file
that begins with the seal of the user who wrote it (`homes.py`), so that a build with nothing to do reads one file and
stats the rest, and a file that came with somebody else's project counts as absent.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trtpipe.digests import Digest, digest_file
from trtpipe.errors import StoreError
from trtpipe.files import held, read_regular, write_whole
from trtpipe.homes import seal_of
from trtpipe.json_values import (
    JsonObject,
    Malformed,
    object_in,
    read_object,
    texts_in,
)
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import store_error

if TYPE_CHECKING:
    from trtpipe.plan.address import Address

SCHEMA = 1
STATE_FILE = ".trtpipe/state.json"
"""Its path below the project's root."""
_TABLES = ("steps", "cells", "digests", "notes", "stamps")
_MOST_BYTES = 1 << 30
_SEAL = b'{"seal":"'
_DIGITS = 64
"""The file begins with a seal of its content, so that it counts as absent after any kind of damage."""
_TICK_NS = 50_000_000  # several ticks of the coarsest timestamps that file systems use
Signature = list[int]
"""Size, mtime in nanoseconds and inode: every ordinary way to change a file changes one of them."""


def signature_of(path: str) -> Signature | None:
    """A file's signature, or None when there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each of thousands of files costs more than the stat
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ino]


Noted = TypeVar("Noted", str, list[str])


def _settled(signature: Signature | None) -> bool:
    """Whether the file is unchanged for a while; a write within one clock tick does not change the signature."""
    return signature is not None and time.time_ns() - signature[1] > _TICK_NS


def _keep_out_of_git(folder: Path) -> None:
    """Write a .gitignore: store and state belong to this machine; only the lockfile belongs in the repository."""
    ignore = folder / ".gitignore"
    if not ignore.exists():
        write_whole(ignore, b"*\n", durable=False)


def _check(data: JsonObject) -> None:  # noqa: C901 - plain loops: a build with nothing to do waits for it
    """Checks that every table and entry has the form that is written below. Raises Malformed.

    Uses plain loops for speed, because a build with nothing to do waits for it. Digests are checked later, when parsed.
    """
    if data.get("schema") != SCHEMA:
        raise Malformed("it has another schema")
    steps, cells, stamps = (object_in(data, name) for name in ("steps", "cells", "stamps"))
    for step in steps.values():
        outputs = step.get("outputs") if isinstance(step, dict) and _are(str, step.get("key")) else None
        if not isinstance(outputs, dict) or not _are(str, *outputs.values()):
            raise Malformed("a step has another form")
    for cell in cells.values():
        if (
            not isinstance(cell, dict)
            or not _are(str, cell.get("content"), cell.get("folder"))
            or not _are(dict, cell.get("files"), cell.get("lock"))
        ):
            raise Malformed("a cell has another form")
    for table in ("digests", "notes"):
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in object_in(data, table).values()):
            raise Malformed("a note is not a pair")
    for name in stamps:
        stamp = object_in(stamps, name)
        texts_in(stamp, "environment"), object_in(stamp, "files"), texts_in(stamp, "cells")


def _are(kind: type, *values: object) -> bool:
    return all(isinstance(value, kind) for value in values)


def steps_in(path: Path) -> object:
    """The steps in a state file, whoever wrote it: the collector keeps everything that any project may need."""
    try:
        return read_object(read_regular(path, _MOST_BYTES)).get("steps")
    except (OSError, Malformed):
        return None


@dataclass(slots=True)
class ProjectState:
    """The state of one project; `save` writes it if it changed."""

    path: Path
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)
    digests: dict[str, list[Any]] = field(default_factory=dict)
    notes: dict[str, list[Any]] = field(default_factory=dict)
    stamps: dict[str, dict[str, Any]] = field(default_factory=dict)
    word: str = ""
    """Identifies whom the store trusts now (`LocalStore.word`); steps noted under another are looked up again."""
    _changed: set[tuple[str, str]] = field(default_factory=set)
    """Table and name of what changed since it was loaded or saved."""

    @classmethod
    def load(cls, path: Path) -> ProjectState:
        """The state as last saved; empty when there is none or the file is damaged."""
        try:
            text = read_regular(path, _MOST_BYTES)
            body = b"{" + text[len(_SEAL) + _DIGITS + 2 :]
            if text.startswith(_SEAL + seal_of(body).encode() + b'",'):
                data = read_object(body)
                _check(data)
                tables: dict[str, Any] = {table: data[table] for table in _TABLES}
                return cls(path, **tables)
        except (OSError, Malformed):
            pass
        return cls(path)

    def save(self) -> None:
        """Write the state; skipped in a project that is not writable. Raises StoreError when the disk is full."""
        if not self._changed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _keep_out_of_git(self.path.parent)
            with held(self.path.with_name("state.lock")):
                self._take_over_from(ProjectState.load(self.path))
                write_whole(self.path, self._text(), durable=False)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return
            if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
                raise store_error(self.path.parent, error) from error
            fact = f"cannot write {self.path}: {(error.strerror or str(error)).lower()}"
            raise StoreError(Code.CANNOT_WRITE, f"{fact}; nothing was lost") from error
        self._changed.clear()

    def _take_over_from(self, saved: ProjectState) -> None:
        """Keep what another build saved meanwhile, except entries that changed here."""
        for table in _TABLES:
            own = getattr(self, table)
            changed = {name: own[name] for kind, name in self._changed if kind == table}
            setattr(
                self, table, changed if table == "stamps" and changed else getattr(saved, table) | changed
            )

    def _text(self) -> bytes:
        data = {"schema": SCHEMA, **{table: getattr(self, table) for table in _TABLES}}
        body = json.dumps(data, separators=(",", ":")).encode()
        return _SEAL + seal_of(body).encode() + b'",' + body[1:]

    def remember_stamp(self, name: str, entry: dict[str, Any]) -> None:
        """Note the files that a build with nothing to do has checked; only one stamp is kept, for its size."""
        if self.stamps.get(name) != entry:
            self.stamps = {name: entry}
            self._changed.add(("stamps", name))

    @property
    def root(self) -> Path:
        """The project's root. Delivered files are noted relative to it, so that a copied project counts as another."""
        return self.path.parent.parent

    def last_key(self, address: Address) -> str | None:
        """The key of the step's last success here."""
        entry = self.steps.get(str(address))
        return entry["key"] if entry else None

    def last_outputs(self, address: Address, key: str) -> dict[str, Digest] | None:
        """The step's last outputs here, if it ran under this key."""
        entry = self.steps.get(str(address))
        if entry is None or entry["key"] != key or entry.get("word", "") != self.word:
            return None
        with contextlib.suppress(ValueError, AttributeError):
            return {name: Digest.parse(text) for name, text in entry["outputs"].items()}
        return None

    def remember_step(self, address: Address, key: str, outputs: Mapping[str, Digest]) -> None:
        """Note that a step succeeded."""
        entry: dict[str, Any] = {"key": key, "outputs": {name: str(one) for name, one in outputs.items()}}
        if self.word:
            entry["word"] = self.word
        name = str(address)
        if self.steps.get(name) != entry:
            self.steps[name] = entry
            self._changed.add(("steps", name))

    def remember_cell(self, cell: str, content: str, files: Iterable[Path], lock: Mapping[str, Any]) -> None:
        """Note the files that were delivered for a cell and its lock entry; `content` identifies their contents."""
        paths = list(files)
        folder = paths[0].parent.relative_to(self.root).as_posix()
        signatures = {path.name: signature_of(str(path)) for path in paths}
        self.cells[cell] = {"content": content, "folder": folder, "files": signatures, "lock": dict(lock)}
        self._changed.add(("cells", cell))

    def lock_entry(self, cell: str) -> dict[str, Any]:
        """The lock entry of a delivered cell."""
        entry: dict[str, Any] = self.cells[cell]["lock"]
        return entry

    def noted_text(self, path: Path, about: str, find: Callable[[], str]) -> str:
        """The result of `find` for a file, computed again only when the file's signature changed."""
        known = self._known_of(path, about)
        return known if isinstance(known, str) else self._note(path, about, find)

    def noted_texts(self, path: Path, about: str, find: Callable[[], list[str]]) -> list[str]:
        """The same for a list of texts."""
        known = self._known_of(path, about)
        if isinstance(known, list) and all(isinstance(one, str) for one in known):
            return known
        return self._note(path, about, find)

    def _known_of(self, path: Path, about: str) -> object:
        known = self.notes.get(f"{about}:{path}")
        return known[1] if known is not None and signature_of(str(path)) == known[0] else None

    def _note(self, path: Path, about: str, find: Callable[[], Noted]) -> Noted:
        name, signature = f"{about}:{path}", signature_of(str(path))
        value = find()
        if signature_of(str(path)) == signature and _settled(signature):
            self.notes[name] = [signature, value]
            self._changed.add(("notes", name))
        return value

    def delivered(self, cell: str, content: str) -> bool:
        """Whether the cell's files are, by their signatures, those delivered for this content."""
        entry = self.cells.get(cell)
        if entry is None or entry["content"] != content:
            return False
        folder = f"{self.root}/{entry['folder']}"
        return all(signature_of(f"{folder}/{name}") == known for name, known in entry["files"].items())

    def digest(self, path: Path) -> Digest:
        """A source file's digest, read again only when its signature changed. Raises OSError."""
        name = str(path)
        signature = signature_of(name)
        known = self.digests.get(name)
        if known is not None and signature == known[0]:
            with contextlib.suppress(ValueError, AttributeError):
                return Digest.parse(known[1])
        digest = digest_file(path)
        if signature_of(name) == signature and _settled(signature):
            self.digests[name] = [signature, str(digest)]
            self._changed.add(("digests", name))
        return digest
