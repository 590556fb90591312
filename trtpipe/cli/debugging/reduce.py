"""`trtpipe debug reduce`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtpipe.app.debug.reduce import Limits, Reduction, about, reduce_build, write_reduction
from trtpipe.app.debug.reduce_accuracy import (
    AccuracyReduction,
    about_accuracy,
    reduce_accuracy,
    write_accuracy_reduction,
)
from trtpipe.app.debug.repro import require_new_directory
from trtpipe.checks.cell_steps import CellSteps, Failing, open_cell
from trtpipe.cli.debugging.repro import default_directory
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, steps_on_fleet
from trtpipe.cli.output import EXIT_DONE, EXIT_INTERRUPTED, note, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.errors import SpecError, ToolchainError
from trtpipe.problem_codes import Code

_SHOWN = 12


def reduce_command(
    cell: str,
    specs: Sequence[str],
    fleet: FleetOptions = ON_THIS_MACHINE,
    *,
    output: Path | None,
    limits: Limits,
    as_json: bool,
) -> int:
    """Write the smallest part of a cell's model that fails as the cell does; after Ctrl-C the best so far, and 130."""
    with LazyProgress() as progress, open_cell(cell, specs, progress, steps_on_fleet(fleet)) as steps:
        folder = output or Path(default_directory("reduced", steps))
        require_new_directory(folder)
        reduction: Reduction
        failing = _failing(steps)
        if failing is not None:
            reduction = reduce_build(steps, failing, limits)
            write_reduction(steps, failing.action, reduction, folder)
        else:
            reduction = accuracy = reduce_accuracy(steps, limits)
            write_accuracy_reduction(steps, accuracy, folder)
    if as_json:
        record = {"schema": 1, "cell": steps.cell.name, "directory": str(folder), **reduction.to_json()}
        say_json(record)
    else:
        say("\n".join(_told(steps.cell.name, folder, reduction)))
    if reduction.interrupted:
        note("interrupted")
        return EXIT_INTERRUPTED
    return EXIT_DONE


def _failing(steps: CellSteps) -> Failing | None:
    """The engine that cannot be built; None when it can, so that thresholds may be the problem."""
    try:
        failing = steps.run("build_engine")
    except ToolchainError as error:
        if "validate" not in steps.cell.steps:
            raise
        note(f"the engine was not built, so only thresholds are examined: {error.problems[0].fact}")
        return None
    if failing is None and "validate" not in steps.cell.steps:
        fact = f"the engine of {steps.cell.name} is built and nothing is validated, so there is nothing to reduce"
        raise SpecError(Code.NOTHING_FAILS, fact)
    if failing is not None and failing.action.stage != "build_engine":
        fact = f"{failing.action.address} fails, and only an engine's failure can be reduced"
        raise SpecError(
            Code.NOTHING_FAILS, fact, f"`trtpipe debug repro {steps.cell.name}` writes it as a directory"
        ) from failing.error
    return failing


def _told(cell: str, folder: Path, reduction: Reduction) -> list[str]:
    nodes = reduction.reduced.candidate.model.graph.node
    lines = [f"{cell} fails with {reduction.wanted.words()}", *about(reduction)]
    if isinstance(reduction, AccuracyReduction):
        lines += about_accuracy(reduction)
    lines += [f"  {node.op_type}  {node.name or node.output[0]}" for node in nodes[:_SHOWN]]
    if len(nodes) > _SHOWN:
        lines.append(f"  and {len(nodes) - _SHOWN} more")
    command = "python run.py" if isinstance(reduction, AccuracyReduction) else "python worker.py request.json"
    lines.append(f"wrote {folder}; run there: {command}")
    return [*lines, f"{reduction.reduced.trials} trials, {reduction.ran} of them new"]
