"""What runs again and what does not, as stories; each ends by building once more."""

from __future__ import annotations

import pytest

from tests.building.world import World, at, decisions, plan, step
from trtpipe.plan.decisions import Pending, Run, UpToDate, promise_of
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.reasons import MissingOutput
from trtpipe.plan.rebuilder import decide_all
from trtpipe.plan.scheduler import Blocked, Done, Failed


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

    decision = decisions(changed, world.rebuilder())["engine"]
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
    decided = decide_all(changed, world.rebuilder())
    decision = decided.decisions[at("quantize")]
    world.build(changed, decided=decided)
    assert isinstance(decision, Run) and decision.reason == MissingOutput(("out",))
    assert world.ran == ["quantize", "engine"]


def test_force_runs_what_it_names(world):
    world.build(chain(world))

    world.build(chain(world), rebuilder=world.rebuilder(forced={"engine"}))

    assert world.ran == ["engine"]


def test_what_waits_for_a_step_is_pending_until_it_ran(world):
    found = decisions(chain(world), world.rebuilder())

    assert isinstance(found["import"], Run)
    assert found["quantize"] == Pending((at("import"),))


def test_what_waits_says_what_of_its_own_changed_and_nothing_of_what_is_still_unknown(world):
    world.build(chain(world, b"model one"))

    found = decisions(chain(world, b"another model", level=5), world.rebuilder())

    assert [change.field for change in found["import"].reason.changes] == ["inputs.source.source"]
    assert found["quantize"] == Pending((at("import"),))
    assert found["engine"] == Pending((at("quantize"),), (Change("options.level", 3, 5),))


def test_an_input_that_is_known_or_gone_is_told_though_others_are_unknown(world):
    before = world.source(b"before")
    after = world.source(b"after")
    world.build(plan(step("a", source=before), step("b", source=before), step("c", "a", "b", source=before)))

    found = decisions(plan(step("a", source=after), step("c", "a", source=after)), world.rebuilder())

    assert [change.field for change in found["c"].changes] == ["inputs.b.out", "inputs.source.source"]


def test_what_is_forced_runs_whatever_it_waits_for_yields(world):
    world.build(chain(world))
    forced = world.rebuilder(forced={"import", "quantize", "engine"})

    found = decisions(chain(world), forced)
    world.build(chain(world), rebuilder=forced)

    assert {promise_of(decision) for decision in found.values()} == {"will run"}
    assert world.ran == ["import", "quantize", "engine"]


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

    found = decisions(twins, world.rebuilder())
    world.build(plan(*list(twins.steps.values())[:2]))
    world.build(twins)

    assert isinstance(found["a"], Run)
    assert world.ran == []


def test_decisions_of_a_finished_build_are_all_up_to_date(world):
    world.build(chain(world))

    found = decisions(chain(world), world.rebuilder())

    assert all(isinstance(decision, UpToDate) for decision in found.values())
