"""What TensorRT's parser misreads is written plainly: the same results, and nothing else is touched."""

import numpy as np
import pytest

from tests.canonical.onnx_text import canonical, operators, parse, run
from trtpipe.canonical.edits import attribute_of, integers_of

RNG = np.random.default_rng(3)


def compared(text, tmp_path, x, opset=18):
    """The canonical form and its changes, after it was found to compute the same."""
    model = parse(text, opset=opset)
    result, changes = canonical(model, tmp_path)
    for ours, theirs in zip(run(result, {"x": x}), run(model, {"x": x}), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
    again, more = canonical(result, tmp_path)
    assert again == result, "what was written plainly is written anew"
    assert not any("plainly" in name for name in more.counts)
    return result, changes


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# -- windows


def deconvolution(ways, size="8"):
    return f"""g (float[1,1,{size},4] x) => (float[a,b,c,d] y) <float[1,1,3,3] w = {{1,2,3,4,5,6,7,8,9}}>
        {{ y = ConvTranspose<{ways}>(x, w) }}"""


@pytest.mark.parametrize(
    ("ways", "pads"),
    [
        ("strides = [2, 2], output_shape = [16, 8]", [1, 1, 0, 0]),
        ('strides = [2, 2], output_shape = [16, 8], auto_pad = "SAME_UPPER"', [0, 0, 1, 1]),
        (
            "strides = [2, 2], output_shape = [15, 8], output_padding = [1, 0], pads = [9, 9, 9, 9]",
            [2, 1, 1, 0],
        ),
        ('strides = [2, 2], auto_pad = "VALID", output_padding = [1, 0]', [0, 0, 0, 0]),
        ('strides = [2, 2], auto_pad = "SAME_LOWER", output_padding = [1, 1]', [1, 1, 1, 1]),
    ],
)
def test_the_padding_of_a_transposed_convolution_is_written_out(tmp_path, ways, pads):
    result, changes = compared(deconvolution(ways), tmp_path, floats(1, 1, 8, 4))

    (node,) = result.graph.node
    assert integers_of(node, "pads") == pads
    assert (attribute_of(node, "auto_pad"), attribute_of(node, "output_shape")) == (None, None)
    assert changes.counts["ConvTranspose written plainly"] == 1


@pytest.mark.parametrize(
    ("ways", "size"),
    [
        ("strides = [2, 2], output_shape = [16, 8]", "n"),  # the padding is another one for each size
        ('strides = [2, 2], auto_pad = "SAME_UPPER"', "8"),
        ("strides = [2, 2], pads = [1, 0, 0, 1], output_padding = [1, 1]", "8"),
    ],
)
def test_a_transposed_convolution_that_is_read_rightly_or_not_known_well_enough_stays(tmp_path, ways, size):
    result, changes = compared(deconvolution(ways, size), tmp_path, floats(1, 1, 8, 4))

    assert not changes.counts
    assert len(result.graph.node[0].attribute) == ways.count("=")


@pytest.mark.parametrize(
    ("ways", "made", "pads"),
    [
        ("kernel_shape = [1, 2], strides = [3, 5]", ["MaxPool"], []),
        ("kernel_shape = [3, 2], strides = [2, 2], pads = [1, 1, 2, 0]", ["MaxPool"], [1, 1, 2, 1]),
        ("kernel_shape = [3, 2], strides = [2, 2]", ["MaxPool"], None),
    ],
)
@pytest.mark.parametrize("more", ["", ", count_include_pad = 0", ", count_include_pad = 1"])
def test_a_last_window_that_onnx_leaves_out_is_left_out_without_rounding_up(tmp_path, ways, made, pads, more):
    op = "AveragePool" if more else "MaxPool"
    text = f"g (float[1,2,9,8] x) => (float[a,b,c,d] y) {{ y = {op}<ceil_mode = 1, {ways}{more}>(x) }}"

    result, changes = compared(text, tmp_path, floats(1, 2, 9, 8), opset=19)

    node = result.graph.node[-1]
    assert (attribute_of(node, "ceil_mode") is None) == (pads is not None) == bool(changes.counts)
    padded = more.endswith("1") and pads and pads != [1, 1, 2, 0]
    if padded:
        assert operators(result) == ["Pad", "AveragePool"]
        assert integers_of(node, "pads") == [0, 0, 0, 1]
    elif pads is not None:
        assert (operators(result), integers_of(node, "pads")) == ([op], pads)


def test_pooling_of_any_size_stays(tmp_path):
    text = """g (float[1,2,h,8] x) => (float[a,b,c,d] y) {
        y = MaxPool<ceil_mode = 1, kernel_shape = [1, 2], strides = [3, 5]>(x) }"""

    _, changes = compared(text, tmp_path, floats(1, 2, 9, 8))

    assert not changes.counts


# -- elements


@pytest.mark.parametrize(
    ("op", "made"),
    [("ReduceL1", "Abs"), ("ReduceL2", "Abs"), ("ReduceSumSquare", "Mul"), ("ReduceLogSum", "Log")],
)
def test_a_reduction_that_reduces_nothing_is_its_element_wise_part(tmp_path, op, made):
    text = f"g (float[2,3] x) => (float[a,b] y) {{ y = {op}<noop_with_empty_axes = 1>(x) }}"

    result, _ = compared(text, tmp_path, np.abs(floats(2, 3)))

    assert operators(result) == [made]


def test_reductions_over_all_axes_or_some_stay(tmp_path):
    text = """g (float[2,3] x) => (float[a,b] y, float[c,d] z) <int64[1] one = {1}> {
        y = ReduceL2(x)  z = ReduceL2<noop_with_empty_axes = 1>(x, one) }"""

    result, _ = compared(text, tmp_path, floats(2, 3))

    assert operators(result) == ["ReduceL2", "ReduceL2"]


def test_a_logarithm_of_whole_numbers_does_not_come_about(tmp_path):
    text = "g (int32[2,3] x) => (int32[a,b] y) { y = ReduceLogSum<noop_with_empty_axes = 1>(x) }"

    result, _ = canonical(parse(text, opset=18), tmp_path)

    assert operators(result) == ["ReduceLogSum"]


def test_global_pooling_by_an_odd_norm_is_of_absolute_values_once(tmp_path):
    text = """g (float[1,2,3,3] x) => (float[a,b,c,d] y, float[a,b,c,d] z) {
        y = GlobalLpPool<p = 3>(x)  z = GlobalLpPool(x) }"""

    result, _ = compared(text, tmp_path, floats(1, 2, 3, 3))

    assert operators(result) == ["Abs", "GlobalLpPool", "GlobalLpPool"]


def test_trilu_says_which_triangle_it_keeps(tmp_path):
    text = "g (float[4,5] x) => (float[a,b] y, float[a,b] z) { y = Trilu(x)  z = Trilu<upper = 0>(x) }"

    result, changes = compared(text, tmp_path, floats(4, 5))

    assert [attribute_of(node, "upper") for node in result.graph.node] == [1, 0]
    assert changes.counts["Trilu written plainly"] == 1


def test_a_vector_times_matrices_is_a_row_times_them(tmp_path):
    text = """g (float[n,4,3] x) => (float[a,b] y) <float[4] v = {1, 2, 3, 4}> { y = MatMul(v, x) }"""

    result, _ = compared(text, tmp_path, floats(2, 4, 3))

    assert operators(result) == ["MatMul", "Squeeze"]


def test_channels_in_front_of_blocks_are_put_there(tmp_path):
    text = 'g (float[1,3,4,6] x) => (float[a,b,c,d] y) { y = SpaceToDepth<blocksize = 2, mode = "CRD">(x) }'
    x = floats(1, 3, 4, 6)

    result, _ = canonical(parse(text, opset=28), tmp_path)

    assert operators(result) == ["SpaceToDepth", "Gather"]
    order = result.graph.initializer[0]
    dcr = x.reshape(1, 3, 2, 2, 3, 2).transpose(0, 3, 5, 1, 2, 4).reshape(1, 12, 2, 3)
    crd = x.reshape(1, 3, 2, 2, 3, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 12, 2, 3)
    np.testing.assert_array_equal(dcr[:, np.frombuffer(order.raw_data, np.int64)], crd)


def test_nodes_inside_branches_are_written_plainly_too(tmp_path):
    text = """g (float[4,4] x) => (float[a,b] y) {
        m = ReduceMax<keepdims = 0>(x)  zero = Constant<value_float = 0.0>()  c = Greater(m, zero)
        y = If (c) <then_branch = t () => (float[a,b] o) { o = Trilu(x) },
                    else_branch = e () => (float[a,b] o) { p = Trilu(x)  o = Neg(p) }> }"""

    _, changes = compared(text, tmp_path, floats(4, 4))

    assert changes.counts["Trilu written plainly"] == 2


def test_a_loop_s_condition_is_no_input_of_the_model(tmp_path):
    text = """g (float[3] x, bool go) => (float[a] y) <int64 trips = {2}, bool yes = {1}> {
        p = Loop(trips, go, x) <body = b (int64 i, bool on, float[3] s) => (bool more, float[3] t) {
            more = Identity(on)  t = Add(s, s) }>
        y = Loop(trips, yes, p) <body = c (int64 j, bool off, float[3] u) => (bool less, float[3] v) {
            less = Identity(off)  v = Add(u, u) }> }"""
    model = parse(text)

    result, changes = canonical(model, tmp_path)

    assert operators(result) == ["Not", "Not", "Loop", "Loop"]
    assert changes.counts["Loop written plainly"] == 1
    for go in (True, False):
        feed = {"x": floats(3), "go": np.array(go)}
        np.testing.assert_array_equal(run(result, feed)[0], run(model, feed)[0])
    assert canonical(result, tmp_path)[0] == result
