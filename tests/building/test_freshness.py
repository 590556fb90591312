"""What runs again and what does not, as stories; each ends by building once more."""

from __future__ import annotations

import pytest
from world import World, plan, step

from trtpipe.deciding import decide_all
from trtpipe.plan.decisions import Pending, Run, UpToDate
from trtpipe.plan.reasons import MissingOutput
from trtpipe.scheduler import Blocked, Done, Failed


@pytest.fixture
def world() -> World:
    return World()


def chain(world: World, source: bytes = b"model bytes", level: int = 3):
    world.source(source)
    return plan(
        step("import", source=source),
        step("quantize", "import", keep=5),
        step("engine", "quantize", level=level),
    )


def test_a_first_build_runs_everything_in_order(world):
    world.build(chain(world))

    assert world.ran == ["import", "quantize", "engine"]


def test_a_second_build_runs_nothing(world):
    world.build(chain(world))

    results = world.build(chain(world))

    assert world.ran == []
    assert all(isinstance(result, Done) and result.trace is None for result in results.values())


def test_a_changed_option_runs_its_step_only_and_says_so(world):
    world.build(chain(world))
    changed = chain(world, level=5)

    decision = decide_all(changed, world.rebuilder())["engine"]
    world.build(changed)

    assert isinstance(decision, Run)
    assert [change.to_json() for change in decision.reason.changes] == [
        {"field": "options.level", "old": 3, "new": 5}
    ]
    assert world.ran == ["engine"]
    world.build(changed)
    assert world.ran == []


def test_a_changed_source_runs_until_the_change_vanishes(world):
    """Early cutoff: quantize keeps five bytes, and they are the same."""
    world.build(chain(world, b"model one"))

    world.build(chain(world, b"model two"))

    assert world.ran == ["import", "quantize"]


def test_a_source_changed_back_runs_nothing(world):
    world.build(chain(world, b"a model"))
    world.build(chain(world, b"b model"))

    world.build(chain(world, b"a model"))

    assert world.ran == []


def test_a_lost_artifact_is_made_again_when_somebody_needs_it(world):
    world.build(chain(world))
    quantized = world.traces[world.last["quantize"]].outputs["out"]
    del world.bytes_of[quantized]

    world.build(chain(world))
    assert world.ran == []  # nobody needs it

    changed = chain(world, level=4)
    rebuilder = world.rebuilder()
    decision = decide_all(changed, rebuilder)["quantize"]
    world.build(changed, rebuilder=rebuilder)
    assert isinstance(decision, Run) and decision.reason == MissingOutput(("out",))
    assert world.ran == ["quantize", "engine"]


def test_force_runs_what_it_names(world):
    world.build(chain(world))

    world.build(chain(world), rebuilder=world.rebuilder(forced={"engine"}))

    assert world.ran == ["engine"]


def test_what_waits_for_a_step_is_pending_until_it_ran(world):
    decisions = decide_all(chain(world), world.rebuilder())

    assert isinstance(decisions["import"], Run)
    assert decisions["quantize"] == Pending(("import",))


def test_a_failure_is_not_remembered(world):
    world.failing = {"engine"}
    first = world.build(chain(world))
    world.failing = set()

    second = world.build(chain(world))

    assert isinstance(first["engine"], Failed)
    assert isinstance(second["engine"], Done)
    assert world.ran == ["engine"]


def test_a_failure_stops_the_build_and_blocks_what_needs_it(world):
    world.failing = {"import"}

    results = world.build(chain(world))

    assert world.ran == ["import"]
    assert isinstance(results["quantize"], Blocked)
    assert isinstance(results["engine"], Blocked)


def test_keep_going_finishes_what_does_not_depend_on_the_failure(world):
    world.source(b"x")
    diamond = plan(
        step("a", source=b"x"), step("bad", "a"), step("good", "a", other=1), step("after", "bad", "good")
    )
    world.failing = {"bad"}

    results = world.build(diamond, keep_going=True)

    assert isinstance(results["good"], Done)
    assert isinstance(results["after"], Blocked)


def test_equal_work_under_two_addresses_is_done_once(world):
    world.source(b"x")
    twins = plan(step("a", source=b"x"), step("one", "a", level=1), step("two", "a", level=1))

    decisions = decide_all(twins, world.rebuilder())
    world.build(plan(*list(twins.steps.values())[:2]))
    world.build(twins)

    assert isinstance(decisions["a"], Run)
    assert world.ran == []


def test_decisions_of_a_finished_build_are_all_up_to_date(world):
    world.build(chain(world))

    decisions = decide_all(chain(world), world.rebuilder())

    assert all(isinstance(decision, UpToDate) for decision in decisions.values())
