"""Where an error arises that neither the inputs nor the types explain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from trtpipe.metrics.growth import UNITS, Place, TensorError, first_divergence, first_nonfinite, grown


def error(reference, actual) -> TensorError:
    measured = TensorError()
    measured.add(np.asarray(reference, np.float32), np.asarray(actual, np.float32))
    return measured


def place(name: str, relative: float, *inputs: str, dtypes=("float16",)) -> Place:
    return Place(
        name, "Conv", f"n{name}", dtypes[-1] if dtypes else "", inputs, dtypes, error([1], [1 + relative])
    )


def test_errors_are_taken_over_all_batches():
    measured = error([[3, 4]], [[3, 5]])
    measured.add(np.array([[0.0, 12]]), np.array([[2.0, 12]]))

    assert (measured.elements, measured.largest_error, measured.largest) == (4, 2, 12)
    assert measured.relative() == math.sqrt((1 + 4) / (9 + 16 + 144))


@pytest.mark.parametrize(
    ("reference", "actual", "relative"),
    [([0, 0], [0, 0], 0.0), ([0, 0], [0, 1], math.inf), ([2], [1], 0.5), ([1, 1], [1, np.nan], math.inf)],
    ids=["zeros", "beside zeros", "half", "not finite"],
)
def test_a_relative_error_is_defined_for_every_tensor(reference, actual, relative):
    assert error(reference, actual).relative() == relative


def test_what_is_not_finite_is_counted_and_kept_out_of_sums():
    measured = error([1, np.inf, np.nan, 1], [np.nan, np.inf, 3, 1])

    assert (measured.nan, measured.inf, measured.onset) == (1, 1, 1)
    assert (measured.error, measured.signal) == (0, 1)


def test_the_narrowest_type_on_the_way_gives_the_unit():
    assert place("a", 0, dtypes=("float32", "float16")).unit == UNITS["float16"]
    assert place("a", 0, dtypes=("int64",)).unit == 0
    assert place("a", 0, dtypes=()).unit == 0


def test_the_first_divergence_is_what_its_inputs_do_not_explain():
    found = grown([place("a", 2**-11), place("b", 0.5, "a"), place("c", 0.75, "b", "a", "elsewhere")])

    assert [one.growth for one in found] == [1, 0.5 / 2**-11, 1.5]
    assert first_divergence(found).place.tensor == "b"
    assert found[2].inputs_error == 0.5


def test_growth_up_to_the_bound_is_no_divergence():
    within, beyond = grown([place("a", 4 * 2**-11), place("b", 5 * 2**-11)])

    assert (within.growth, beyond.growth) == (4, 5)
    assert first_divergence([within]) is None
    assert first_divergence([within, beyond]) is beyond


def test_an_error_that_nothing_explains_has_grown_without_bound():
    exact, wrong = grown([place("a", 0, dtypes=()), place("b", 0.5, "a", dtypes=())])

    assert (exact.growth, wrong.growth) == (0, math.inf)
    assert wrong.to_json()["growth"] == "inf"


def test_what_follows_from_an_overflow_is_not_told_as_another():
    first = Place("a", "Exp", "n", "float16", (), ("float16",), error([1], [np.inf]))
    second = Place("b", "Mul", "m", "float16", ("a",), ("float16",), error([1], [np.inf]))

    found = grown([place("x", 0), first, second])

    assert [one.growth for one in found] == [0, math.inf, 1]
    assert first_nonfinite(found).place is first
    assert first_nonfinite(found[:1]) is None


def test_a_place_is_plain_data_in_a_report():
    (one,) = grown([place("a", 0.5)])

    assert one.to_json() == {
        "tensor": "a",
        "op": "Conv",
        "node": "na",
        "type": "float16",
        "error": 0.5,
        "inputs_error": 0.0,
        "unit": 2.0**-11,
        "growth": 1024.0,
        "largest_error": 0.5,
        "largest": 1.0,
        "elements": 1,
        "nan": 0,
        "inf": 0,
        "not_finite_where_reference_is": 0,
    }
