"""Delta debugging finds what it must and nothing that could go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trtpipe.search.minimization import ddmin


@given(st.sets(st.integers(0, 63)))
def test_a_set_that_must_be_whole_is_found_exactly(needed):
    assert ddmin(range(64), lambda some: needed <= set(some)) == sorted(needed)


@given(st.lists(st.sets(st.integers(0, 15), min_size=1, max_size=3), min_size=1, max_size=4))
def test_of_several_causes_what_is_left_is_minimal(alternatives):
    def does(some):
        return any(one <= set(some) for one in alternatives)

    left = ddmin(range(16), does)

    assert does(left)
    assert not any(does([item for item in left if item != one]) for one in left)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True), st.randoms())
def test_whatever_the_property_no_single_item_can_go(items, random):
    known = {(): False, tuple(items): True}

    def does(some):
        return known.setdefault(tuple(some), random.random() < 0.3)

    left = ddmin(items, does)

    assert does(left)
    assert all(not does([item for item in left if item != one]) for one in left) or len(left) == 1


def test_few_of_many_take_few_trials():
    trials = []

    def does(some):
        trials.append(tuple(some))
        return 17 in some

    assert ddmin(range(256), does) == [17]
    assert len(trials) < 30
