"""What layers compute by TensorRT's documentation, where no model brings it out: networks written by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.networks.networks_by_hand import Network
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.network import Conditional, Loop

RNG = np.random.default_rng(5)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def one_layer(kind, feed, shape, /, **attributes):
    made = Network(feed)
    made.add(kind, " ".join(feed), "y", shape, **attributes)
    return made.run("y")[0]


SLICED = {
    "CLAMP": [0, 0, 0, 2, 4, 4],
    "WRAP": [1, 3, 0, 2, 4, 1],
    "REFLECT": [4, 2, 0, 2, 4, 2],
}


@pytest.mark.parametrize(("mode", "taken"), SLICED.items(), ids=SLICED)
def test_a_slice_reaches_over_its_input_as_its_mode_says(mode, taken):
    x = floats(5, 3)
    sizes = {"start": (-4, 1), "shape": (6, 2), "stride": (2, 1), "axes": None}

    y = one_layer("SLICE", {"x": x}, (6, 2), mode=mode, **sizes)

    np.testing.assert_array_equal(y, x[taken][:, 1:])


def test_a_slice_fills_what_lies_outside():
    made = Network({"x": floats(3, 2), "v": np.array(7, np.float32)})
    sizes = {"start": (-1, 0), "shape": (5, 3), "stride": (1, 1), "axes": None}
    made.add("SLICE", "x - - - v", "y", (5, 3), mode="FILL", **sizes)

    (y,) = made.run("y")

    wanted = np.full((5, 3), 7, np.float32)
    wanted[1:4, :2] = made.feed["x"]
    np.testing.assert_array_equal(y, wanted)


def test_a_slice_runs_backwards_and_repeats():
    x = floats(5, 1)
    sizes = {"start": (4, 0), "shape": (5, 3), "stride": (-1, 0), "axes": None}

    y = one_layer("SLICE", {"x": x}, (5, 3), mode="STRICT_BOUNDS", **sizes)

    np.testing.assert_array_equal(y, np.repeat(x[::-1], 3, axis=1))


def test_a_gather_in_batches_takes_each_batch_s_own_indices():
    x, i = floats(2, 3, 5, 4), RNG.integers(0, 5, (2, 2, 3)).astype(np.int32)

    y = one_layer("GATHER", {"x": x, "i": i}, (2, 3, 2, 3, 4), mode="DEFAULT", axis=2, num_elementwise_dims=1)

    np.testing.assert_array_equal(y, np.stack([np.take(x[n], i[n], axis=1) for n in range(2)]))


def test_a_fill_steps_by_a_delta_on_each_axis():
    feed = {
        "n": np.array([2, 3]),
        "first": np.array(1.5, np.float32),
        "by": np.array([10.0, 0.5], np.float32),
    }

    y = one_layer(
        "FILL", feed, (2, 3), operation="LINSPACE", to_type="float32", shape=None, alpha=0.0, beta=0.0
    )

    np.testing.assert_array_equal(y, [[1.5, 2, 2.5], [11.5, 12, 12.5]])


def test_a_reversed_sequence_may_run_along_any_axis():
    x, n = floats(3, 2, 4), np.array([1, 4, 2], np.int32)

    y = one_layer("REVERSE_SEQUENCE", {"x": x, "n": n}, (3, 2, 4), batch_axis=0, sequence_axis=2)

    wanted = x.copy()
    for batch, count in enumerate(n):
        wanted[batch, :, :count] = x[batch, :, :count][:, ::-1]
    np.testing.assert_array_equal(y, wanted)


def test_padding_cuts_where_it_is_negative():
    x = floats(1, 2, 4, 5)

    y = one_layer("PADDING", {"x": x}, (1, 2, 4, 5), pre_padding_nd=(1, -1), post_padding_nd=(-1, 1))

    np.testing.assert_array_equal(y, np.pad(x[:, :, :-1, 1:], [(0, 0), (0, 0), (1, 0), (0, 1)]))


def test_a_ragged_softmax_sees_the_first_elements_of_a_row():
    x, bounds = floats(3, 5), np.array([[5], [1], [3]], np.int32)

    y = one_layer("RAGGED_SOFTMAX", {"x": x, "bounds": bounds}, (3, 5))

    for row, count in enumerate(bounds[:, 0]):
        kept = np.exp(x[row, :count] - x[row, :count].max())
        np.testing.assert_allclose(y[row], [*(kept / kept.sum()), *[0] * (5 - count)], rtol=1e-6)


def test_boxes_come_by_batch_and_by_score():
    boxes = np.array(
        [[[0, 0, 1, 1], [5, 5, 6, 6], [0, 0, 1, 1.01]], [[0, 0, 1, 1], [2, 2, 3, 3], [7, 7, 9, 9]]],
        np.float32,
    )
    scores = np.array(
        [[[0.5, 0.9], [0.7, 0.1], [0.6, 0.2]], [[0.2, 0.3], [0.9, 0.05], [0.4, 0.8]]], np.float32
    )
    made = Network(
        {
            "b": boxes,
            "s": scores,
            "n": np.array(2, np.int32),
            "iou": np.array(0.5, np.float32),
            "low": np.array(0.15, np.float32),
        }
    )
    made.add(
        "NMS", "b s n iou low", "y", (-1, 3), "int32", bounding_box_format="CORNER_PAIRS", topk_box_limit=5000
    )
    made.tensor("count", (), "int32")
    made.layers[0] = replace(made.layers[0], outputs=("y", "count"))

    y, count = made.run("y", "count")

    wanted = [[0, 1, 0], [0, 0, 1], [0, 0, 2], [1, 0, 1], [1, 1, 2], [1, 0, 2], [1, 1, 0]]
    np.testing.assert_array_equal(y, wanted)
    assert count == 7


def counting(kind="COUNT", length=4, output="CONCATENATE", axis=0):
    """s = 2 * s + x[i], five rounds of it, or while s is less than 9; s before each round is collected."""
    made = Network({
        "s0": np.ones(2, np.float32), "x": np.abs(floats(5, 2)), "two": np.full(2, 2, np.float32), "n": np.array(5),
        "limit": np.array(9, np.float32), "length": np.array(length), "axes": np.array([0]),
    })  # fmt: skip
    made.add("RECURRENCE", "s0 s2", "s", (2,), loop=0)
    made.add("ITERATOR", "x", "e", (2,), loop=0, axis=0, reverse=kind == "COUNT")
    made.add("ELEMENTWISE", "s two", "m", (2,), op="PROD")
    made.add("ELEMENTWISE", "m e", "s2", (2,), op="SUM")
    if kind == "COUNT":
        made.add("TRIP_LIMIT", "n", "", (), loop=0, kind="COUNT")
    else:
        made.add("REDUCE", "s", "top", (), op="MAX", axes=1, keep_dims=False)
        made.add("ELEMENTWISE", "top limit", "on", (), "bool", op="LESS")
        made.add("TRIP_LIMIT", "on", "", (), loop=0, kind="WHILE")
    made.add("LOOP_OUTPUT", "s", "last", (2,), loop=0, kind="LAST_VALUE", axis=0)
    shape = (length, 2) if axis == 0 else (2, length)
    made.add("LOOP_OUTPUT", "s length", "all", shape, loop=0, kind=output, axis=axis)
    numbers = [layer.number for layer in made.layers if layer.loop is not None]
    of = {
        kind: tuple(n for n in numbers if made.layers[n].type == kind)
        for kind in ("TRIP_LIMIT", "ITERATOR", "RECURRENCE", "LOOP_OUTPUT")
    }
    made.loops = (Loop("loop", *of.values()),)
    return made


def rounds_of(made, kind):
    state, seen = made.feed["s0"], []
    for number in range(5):
        if kind == "WHILE" and not state.max() < 9:
            break
        seen.append(state)
        state = 2 * state + made.feed["x"][4 - number if kind == "COUNT" else number]
    return state, np.stack(seen)


@pytest.mark.parametrize("kind", ["COUNT", "WHILE"])
@pytest.mark.parametrize(
    ("length", "output", "axis"),
    [(5, "CONCATENATE", 0), (7, "CONCATENATE", 1), (2, "CONCATENATE", 0), (5, "REVERSE", 0)],
)
def test_a_loop_collects_as_much_as_its_output_s_length_says(kind, length, output, axis):
    made = counting(kind, length, output, axis)
    final, seen = rounds_of(made, kind)

    last, collected = made.run("last", "all")

    np.testing.assert_allclose(last, final, rtol=1e-6)
    wanted = np.zeros((length, 2), np.float32)
    turned = seen[::-1] if output == "REVERSE" else seen
    wanted[: len(turned)] = turned[:length]
    np.testing.assert_allclose(collected, wanted if axis == 0 else wanted.T, rtol=1e-6)


def test_a_loop_that_runs_backwards_without_a_count_is_named():
    made = counting("WHILE")
    made.layers[1] = replace(made.layers[1], attributes={"axis": 0, "reverse": True})

    lowered = onnx_of(made.parsed("last", "all"))

    assert [(one.type, one.why) for one in lowered.unread] == [
        ("ITERATOR", "it runs backwards, and the loop has no limit by count")
    ]
    assert lowered.cut == ("last", "all")


@pytest.mark.parametrize("chosen", [True, False])
def test_a_branch_s_own_layers_are_computed_in_it_alone(chosen):
    """Each branch divides by something that would be out of range for the other."""
    made = Network(
        {
            "c": np.array(chosen),
            "x": floats(3),
            "i": np.array(0 if chosen else 2),
            "few": floats(1),
            "many": floats(3),
        }
    )
    made.add("CONDITION", "c", "", (), conditional=0)
    made.add("CONDITIONAL_INPUT", "i", "j", (), "int64", conditional=0)
    made.add("GATHER", "few j", "a", (), mode="DEFAULT", axis=0, num_elementwise_dims=0)
    made.add("GATHER", "many j", "b", (), mode="DEFAULT", axis=0, num_elementwise_dims=0)
    made.add("CONDITIONAL_OUTPUT", "a b", "y", (), conditional=0)
    made.conditionals = (Conditional("if", (0,), (1,), (4,)),)

    (y,) = made.run("y")

    assert y == (made.feed["few"][0] if chosen else made.feed["many"][2])


UNLIKE = {
    "ELEMENTWISE": {"op": "SUM"},
    "PARAMETRIC_RELU": {},
    "MATRIX_MULTIPLY": {"op0": "NONE", "op1": "NONE"},
}


@pytest.mark.parametrize(("kind", "attributes"), UNLIKE.items(), ids=UNLIKE)
def test_inputs_of_unlike_ranks_are_not_broadcast(kind, attributes):
    made = Network({"x": floats(2, 3, 3), "z": floats(3, 3)})
    made.add(kind, "x z", "y", (2, 3, 3), **attributes)

    (unread,) = onnx_of(made.parsed("y")).unread

    assert "TensorRT does not take" in unread.why


def test_a_tensor_that_is_not_what_tensorrt_says_is_a_contradiction():
    made = Network({"x": floats(2, 3)})
    made.add("REDUCE", "x", "y", (2, 1), op="SUM", axes=2, keep_dims=False)

    lowered = onnx_of(made.parsed("y"))

    assert lowered.contradictions == ("'y' is [2] here and [2, 1] in TensorRT",)


def test_a_rounded_up_pool_keeps_a_window_in_the_padding():
    x = floats(1, 1, 2, 2)
    attributes = {
        "padding_mode": "EXPLICIT_ROUND_UP", "window_size_nd": (3, 3), "stride_nd": (3, 3), "pre_padding": (1, 1),
        "post_padding": (1, 1), "blend_factor": 0.25, "average_count_excludes_padding": False,
    }  # fmt: skip

    largest = one_layer("POOLING", {"x": x}, (1, 1, 2, 2), type="MAX", **attributes)
    average = one_layer("POOLING", {"x": x}, (1, 1, 2, 2), type="AVERAGE", **attributes)
    blend = one_layer("POOLING", {"x": x}, (1, 1, 2, 2), type="MAX_AVERAGE_BLEND", **attributes)

    assert largest[0, 0, 0, 0] == x.max()
    np.testing.assert_allclose(average[0, 0], [[x.sum() / 9, 0], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(blend[0, 0, 0, 0], 0.75 * x.max() + 0.25 * x.sum() / 9, rtol=1e-6)


def test_a_rounded_up_pool_keeps_a_window_behind_the_input():
    x = floats(1, 1, 2, 4)
    attributes = {
        "padding_mode": "EXPLICIT_ROUND_UP", "window_size_nd": (1, 2), "stride_nd": (2, 3), "pre_padding": (0, 0),
        "post_padding": (0, 0), "blend_factor": 0.0, "average_count_excludes_padding": True,
    }  # fmt: skip

    largest = one_layer("POOLING", {"x": x}, (1, 1, 2, 2), type="MAX", **attributes)
    average = one_layer("POOLING", {"x": x}, (1, 1, 2, 2), type="AVERAGE", **attributes)

    row = x[0, 0, 0]
    least = np.finfo(np.float32).min
    np.testing.assert_allclose(largest[0, 0], [[row[:2].max(), row[3]], [least, least]], rtol=1e-6)
    np.testing.assert_allclose(average[0, 0], [[row[:2].mean(), row[3]], [np.nan, np.nan]], rtol=1e-6)


BOUNDS = {
    "int8": ((-3.4e38, 2.0), (-128, 2)),
    "uint8": ((-5.0, 3.4e38), (0, 255)),
    "int32": ((-(2.0**40), 2.0**31), (-(2**31), 2**31 - 1)),
}


@pytest.mark.parametrize("dtype", BOUNDS)
def test_a_clip_bound_beyond_all_values_of_the_type_bounds_nothing(dtype):
    (alpha, beta), span = BOUNDS[dtype]
    ends = np.iinfo(dtype)
    made = Network({"x": np.array([ends.min, 0, 1, ends.max], dtype)})
    made.add("ACTIVATION", "x", "y", (4,), dtype, type="CLIP", alpha=alpha, beta=beta)

    (y,) = made.run("y")

    np.testing.assert_array_equal(y, np.clip(made.feed["x"], *span))
