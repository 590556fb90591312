"""Forms that TensorRT's parser refuses are written out where an equal one exists; others stay as they are."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.canonical.onnx_text import canonical, operators, run
from tests.canonical.rtx_child import refusals
from trtpipe.canonical.edits import attribute_of
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.opsets import opset_of
from trtpipe.legalization.rewrites import rewrite_as_imported

needs_rtx = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")
TAKEN: dict[str, onnx.ModelProto] = {}
"""Canonical models that the tests here made, for TensorRT to parse at the end."""


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    with Evaluator(tmp_path_factory.mktemp("evaluator")) as made:
        yield made


def made(nodes, inputs, constants=None, opset=18, kind=TensorProto.FLOAT):
    def ends(name: str, dims: Any, of: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, of, dims)

    graph = helper.make_graph(
        nodes,
        "g",
        [ends(name, dims, TensorProto.INT64 if name == "i" else kind) for name, dims in inputs.items()],
        [ends("y", None, kind)],
        [numpy_helper.from_array(np.asarray(held), name) for name, held in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def rng(seed=0):
    return np.random.default_rng(seed)


def compared(model, evaluator, *feeds, gone=(), name="", atol=1e-5):
    result, changes = canonical(model, evaluator)
    assert not set(operators(result)) & set(gone)
    for feed in feeds:
        (ours,), (theirs,) = run(result, feed), run(model, feed)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=atol)
    TAKEN[name or str(len(TAKEN))] = result
    return result, changes


# -- Resize


def resize(dims, *, sizes=None, scales=None, **attributes):
    held = {"s": np.int64(sizes)} if sizes else {"s": np.float32(scales)}
    read = ["x", "", "", "s"] if sizes else ["x", "", "s"]
    return made([helper.make_node("Resize", read, ["y"], "up", **attributes)], {"x": dims}, held, opset=19)


def picture(*shape):
    return {"x": rng().normal(size=shape).astype(np.float32)}


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("outside", [0, 1])
@pytest.mark.parametrize(
    "way", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
)
def test_antialias_is_a_product_with_the_weights_of_each_output(evaluator, mode, way, outside):
    attributes = {"coordinate_transformation_mode": way, "exclude_outside": outside, "antialias": 1}
    model = resize(["n", 3, 17, 14], sizes=[7, 9], axes=[2, 3], mode=mode, **attributes)
    result, _ = compared(model, evaluator, picture(2, 3, 17, 14), gone=["Resize"])
    assert operators(result) == ["MatMul", "MatMul"]
    assert result.graph.node[-1].name == "up"


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize(
    ("dims", "scales"),
    [
        (["n", 3, 17], [1, 1, 0.3]),
        (["n", 3, 17, 14], [1, 1, 0.5, 1.5]),
        (["n", 3, 17, 14], [1, 1, 1, 0.3]),
        (["n", 3, 5, 6, 7], [1, 1, 0.3, 0.5, 0.6]),
    ],
)
def test_antialias_of_any_rank_and_of_scales(evaluator, mode, dims, scales):
    if mode == "cubic" and len(dims) != 4:
        pytest.skip("ONNX Runtime has cubic for pictures only")
    model = resize(dims, scales=scales, mode=mode, antialias=1)
    compared(model, evaluator, picture(2, *dims[1:]), gone=["Resize"])


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("scales", [[1, 1, 0.4, 0.6], [1, 1, 1.3, 1.7]])
def test_symmetric_coordinates_are_a_product_as_well(evaluator, mode, scales):
    model = resize(
        ["n", 3, 17, 14], scales=scales, mode=mode, coordinate_transformation_mode="half_pixel_symmetric"
    )
    compared(model, evaluator, picture(2, 3, 17, 14), gone=["Resize"])


@pytest.mark.parametrize("sizes", [[17, 28], [7, 9], [34, 5], [100, 41]])
def test_tensorflows_half_pixels_of_the_nearest_are_the_same_in_other_words(evaluator, sizes):
    attributes = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"}
    model = resize(["n", 3, 17, 14], sizes=[2, 3, *sizes], mode="nearest", **attributes)

    result, _ = compared(model, evaluator, picture(2, 3, 17, 14))

    (node,) = result.graph.node
    assert attribute_of(node, "coordinate_transformation_mode") == b"half_pixel"
    assert attribute_of(node, "nearest_mode") == b"round_prefer_ceil"


def test_antialias_of_what_becomes_larger_is_left_out(evaluator):
    model = resize(["n", 3, 7, 8], scales=[1, 1, 1, 2], mode="linear", antialias=1)
    result, _ = compared(model, evaluator, picture(2, 3, 7, 8))
    assert operators(result) == ["Resize"] and attribute_of(result.graph.node[0], "antialias") is None


def test_antialias_of_any_size_stays(evaluator):
    model = resize(["n", 3, "h", 8], scales=[1, 1, 0.5, 0.5], mode="linear", antialias=1)
    result, _ = canonical(model, evaluator)
    assert operators(result) == ["Resize"] and attribute_of(result.graph.node[0], "antialias") == 1


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("opset", "scale"), [(9, 1.7), (10, 1.7), (10, 0.6)])
def test_elements_lie_where_they_lay_before_opset_11(evaluator, mode, opset, scale):
    operator = "Resize" if opset == 10 else "Upsample"
    node = helper.make_node(operator, ["x", "s"], ["y"], "up", mode=mode)
    model = made([node], {"x": ["n", 3, 7, 8]}, {"s": np.float32([1, 1, scale, scale])}, opset=opset)
    result, _ = compared(model, evaluator, picture(2, 3, 7, 8))
    assert opset_of(result) == 17


# -- scatter


def scatter(operator, data, index, updates, way, *, constant=True, opset=18, kind=np.float32, **attributes):
    node = helper.make_node(operator, ["x", "i", "u"], ["y"], "sc", reduction=way, **attributes)
    index = np.asarray(index, np.int64)
    inputs = {"x": data, "u": updates, **({} if constant else {"i": list(index.shape)})}
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    model = made([node], inputs, {"i": index} if constant else {}, opset, number)
    feed = {
        name: (3 * rng(n).normal(size=[3 if one == "n" else one for one in dims])).astype(kind)
        for n, (name, dims) in enumerate({"x": data, "u": updates}.items())
    }
    return model, {**feed, **({} if constant else {"i": index})}


TWICE = [[0, 1], [0, 1], [1, -1], [1, 5]]
SCATTERS = {
    "ND, once": ("ScatterND", [5, 6, 4], [[0, 1], [0, 3], [1, -1]], [3, 4], {}),
    "ND, twice": ("ScatterND", [5, 6, 4], TWICE, [4, 4], {}),
    "ND, twice, in rows": ("ScatterND", [5, 6, 4], [TWICE[:2], TWICE[2:]], [2, 2, 4], {}),
    "ND, elements": ("ScatterND", [5, 6], TWICE, [4], {}),
    "ND, any size": ("ScatterND", [5, "n"], [[0], [0]], [2, "n"], {}),
    "ND, any": ("ScatterND", [5, 6, 4], TWICE, [4, 4], {"constant": False}),
    "ND, any, whole numbers": (
        "ScatterND", [5, 6], [[0], [0], [-1]], [3, 6], {"constant": False, "kind": np.int32},
    ),
    "elements, once": ("ScatterElements", [3, 6], [[0, 3], [1, 2], [4, -1]], [3, 2], {"axis": 1}),
    "elements, twice": ("ScatterElements", [3, 2], [[0, 0], [1, 0], [-1, 0], [2, 0]], [4, 2], {"axis": 0}),
    "elements, any": ("ScatterElements", [3, 6, 2], [[[0, 0], [1, 2]]] * 3, [3, 2, 2], {"axis": 1, "constant": False}),
    "elements, any, whole numbers": (
        "ScatterElements", [3, 6], [[0, 0], [1, 2], [-1, 5]], [3, 2], {"axis": -1, "constant": False, "kind": np.int32},
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", ["add", "mul", "min", "max"])
@pytest.mark.parametrize("name", SCATTERS)
def test_a_reduction_is_gathered_combined_and_overwritten_or_compared(evaluator, name, way):
    operator, data, index, updates, more = SCATTERS[name]
    model, feed = scatter(operator, data, index, updates, way, **more)
    result, _ = compared(model, evaluator, feed)
    assert not any(attribute_of(node, "reduction") for node in result.graph.node)
    assert "sc" in {node.name for node in result.graph.node}


def test_a_product_of_opset_16_has_its_axes_as_an_attribute(evaluator):
    compared(
        *reversed_pair(
            evaluator, scatter("ScatterND", [5, 6], [[0], [0]], [2, 6], "mul", constant=False, opset=16)
        )
    )


def reversed_pair(evaluator, pair):
    model, feed = pair
    return model, evaluator, feed


def test_a_reduction_of_too_many_places_stays(evaluator):
    model, _ = scatter("ScatterND", [1 << 14, 64], [[0]] * 1025, [1025, 64], "add", constant=False)
    result, _ = canonical(model, evaluator)
    assert operators(result) == ["ScatterND"]


# -- pooling by a norm, grids


@pytest.mark.parametrize("p", [3, 4])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 3]},
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 0], "strides": [2, 1]},
        {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"},
    ],
)
def test_pooling_by_the_norm_of_another_power_is_the_mean_of_powers(evaluator, p, attributes):
    model = made([helper.make_node("LpPool", ["x"], ["y"], "pool", p=p, **attributes)], {"x": ["n", 2, 7, 7]})
    compared(model, evaluator, picture(2, 2, 7, 7), gone=["LpPool"], atol=1e-4)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("size", [[1, 3, 4, 5], [2, 3, 4, 5], [1, 3, 1, 5], [1, 3, 4, 5, 6]])
def test_a_grid_of_fixed_size_is_a_product_for_any_batch(evaluator, corners, size):
    node = helper.make_node("AffineGrid", ["x", "s"], ["y"], "grid", align_corners=corners)
    axes = len(size) - 2
    model = made([node], {"x": ["n", axes, axes + 1]}, {"s": np.int64(size)}, opset=20)
    result, _ = compared(model, evaluator, picture(size[0], axes, axes + 1), gone=["AffineGrid"])
    assert operators(result) == ["Transpose", "MatMul", "Reshape"]


@pytest.mark.parametrize(
    ("attributes", "image", "block", "count"),
    [
        ({}, [6, 6], [3, 3], 16),
        ({"strides": [2, 2], "pads": [1, 1, 1, 1]}, [6, 7], [3, 3], 12),
        ({"dilations": [2, 1]}, [7, 6], [3, 2], 15),
        ({"strides": [2, 3]}, [6, 7], [3, 2], 4),
    ],
)
def test_patches_are_put_together_by_a_transposed_convolution(evaluator, attributes, image, block, count):
    node = helper.make_node("Col2Im", ["x", "i", "b"], ["y"], "fold", **attributes)
    rows = 4 * block[0] * block[1]
    model = made([node], {"x": ["n", rows, count]}, {"i": np.int64(image), "b": np.int64(block)})
    result, _ = compared(model, evaluator, picture(2, rows, count), gone=["Col2Im"])
    assert operators(result) == ["Reshape", "ConvTranspose"]


# -- sequences


def node(operator, read, written, **attributes):
    return helper.make_node(operator, read, written, operator.lower(), **attributes)


SEQUENCES = {
    "split, at": (
        [node("SplitToSequence", ["x", "four"], ["q"], axis=1), node("SequenceAt", ["q", "last"], ["y"])], 17,
    ),
    "split of opset 11": (
        [node("SplitToSequence", ["x", "four"], ["q"], axis=1), node("SequenceAt", ["q", "last"], ["y"])], 11,
    ),
    "split into sizes": (
        [node("SplitToSequence", ["x", "sizes"], ["q"], axis=1), node("SequenceAt", ["q", "one"], ["y"])], 13,
    ),
    "unbind": (
        [
            node("SplitToSequence", ["x"], ["q"], axis=1, keepdims=0),
            node("SequenceAt", ["q", "zero"], ["a"]),
            helper.make_node("SequenceAt", ["q", "last"], ["b"]),
            node("Sub", ["a", "b"], ["y"]),
        ],
        17,
    ),
    "stack": (
        [
            node("SequenceConstruct", ["x", "x"], ["q"]),
            node("ConcatFromSequence", ["q"], ["y"], axis=1, new_axis=1),
        ],
        17,
    ),
    "insert, erase, length": (
        [
            node("SequenceEmpty", [], ["e"]),
            node("Relu", ["x"], ["r"]),
            node("SequenceInsert", ["e", "x"], ["f"]),
            helper.make_node("SequenceInsert", ["f", "r", "zero"], ["g"]),
            helper.make_node("SequenceInsert", ["g", "x"], ["h"]),
            node("SequenceErase", ["h"], ["i"]),
            node("Identity", ["i"], ["q"]),
            node("SequenceLength", ["q"], ["l"]),
            node("Cast", ["l"], ["m"], to=TensorProto.FLOAT),
            node("ConcatFromSequence", ["q"], ["c"], axis=0),
            node("Mul", ["c", "m"], ["y"]),
        ],
        17,
    ),
}  # fmt: skip
PLACES = {
    "zero": np.int64(0),
    "one": np.int64(1),
    "last": np.int64(-1),
    "four": np.int64(4),
    "sizes": np.int64([1, 2, 3]),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_of_known_length_are_plain_tensors(evaluator, name):
    nodes, opset = SEQUENCES[name]
    model = made(nodes, {"x": ["n", 6, 4]}, PLACES, opset)
    result, _ = compared(model, evaluator, picture(2, 6, 4), picture(3, 6, 4))
    assert not any("Sequence" in operator for operator in operators(result))
    read = onnx.ModelProto.FromString(model.SerializeToString())
    rewrite_as_imported(read)
    assert not any("Sequence" in operator for operator in operators(read)), "check sees them otherwise"


def test_a_sequence_of_unknown_length_stays(evaluator):
    nodes = [node("SplitToSequence", ["x", "one"], ["q"], axis=0), node("SequenceAt", ["q", "last"], ["y"])]
    result, _ = canonical(made(nodes, {"x": ["n", 6, 4]}, PLACES), evaluator)
    assert operators(result) == ["SplitToSequence", "SequenceAt"]


# -- old opsets


B3, B4 = (rng(size).normal(size=size).astype(np.float32) for size in (3, 4))
OLD = {
    "axis": ([node("Add", ["x", "b"], ["y"], axis=1, broadcast=1)], lambda x: x + B3[:, None, None]),
    "axis, marks": (
        [node("Sub", ["x", "b"], ["y"], axis=1, broadcast=1, consumed_inputs=[0, 0])], lambda x: x - B3[:, None, None],
    ),
    "axis from the end": ([node("Mul", ["x", "c"], ["y"], axis=-2, broadcast=1)], lambda x: x * B4[:, None]),
    "one behind another": (
        [node("Div", ["x", "b"], ["d"], axis=1, broadcast=1), node("Add", ["d", "b"], ["y"], axis=1, broadcast=1)],
        lambda x: x / B3[:, None, None] + B3[:, None, None],
    ),
    "slope": ([node("PRelu", ["x", "b"], ["y"])], lambda x: np.where(x < 0, x * B3[:, None, None], x)),
    "softmax": (
        [node("Softmax", ["x"], ["y"], axis=1)],
        lambda x: (np.exp(x) / np.exp(x).sum((1, 2, 3), keepdims=True)),
    ),
    "upsample": (
        [node("Upsample", ["x"], ["y"], height_scale=2.0, width_scale=3.0)], lambda x: x.repeat(2, 2).repeat(3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("opset", [5, 6])
@pytest.mark.parametrize("name", OLD)
def test_an_opset_before_7_is_converted_whatever_the_batch(evaluator, name, opset):
    nodes, expected = OLD[name]
    if name == "axis, marks" and opset == 6:
        pytest.skip("opset 6 has none")
    model = made(nodes, {"x": ["n", 3, 4, 5]}, {"b": B3, "c": B4}, opset)

    result, _ = canonical(model, evaluator)

    assert opset_of(result) == 17
    for batch in (1, 2):
        feed = picture(batch, 3, 4, 5)
        np.testing.assert_allclose(run(result, feed)[0], expected(feed["x"]), rtol=1e-5, atol=1e-6)
    TAKEN[f"old {name} {opset}"] = result


@pytest.mark.parametrize("opset", [9, 12])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_softmax_over_several_axes_does_not_keep_a_model_at_its_old_opset(evaluator, operator, opset):
    model = made([node(operator, ["x"], ["y"], axis=1)], {"x": ["n", 3, 4, 5]}, opset=opset)
    result, _ = compared(model, evaluator, picture(2, 3, 4, 5))
    assert opset_of(result) == 17


# -- TensorRT-RTX


@needs_rtx
@pytest.mark.engine
def test_tensorrt_takes_what_is_written_out(evaluator, tmp_path):
    """Whatever the tests before this one have made; alone it makes some of it itself."""
    if not TAKEN:
        test_antialias_of_any_rank_and_of_scales(evaluator, "linear", ["n", 3, 17], [1, 1, 0.3])
        test_a_reduction_is_gathered_combined_and_overwritten_or_compared(evaluator, "ND, any", "max")
    assert refusals(TAKEN, tmp_path, set(list(TAKEN)[::25])) == {}
