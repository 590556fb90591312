"""`trtpipe debug repro`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from trtpipe.app.debug.reduce import fails_alike
from trtpipe.app.debug.repro import (
    Reproduction,
    require_new_directory,
    unknown_stage,
    write_reproduction,
)
from trtpipe.checks.cell_steps import CellSteps, Failing, open_cell
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, steps_on_fleet
from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.errors import SpecError
from trtpipe.plan.address import Stage
from trtpipe.plan.graph import Action
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size


@dataclass(frozen=True, slots=True)
class WhatToWrite:
    """The options of `debug repro`."""

    output: Path | None
    stage: str
    """The step to write even if it does not fail; empty for the one that fails."""
    random_weights: bool


def repro_command(
    cell: str,
    specs: Sequence[str],
    fleet: FleetOptions = ON_THIS_MACHINE,
    *,
    what: WhatToWrite,
    as_json: bool,
) -> int:
    """Write a cell's failing step, or that of a stage, as a directory of its own."""
    output, stage, random_weights = what.output, what.stage, what.random_weights
    if output is not None:
        require_new_directory(output)
    with LazyProgress() as progress, open_cell(cell, specs, progress, steps_on_fleet(fleet)) as steps:
        if stage and stage not in steps.cell.steps:
            raise unknown_stage(steps, stage)
        folder = output or Path(default_directory("repro", steps))
        require_new_directory(folder)
        failing = steps.run(cast(Stage, stage)) if stage else _first_failing(steps)
        action, failing = _chosen(steps, stage, failing)
        made = write_reproduction(steps, action, failing, folder, random_weights=random_weights)
        alike = not random_weights or failing is None or fails_alike(steps, failing, folder)
    if as_json:
        say_json({"schema": 1, "cell": steps.cell.name, **made.to_json(), "fails_alike": alike})
    else:
        say("\n".join(_told(made)))
    if not alike:
        note(
            "warning: with random weights it does not fail in the same way: the failure depends on the weights"
        )
    return EXIT_DONE


def default_directory(kind: str, steps: CellSteps) -> str:
    """`repro-digits-int8@ada`."""
    return f"{kind}-{steps.cell.name.replace('/', '-')}"


def _first_failing(steps: CellSteps) -> Failing | None:
    """The first failing step; if TensorRT refuses a model, the build step, because that can be reproduced elsewhere."""
    stages = [one for one in steps.cell.steps if one not in ("parse", "readback")]
    return steps.run(*stages) or steps.run("readback")


def _chosen(steps: CellSteps, stage: str, failing: Failing | None) -> tuple[Action, Failing | None]:
    if failing is not None:
        address = steps.cell.steps.get(cast(Stage, stage))
        own = failing if not stage else steps.failed.get(address) if address is not None else None
        if own is None:
            raise SpecError(
                Code.NOT_REPRODUCIBLE,
                f"{failing.action.address} fails before the {stage} step can run",
                "leave --step out",
            )
        return own.action, own
    action = steps.action(cast(Stage, stage)) if stage else None
    if action is None:
        remedy = (
            "name a step with --step; for thresholds, see `trtpipe debug compare` and `trtpipe debug reduce`"
        )
        raise SpecError(Code.NOTHING_FAILS, f"no step of {steps.cell.name} fails", remedy)
    return action, None


def _told(made: Reproduction) -> list[str]:
    lines = [f"wrote {made.folder}: {len(made.files)} files, {format_size(made.total_bytes)}"]
    if made.random_weights is not None:
        lines.append(f"{made.random_weights} tensors of weights are random")
    lines += [line for fact in made.failure for line in f"fails with: {fact}".splitlines()]
    return [*lines, f"run there: {made.command}"]
