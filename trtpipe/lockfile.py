"""The lockfile `trtpipe.lock`: what the committed spec came to, as sorted text that a reviewer can read.

It is YAML with one block a cell and one fact a line, so that two branches that build different cells merge, and a
changed engine shows as one changed line:

    schema: 1
    cells:
      digits/fp16@ada:
        key: 1c0f…                      the digest of everything the engine depends on
        engine: 77ab… (164300 bytes)    BLAKE3 of its bytes
        normalised: 90cd…               the same with TensorRT's generated names renamed by order
        ...
      digits/auto@ada:
        search: 5ab1…                   the digest of everything that the search for its types depends on
        precision: int8                 what it found
        base: fp16
        keep_fp16:                      one glob a line
          - "/c2/Conv"

Values are plain text without colons-and-blanks or quotes, so that the text needs no YAML emitter; globs, which may hold
anything, are quoted as JSON quotes text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trtpipe.errors import Location, Problem, TrtpipeError
from trtpipe.files import write_whole
from trtpipe.plan.trace import Trace

SCHEMA = 1
HEADER = "# Written by trtpipe build: commit it, do not edit it.\n"
Fact = str | Sequence[str]
Entry = Mapping[str, Fact]

FIELDS = (
    "key",
    "source",
    "calibration_cache",
    "model",
    "engine",
    "normalised",
    "toolchain",
    "python",
    "compute_capabilities",
    "address_randomisation",
    "search",
    "precision",
    "base",
    "reached",
    "validated",
    "run_on_gpu",
)
"""The facts of a cell, in the order in which they are written; lists of globs follow."""
KEEP = "keep_"
"""How the names of facts begin that are lists of globs; a precision follows."""


def render_lock(cells: Mapping[str, Entry]) -> str:
    """The lockfile's text: cells by name, facts in a fixed order."""
    lines = [HEADER, f"schema: {SCHEMA}\n", "cells:\n" if cells else "cells: {}\n"]
    for name in sorted(cells):
        lines.append(f"  {name}:\n")
        lines += [f"    {field}: {cells[name][field]}\n" for field in FIELDS if cells[name].get(field)]
        for field in sorted(field for field in cells[name] if field.startswith(KEEP)):
            lines += [f"    {field}:\n", *(f"      - {_quoted(glob)}\n" for glob in cells[name][field])]
    return "".join(lines)


def choices_in(cells: Mapping[str, Entry]) -> dict[str, dict[str, Any]]:
    """The key of each search whose choice the cells hold → `precision`, `base`, `keep` and what was `reached`.

    A search whose cells contradict each other has none: somebody edited one of them.
    """
    found: dict[str, dict[str, Any]] = {}
    contradicted = set()
    for entry in cells.values():
        key = entry.get("search")
        if isinstance(key, str) and entry.get("precision"):
            keep = {
                name.removeprefix(KEEP): list(fact) for name, fact in entry.items() if name.startswith(KEEP)
            }
            one = {"precision": entry["precision"], "base": entry.get("base"), "keep": keep}
            one["reached"] = entry.get("reached", "")
            if found.setdefault(key, one) != one:
                contradicted.add(key)
    return {key: one for key, one in found.items() if key not in contradicted}


def agrees(trace: Trace, choices: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a search's trace is what the lockfile's choices say of its key.

    What a search found here holds until the lockfile says otherwise; what was taken from a lockfile holds only as
    long as the lockfile says so: one that was edited must not outlive the edit, nor spread by a shared store.
    """
    known = choices.get(trace.key)
    if known is None:
        return bool(trace.summary["from"] == "a search")
    one = trace.summary["choice"]
    told = {name: sorted(globs) for name, globs in known["keep"].items()}
    found = {name: sorted(globs) for name, globs in one["keep"].items()}
    return bool((known["precision"], known["base"], told) == (one["precision"], one["base"], found))


def _quoted(text: str) -> str:
    """The text in quotes, with escapes for what YAML does not take as it is."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else _escape(ord(one)) for one in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def read_lock(path: Path) -> dict[str, dict[str, Any]]:
    """The cells of a lockfile; none when there is no file. Raises TrtpipeError when it is damaged or newer."""
    import yaml

    _refuse_no_file(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error
    try:
        # The base loader leaves every value text: `off` is no boolean here and 3.10 no number.
        data = yaml.load(text, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        _refuse_conflict(path, text)
        raise _damaged(path, _first_line(error), _place(path, text, error)) from error
    return _cells_of(path, data)


def update_lock(
    path: Path, built: Mapping[str, Entry], *, known: frozenset[str], scope: frozenset[str]
) -> bool:
    """Write the cells that were built, keep the others, drop those of `scope`'s pipelines that are not `known`.

    `scope` holds pipelines whose specs were read whole, `known` every cell those specs declare. Returns whether the
    file changed. Raises TrtpipeError.
    """
    _refuse_no_file(path)
    text = render_lock(built)
    if _holds(path, text):
        return False
    cells = {
        name: entry
        for name, entry in read_lock(path).items()
        if name in known or name.split("/", 1)[0] not in scope
    }
    text = render_lock({**cells, **built})
    if _holds(path, text):
        return False
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise TrtpipeError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from error
    return True


def _refuse_no_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise TrtpipeError(f"{path} is not a file", "move it away: the lockfile goes there")


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _is_fact(field: Any, fact: Any) -> bool:
    if isinstance(field, str) and field.startswith(KEEP):
        return isinstance(fact, list) and all(isinstance(glob, str) for glob in fact)
    return isinstance(field, str) and isinstance(fact, str)


def _cells_of(path: Path, data: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(data, dict) or not isinstance(data.get("cells"), dict):
        raise _damaged(path, "it has no 'cells'")
    if data.get("schema") != str(SCHEMA):
        raise TrtpipeError(
            f"{path} has schema {data.get('schema')}, this trtpipe knows schema {SCHEMA}",
            "use the trtpipe that wrote it, or delete it and build again",
        )
    cells = data["cells"]
    for name, entry in cells.items():
        facts = entry.items() if isinstance(entry, dict) else ()
        if not facts or not all(_is_fact(field, fact) for field, fact in facts):
            raise _damaged(path, f"{name!r} is not a block of facts")
    return {str(name): dict(entry) for name, entry in cells.items()}


def _refuse_conflict(path: Path, text: str) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("<<<<<<< "):
            fact = f"the lockfile {path} holds a merge conflict"
            remedy = "take either side and build again: trtpipe writes what is right"
            raise TrtpipeError(Problem(fact, remedy, Location(str(path), number, 1, line)))


def _damaged(path: Path, why: str, where: Location | None = None) -> TrtpipeError:
    return TrtpipeError(
        Problem(
            f"the lockfile {path} cannot be read: {why}",
            "take it from version control, or delete it and build again",
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
