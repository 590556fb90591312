"""Reads a lockfile, including one that is damaged, of another schema version, or in a git merge conflict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import Location, Problem, TrtpipeError
from trtpipe.lockfile.blocks import split
from trtpipe.lockfile.conflicts import both_sides, conflict_at
from trtpipe.lockfile.entries import KEEP, RECIPE, SCHEMA, Fact, Lock
from trtpipe.problem_codes import Code

_OLDEST = 1
_MOST_BYTES = 256 << 20
_ENTRY = TypeVar("_ENTRY")


def read_lock(path: Path) -> dict[str, dict[str, Fact]]:
    """The cells of a lockfile; none when there is no file. Raises TrtpipeError when it is damaged or newer.

    In a merge conflict, only the cells on which both sides agree.
    """
    return {name: dict(entry) for name, entry in load_lock(path).cells.items()}


def load_lock(path: Path) -> Lock:
    """A lockfile; an empty one when there is no file. Raises TrtpipeError when it is damaged or newer."""
    refuse_no_file(path)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _damaged(path, "it is larger than any lockfile can be")
        text = path.read_bytes()
        # a build reads it again before it writes it, and nearly always finds the same text
        known = _LAST.get((path, digest := digest_bytes(text)))
        if known is None:
            _LAST.clear()
            known = _LAST[path, digest] = lock_in(path, _lines(text.decode()))
    except FileNotFoundError:
        return Lock()
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    return known


_LAST: dict[tuple[Path, Digest], Lock] = {}
"""The lockfile that was read last, by the digest of its text."""


def _lines(text: str) -> str:
    """The text with line feeds only, as git may have changed it on Windows."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def lock_in(path: Path, text: str) -> Lock:
    """The lockfile of a text, which is or was at `path`. Raises TrtpipeError when it is damaged or newer."""
    return _parsed(path, text) if conflict_at(text) is None else _merged(path, text)


def texts_of(text: str) -> object:
    """The contents of a YAML file written by trtpipe, every value as text. Raises yaml.YAMLError, ValueError,
    RecursionError.

    Aliases, which trtpipe never writes, are rejected, because with them a few lines can expand to more than fits into
    memory.
    """
    import yaml

    # The base loader leaves every value text: `off` is not a boolean here and 3.10 no number.
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
    if "&" in text and any(isinstance(one, yaml.AliasEvent) for one in yaml.parse(text, Loader=loader)):
        raise ValueError("it contains aliases, which trtpipe never writes")
    return yaml.load(text, Loader=loader)


def refuse_no_file(path: Path) -> None:
    """Raises TrtpipeError if the path exists and is not a regular file."""
    if path.exists() and not path.is_file():
        raise TrtpipeError(
            Code.NOT_A_FILE, f"{path} is not a file", "move it away, because the lockfile must be there"
        )


def _merged(path: Path, text: str) -> Lock:
    """Both sides of a conflict as one: entries of one side are kept, entries on which they disagree are not."""
    number, line = conflict_at(text) or (1, "")
    where = Location(str(path), number, 1, line)
    sides = both_sides(text)
    if sides is None:
        raise _torn(path, where)
    try:
        ours, theirs = (_parsed(path, side) for side in sides)
    except TrtpipeError as error:
        raise _torn(path, where) from error
    cells, steps = {**theirs.cells, **ours.cells}, {**theirs.steps, **ours.steps}
    bundles = {**theirs.bundles, **ours.bundles}
    clash = {**_clash(ours.cells, theirs.cells), **_clash(ours.bundles, theirs.bundles)}
    torn = _clash(ours.steps, theirs.steps)
    return Lock(
        {name: entry for name, entry in cells.items() if name not in clash},
        {name: entry for name, entry in steps.items() if name not in torn},
        min(ours.schema, theirs.schema),
        dict(sorted(clash.items())),
        conflict=True,
        bundles={name: entry for name, entry in bundles.items() if name not in clash},
    )


def _clash(ours: Mapping[str, _ENTRY], theirs: Mapping[str, _ENTRY]) -> dict[str, tuple[_ENTRY, _ENTRY]]:
    """The entries on which both sides disagree, by name."""
    return {
        name: (ours[name], theirs[name]) for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]
    }


def _parsed(path: Path, text: str) -> Lock:
    found = split(text)
    if found is None:
        return _parsed_as_yaml(path, text)
    cells, steps, bundles = found
    return Lock(cells, steps, bundles=bundles)


def _parsed_as_yaml(path: Path, text: str) -> Lock:
    import yaml

    try:
        data = texts_of(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _damaged(path, _first_line(error), _place(path, text, error)) from error
    if not isinstance(data, dict) or not isinstance(data.get("cells"), dict):
        raise _damaged(path, "it has no 'cells'")
    schema = _schema_of(path, data)
    steps, bundles = _blocks(path, data, "steps"), _blocks(path, data, "bundles")
    for name, entry in (*data["cells"].items(), *bundles.items()):
        facts = entry.items() if isinstance(entry, dict) else ()
        if not isinstance(name, str) or not facts or not all(_is_fact(*one) for one in facts):
            raise _damaged(path, f"{name!r} is not a block of facts")
    for name, entry in steps.items():
        if not isinstance(name, str) or not _is_texts(entry) or RECIPE not in entry:
            raise _damaged(path, f"{name!r} is not a block of facts")
    cells = {name: dict(entry) for name, entry in data["cells"].items()}
    return Lock(cells, dict(steps), schema, bundles={name: dict(entry) for name, entry in bundles.items()})


def _blocks(path: Path, data: dict[str, Any], section: str) -> dict[str, Any]:
    """A section that may be left out. Raises TrtpipeError."""
    found = data.get(section, {})
    if not isinstance(found, dict):
        raise _damaged(path, f"its {section!r} are not blocks")
    return found


def _schema_of(path: Path, data: Mapping[object, object]) -> int:
    told = data.get("schema")
    if not isinstance(told, str) or told not in {str(one) for one in range(_OLDEST, SCHEMA + 1)}:
        raise TrtpipeError(
            Code.LOCK_SCHEMA,
            f"{path} has schema {str(told)[:40]}, this trtpipe knows schema {SCHEMA}",
            "use the trtpipe that wrote it, or delete it and build again",
        )
    return int(str(told))


def _is_fact(field: object, fact: object) -> bool:
    if isinstance(field, str) and field.startswith(KEEP):
        return isinstance(fact, list) and all(isinstance(glob, str) for glob in fact)
    return isinstance(field, str) and (isinstance(fact, str) or _is_texts(fact))


def _is_texts(fact: object) -> bool:
    return isinstance(fact, dict) and all(isinstance(one, str) for pair in fact.items() for one in pair)


def _torn(path: Path, where: Location) -> TrtpipeError:
    fact = f"the lockfile {path} contains a merge conflict with unpaired markers"
    remedy = "use either side and build again: trtpipe writes the correct content"
    return TrtpipeError(Problem(Code.LOCK_CONFLICT, fact, remedy, where))


def _damaged(path: Path, why: str, where: Location | None = None) -> TrtpipeError:
    return TrtpipeError(
        Problem(
            Code.LOCK_DAMAGED,
            f"the lockfile {path} cannot be read: {why}",
            "restore it from version control, or delete it and build again",
            where,
        )
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _place(path: Path, text: str, error: Exception) -> Location | None:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return None
    lines = text.splitlines()
    source = lines[mark.line] if mark.line < len(lines) else ""
    return Location(str(path), mark.line + 1, mark.column + 1, source)
