"""What this project's last builds saw: each step's last key and outputs, each cell's delivered files, source digests.

Everything here saves work only and may be deleted at any time; it never overrides a digest. It is one sealed file
(`sealed_files.py`), so one that came with somebody else's project counts as absent:

    {"seal":"…"}                             of all that follows
    {"schema":2}
    <tab>{"digests":{…},"notes":{…}}         of source files
    digits<tab>{"steps":{…},"cells":{…}}     of a pipeline, in one line

Only the lines of pipelines that a command asks for are parsed, and a save copies the others as they are: so that the
work grows with what a command is about, and not with the project.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trtpipe.digests import Digest, digest_file
from trtpipe.errors import StoreError
from trtpipe.files import held, read_regular, write_whole
from trtpipe.json_values import JsonObject, Malformed, object_in, read_object
from trtpipe.problem_codes import Code
from trtpipe.stores.faults import store_error
from trtpipe.stores.sealed_files import CONTENT_AT, read_sealed, sealed

if TYPE_CHECKING:
    from trtpipe.plan.address import Address

SCHEMA = 2
STATE_FILE = ".trtpipe/state.json"
"""Its path below the project's root."""
STAMPS, SETTLED = "stamps", "settled"
"""Beside it: answers of commands about which nothing has changed since."""
_MOST_BYTES = 1 << 30
_FIRST = b'{"schema":%d}\n' % SCHEMA
_FILES = ""
"""The name of the line that is about source files."""
_TABLES = {True: ("digests", "notes"), False: ("steps", "cells")}
"""The tables of that line, and those of a pipeline's."""
_TICK_NS = 50_000_000  # several ticks of the coarsest timestamps that file systems use
Tables = dict[str, dict[str, Any]]
"""A line's tables: name → entry."""
Signature = str
"""Size, mtime in nanoseconds and inode: every ordinary way to change a file changes one of them."""


def signature_of(path: str) -> Signature | None:
    """A file's signature, or None when there is no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each of thousands of files costs more than the stat
    except (OSError, ValueError):
        return None
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def changed_at(signature: Signature) -> int:
    """When the file was last changed, in nanoseconds since 1970."""
    return int(signature.split()[1])


Noted = TypeVar("Noted", str, list[str])


def _settled(signature: Signature | None) -> bool:
    """Whether the file is unchanged for a while; a write within one clock tick does not change the signature."""
    return signature is not None and time.time_ns() - changed_at(signature) > _TICK_NS


def _keep_out_of_git(folder: Path) -> None:
    """Write a .gitignore: store and state belong to this machine; only the lockfile belongs in the repository."""
    ignore = folder / ".gitignore"
    if not ignore.exists():
        write_whole(ignore, b"*\n", durable=False)


def _forget_answers(folder: Path) -> None:
    """Remove the answers that were found with a state that is gone: a plan without it would give others."""
    import shutil

    shutil.rmtree(folder / STAMPS, ignore_errors=True)
    (folder / SETTLED).unlink(missing_ok=True)


def _pipeline_of(name: str) -> str:
    """The pipeline that a cell's name or a step's address begins with."""
    return name.partition("/")[0].partition(":")[0]


def _checked(name: str, data: JsonObject) -> Tables:
    """The tables of a line. Raises Malformed. Digests are checked later, when parsed."""
    tables: dict[str, Any] = {table: object_in(data, table) for table in _TABLES[name == _FILES]}
    for table, entries in tables.items():
        if not all(map(_FORMS[table], entries.values())):
            raise Malformed(f"one of its {table} has another form")
    return tables


def _is_step(step: object) -> bool:
    outputs = step.get("outputs") if isinstance(step, dict) and _are(str, step.get("key")) else None
    return isinstance(outputs, dict) and _are(str, *outputs.values())


def _is_cell(cell: object) -> bool:
    files = cell.get("files") if isinstance(cell, dict) else None
    return (
        isinstance(cell, dict)
        and _are(str, cell.get("content"), cell.get("folder"), cell.get("lock"))
        and isinstance(files, dict)
        and all(known is None or isinstance(known, str) for known in files.values())
    )


def _is_pair(note: object) -> bool:
    return isinstance(note, list) and len(note) == 2


def _are(kind: type, *values: object) -> bool:
    return all(isinstance(value, kind) for value in values)


_FORMS: Mapping[str, Callable[[object], bool]] = {
    "steps": _is_step,
    "cells": _is_cell,
    "digests": _is_pair,
    "notes": _is_pair,
}
"""Table → whether an entry has the form that is written below."""


def steps_in(path: Path) -> object:
    """The steps in a state file, whoever wrote it: the collector keeps everything that any project may need."""
    try:
        saved = _Saved.of(read_regular(path, _MOST_BYTES))
    except OSError:
        return None
    names = [name for name in saved.lines if name != _FILES]
    return {name: step for part in names for name, step in saved.take(part)["steps"].items()} or None


@dataclass(slots=True)
class _Saved:
    """The lines of a state file, each parsed when it is asked for."""

    lines: dict[str, bytes] = field(default_factory=dict)
    """Pipeline → its line, without its end, until that is taken."""

    @classmethod
    def of(cls, text: bytes) -> _Saved:
        """The lines of a state file; none if it has another schema."""
        found = cls()
        if text.startswith(_FIRST, CONTENT_AT):
            for line in text[CONTENT_AT + len(_FIRST) :].split(b"\n")[:-1]:
                found.lines[line[: max(0, line.find(b"\t"))].decode(errors="replace")] = line
        return found

    def take(self, name: str) -> Tables:
        """The tables of a line, whose text is let go; empty when there is none, or it has another form."""
        line = self.lines.pop(name, None)
        if line is not None:
            with contextlib.suppress(Malformed):
                return _checked(name, read_object(line.partition(b"\t")[2]))
        return {table: {} for table in _TABLES[name == _FILES]}


@dataclass(slots=True)
class ProjectState:
    """The state of one project; `save` writes it if it changed."""

    path: Path
    word: str = ""
    """Identifies whom the store trusts now (`LocalStore.word`); steps noted under another are looked up again."""
    _saved: _Saved = field(default_factory=_Saved)
    _seen: Signature | None = None
    """The file's signature when it was read; None if a later write may have the same."""
    _parts: dict[str, Tables] = field(default_factory=dict)
    """The lines that were asked for."""
    _changed: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """Line → table and name of what changed since it was loaded or saved."""
    _waits: bool = False
    """Whether `save` leaves the saving to the end of `saving_once`."""

    @classmethod
    def load(cls, path: Path) -> ProjectState:
        """The state as last saved; empty when there is none or the file is damaged."""
        found = cls(path)
        found._read()
        return found

    def _read(self) -> None:
        before = signature_of(str(self.path))
        self._saved = _Saved.of(read_sealed(self.path, _MOST_BYTES))
        self._seen = before if _settled(before) else None

    def save(self) -> None:
        """Write the state; skipped in a project that is not writable. Raises StoreError when the disk is full."""
        if not self._changed or self._waits:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _keep_out_of_git(self.path.parent)
            with held(self.path.with_name("state.lock")):
                if not self.path.exists():
                    _forget_answers(self.path.parent)
                self._take_over()
                write_whole(self.path, sealed(self._text()), durable=False)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return
            if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
                raise store_error(self.path.parent, error) from error
            fact = f"cannot write {self.path}: {(error.strerror or str(error)).lower()}"
            raise StoreError(Code.CANNOT_WRITE, f"{fact}; nothing was lost") from error
        self._changed.clear()
        self._seen = None

    @contextlib.contextmanager
    def saving_once(self) -> Iterator[None]:
        """Within it `save` waits, for a command that goes through many pipelines; what changed is saved at the end."""
        self._waits = True
        try:
            yield
        finally:
            self._waits = False
            self.save()

    def _take_over(self) -> None:
        """Keep what another build saved meanwhile, except entries that changed here."""
        if self._seen is not None and signature_of(str(self.path)) == self._seen:
            return
        self._read()
        own, self._parts = self._parts, {}
        for line, changes in self._changed.items():
            now = self._part(line)
            for table, name in changes:
                now[table][name] = own[line][table][name]

    def _text(self) -> bytes:
        lines = [_FIRST]
        for name in sorted({*self._saved.lines, *self._parts}):
            if name in self._saved.lines:
                lines += [self._saved.lines[name], b"\n"]
            elif any(self._parts[name].values()):
                tables = json.dumps(self._parts[name], separators=(",", ":")).encode()
                lines += [name.encode(), b"\t", tables, b"\n"]
        return b"".join(lines)

    def _part(self, name: str) -> Tables:
        if name not in self._parts:
            self._parts[name] = self._saved.take(name)
        return self._parts[name]

    def _of(self, table: str, name: str) -> dict[str, Any]:
        """The table with the entry of a step or a cell."""
        return self._part(_pipeline_of(name))[table]

    def _put(self, line: str, table: str, name: str, entry: object) -> None:
        self._part(line)[table][name] = entry
        self._changed.setdefault(line, set()).add((table, name))

    def _all(self, table: str) -> dict[str, dict[str, Any]]:
        names = {*self._saved.lines, *self._parts} - {_FILES}
        return {name: entry for part in sorted(names) for name, entry in self._part(part)[table].items()}

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        """Every step of every pipeline."""
        return self._all("steps")

    @property
    def cells(self) -> dict[str, dict[str, Any]]:
        """Every cell of every pipeline."""
        return self._all("cells")

    @property
    def root(self) -> Path:
        """The project's root. Delivered files are noted relative to it, so that a copied project counts as another."""
        return self.path.parent.parent

    def last_key(self, address: Address) -> str | None:
        """The key of the step's last success here."""
        name = str(address)
        entry = self._of("steps", name).get(name)
        return entry["key"] if entry else None

    def last_outputs(self, address: Address, key: str) -> dict[str, Digest] | None:
        """The step's last outputs here, if it ran under this key."""
        name = str(address)
        entry = self._of("steps", name).get(name)
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
        if self._of("steps", name).get(name) != entry:
            self._put(_pipeline_of(name), "steps", name, entry)

    def remember_cell(self, cell: str, content: str, files: Iterable[Path], lock: str) -> None:
        """Note the files that were delivered for a cell and the text of its lock entry; `content` identifies both."""
        paths = list(files)
        folder = paths[0].parent.relative_to(self.root).as_posix()
        signatures = {path.name: signature_of(str(path)) for path in paths}
        entry = {"content": content, "folder": folder, "files": signatures, "lock": lock}
        self._put(_pipeline_of(cell), "cells", cell, entry)

    def lock_text(self, cell: str) -> str | None:
        """The text of a delivered cell's lock entry; None when it was never delivered."""
        entry = self._of("cells", cell).get(cell)
        return entry["lock"] if entry is not None else None

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
        known = self._part(_FILES)["notes"].get(f"{about}:{path}")
        return known[1] if known is not None and signature_of(str(path)) == known[0] else None

    def _note(self, path: Path, about: str, find: Callable[[], Noted]) -> Noted:
        name, signature = f"{about}:{path}", signature_of(str(path))
        value = find()
        if signature_of(str(path)) == signature and _settled(signature):
            self._put(_FILES, "notes", name, [signature, value])
        return value

    def delivered(self, cell: str, content: str) -> bool:
        """Whether the cell's files are, by their signatures, those delivered for this content."""
        entry = self._of("cells", cell).get(cell)
        if entry is None or entry["content"] != content:
            return False
        folder = f"{self.root}/{entry['folder']}"
        return all(signature_of(f"{folder}/{name}") == known for name, known in entry["files"].items())

    def delivered_files(self, cell: str) -> tuple[str, dict[str, Signature | None]]:
        """A delivered cell's folder, relative to the root, and the signatures of its files when they were delivered."""
        entry = self._of("cells", cell)[cell]
        return entry["folder"], entry["files"]

    def digest(self, path: Path) -> Digest:
        """A source file's digest, read again only when its signature changed. Raises OSError."""
        name = str(path)
        signature = signature_of(name)
        known = self._part(_FILES)["digests"].get(name)
        if known is not None and signature == known[0]:
            with contextlib.suppress(ValueError, AttributeError):
                return Digest.parse(known[1])
        digest = digest_file(path)
        if signature_of(name) == signature and _settled(signature):
            self._put(_FILES, "digests", name, [signature, str(digest)])
        return digest
