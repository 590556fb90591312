"""The search on numbers: always inside the budget, never dearer than it must be said, the same every time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.search.synthetic_models import World
from trtpipe.search.choices import Choice, choice_of
from trtpipe.search.costs import total
from trtpipe.search.measurements import Ledger, Measured, Point
from trtpipe.search.search import OutOfReach, search

NOISES = st.lists(
    st.tuples(st.floats(1e-6, 1, allow_subnormal=False), st.floats(1e-9, 1e-7)), min_size=1, max_size=7
)


def test_everything_cheap_takes_one_evaluation_when_it_is_inside():
    world = World([(0.1, 0.0)] * 5, [1.0] * 5, budget=1.0)

    found = search([world.space], world.ledger())

    assert (found.point.choice.precision, dict(found.point.choice.keep)) == ("int8", {})
    assert len(world.measured) == 1


def test_the_units_that_do_harm_are_kept_in_the_narrowest_type_that_serves():
    noise = [(1e-4, 1e-9)] * 8
    noise[3], noise[6] = (0.5, 1e-9), (0.5, 0.2)
    world = World(noise, [1.0] * 8, budget=0.01)

    found = search([world.space], world.ledger())

    assert dict(found.point.choice.keep) == {"fp16": ("conv3",), "fp32": ("conv6", "relu6")}
    assert found.point.choice.base == "fp16"


@given(NOISES, st.data())
def test_the_result_is_inside_not_dearer_than_the_widest_and_cannot_be_lowered(noise, data):
    costs = data.draw(st.lists(st.floats(0.1, 10), min_size=len(noise), max_size=len(noise)))
    budget = data.draw(st.floats(0, sum(low for low, _ in noise)))
    world = World(noise, costs, budget)
    space = world.space

    found = search([space], world.ledger())

    assert world.noise_of(found.point.choice) <= budget
    assert found.point.cost <= total(space.costs, space.uniform(2)) + 1e-9
    levels = [space.ladder.levels.index(world.level(found.point.choice, unit)) for unit in world.units]
    for index, level in enumerate(levels):
        for lower in range(level):
            trial = choice_of(space.ladder, space.units, space.lowered(tuple(levels), index, lower))
            assert world.noise_of(trial) > budget


def test_what_was_met_on_the_way_is_refined_when_it_is_cheaper():
    noise = [(1.0, 5.96e-8), (0.25, 5.1e-8), (0.75, 2.7e-8), (0.5, 4.6e-8)]
    world = World(noise, [1.0, 1.0, 8.0, 6.0], budget=1.25)

    found = search([world.space], world.ledger())

    levels = [world.level(found.point.choice, unit) for unit in world.units]
    for index, level in enumerate(levels):
        lowered = [*levels[:index], "int8", *levels[index + 1 :]]
        assert (
            level == "int8"
            or sum(low for (low, _), one in zip(noise, lowered, strict=True) if one == "int8") > 1.25
        )


@given(NOISES)
def test_equal_measurements_give_equal_choices(noise):
    worlds = [World(noise, [1.0] * len(noise), budget=0.05) for _ in range(2)]

    first, second = (search([world.space], world.ledger()) for world in worlds)

    assert first.point == second.point
    assert worlds[0].measured == worlds[1].measured


@given(NOISES, st.integers(4, 12))
def test_a_limit_on_evaluations_is_kept_and_said(noise, most):
    world = World(noise, [1.0] * len(noise), budget=min(low for low, _ in noise) / 2)

    found = search([world.space], world.ledger(most))

    assert len(world.measured) <= most
    assert found.point.measured.inside
    if found.bounded:
        assert (found.bounded, len(world.measured)) == ("max_evaluations", most)


def test_many_units_are_ranked_in_runs_when_evaluations_are_few():
    noise = [(1e-6, 1e-9)] * 64
    noise[40] = (1.0, 1e-9)
    world = World(noise, [1.0] * 64, budget=0.01)

    found = search([world.space], world.ledger(24))

    assert found.point.measured.inside
    assert max(len(one.units) for _, one in found.sensitivities) > 1
    assert 40 in found.sensitivities[0][1].units


def test_nothing_within_reach_names_what_came_nearest():
    world = World([(0.5, 0.1)] * 3, [1.0] * 3, budget=-1.0)

    with pytest.raises(OutOfReach) as caught:
        search([world.space], world.ledger())

    assert caught.value.best is not None
    assert caught.value.best.choice.precision == "fp32"
    assert caught.value.bounded == ""


def test_what_misses_fewer_limits_comes_nearer_whatever_the_distance():
    one, two = (
        Point(Choice("fp16"), 1.0, Measured(False, 0.9, excess, 0.1, missed=missed))
        for excess, missed in ((5.0, ("a",)), (0.1, ("a", "b")))
    )

    assert Ledger(lambda choice: one.measured, 9, points={"1": two, "2": one}).nearest() is one


def test_out_of_time_takes_the_best_so_far():
    noise = [(0.5, 1e-9)] * 6
    world = World(noise, [1.0] * 6, budget=0.6)
    ledger = world.ledger()
    ledger.out_of_time = lambda: len(ledger.points) >= 3

    found = search([world.space], ledger)

    assert found.bounded == "max_seconds"
    assert found.point.measured.inside
    assert len(world.measured) == 3
