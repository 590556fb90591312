"""Inputs of a model as they are before a bundle's reshape and cast."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from trtpipe.plan.planner.joints import can_be_undone
from trtpipe.runners.validation.inputs_before import inputs_before

RESHAPE = {"layer": "shuffle", "name": "r", "reshape_dims": [-1, 1, 2]}
CAST = {"layer": "cast", "name": "c", "to_type": "float16"}
AFTER = np.arange(12, dtype=np.float16).reshape(6, 1, 2)


def graft(dtype: str, shape: list[int], *layers: dict) -> dict:
    return {"prepend": {"prior": {"dtype": dtype, "shape": shape, "layers": list(layers)}}}


@pytest.mark.parametrize(
    ("joint", "dtype", "shape"),
    [
        (graft("float32", [-1, 2], RESHAPE, CAST), np.float32, (6, 2)),
        (graft("float16", [3, -1], RESHAPE), np.float16, (3, 4)),
        (graft("bfloat16", [-1, -1, 2], CAST), ml_dtypes.bfloat16, (6, 1, 2)),
    ],
    ids=["both", "a reshape", "a cast, whose sizes may all vary"],
)
def test_reshape_and_cast_are_undone(joint, dtype, shape):
    x = np.zeros(3)

    found = inputs_before(joint, {"prior": AFTER, "x": x})

    assert (found["prior"].dtype, found["prior"].shape) == (np.dtype(dtype), shape)
    assert np.array_equal(found["prior"].astype(np.float16).ravel(), AFTER.ravel())
    assert found["x"] is x


def test_without_such_layers_inputs_stay():
    assert inputs_before(None, {"prior": AFTER})["prior"] is AFTER


@pytest.mark.parametrize(
    ("joint", "can"),
    [
        (graft("float32", [-1, 2], RESHAPE, CAST), True),
        (graft("float32", [-1, -1, 2], RESHAPE), False),
        (graft("float32", [-1, -1, 2], CAST), True),
    ],
    ids=["one size varies", "two vary", "two vary, and only the type changes"],
)
def test_a_network_is_run_only_where_the_reshape_can_be_undone(joint, can):
    assert can_be_undone(joint) == can
