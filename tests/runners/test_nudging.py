"""What rounding otherwise does to a model is measured by nudging what it rounds, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.rounding.nudges import nudged

KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
UNITS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def model(tmp_path, nodes, dtype="float16", constants=()):
    """x, cast to a type, goes through nodes to `t`, which is cast back to y."""
    start = helper.make_node("Cast", ["x"], ["s"], "start", to=KINDS[dtype])
    end = helper.make_node("Cast", ["t"], ["y"], "end", to=TensorProto.FLOAT)
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 8])] for name in "xy"]
    weights = [numpy_helper.from_array(array, name) for name, array in constants]
    graph = helper.make_graph([start, *nodes, end], "g", *ends, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return RunnableModel(made, tmp_path, tmp_path / "model.onnx")


def outputs(made, x):
    with open_runner(made, threads=1) as runner:
        return runner.infer({"x": x})["y"]


X = np.random.default_rng(0).uniform(1, 2, (4, 8)).astype(np.float32)


@pytest.mark.parametrize("dtype", KINDS)
def test_what_is_computed_is_off_by_a_unit_in_the_last_place_and_by_no_more(tmp_path, dtype):
    plain = model(tmp_path, [helper.make_node("Add", ["s", "s"], ["t"], "add")], dtype)

    expected, found = outputs(plain, X), outputs(nudged(plain, 0), X)

    off = np.abs(found / expected - 1)
    casts = 2 if dtype != "float32" else 1  # the cast to a narrow type rounds as well
    assert 0 < off.max() <= 1.01 * (casts + 1) * UNITS[dtype]
    assert (off > 0).any()


def test_what_rounds_nothing_is_not_nudged(tmp_path):
    nodes = [
        helper.make_node("Transpose", ["s"], ["a"], "turn", perm=[1, 0]),
        helper.make_node("Transpose", ["a"], ["t"], "back", perm=[1, 0]),
    ]
    plain = model(tmp_path, nodes, "float32")

    assert np.array_equal(outputs(nudged(plain, 0), X), outputs(plain, X))


def test_sizes_are_not_nudged(tmp_path):
    nodes = [
        helper.make_node("Mul", ["scales", "scales"], ["squared"], "sizes"),
        helper.make_node("Resize", ["s", "", "squared"], ["t"], "resize"),
    ]
    plain = model(tmp_path, nodes, "float32", [("scales", np.ones(2, np.float32))])

    assert outputs(nudged(plain, 0), X).shape == (4, 8)
    assert "squared/exact" not in nudged(plain, 0).tensors()


def test_a_seed_gives_the_same_nudges_and_another_one_others(tmp_path):
    plain = model(tmp_path, [helper.make_node("Exp", ["s"], ["t"], "exp")])

    first, again, other = (outputs(nudged(plain, seed), X) for seed in (0, 0, 1))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_softmax_of_large_numbers_makes_more_of_it_than_a_sum(tmp_path):
    soft = model(tmp_path, [helper.make_node("Softmax", ["s"], ["t"], "softmax")])
    plain = model(tmp_path, [helper.make_node("Add", ["s", "s"], ["t"], "add")])

    def noise(made):
        expected = outputs(made, 30 * X)
        return np.abs(outputs(nudged(made, 0), 30 * X) - expected).max() / np.abs(expected).max()

    assert noise(soft) > 4 * noise(plain)
