"""Metrics: exact against NumPy, the same however the data is split, and never blind to what is not finite."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trtpipe.metrics.metrics import METRICS, RELATIVE_FLOOR, Accumulator, Metrics, metrics_from_json

FLOATS = st.floats(-1e6, 1e6, width=32)
SHAPES = st.tuples(st.integers(1, 6), st.integers(2, 9))


def measured(reference, actual, labels=None) -> Metrics:
    accumulator = Accumulator()
    accumulator.add(np.asarray(reference), np.asarray(actual), labels)
    return accumulator.result()


@st.composite
def pairs(draw):
    shape = draw(SHAPES)
    made = hnp.arrays(np.float32, shape, elements=FLOATS)
    return draw(made), draw(made)


@given(pairs())
def test_every_error_metric_equals_its_formula(pair):
    r, a = (array.astype(np.float64) for array in pair)
    error = np.abs(a - r)
    rmse = math.sqrt(np.mean(error**2))
    norms = np.linalg.norm(a) * np.linalg.norm(r)
    expected = {
        "max_abs": error.max(),
        "max_rel": (error / np.maximum(np.abs(r), RELATIVE_FLOOR)).max(),
        "mean_abs": error.mean(),
        "rmse": rmse,
        "cosine": np.vdot(a, r) / norms if norms else float(not (a.any() or r.any())),
    }

    values = measured(*pair).values

    assert {name: values[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(pairs())
def test_decibels_equal_their_formula(pair):
    r, a = (array.astype(np.float64) for array in pair)
    noise = np.sum((a - r) ** 2)

    values = measured(*pair).values

    if noise == 0:
        assert values["snr"] == values["psnr"] == math.inf
    elif not r.any():
        assert values["snr"] == values["psnr"] == -math.inf
    else:
        peak, rmse = np.abs(r).max(), math.sqrt(noise / r.size)
        assert values["snr"] == pytest.approx(10 * math.log10(np.sum(r**2) / noise), rel=1e-9, abs=1e-9)
        assert values["psnr"] == pytest.approx(20 * math.log10(peak / rmse), rel=1e-9, abs=1e-9)


@given(pairs(), st.integers(0, 6))
def test_splitting_into_batches_changes_nothing(pair, cut):
    whole = measured(*pair)
    split = Accumulator()
    for part in (slice(0, cut), slice(cut, None)):
        split.add(pair[0][part], pair[1][part])
    result = split.result()

    assert result.elements == whole.elements
    assert result.differing == whole.differing
    for name in METRICS:
        expected = whole.values[name]
        close = expected if expected is None else pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert result.values[name] == close, name


@given(hnp.arrays(np.float32, SHAPES, elements=FLOATS))
def test_an_output_agrees_with_itself(array):
    values = measured(array, array).values

    assert (values["max_abs"], values["rmse"], values["top1_agreement"]) == (0, 0, 1)
    assert values["cosine"] == pytest.approx(1)
    assert values["top5_agreement"] == (1 if array.shape[1] > 5 else None)


@given(pairs())
def test_top5_equals_a_stable_sort(pair):
    r, a = pair
    if a.shape[1] <= 5:
        assert measured(r, a).values["top5_agreement"] is None
        return
    best = np.argsort(-a.astype(np.float64), axis=1, kind="stable")[:, :5]
    expected = np.mean([row.argmax() in five for row, five in zip(r, best, strict=True)])

    assert measured(r, a).values["top5_agreement"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "actual", "cosine"),
    [([0.0, 0], [0.0, 0], 1), ([0.0, 0], [1.0, 0], 0), ([1.0, 1], [-1.0, -1], -1), ([3.0], [3.0], 1)],
    ids=["both zero", "reference zero", "opposite", "constant"],
)
def test_cosine_is_defined_for_every_vector(reference, actual, cosine):
    assert measured(reference, actual).values["cosine"] == pytest.approx(cosine)


def test_nan_and_infinities_are_counted_and_kept_out_of_sums():
    reference = np.array([[1.0, np.inf, 2.0, np.nan, 5.0]])
    actual = np.array([[1.0, np.inf, np.nan, 4.0, np.inf]])

    result = measured(reference, actual)

    counts = result.nonfinite
    assert (counts.nan, counts.inf, counts.reference_nan, counts.reference_inf) == (1, 2, 1, 1)
    assert counts.differing == 3
    assert result.values["max_abs"] == 0


def test_an_output_of_only_nan_has_no_metrics_but_says_why():
    result = measured(np.ones((1, 3)), np.full((1, 3), np.nan))

    assert result.values["cosine"] is None
    assert result.not_applicable["cosine"] == "no element is finite on both sides"


def test_an_empty_output_has_no_metrics_but_says_why():
    result = measured(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))

    assert result.elements == 0
    assert set(result.not_applicable) == set(METRICS)
    assert result.not_applicable["cosine"] == "the output has no elements"


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int64, np.uint8, np.float16, np.float64])
def test_every_element_type_is_measured(dtype):
    result = measured(np.array([0, 1, 1]).astype(dtype), np.array([0, 1, 0]).astype(dtype))

    assert result.values["max_abs"] == 1
    assert result.differing == 1


def test_scalars_have_errors_but_no_classes():
    result = measured(np.float32(2), np.float32(1))

    assert result.values["max_abs"] == 1
    assert "last axis" in result.not_applicable["top1_agreement"]


def test_accuracy_counts_labels_for_both_sides():
    reference = np.eye(4)
    actual = np.eye(4)[[0, 1, 3, 3]]

    result = measured(reference, actual, np.array([0, 1, 2, 2]))

    assert result.values["accuracy"] == 0.5
    assert result.reference_accuracy == 0.75


def test_accuracy_without_labels_says_so():
    assert measured(np.eye(3), np.eye(3)).not_applicable["accuracy"] == "the data has no labels"


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\) instead of the reference's \(3,\)"):
        measured(np.zeros(3), np.zeros(2))


def test_the_largest_error_is_located():
    actual = np.zeros((2, 3))
    actual[1, 2] = 5

    assert measured(np.zeros((2, 3)), actual).where_max_abs == (1, 2)


def test_metrics_survive_json():
    result = measured([1.0, 2.0], [1.0, 2.0])

    record = json.loads(json.dumps(result.as_json(), allow_nan=False))

    assert metrics_from_json(record) == result


def test_the_largest_error_survives_json():
    result = measured([[1.0, 2.0]], [[1.0, 5.0]])

    back = metrics_from_json(result.as_json())

    assert (back.where_max_abs, back.largest) == ((0, 1), 2.0)


def test_a_zero_and_an_infinity_survive_json():
    result = measured([0.0], [0.0])

    back = metrics_from_json(result.as_json())

    assert (back.largest, back.values["psnr"]) == (0.0, math.inf)


def test_the_largest_error_is_located_among_what_is_not_finite():
    """The first batch has a smaller one, the third an equal one."""
    accumulator = Accumulator()
    for actual in ([[0, 1, 0]], [[np.nan, 0, 5]], [[5, 0, 0]]):
        accumulator.add(np.zeros((1, 3)), np.array(actual, np.float64))

    result = accumulator.result()

    assert (result.values["max_abs"], result.where_max_abs) == (5, (0, 2))
    assert result.largest == 0


def test_what_is_not_finite_is_counted_over_all_batches():
    accumulator = Accumulator()
    for _ in range(2):
        accumulator.add(np.array([1.0, np.nan]), np.array([np.nan, np.inf]))

    counts = accumulator.result().nonfinite

    assert (counts.nan, counts.inf, counts.reference_nan, counts.differing) == (2, 2, 2, 4)


def test_accuracy_is_counted_over_all_batches():
    accumulator = Accumulator()
    for labels in ([0, 1, 0], [2, 1, 0]):
        accumulator.add(np.eye(3), np.eye(3)[[0, 1, 1]], np.array(labels))

    result = accumulator.result()

    assert result.values["accuracy"] == 3 / 6
    assert result.reference_accuracy == 3 / 6


def test_labels_may_have_any_shape():
    assert measured(np.eye(4), np.eye(4), np.array([[0, 1], [2, 3]])).values["accuracy"] == 1


def test_labels_that_do_not_fit_the_rows_are_told():
    reasons = measured(np.eye(3), np.eye(3), np.arange(2)).not_applicable

    assert reasons["accuracy"] == "the output does not have one row per label"


def test_rows_whose_length_changes_from_batch_to_batch_have_no_classes():
    accumulator = Accumulator()
    for size in (3, 4, 4):
        accumulator.add(np.eye(size), np.eye(size))

    result = accumulator.result()

    assert result.values["top1_agreement"] is None
    assert "last axis" in result.not_applicable["accuracy"]


def test_batches_of_any_rank_have_rows_along_the_last_axis():
    reference = np.eye(4).reshape(2, 2, 4)

    assert measured(reference, reference[::-1]).values["top1_agreement"] == 0
    assert measured(reference, reference).values["top1_agreement"] == 1


def test_values_that_a_double_cannot_hold_overflow_without_a_warning():
    """The suite turns warnings into errors."""
    wide = np.array([np.finfo(np.longdouble).max, 1], np.longdouble)

    assert measured(wide, wide).nonfinite.reference_inf == 1


def test_sums_that_overflow_never_look_like_agreement():
    far = np.array([1.7e308, -1.7e308])

    values = measured(far, -far).values

    assert math.isnan(values["cosine"])
    assert (values["max_abs"], values["rmse"]) == (math.inf, math.inf)
    assert (values["psnr"], values["snr"]) == (-math.inf, -math.inf)


def test_errors_beside_references_of_almost_nothing_may_overflow():
    values = measured(np.array([0.0, 1e-300]), np.array([1e305, 0.0])).values

    assert (values["max_rel"], values["max_abs"]) == (math.inf, 1e305)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_cosine_never_leaves_its_range(sign):
    """In double precision three is larger than the product of its roots."""
    vector = np.ones(3)

    assert measured(vector, sign * vector).values["cosine"] == sign


@pytest.mark.parametrize(
    "batches",
    [
        [([1e200], [1e200]), ([1e200], [-1e200])],
        [([1e200, 1.0], [1.0, 1.0])],
        [([1.0, 1.0], [1e200, 1.0])],
    ],
    ids=["the product is NaN", "the reference overflows", "the output overflows"],
)
def test_no_cosine_is_known_where_any_of_its_sums_overflows(batches):
    """NaN is smaller than nothing, so it must not come out of a minimum as 1."""
    accumulator = Accumulator()
    for reference, actual in batches:
        accumulator.add(np.array(reference), np.array(actual))

    assert math.isnan(accumulator.result().values["cosine"])


def test_classes_of_an_output_of_only_nan_are_compared_all_the_same():
    result = measured(np.eye(3), np.full((3, 3), np.nan))

    assert result.values["top1_agreement"] == pytest.approx(1 / 3)
    assert "top1_agreement" not in result.not_applicable


def test_why_classes_are_not_compared_is_said_in_words():
    why = "the output has no last axis of two classes or more"
    assert measured(np.ones(1), np.ones(1)).not_applicable == dict.fromkeys(METRICS[7:], why)

    few = measured(np.eye(3), np.eye(3)).not_applicable
    assert few == {
        "top5_agreement": "with 3 classes the top five always agree",
        "accuracy": "the data has no labels",
    }
