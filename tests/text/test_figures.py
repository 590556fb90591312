"""Numbers as text: as many digits as tell a value from what it is compared with."""

from __future__ import annotations

import math

import pytest

from trtpipe.figures import exact_figure, figure_beside


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (0.99999998, (0.99999999, None), "0.99999998"),
        (0.999999989, (0.99999999, None), "0.999999989"),
        (0.9, (0.99999999,), "0.9"),
        (0.12345678, (), "0.123457"),
        (1.0000001, (None, 1.0), "1.0000001"),
        (0.5, (0.5,), "0.5"),
        (math.nan, (0.5,), "nan"),
        (math.inf, (0.5,), "inf"),
    ],
)
def test_a_value_is_told_from_its_bounds(value, bounds, text):
    assert figure_beside(value, *bounds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.99999999, "0.99999999"), (1e-7, "1e-07"), (0.1, "0.1"), (1e300, "1e+300")],
)
def test_a_bound_is_written_as_it_was_given(value, text):
    assert exact_figure(value) == text
