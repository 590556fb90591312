"""The subject of `sensitivity` and `debug`: a cell's variant, ready to be evaluated.

Everything before the variant's typed model is brought up to date first, as a build would do it. The evaluations are the
same as those of a search of this variant, so both find each other's results in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from trtpipe.building.on_fleet import jobs_of
from trtpipe.building.performer import Terms
from trtpipe.building.planned import FleetFor, Planned, on_this_machine
from trtpipe.building.searches.evaluations import Evaluations
from trtpipe.building.searches.search import ladders_for
from trtpipe.checks.proved_cell import planned_variant
from trtpipe.errors import Problem, SpecError
from trtpipe.plan.address import Address, Place, address
from trtpipe.plan.control import Control
from trtpipe.plan.graph import Cell, Outputs, Step
from trtpipe.plan.options import EvaluateOptions, QuantizeOptions
from trtpipe.plan.origins import Nowhere
from trtpipe.plan.planner import measured_by
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.search.choices import WIDEST, Choice, Ladder, read_choice
from trtpipe.search.steps import CHOICE_FILE, is_auto, precisions_of, quantize_options, subject_options
from trtpipe.spec.pipeline import PipelineSpec

_FEWER = Nowhere("a limit that the command was given")
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

    def telling(self, observer: Observer) -> Callable[[str, int], None]:
        """Reports the progress of this variant's evaluations to an observer."""
        return self.evaluations.telling(observer, Place(self.cell.pipeline, self.cell.variant))


@contextmanager
def open_subject(
    name: str,
    specs: Sequence[str],
    observer: Observer,
    fleet_for: FleetFor = on_this_machine,
    *,
    samples: int | None = None,
    searched: bool = False,
) -> Iterator[Subject]:
    """The variant of a cell (`digits/int8@ada`, or `digits/int8` for short), while the context lasts.

    With `searched`, an auto variant is searched first, and its result is opened. Raises SpecError, StepFailed and what
    a build raises.
    """
    planned, cell = planned_variant(name, observer, specs=specs)
    spec = planned.specs[cell.pipeline]
    if spec.validate_ is None:
        remedy = "give the spec a `validate` with data: it defines what is measured on which data"
        raise SpecError(
            Code.VALIDATES_NOTHING,
            f"{cell.name} has no `validate` in its spec, so there is nothing to measure",
            remedy,
        )
    with ExitStack() as stack:
        fleet = stack.enter_context(fleet_for(planned))
        steps = stack.enter_context(planned.steps(observer, Terms(jobs=jobs_of(fleet), fleet=fleet)))
        scratch = stack.enter_context(steps.store.scratch())
        steps.bring(_needed(planned, cell, searched))
        step = _step(planned, cell, steps.outputs, samples)
        assert isinstance(step.options, EvaluateOptions), "it stands for a search"
        ladder = _ladder(step.options.quantize, spec.variants[cell.variant].candidates())
        with steps.evaluations(step, scratch, Control()) as evaluations:
            targets = planned.facts[cell.pipeline].targets.values()
            capabilities = sorted({one for target in targets for one in target.compute_capabilities})
            yield Subject(cell, spec, ladder, capabilities, evaluations, planned)
    planned.workspace.state.save()


def _needed(planned: Planned, cell: Cell, searched: bool) -> set[Address]:
    """The steps before the typed model and what it is compared with; not its own search unless that is asked for."""
    quantize, search = cell.steps["quantize"], cell.steps.get("search")
    found = {up for one in (quantize, cell.steps["validate"]) for up in planned.plan.steps[one].upstream()}
    return found - {quantize} - ({search} if search is not None and not searched else set())


def _step(planned: Planned, cell: Cell, outputs: Mapping[Address, Outputs], samples: int | None) -> Step:
    """A stand-in for a search step of this variant: the same subject, without a budget."""
    facts, spec = planned.facts[cell.pipeline], planned.specs[cell.pipeline]
    quantize = planned.plan.steps[cell.steps["quantize"]]
    measure, measured = measured_by(spec, facts, cell.variant)
    template = quantize.options
    assert isinstance(template, QuantizeOptions), "the step's address says so"
    versions = template.precision_version
    inputs = {slot: refs for slot, refs in quantize.inputs.items() if slot != "choice"} | measured
    searched = cell.steps.get("search")
    if is_auto(template) and searched is not None and searched in outputs:
        template = _as_found(planned, template, outputs[searched])
    template = replace(template, precision_version=_versions(template, versions))
    options = subject_options(template, measure, samples, _FEWER)
    tools = {**facts.tools["quantize"], **facts.tools["validate"]}
    return Step(address("search", cell.pipeline, cell.variant), options, tools, inputs)


def _as_found(planned: Planned, template: QuantizeOptions, outputs: Outputs) -> QuantizeOptions:
    found = planned.workspace.store.path(outputs[CHOICE_FILE])
    return quantize_options(template, read_choice(found, precisions_of(template)))


def _versions(template: QuantizeOptions, known: int | Mapping[str, int]) -> dict[str, int]:
    """The versions of all precisions that a unit may be evaluated in."""
    from trtpipe.precisions import find_precision

    names = known if isinstance(known, Mapping) else _levels(template, ())
    found = {name: find_precision(name) for name in names}
    return {name: one.version for name, one in found.items() if one is not None}


def _ladder(template: QuantizeOptions, candidates: Sequence[str]) -> Ladder:
    return ladders_for([one for one in _levels(template, candidates) if one != WIDEST])[0]


def _levels(template: QuantizeOptions, candidates: Sequence[str]) -> list[str]:
    """The precisions of a variant, cheapest first: those that it tries, or its own, its base, and the widest."""
    from trtpipe.precisions import find_precision

    if is_auto(template):
        return [*candidates, WIDEST]
    precision = find_precision(template.precision)
    assert precision is not None, "the loader knows the precisions"
    base = template.base or _FLOATS[precision.dtype]
    return list(dict.fromkeys((precision.name, *([base] if precision.quantized else []), WIDEST)))


def nothing_lowered(subject: Subject) -> SpecError:
    """The error for a variant that computes in the widest type anyway."""
    fact = f"{subject.cell.name} computes in {WIDEST}: no node is lowered"
    return SpecError(Problem(Code.NOTHING_TO_MEASURE, fact, "name a cell of another precision"))
