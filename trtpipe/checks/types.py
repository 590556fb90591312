"""`check` against known restrictions of TensorRT-RTX: the typed models of a spec are made and compared with rules.

The rules apply to models after importing and casting (`proofs/engine_limits`), so those steps are brought up to date; a
build finds them done. TensorRT is not started. A variant whose types depend on a calibration or a search that has not
run yet is left out, as are toolchains of the flavour tensorrt, for which no rules were determined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.building.build import default_jobs
from trtpipe.building.performer import Terms
from trtpipe.building.problem_places import placed
from trtpipe.building.silent import Unheard
from trtpipe.building.steps import Steps, open_steps
from trtpipe.checks.networks import Parses, of_variant, waits_for
from trtpipe.digests import Digest
from trtpipe.errors import Problem, StoreError
from trtpipe.files import temporary_folder
from trtpipe.plan.address import Address
from trtpipe.plan.graph import Cell
from trtpipe.plan.planner.facts import MODEL_FILES
from trtpipe.plan.ports import Observer
from trtpipe.plan.rebuilder import Rebuilder, decide_all
from trtpipe.plan.scheduler import Done, Failed
from trtpipe.workspace.workspace import Workspace

if TYPE_CHECKING:
    import onnx

    from trtpipe.proofs.targets import CellProof


@dataclass(frozen=True, slots=True)
class TypedCells:
    """The result of checking."""

    problems: tuple[Problem, ...]
    refused: Mapping[str, tuple[str, ...]]
    """Cell → why it cannot be built; nothing is known against other cells."""

    def judged(self, proof: CellProof) -> CellProof:
        """The proof of a cell, extended by what was found."""
        why = self.refused.get(proof.cell)
        if not why:
            return proof
        return replace(proof, buildable=False, buildable_here=False, runnable_here=False, notes=why)


def refused_cells(
    parses: Parses, observer: Observer | None, source: onnx.ModelProto, *, offline: bool
) -> TypedCells:
    """The restrictions that selected cells violate; `source` is the user's model, with named nodes.

    Raises what a plan raises, Interrupted.
    """
    workspace, cells = parses.workspace, _judged(parses)
    site, terms = workspace.site, Terms(default_jobs(), offline)
    try:
        with open_steps(parses.plan, site, parses.here, observer or Unheard(), terms) as steps:
            results = steps.bring(sorted({cell.steps["quantize"] for cell in cells}), keep_going=True)
            failed = {one: result.error for one, result in results.items() if isinstance(result, Failed)}
            made = [cell for cell in cells if isinstance(results.get(cell.steps["quantize"]), Done)]
            said = _said(steps, parses, made, source)
    except StoreError:  # the project is read-only
        return TypedCells((), {})
    broken = [problem for one, error in failed.items() for problem in placed(workspace, one, error).problems]
    refused = {cell.name: tuple(one.fact for one in found if one.severity == "error") for cell, found in said}
    problems = dict.fromkeys([*broken, *_placed(workspace, said)])
    return TypedCells(tuple(problems), {name: facts for name, facts in refused.items() if facts})


def _judged(parses: Parses) -> list[Cell]:
    """The cells whose typed model can be made now, for a TensorRT with known rules."""
    decided = decide_all(parses.plan, Rebuilder(parses.workspace.site.past()))
    typed = {cell.steps["quantize"] for cell in parses.cells}
    ready = {one for one in typed if not waits_for(parses.plan, decided, one)}
    return [
        cell
        for cell in parses.cells
        if parses.here.toolchains[cell.steps["parse"]].flavour == "tensorrt_rtx"
        and cell.steps["quantize"] in ready
    ]


Said = Sequence[tuple[Cell, tuple[Problem, ...]]]


def _said(steps: Steps, parses: Parses, cells: Sequence[Cell], source: onnx.ModelProto) -> Said:
    """Findings for each cell's typed model, by its toolchain's version. Each model is read once."""
    from trtpipe.proofs.engine_limits.proof import engine_refusals
    from trtpipe.toolchains.detect import driver_may_be_here

    driver = driver_may_be_here()
    found: dict[Address, tuple[Problem, ...]] = {}
    judged: dict[tuple[str, frozenset[tuple[str, Digest]]], tuple[Problem, ...]] = {}
    for typed, asked in _readers(cells).items():
        outputs = frozenset(steps.trace(typed).outputs.items())
        versions = {parse: parses.here.toolchains[parse].version for parse in asked}
        new = [one for one in dict.fromkeys(versions.values()) if (one, outputs) not in judged]
        if new:  # variants may yield the same model
            with _read(steps, typed) as model:
                for version in new:
                    judged[version, outputs] = tuple(engine_refusals(model, version, source, driver=driver))
        found |= {parse: judged[version, outputs] for parse, version in versions.items()}
    return [(cell, found[cell.steps["parse"]]) for cell in cells]


def _readers(cells: Sequence[Cell]) -> dict[Address, dict[Address, None]]:
    """The step of each typed model → the steps that parse it."""
    found: dict[Address, dict[Address, None]] = {}
    for cell in cells:
        found.setdefault(cell.steps["quantize"], {})[cell.steps["parse"]] = None
    return found


@contextmanager
def _read(steps: Steps, typed: Address) -> Iterator[onnx.ModelProto]:
    """A typed model without its large weights, for as long as the context lasts."""
    from trtpipe.canonical.reader import read_skeleton

    outputs = steps.trace(typed).outputs
    with temporary_folder("typed") as folder:
        for name in MODEL_FILES:
            if name in outputs:
                steps.store.fetch(outputs[name], Path(folder, name))
        yield read_skeleton(Path(folder, MODEL_FILES[0])).proto


def _placed(workspace: Workspace, said: Said) -> Iterator[Problem]:
    """A restriction that all typed models violate is a problem of the model; others are problems of their variants."""
    (pipeline,) = workspace.pipelines
    shared = set.intersection(*(set(problems) for _, problems in said)) if said else set()
    for cell, problems in said:
        for problem in problems:
            if problem in shared:
                yield pipeline.locate(replace(problem, path=("model", "source")))
            else:
                yield of_variant(workspace, cell.steps["parse"], problem)
