"""`trtpipe golden BUNDLE`: records what a bundle's reference gives, from end to end, for the first samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trtpipe.app.prove.golden import Recorded, Recording, first_samples, place_for, written
from trtpipe.app.prove.validate import HowToValidate
from trtpipe.building.bundles.completion import validated
from trtpipe.building.bundles.work import work_on
from trtpipe.building.on_fleet import jobs_of
from trtpipe.building.performer import Terms
from trtpipe.building.planned import FleetFor, Planned, make_plan
from trtpipe.checks.check import prove_before_building
from trtpipe.errors import SpecError
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import open_workspace


def record_bundle(asked: Recording, how: HowToValidate, observer: Observer, fleet_for: FleetFor) -> Recorded:
    """Record a bundle's reference; its engines need not be built. Raises SpecError, and what its validation raises."""
    planned = make_plan(open_workspace([asked.cell]))
    bundle = _bundle_in(planned, asked)
    prove_before_building(planned, offline=how.offline, observer=observer)
    path = place_for(asked, planned, bundle.name)
    work = work_on(planned, bundle, [cell.name for cell in planned.plan.cells])
    assert work is not None, "every cell of the bundle is in the plan"
    with fleet_for(planned) as fleet:
        terms = Terms(offline=how.offline, fleet=fleet, jobs=jobs_of(fleet))
        trace = next(iter(validated(planned, work, observer, terms).values()))
    runs = first_samples(bundle.name, trace, planned, asked.samples)
    return replace(written(path, runs, planned, "the reference"), of_bundle=True)


def _bundle_in(planned: Planned, asked: Recording) -> LoadedBundle:
    """The bundle that the command names. Raises SpecError if it cannot be recorded."""
    whole: Sequence[LoadedBundle] = planned.workspace.whole_bundles
    if asked.engine:
        raise SpecError(
            Code.BAD_ARGUMENT, f"--engine records the engine of one cell, and {asked.cell!r} is none"
        )
    if len(whole) != 1:
        raise SpecError(Code.BAD_ARGUMENT, f"{asked.cell!r} is no cell and no bundle")
    (bundle,) = whole
    if bundle.spec.validate_ is None:
        fact = f"{bundle.name} has no validation, so there are no samples"
        raise SpecError(
            Code.VALIDATES_NOTHING, fact, "give the spec a `validate` with data: its samples are recorded"
        )
    if bundle.spec.validate_.golden is not None:
        fact = f"the reference of {bundle.name} is a recording already"
        raise SpecError(Code.REFERENCE, fact, "take `golden` out of the spec to record anew")
    return bundle
