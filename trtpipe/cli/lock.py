"""`trtpipe lock`: compares the lockfile with what is known without building anything, or updates it."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.building.lock_comparison import Comparison, Foretold, compare_with_lock
from trtpipe.building.lock_writer import refuse_conflict_elsewhere, write_entries
from trtpipe.building.planned import Planned, make_plan
from trtpipe.building.unchanged.settled import open_unsettled
from trtpipe.cli.output import EXIT_DONE, EXIT_LOCK, say, say_json
from trtpipe.lockfile import SCHEMA, Blocks, Lock, entry_in
from trtpipe.lockfile.comparison import cell_words, grouped


def lock_command(specs: Sequence[str], only: Sequence[str], *, check: bool, as_json: bool) -> int:
    """Check or write. 3 when the lockfile differs, or when only a build could decide for some cells."""
    workspace, settled = open_unsettled(specs, only, use=check)
    if workspace is None:
        return _tell_agreement(settled.cells, as_json=as_json)
    planned = make_plan(workspace)
    lock = planned.site.lock
    comparison = compare_with_lock(planned, lock)
    changed = False
    if not check:
        refuse_conflict_elsewhere(planned)
        changed = write_entries(planned, Blocks(comparison.exact, entry_in))
        planned.workspace.state.save()
    agrees = _agrees(comparison, lock, check=check)
    if as_json:
        say_json(_report(comparison, settled.cells, agrees=agrees, changed=changed))
        return EXIT_DONE if agrees else EXIT_LOCK
    if check:
        _show_differences(planned, comparison, lock)
        for name, others in comparison.but_for_versions.items():
            words = "; ".join(one.words() for one in others)
            say(f"{name} agrees except for versions, not proved: {words}")
    if comparison.unknown:
        say(f"unknown without a build: {cell_words(comparison.unknown)}")
    if check and agrees:
        say(_agreement(len(settled.cells) + _count(comparison)) + _by_key_words(comparison))
    else:
        say(_closing(comparison, check=check, changed=changed))
    return EXIT_DONE if agrees else EXIT_LOCK


def _tell_agreement(cells: Sequence[str], *, as_json: bool) -> int:
    """Tell that the lockfile agrees with these cells, none of which had to be looked at."""
    if as_json:
        say_json(_report(Comparison(Foretold({})), cells, agrees=True, changed=False))
    else:
        say(_agreement(len(cells)))
    return EXIT_DONE


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


def _by_key_words(comparison: Comparison) -> str:
    by_key = len(comparison.by_key)
    engines = "engine is" if by_key == 1 else "engines are"
    return f"; {by_key} {engines} not built here, but equal by key" if by_key else ""


def _closing(comparison: Comparison, *, check: bool, changed: bool) -> str:
    """The last line after writing, or about a lockfile that differs."""
    if not check:
        return ("lockfile written" if changed else "nothing to write") + _by_key_words(comparison)
    cells = {one.cell for one in comparison.differences}
    if not cells:
        return "a build would change the lockfile: run `trtpipe build`"
    return f"the lockfile differs in {'a cell' if len(cells) == 1 else f'{len(cells)} cells'}"


def _count(comparison: Comparison) -> int:
    return len(comparison.exact) + len(comparison.by_key)


def _agreement(count: int) -> str:
    return "the lockfile agrees with " + ("the cell" if count == 1 else f"all {count} cells")


def _report(
    comparison: Comparison, settled: Sequence[str], *, agrees: bool, changed: bool
) -> dict[str, object]:
    return {
        "schema": 1,
        "agrees": agrees,
        "differences": [one.to_json() for one in comparison.differences],
        "known": sorted([*comparison.exact, *settled]),
        "by_key": comparison.by_key,
        "agrees_but_for_versions": {
            cell: [one.to_json() for one in others] for cell, others in comparison.but_for_versions.items()
        },
        "measured_otherwise": [one.to_json() for one in comparison.excused],
        "not_known_without_a_build": comparison.unknown,
        "written": changed,
    }
