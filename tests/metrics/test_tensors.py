"""A tensor in a few numbers, and which outputs hold the scores of classes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from trtpipe.metrics.tensors import described, is_classification, top_k


def test_what_a_tensor_holds():
    array = np.array([[1.0, np.nan, -3.0], [np.inf, -np.inf, 2.0]], np.float16)

    assert described(array) == {"min": -3.0, "max": 2.0, "mean": 0.0, "nan": 1, "inf": 2}
    assert described(np.full(3, np.nan)) == {"min": None, "max": None, "mean": None, "nan": 3, "inf": 0}
    assert described(np.zeros((0, 4)))["min"] is None
    assert described(np.array([True, False]))["mean"] == 0.5
    assert described(np.array([1.5, 2], ml_dtypes.bfloat16))["max"] == 2
    assert described(np.array([-8, 7], ml_dtypes.int4))["min"] == -8
    assert described(np.float32(3))["mean"] == 3


@pytest.mark.parametrize(
    ("shape", "dtype", "classes", "right"),
    [
        ([4, 10], "float32", None, True),
        ([4, 10], "float16", 10, True),
        ([4, 10], "float32", 11, False),
        ([4, 10], "int64", None, False),
        ([4, 1, 1, 10], "float32", 10, True),
        ([4, 10, 1, 1], "bfloat16", 10, True),
        ([4, 3, 224, 224], "float32", None, False),
        ([10], "float32", 10, False),
        ([4, 1], "float32", None, False),
    ],
)
def test_what_looks_like_scores(shape, dtype, classes, right):
    assert is_classification(shape, dtype, classes) is right


def test_the_best_classes_come_first_and_nan_last():
    scores = np.array([[0.1, 0.9, 0.9, np.nan], [5, 4, 3, 2]], np.float32)

    assert [[index for index, _ in row] for row in top_k(scores, 9)] == [[1, 2, 0, 3], [0, 1, 2, 3]]
    assert [len(row) for row in top_k(scores, 2)] == [2, 2]
    assert top_k(scores.reshape(2, 4, 1, 1), 1) == [[(1, pytest.approx(0.9))], [(0, 5.0)]]
    assert top_k(np.zeros((0, 10)), 3) == []
