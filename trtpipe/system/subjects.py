"""What `sensitivity` and `debug` look at: a cell's variant, ready to be evaluated.

Everything before the variant's typed model is brought up to date first, as a build would do it. Evaluations are those
that a search of the same variant would make, so each finds the others' in the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from trtpipe.digests import Digest
from trtpipe.errors import Problem, SpecError
from trtpipe.executors.local import Control, LocalExecutor
from trtpipe.lockfile import choices_in, load_lock
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Cell, Step, action_of
from trtpipe.plan.ports import Observer
from trtpipe.planning import measured_by
from trtpipe.searching.choices import WIDEST, Choice, Ladder, read_choice
from trtpipe.searching.steps import CHOICE_FILE, is_auto, quantize_options, subject_options
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.system.building import Planned, make_plan
from trtpipe.system.checking import prove_before_building
from trtpipe.system.evaluating import Evaluations
from trtpipe.system.performing import Performer
from trtpipe.system.searching import ladders_for
from trtpipe.system.workspace import open_workspace

_FLOATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Subject:
    """A variant that can be evaluated."""

    cell: Cell
    spec: PipelineSpec
    ladder: Ladder
    capabilities: list[str]
    evaluations: Evaluations
    planned: Planned

    def own(self) -> Choice:
        """The variant as it is declared, or as a search found it."""
        return self.evaluations.plain(self.ladder.head, self.ladder.base)


@contextmanager
def open_subject(
    name: str, specs: Sequence[str], observer: Observer, *, samples: int | None = None, searched: bool = False
) -> Iterator[Subject]:
    """The variant of a cell (`digits/int8@ada`, or `digits/int8` for short), while the context lasts.

    `searched`: of an auto variant, what its search came to, which is done first. Raises SpecError, StepFailed and what
    a build raises.
    """
    glob = name if "@" in name else f"{name}@*"
    planned = make_plan(open_workspace(specs, (glob,)))
    prove_before_building(planned, observer=observer)
    cell = _one_variant(planned, name)
    spec = planned.specs[cell.pipeline]
    if spec.validate_ is None:
        remedy = "give the spec a `validate` with data: it says what is measured, and on what"
        raise SpecError(f"{cell.name} validates nothing, so there is nothing to measure", remedy)
    store = planned.workspace.store
    store.open()
    control = Control()
    locked = choices_in(load_lock(planned.workspace.lockfile).every_entry())
    performer = Performer(store, observer, planned.workspace.state.digest, locked=locked)
    with store.scratch() as scratch:
        outputs = _brought_up_to_date(planned, performer, observer, _needed(planned, cell, searched))
        action = _action(planned, cell, outputs, samples)
        ladder = _ladder(action.fingerprint.options["quantize"], spec.variants[cell.variant].candidates())
        with performer.evaluations(action, scratch, control) as evaluations:
            targets = planned.facts[cell.pipeline].targets.values()
            capabilities = sorted({one for target in targets for one in target.compute_capabilities})
            yield Subject(cell, spec, ladder, capabilities, evaluations, planned)
    planned.workspace.state.save()


def _one_variant(planned: Planned, name: str) -> Cell:
    cells = planned.plan.cells
    if len({(cell.pipeline, cell.variant) for cell in cells}) > 1:
        listed = ", ".join(cell.name for cell in cells)
        raise SpecError(f"{name!r} means cells of several variants", f"name one of {listed}")
    return cells[0]


def _needed(planned: Planned, cell: Cell, searched: bool) -> list[str]:
    """The addresses of the steps before the typed model and what it is compared with, in order."""
    steps = planned.plan.steps
    wanted: set[str] = set()
    pending = [cell.steps["quantize"]]
    pending += [cell.steps["validate"]]
    while pending:
        for up in steps[pending.pop()].upstream():
            if up not in wanted and (searched or up != cell.steps.get("search")):
                wanted.add(up)
                pending.append(up)
    return [address for address in steps if address in wanted and address != cell.steps["quantize"]]


def _brought_up_to_date(
    planned: Planned, performer: Performer, observer: Observer, addresses: Sequence[str]
) -> dict[str, Mapping[str, Digest]]:
    outputs: dict[str, Mapping[str, Digest]] = {}
    executor = LocalExecutor(performer.store, performer, jobs=1, observer=observer)
    try:
        for address in addresses:
            action = action_of(planned.plan.steps[address], outputs)
            done = executor.submit(action).result()
            outputs[address] = done.trace.outputs
    except KeyboardInterrupt:
        executor.cancel(now=True)
        raise
    finally:
        executor.close()
    return outputs


def _action(
    planned: Planned, cell: Cell, outputs: Mapping[str, Mapping[str, Digest]], samples: int | None
) -> Action:
    """What stands for a search of this variant: the same subject, without a budget."""
    facts, spec = planned.facts[cell.pipeline], planned.specs[cell.pipeline]
    quantize = planned.plan.steps[cell.steps["quantize"]]
    measure, measured = measured_by(spec, facts, cell.variant)
    template = dict(quantize.options)
    inputs = {slot: refs for slot, refs in quantize.inputs.items() if slot != "choice"} | measured
    searched = cell.steps.get("search", "")
    if is_auto(template) and searched in outputs:
        template = _as_found(planned, template, outputs[searched])
    template["precision_version"] = _versions(template, quantize.options)
    options = subject_options(template, measure, samples)
    tools = {**facts.tools["quantize"], **facts.tools["validate"]}
    step = Step(f"{cell.pipeline}/{cell.variant}", "search", options, tools, inputs, facts.local)
    return action_of(step, outputs)


def _as_found(planned: Planned, template: Record, outputs: Mapping[str, Digest]) -> dict[str, Any]:
    found = planned.workspace.store.path(outputs[CHOICE_FILE]).read_bytes()
    return quantize_options(template, read_choice(found))


def _versions(template: Record, declared: Record) -> dict[str, int]:
    """The versions of all precisions that a unit may be evaluated in."""
    from trtpipe.precisions import find_precision

    known = declared["precision_version"]
    names = known if isinstance(known, Mapping) else _levels(template, ())
    found = {name: find_precision(name) for name in names}
    return {name: one.version for name, one in found.items() if one is not None}


def _ladder(template: Record, candidates: Sequence[str]) -> Ladder:
    return ladders_for([one for one in _levels(template, candidates) if one != WIDEST])[0]


def _levels(template: Record, candidates: Sequence[str]) -> list[str]:
    """The precisions of a variant, cheapest first: those that it tries, or its own, its base, and the widest."""
    from trtpipe.precisions import find_precision

    if is_auto(template):
        return [*candidates, WIDEST]
    precision = find_precision(template["precision"])
    assert precision is not None, "the loader knows the precisions"
    base = template.get("base") or _FLOATS[precision.dtype]
    return list(dict.fromkeys((precision.name, *([base] if precision.quantized else []), WIDEST)))


def nothing_lowered(subject: Subject) -> SpecError:
    """What to say of a variant that computes in the widest type anyway."""
    fact = f"{subject.cell.name} computes in {WIDEST}: no node is lowered"
    return SpecError(Problem(fact, "name a cell of another precision"))
