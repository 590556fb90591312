"""Corner inputs: the samples themselves, repeated and cropped, never invented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtpipe.runners.validation.corner_inputs import CornerInputs, corner_feed, fitted, gather_rows

SHAPE = st.lists(st.integers(1, 5), min_size=3, max_size=3).map(tuple)


@given(SHAPE, SHAPE)
def test_every_element_is_one_of_the_samples(have, want):
    array = np.arange(np.prod(have)).reshape(have)

    made = fitted(array, want)

    assert made.shape == want
    for index in np.ndindex(want):
        assert made[index] == array[tuple(i % n for i, n in zip(index, have, strict=True))]


def test_an_equal_shape_is_the_sample_itself():
    array = np.random.default_rng(0).standard_normal((2, 3))

    assert np.array_equal(fitted(array, (2, 3)), array)


@pytest.mark.parametrize(("rows", "batches"), [(1, 1), (2, 1), (3, 2), (99, 3)])
def test_only_as_many_batches_as_needed_are_read(rows, batches):
    read = []

    def data():
        for number in range(3):
            read.append(number)
            yield {"x": np.full((2, 4), number)}, None

    gathered = gather_rows(data(), rows)

    assert len(read) == batches
    assert gathered["x"].shape == (2 * batches, 4)


def test_a_constant_is_not_repeated():
    batches = [({"x": np.zeros((2, 3)) + n, "rate": np.array(16000)}, None) for n in range(3)]

    gathered = gather_rows(batches, 6)

    assert gathered["x"].shape == (6, 3)
    assert gathered["rate"].shape == ()


def test_shape_tensors_hold_the_profiles_values():
    corner = CornerInputs("profile 0 at max", {"x": (4, 3)}, {"size": (224, 320)})

    feed = corner_feed({"x": np.ones((1, 3))}, corner, {"size": np.dtype(np.int64)})

    assert feed["x"].shape == (4, 3)
    assert feed["size"].tolist() == [224, 320]
    assert feed["size"].dtype == np.int64
