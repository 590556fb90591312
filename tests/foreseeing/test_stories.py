"""What `plan` says of single edits and losses, told one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tests.foreseeing.test_plan_is_what_build_does import (
    assert_nothing_left_to_do,
    build,
    plan_and_build,
    planned_now,
    somewhere,
)
from trtpipe.building.causes import Causes
from trtpipe.building.forecast import foresee
from trtpipe.building.planned import nothing_to_do
from trtpipe.plan.address import Address
from trtpipe.plan.decisions import Pending, Run, UpToDate, promise_of
from trtpipe.plan.reasons import MissingOutput

ENGINE = Address.parse("p/fp32@ada:build_engine")
VALIDATE = Address.parse("p/fp32:validate")


def fields(changes):
    return [change.field for change in changes]


def built_with(project, **now):
    """Build, then write something else."""
    build(planned_now((), force=False))
    project.now = replace(project.now, **now)
    project.write()


def test_a_weight_and_a_profile_that_changed_together_are_both_named():
    with somewhere() as (project, _):
        built_with(project, weight=1, opt=3)

        found = planned_now((), force=False).decisions

        assert fields(found[Address.parse("p:import")].reason.changes) == ["inputs.source.model.onnx"]
        assert fields(found[ENGINE].changes) == ["options.profiles[0].x.opt"]
        assert fields(found[VALIDATE].changes) == ["inputs.reference.model.onnx", "options.profiles[0].x.opt"]


def test_a_change_that_vanishes_builds_no_engine_though_it_waited():
    with somewhere() as (project, _):
        built_with(project, comment=1)
        planned = planned_now((), force=False)
        assert isinstance(planned.decisions[ENGINE], Pending)

        outcome = plan_and_build((), Counter())

        assert outcome.restored == ["p/fp32@ada", "p/fp16@ada"]  # the reference is the file itself
        assert_nothing_left_to_do((), outcome)


def test_what_a_cell_lost_is_made_again_where_another_step_of_it_runs():
    with somewhere() as (project, _):
        planned = planned_now((), force=False)
        build(planned)
        engine = planned_now((), force=False).decisions[ENGINE]
        assert isinstance(engine, UpToDate)
        planned.workspace.store.path(engine.outputs["model.engine"]).unlink()
        project.now = replace(project.now, samples=2)
        project.write()

        found = planned_now((), force=False).decisions

        assert isinstance(found[VALIDATE], Run)
        assert isinstance(found[ENGINE], Run)
        assert found[ENGINE].reason == MissingOutput(("model.engine",))
        assert_nothing_left_to_do((), plan_and_build((), Counter()))


def test_a_changed_threshold_of_a_searched_variant_is_what_its_search_runs_for():
    search = Address.parse("p/auto:search")
    with somewhere() as (project, _):
        project.now = replace(project.now, variants=("auto",))
        project.write()
        built_with(project, threshold=6)

        planned = planned_now((), force=False)
        decision = planned.decisions[search]
        cause = Causes(planned).of(planned.decisions)[search, "options.thresholds[0].min"]
        outcome = plan_and_build((), Counter())

        assert fields(decision.reason.changes) == ["options.thresholds[0].min"]
        line = (project.root / "pipelines/p.yaml").read_text().splitlines()[cause.line - 1]
        assert '"min": 6' in line
        assert_nothing_left_to_do((), outcome)


def test_a_search_whose_trace_is_gone_holds_as_long_as_the_lockfile_says_the_same():
    search = Address.parse("p/auto:search")
    with somewhere() as (project, _):
        project.now = replace(project.now, variants=("auto",))
        project.write()
        build(planned_now((), force=False))
        for trace in [path for path in (project.root / "store/traces").rglob("*") if path.is_file()]:
            trace.unlink()

        same = planned_now((), force=False)
        (project.root / "trtpipe.lock").unlink()
        gone = planned_now((), force=False)

        assert nothing_to_do(same)
        assert promise_of(gone.decisions[search]) != "will not run"


def test_a_limit_that_is_missed_is_foreseen_and_one_that_is_kept_is_delivered():
    with somewhere() as (project, _):
        built_with(project, threshold=99)

        missed = foresee(planned_now((), force=False))
        project.now = replace(project.now, threshold=1)
        project.write()
        kept = foresee(planned_now((), force=False))

        assert {one.promise for one in missed} == {"would fail"}
        assert all("must be at least 99" in one.problems[0].fact for one in missed)
        assert {one.promise for one in kept} == {"to be delivered"}
