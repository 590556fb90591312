"""`trtpipe lock`: compares the lockfile with what is known without building anything, or updates it."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.building.lock_comparison import Comparison, compare_with_lock
from trtpipe.building.lock_writer import refuse_conflict_elsewhere, write_entries
from trtpipe.building.planned import Planned, make_plan
from trtpipe.cli.output import EXIT_DONE, EXIT_LOCK, say, say_json
from trtpipe.lockfile import SCHEMA, Blocks, Lock, entry_in
from trtpipe.lockfile.comparison import cell_words, grouped
from trtpipe.workspace.workspace import open_workspace


def lock_command(specs: Sequence[str], only: Sequence[str], *, check: bool, as_json: bool) -> int:
    """Check or write. 3 when the lockfile differs, or when only a build could decide for some cells."""
    planned = make_plan(open_workspace(specs, only))
    lock = planned.site.lock
    comparison = compare_with_lock(planned, lock)
    changed = False
    if not check:
        refuse_conflict_elsewhere(planned)
        changed = write_entries(planned, Blocks(comparison.exact, entry_in))
        planned.workspace.state.save()
    agrees = _agrees(comparison, lock, check=check)
    if as_json:
        say_json(_report(comparison, agrees=agrees, changed=changed))
        return EXIT_DONE if agrees else EXIT_LOCK
    if check:
        _show_differences(planned, comparison, lock)
        for name, others in comparison.but_for_versions.items():
            words = "; ".join(one.words() for one in others)
            say(f"{name} agrees except for versions, not proved: {words}")
    if comparison.unknown:
        say(f"unknown without a build: {cell_words(comparison.unknown)}")
    say(_closing(comparison, agrees=agrees, check=check, changed=changed))
    return EXIT_DONE if agrees else EXIT_LOCK


def _agrees(comparison: Comparison, lock: Lock, *, check: bool) -> bool:
    """Whether the lockfile matches the current spec, as far as that is known."""
    if not check:
        return not comparison.unknown
    return not comparison.differences and not lock.conflict and lock.schema == SCHEMA


def _show_differences(planned: Planned, comparison: Comparison, lock: Lock) -> None:
    if lock.conflict:
        say(f"{planned.workspace.lockfile} contains a merge conflict")
    elif lock.schema != SCHEMA:
        say(f"{planned.workspace.lockfile} has schema {lock.schema}, and {SCHEMA} is written today")
    for cells, lines in grouped(comparison.differences):
        say("\n  ".join([f"{cell_words(cells)}:", *lines]))


def _closing(comparison: Comparison, *, agrees: bool, check: bool, changed: bool) -> str:
    by_key = len(comparison.by_key)
    engines = "engine is" if by_key == 1 else "engines are"
    word = f"; {by_key} {engines} not built here, but equal by key" if by_key else ""
    if not check:
        return ("lockfile written" if changed else "nothing to write") + word
    if agrees:
        return f"the lockfile agrees with {_count(comparison)}{word}"
    cells = {one.cell for one in comparison.differences}
    if not cells:
        return "a build would change the lockfile: run `trtpipe build`"
    return f"the lockfile differs in {'a cell' if len(cells) == 1 else f'{len(cells)} cells'}"


def _count(comparison: Comparison) -> str:
    count = len(comparison.exact) + len(comparison.by_key)
    return "the cell" if count == 1 else f"all {count} cells"


def _report(comparison: Comparison, *, agrees: bool, changed: bool) -> dict[str, object]:
    return {
        "schema": 1,
        "agrees": agrees,
        "differences": [one.to_json() for one in comparison.differences],
        "known": sorted(comparison.exact),
        "by_key": comparison.by_key,
        "agrees_but_for_versions": {
            cell: [one.to_json() for one in others] for cell, others in comparison.but_for_versions.items()
        },
        "measured_otherwise": [one.to_json() for one in comparison.excused],
        "not_known_without_a_build": comparison.unknown,
        "written": changed,
    }
