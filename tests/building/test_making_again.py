"""Artifacts that turn out damaged when a step fetches them are made again in the same build, each once."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field

import pytest

from tests.building.world import World, plan, step
from trtpipe.errors import ArtifactDamaged, Interrupted
from trtpipe.plan.events import StepFailure
from trtpipe.plan.scheduler import Blocked, Done, Failed
from trtpipe.problem_codes import Code


@dataclass
class Rotting(World):
    """A world whose artifacts look right until somebody fetches them; then they are put aside."""

    rotten: set = field(default_factory=set)
    stuck: bool = False
    """A store that cannot put them aside."""

    def submit(self, action, *, anew=False):
        fetched = [digest for files in action.fingerprint.inputs.values() for digest in files.values()]
        bad = [digest for digest in fetched if digest in self.rotten or digest not in self.bytes_of]
        if not bad:
            return super().submit(action)
        if not self.stuck:
            self.rotten.discard(bad[0])
            self.bytes_of.pop(bad[0], None)
        future = Future()
        future.set_exception(ArtifactDamaged(Code.ARTIFACT_DAMAGED, "damaged"))
        return future


@pytest.fixture
def world():
    made = Rotting()
    made.source(b"x")
    return made


def diamond(level):
    """One import, two models, an engine of each and one of both."""
    return plan(
        step("import", source=b"x"),
        step("fp32", "import", bits=32),
        step("fp16", "import", bits=16),
        step("engine32", "fp32", level=level),
        step("engine16", "fp16", level=level),
        step("both", "fp32", "fp16", level=level),
    )


def rot(world, results, *addresses):
    world.rotten = {results[address].outputs["out"] for address in addresses}


def test_a_whole_chain_of_damaged_artifacts_is_made_again_once(world):
    rot(world, world.build(diamond(1)), "import", "fp32", "fp16")

    results = world.build(diamond(2))

    assert all(isinstance(result, Done) for result in results.values())
    assert sorted(world.ran) == ["both", "engine16", "engine32", "fp16", "fp32", "import"]


def test_damage_gives_what_a_clean_build_gives(world):
    rot(world, world.build(diamond(1)), "fp32", "fp16")
    clean = World()
    clean.source(b"x")

    healed, expected = world.build(diamond(2)), clean.build(diamond(2))

    assert {one: world.output(healed[one]) for one in healed} == {
        one: clean.output(expected[one]) for one in expected
    }


def test_a_store_that_cannot_heal_fails_the_steps_that_need_it(world):
    rot(world, world.build(diamond(1)), "fp32")
    world.stuck = True

    results = world.build(diamond(2), keep_going=True)

    assert isinstance(results["engine32"], Failed)
    assert isinstance(results["both"], Failed)
    assert isinstance(results["engine16"], Done)


def test_a_forced_step_that_is_tried_again_is_made_anew_all_the_same(world):
    """Another build has made its input again in the meantime; what is known of the step itself does not count."""
    asked = []
    submit = world.submit

    def submit_once_in_vain(action, *, anew=False):
        asked.append((action.address.pipeline, anew))
        if asked == [("fp32", True), ("fp16", True), ("engine32", True)]:
            future = Future()
            future.set_exception(ArtifactDamaged(Code.ARTIFACT_DAMAGED, "damaged"))
            return future
        return submit(action, anew=anew)

    world.build(diamond(1))
    world.submit = submit_once_in_vain
    forced = {"fp32", "fp16", "engine32"}

    world.build(diamond(1), rebuilder=world.rebuilder(forced))

    assert asked.count(("engine32", True)) == 2
    assert ("engine32", False) not in asked


def test_what_cannot_be_made_again_blocks_what_needs_it(world):
    rot(world, world.build(diamond(1)), "fp32")
    world.failing = {"fp32"}

    results = world.build(diamond(2), keep_going=True)

    assert isinstance(results["fp32"], Failed)
    assert isinstance(results["engine32"], Blocked)
    assert isinstance(results["engine16"], Done)


def test_what_starts_before_its_input_turns_out_lost_for_good_is_blocked_too(world):
    """It fetches the input between the moment when that is made again and the moment when that has failed."""

    def two_layers(level):
        late = step("late", "fp32", "engine16", level=level)
        return plan(*diamond(level).steps.values(), late)

    rot(world, world.build(two_layers(1)), "fp32")
    world.failing = {"fp32"}

    results = world.build(two_layers(2), keep_going=True)

    assert results.keys() == {one.pipeline for one in two_layers(2).steps}, "each step comes to an end"
    assert isinstance(results["late"], Blocked)


def test_a_step_that_was_interrupted_is_no_failure(world):
    presses = []

    def submit(action, *, anew=False):
        presses.append(action.address)
        future = Future()
        future.set_exception(Interrupted(Code.INTERRUPTED, "interrupted"))
        return future

    world.submit = submit

    with pytest.raises(Interrupted):
        world.build(diamond(1), interrupted=lambda: len(presses))

    assert not [event for event in world.events if isinstance(event, StepFailure)]
