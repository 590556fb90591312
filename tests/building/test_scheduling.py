"""What the scheduler tells of each step, when it stops, and how often it tries again."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest

from tests.building.world import World, at, plan, step
from trtpipe.errors import ArtifactDamaged, Interrupted
from trtpipe.plan.decisions import Pending, Run
from trtpipe.plan.events import StepBlocked, StepFailure, StepFinished, StepStarted
from trtpipe.plan.ports import Performed
from trtpipe.plan.reasons import Changed, CorruptOutput, First
from trtpipe.plan.scheduler import Blocked, Done, Failed, Scheduler, told_of
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code


@dataclass
class Remote(World):
    """A world whose jobs take time: 1.5 seconds each by their traces, and some end only when a test says so."""

    elsewhere: set[str] = field(default_factory=set)
    """Steps that another build has just run."""
    held: dict[str, Future] = field(default_factory=dict)
    """Steps that do not end by themselves."""
    cancelled: list[bool] = field(default_factory=list)

    def submit(self, action, *, anew=False):
        name = action.address.pipeline
        if name in self.held:
            self.ran.append(name)
            return self.held[name]
        job = super().submit(action, anew=anew)
        if job.exception():
            return job
        trace = replace(job.result().trace, seconds=1.5, summary={"of": name})
        return done(Performed(trace, ran=name not in self.elsewhere))

    def cancel(self, *, now=False):
        self.cancelled.append(now)
        for job in self.held.values():
            if now and not job.done():
                job.set_exception(Interrupted(Code.INTERRUPTED, "interrupted"))


def done(result: Performed) -> Future:
    future: Future = Future()
    future.set_result(result)
    return future


def damaged() -> Future:
    future: Future = Future()
    future.set_exception(ArtifactDamaged(Code.ARTIFACT_DAMAGED, "damaged"))
    return future


@pytest.fixture
def world() -> Remote:
    made = Remote()
    made.source(b"x")
    return made


def chain(level: int = 1):
    return plan(step("a", source=b"x"), step("b", "a", level=level), step("c", "b"))


# -- what is told


def test_a_step_that_runs_is_told_with_its_reason_and_its_end(world):
    results = world.build(plan(step("a", source=b"x")))

    key = world.last["a"]
    assert world.events == [
        StepStarted(at("a"), Run(key, First())),
        StepFinished(at("a"), key, True, 1.5, {"of": "a"}),
    ]
    assert (results["a"].key, results["a"].trace.key) == (key, key)


def test_a_step_that_is_up_to_date_is_told_without_a_start(world):
    world.build(plan(step("a", source=b"x")))
    world.events.clear()

    results = world.build(plan(step("a", source=b"x")))

    key = world.last["a"]
    assert world.events == [StepFinished(at("a"), key, ran=False)]
    assert results["a"] == Done(world.traces[key].outputs, key)


def test_what_another_build_did_meanwhile_did_not_run_here(world):
    world.elsewhere = {"a"}

    results = world.build(plan(step("a", source=b"x")))

    assert world.events[-1] == StepFinished(at("a"), world.last["a"], ran=False)
    assert results["a"].trace is None


def test_a_failure_is_told_with_its_problems_and_what_it_blocks_with_its_cause(world):
    world.failing = {"a"}

    results = world.build(chain())

    failed = results["a"]
    assert isinstance(failed, Failed)
    assert world.events[1:] == [
        StepFailure(at("a"), tuple(failed.error.problems)),
        StepBlocked(at("b"), at("a")),
        StepBlocked(at("c"), at("b")),
    ]
    assert (results["b"], results["c"]) == (Blocked(at("a")), Blocked(at("b")))


def test_an_end_in_words():
    trace = Trace("k", "a:import", {}, {}, seconds=1.23456)

    assert told_of(Done({}, "k", trace)) == ("ran", 1.235)
    assert told_of(Done({}, "k")) == ("up to date", None)
    assert told_of(Failed(Interrupted(Code.INTERRUPTED, ""))) == ("failed", None)
    assert told_of(Blocked()) == ("not run", None)


# -- when it stops


def independent():
    """A step that may fail, and two behind each other that do not need it."""
    return plan(step("bad", source=b"x"), step("good", source=b"x", other=1), step("after", "good"))


def test_after_a_failure_nothing_more_is_started(world):
    world.failing = {"bad"}

    results = world.build(independent())

    assert world.ran == ["bad", "good"], "both were under way"
    assert isinstance(results["good"], Done)
    assert results["after"] == Blocked()
    assert world.events[-1] == StepBlocked(at("after"), None)


def test_with_keep_going_all_is_started_that_can_be(world):
    world.failing = {"bad"}

    results = world.build(independent(), keep_going=True)

    assert isinstance(results["bad"], Failed) and isinstance(results["after"], Done)


def test_the_first_press_lets_what_runs_end_and_the_second_ends_it(world):
    """The job ends by nothing else, so the loop must look for presses while it waits."""
    world.held = {"a": Future()}
    presses = iter([1, 1, 2])

    scheduler = Scheduler(chain(), world.rebuilder(), world, world, interrupted=lambda: next(presses, 2))
    results = {one.pipeline: result for one, result in scheduler.run()}

    assert world.cancelled[:3] == [False, False, True]
    assert results == {"a": Blocked(), "b": Blocked(at("a")), "c": Blocked(at("b"))}


def test_after_a_press_nothing_more_is_started(world):
    scheduler = Scheduler(chain(), world.rebuilder(), world, world, interrupted=lambda: 1)

    results = {one.pipeline: result for one, result in scheduler.run()}

    assert world.ran == ["a"]
    assert results["b"] == Blocked()


def test_a_job_that_was_taken_back_did_not_fail(world):
    world.held = {"a": Future()}
    world.held["a"].cancel()

    assert world.build(chain())["a"] == Blocked()


def test_a_bug_in_an_action_ends_all_at_once_and_is_raised_as_it_is(world):
    world.held = {"a": Future()}
    world.held["a"].set_exception(ZeroDivisionError("a bug"))

    with pytest.raises(ZeroDivisionError, match="a bug"):
        world.build(chain())

    assert world.cancelled == [True]


def test_a_step_that_is_started_too_early_is_a_bug(world):
    scheduler = Scheduler(chain(), lambda one, outputs: Pending((at("b"),)), world, world)

    with pytest.raises(AssertionError, match=r"a:import was started before .*'b'"):
        list(scheduler.run())


# -- how often it tries again


def test_an_input_that_is_lost_is_told_as_made_once_more_without_a_key(world):
    world.build(chain())
    key = world.last["a"]
    lost = world.traces[key].outputs["out"]
    submit = world.submit

    def submit_late(action, *, anew=False):
        if action.address == at("b") and lost in world.bytes_of and "a" not in world.ran:
            del world.bytes_of[lost]
            return damaged()
        return submit(action, anew=anew)

    world.submit = submit_late
    world.events.clear()
    results = world.build(chain(level=2))

    started = [event for event in world.events if isinstance(event, StepStarted)]
    assert [event.address for event in started] == [at("b"), at("a"), at("b"), at("c")]
    assert isinstance(started[0].decision.reason, Changed)
    assert started[1].decision == Run("", CorruptOutput("what a:import made"))
    assert all(isinstance(one, Done) for one in results.values())


def test_a_step_whose_inputs_stay_unreadable_is_tried_three_times(world):
    asked = []

    def submit_in_vain(action, *, anew=False):
        asked.append(action.address.pipeline)
        return damaged() if action.address == at("b") else World.submit(world, action)

    world.submit = submit_in_vain

    results = world.build(chain())

    assert asked == ["a", "b", "b", "b"]
    assert isinstance(results["b"], Failed)


def test_what_needs_an_input_that_failed_to_be_made_again_is_blocked_by_it(world):
    twins = plan(step("a", source=b"x"), step("b", "a", level=1), step("c", "a", level=2))
    world.build(plan(*list(twins.steps.values())[:1]))
    lost = world.traces[world.last["a"]].outputs["out"]

    def submit_in_vain(action, *, anew=False):
        world.bytes_of.pop(lost, None)
        return damaged() if action.address != at("a") else World.submit(world, action)

    world.submit, world.failing = submit_in_vain, {"a"}

    results = world.build(twins, keep_going=True)

    assert isinstance(results["a"], Failed)
    assert (results["b"], results["c"]) == (Blocked(at("a")), Blocked(at("a")))


def test_a_step_that_finds_its_input_lost_after_that_failed_to_be_made_again_is_blocked_by_it(world):
    """It was running while the input failed, so it did not wait for it and was not told."""
    twins = plan(step("a", source=b"x"), step("b", "a", level=1), step("c", "a", level=2))
    world.build(plan(*list(twins.steps.values())[:1]))
    lost = world.traces[world.last["a"]].outputs["out"]
    world.failing, late = {"a"}, Future()

    def submit(action, *, anew=False):
        world.bytes_of.pop(lost, None)
        if action.address == at("a"):
            return World.submit(world, action)
        return late if action.address == at("b") else damaged()

    def tick():
        if any(isinstance(event, StepFailure) for event in world.events) and not late.done():
            late.set_exception(damaged().exception())
        return 0

    world.submit = submit

    results = world.build(twins, keep_going=True, interrupted=tick)

    assert isinstance(results["a"], Failed)
    assert (results["b"], results["c"]) == (Blocked(at("a")), Blocked(at("a")))


def test_a_step_waits_for_an_input_that_is_being_made_again_for_another(world):
    """Both find it gone at once; while it is made again neither is tried, and then each is tried once."""
    twins = plan(step("a", source=b"x"), step("b", "a", level=1), step("c", "a", level=2))
    world.build(plan(*list(twins.steps.values())[:1]))
    trace = world.traces[world.last["a"]]
    data = world.bytes_of[trace.outputs["out"]]
    asked, again = [], Future()

    def submit_late(action, *, anew=False):
        asked.append(action.address.pipeline)
        if action.address == at("a"):
            return again
        if trace.outputs["out"] not in world.bytes_of or len(asked) <= 2:
            world.bytes_of.pop(trace.outputs["out"], None)
            return damaged()
        return World.submit(world, action)

    def tick():
        """Called after each end and while nothing ends: `a` is made when both wait for it."""
        if asked == ["b", "c", "a"] and len(ticks) > 3 and not again.done():
            world.bytes_of[trace.outputs["out"]] = data
            again.set_result(Performed(trace))
        ticks.append(len(asked))
        return 0

    ticks: list[int] = []
    world.submit = submit_late

    results = world.build(twins, interrupted=tick)

    assert asked == ["b", "c", "a", "b", "c"]
    assert all(isinstance(one, Done) for one in results.values())
