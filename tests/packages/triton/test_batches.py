"""The largest batch: what dimensions and profiles allow together."""

from __future__ import annotations

import pytest

from trtpipe.errors import PackageError
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.batches import asked_batches, most_batches

X, Y = Tensor("x", "float32", (-1, -1)), Tensor("y", "float32", (-1, 10))
FOLLOWS = {"y": True}


def profile(low, high, **others):
    return {"x": {"min": list(low), "opt": list(low), "max": list(high)}, **others}


def most(*profiles, inputs=(X,), outputs=(Y,), follows=FOLLOWS):
    return most_batches(inputs, outputs, profiles, follows)


def test_the_profiles_largest_batch():
    assert most(profile((1, 4), (8, 4))).most == 8


def test_every_range_of_the_other_dimensions_must_take_the_batch():
    """A batch of 8 long requests would find no profile, and Triton does not know which requests are long."""
    assert most(profile((1, 1), (8, 16)), profile((1, 17), (2, 512))).most == 2


def test_profiles_for_small_and_large_batches_join():
    assert most(profile((1, 4), (4, 4)), profile((5, 4), (32, 4))).most == 32
    assert most(profile((4, 4), (32, 4)), profile((1, 4), (8, 4))).most == 32


def test_a_gap_between_profiles_is_not_crossed():
    assert most(profile((1, 4), (4, 4)), profile((8, 4), (32, 4))).most == 4


def test_the_narrowest_input_counts():
    z = Tensor("z", "float32", (-1, 2))
    both = profile((1, 4), (8, 4), z={"min": [1, 2], "opt": [1, 2], "max": [3, 2]})

    assert most(both, inputs=(X, z)).most == 3


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"inputs": (Tensor("x", "float32", (1, 4)),)}, "the first dimension of 'x' is fixed"),
        ({"inputs": (Tensor("x", "float32", ()),)}, "the first dimension of 'x' is fixed"),
        ({"outputs": (Tensor("y", "float32", (10,)),)}, "the first dimension of 'y' is fixed"),
        (
            {"inputs": (X, Tensor("s", "int64", (2,), True))},
            "'s' is a shape tensor, which has no batch",
        ),
        ({"follows": {"y": None}}, "it is not known that the first dimension of 'y' is the batch"),
        ({"follows": {"y": False}}, "it is not known that the first dimension of 'y' is the batch"),
    ],
)
def test_why_a_model_takes_no_batches(changes, why):
    found = most(profile((1, 4), (8, 4)), **changes)

    assert (found.most, found.why) == (0, why)


def test_a_profile_without_single_requests_takes_no_batches():
    found = most(profile((4, 4), (8, 4)))

    assert (found.most, found.why) == (0, "not every profile takes a batch of 1")


def asked(number, *profiles, follows=FOLLOWS):
    return asked_batches(number, "net", ((X,), (Y,)), profiles, follows)


def test_a_smaller_batch_may_be_asked_for():
    assert asked(4, profile((1, 4), (8, 4))) == 4
    assert asked(0, profile((1, 4), (8, 4))) == 0


def test_who_asks_for_batches_vouches_for_what_is_not_known():
    assert asked(4, profile((1, 4), (8, 4)), follows={"y": None}) == 4


@pytest.mark.parametrize(
    ("number", "follows", "fact", "remedy"),
    [
        (16, {"y": True}, "max_batch_size 16 is too large for net: profiles take batches of up to 8", 8),
        (2, {"y": False}, "max_batch_size 2 is too large for net: the first dimension of 'y' is not the batch", 0),
    ],
)  # fmt: skip
def test_a_batch_that_the_model_does_not_take_is_refused(number, follows, fact, remedy):
    with pytest.raises(PackageError) as caught:
        asked(number, profile((1, 4), (8, 4)), follows=follows)

    (problem,) = caught.value.problems
    assert (problem.fact, problem.remedy) == (fact, f"write max_batch_size: {remedy}")
