"""Keeps inputs on which a threshold was missed, so that they can be examined and run again.

They go to `.trtpipe/failed/`, because a cell that fails is not delivered: one .npz for each place, with the inputs as
`in:NAME`, the reference's outputs as `out:NAME` and the actual outputs as `got:NAME`. Files of an earlier build are
removed when the cell is judged again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.delivery.proofs import places_missed
from trtpipe.errors import Problem, TrtpipeError, ValidationFailed
from trtpipe.plan.address import Stage
from trtpipe.plan.graph import Cell
from trtpipe.plan.task import WORST
from trtpipe.plan.trace import Trace
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.workspace.workspace import STATE_DIRECTORY, Workspace

if TYPE_CHECKING:
    from trtpipe.runners.validation.recordings import RecordedRun

FAILED = "failed"


@contextmanager
def keeping_failing_inputs(
    workspace: Workspace, cell: Cell, spec: PipelineSpec, traces: Mapping[Stage, Trace]
) -> Iterator[None]:
    """A context for judging a cell: if it fails, the worst sample of each place is kept and the error names it.

    The samples are kept for the variant, because its targets share the typed model and so the error.
    """
    folder = workspace.root / STATE_DIRECTORY / FAILED / cell.pipeline / cell.variant
    clear(folder)
    try:
        yield
    except ValidationFailed as error:
        worst = traces["validate"].outputs.get(WORST) if "validate" in traces else None
        if worst is None:
            raise
        from trtpipe.runners.validation.recordings import read_recording

        try:
            runs = read_recording(workspace.store.path(worst))
            kept = keep(folder, runs, places_missed(cell, spec, traces))
        except (OSError, TrtpipeError):
            raise error from None  # a full disk must not hide the failure itself
        raise ValidationFailed(told(error.problems, kept, workspace.root)) from error


def clear(folder: Path) -> None:
    """Remove the samples kept in a folder earlier."""
    with suppress(OSError):
        if folder.is_symlink():
            folder.unlink()  # a symbolic link: its target does not belong to trtpipe
        elif folder.is_dir():
            shutil.rmtree(folder)


def keep(folder: Path, runs: Sequence[RecordedRun], places: Collection[str]) -> list[Path]:
    """Write the runs of some places, each as PLACE.npz. Raises OSError."""
    from trtpipe.runners.validation.recordings import write_recording

    kept = []
    for run in runs:
        if run.place in places:
            folder.mkdir(parents=True, exist_ok=True)
            kept.append(folder / f"{re.sub('[^a-z0-9]+', '-', run.place.lower())}.npz")
            write_recording(kept[-1], [run])
    return kept


def told(problems: Sequence[Problem], kept: Sequence[Path], root: Path) -> list[Problem]:
    """The problems, with the place of the inputs added to the first."""
    if not kept:
        return list(problems)
    names = ", ".join(str(path.relative_to(root) if path.is_relative_to(root) else path) for path in kept)
    line = f"the worst inputs, with expected and actual outputs: {names}"
    first = problems[0]
    return [replace(first, remedy="\n".join(filter(None, (first.remedy, line)))), *problems[1:]]
