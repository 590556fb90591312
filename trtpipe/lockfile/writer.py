"""Writes the lockfile's text, and updates an existing one.

Values are written plain where YAML reads them unchanged; globs, and names that may hold any character, are quoted like
JSON strings. So no YAML emitter is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.errors import TrtpipeError
from trtpipe.files import write_whole
from trtpipe.lockfile.blocks import text_in
from trtpipe.lockfile.entries import (
    BUNDLE_FIELDS,
    CHAIN,
    FIELDS,
    KEEP,
    SCHEMA,
    Entry,
    Fact,
    Lock,
    StepEntry,
    pipeline_of,
)
from trtpipe.lockfile.measurements import steady
from trtpipe.lockfile.reader import load_lock, refuse_no_file
from trtpipe.lockfile.recipes import in_order, made_elsewhere, steady_step
from trtpipe.problem_codes import Code

HEADER = "# Written by trtpipe build: commit it, do not edit it.\n"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./@+:,()<>=-]*(?: [A-Za-z0-9_./@+:,()<>=-]+)*")


@dataclass(frozen=True, slots=True)
class Update:
    """The results of a build. Cells and steps of `scope`'s pipelines that are not `known` are dropped, others kept.

    `scope` holds pipelines whose specs were read whole, `known` every cell and step that those specs declare.
    """

    cells: Mapping[str, Entry]
    steps: Mapping[str, StepEntry]
    known: Collection[str]
    scope: Collection[str]
    bundles: Mapping[str, Entry] = field(default_factory=dict)
    """The bundles that are complete."""
    is_bundle: Callable[[str], bool] = lambda _: True
    """Whether the project has a bundle of that name; asked for those of the lockfile that are not in `bundles`."""

    def keeps(self, name: str) -> bool:
        """Whether the lockfile's entry of that name stays if there is no new one."""
        return name in self.known or pipeline_of(name) not in self.scope


def render_lock(
    cells: Mapping[str, Entry], steps: Mapping[str, StepEntry], bundles: Mapping[str, Entry] | None = None
) -> str:
    """The lockfile's text: cells, bundles (if there are any) and steps by name, facts in a fixed order."""
    return _joined(
        {name: cell_text(cells, name) for name in cells},
        {name: step_text(steps, name) for name in steps},
        {name: bundle_text(bundles, name) for name in bundles} if bundles else {},
    )


def _joined(cells: Mapping[str, str], steps: Mapping[str, str], bundles: Mapping[str, str]) -> str:
    lines = [HEADER, f"schema: {SCHEMA}\n"]
    for section, blocks in (("cells", cells), ("bundles", bundles), ("steps", steps)):
        if blocks or section != "bundles":
            lines.append(f"{section}:\n" if blocks else f"{section}: {{}}\n")
        for name in sorted(blocks):
            lines += [f"  {_word(name)}:\n", blocks[name]]
    return "".join(lines)


def cell_text(cells: Mapping[str, Entry], name: str) -> str:
    """The lines of a cell's facts."""
    known = text_in(cells, name)
    return "".join(_facts(cells[name])) if known is None else known


def step_text(steps: Mapping[str, StepEntry], name: str) -> str:
    """The lines of a step's facts."""
    known = text_in(steps, name)
    if known is not None:
        return known
    return "".join(f"    {_word(fact)}: {_word(text)}\n" for fact, text in in_order(steps[name]))


def bundle_text(bundles: Mapping[str, Entry], name: str) -> str:
    """The lines of a bundle's facts."""
    known, entry = text_in(bundles, name), bundles[name]
    if known is not None:
        return known
    return "".join(line for one in BUNDLE_FIELDS if entry.get(one) for line in _fact(one, entry[one]))


def _facts(entry: Entry) -> Iterator[str]:
    for one in FIELDS:
        if entry.get(one):
            yield from _fact(one, entry[one])
    for one in sorted(one for one in entry if one.startswith(KEEP)):
        yield f"    {one}:\n"
        yield from (f"      - {_quoted(glob)}\n" for glob in entry[one])


def _fact(field: str, fact: Fact) -> Iterator[str]:
    if isinstance(fact, Mapping):
        yield f"    {field}:\n"
        yield from (f"      {_word(name)}: {_word(fact[name])}\n" for name in _in_order(fact))
    else:
        yield f"    {field}: {_word(str(fact))}\n"


def _in_order(names: Mapping[str, str]) -> list[str]:
    """Names in alphabetical order, links of the proof chain in the chain's order."""
    return [name for name in CHAIN if name in names] if names.keys() <= set(CHAIN) else sorted(names)


def update_lock(path: Path, update: Update) -> bool:
    """Bring the lockfile up to date; whether the file changed. Raises TrtpipeError.

    In a merge conflict, the cells on which the sides disagree must be among those that were built.
    """
    refuse_no_file(path)
    text = updated_text(path, update)
    if _holds(path, text):
        return False
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise TrtpipeError(
            Code.CANNOT_WRITE, f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error
    return True


def updated_text(path: Path, update: Update) -> str:
    """The text that the lockfile would have. Raises TrtpipeError."""
    lock, told = load_lock(path), {*update.cells, *update.bundles}
    refuse_undecided(path, [name for name in lock.disagreeing if name not in told], update)
    cells = {name: cell_text(lock.cells, name) for name in lock.cells if update.keeps(name)}
    steps = {name: step_text(lock.steps, name) for name in lock.steps if update.keeps(name)}
    cells |= {name: _updated_cell(lock, update, name) for name in update.cells}
    steps |= {name: _updated_step(lock, update, name) for name in update.steps}
    kept = [name for name in lock.bundles if name not in update.bundles and update.is_bundle(name)]
    bundles = {name: bundle_text(lock.bundles, name) for name in kept}
    bundles |= {name: bundle_text(update.bundles, name) for name in update.bundles}
    return _joined(cells, steps, bundles)


def _updated_cell(lock: Lock, update: Update, name: str) -> str:
    now = cell_text(update.cells, name)
    if now == text_in(lock.cells, name):
        return now
    elsewhere = made_elsewhere(name, lock.steps, update.steps)
    entry = steady(lock.cells.get(name, {}), update.cells[name], elsewhere=elsewhere)
    return cell_text({name: entry}, name)


def _updated_step(lock: Lock, update: Update, name: str) -> str:
    return step_text({name: steady_step(lock.steps.get(name, {}), update.steps[name])}, name)


def refuse_undecided(path: Path, disagreeing: Collection[str], update: Update) -> None:
    """Raises TrtpipeError if a merge conflict concerns cells that stay and that this build has no new facts about."""
    left = sorted(name for name in disagreeing if update.keeps(name))
    if left:
        raise TrtpipeError(
            Code.LOCK_CONFLICT,
            f"the lockfile {path} contains a merge conflict about {', '.join(left)}, which this build does not resolve",
            "run `trtpipe build` for them as well: it writes the correct content",
        )


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _word(text: str) -> str:
    """The text unquoted if YAML reads it as the same text, else in quotes."""
    plain = _PLAIN.fullmatch(text) and ": " not in text and not text.endswith(":")
    return text if plain else _quoted(text)


def _quoted(text: str) -> str:
    """The text in quotes, with escapes for characters that YAML does not allow."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isprintable() else _escape(ord(one)) for one in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
