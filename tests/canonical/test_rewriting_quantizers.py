"""uint8 and zero points, which TensorRT's parser misreads or refuses: int8 or arithmetic that is equal."""

import numpy as np
import pytest

from tests.canonical.onnx_text import canonical, operators, parse, run

X = np.linspace(-4, 9, 40, dtype=np.float32).reshape(2, 4, 5)
ARITHMETIC = ["Div", "Round", "Max", "Min", "Mul"]


def compared(text, tmp_path, *, opset=21, x=X):
    """The canonical form and its changes, after it was found to compute the very same."""
    model = parse(text, opset=opset)
    result, changes = canonical(model, tmp_path)
    for ours, theirs in zip(run(result, {"x": x}), run(model, {"x": x}), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    again, _ = canonical(result, tmp_path)
    assert again == result, "what was written plainly is written anew"
    return result, changes


def pair(constants, read, more="", kind="float"):
    return f"""g ({kind}[2,4,5] x) => ({kind}[a,b,c] y) <{constants}> {{
        q = QuantizeLinear{more}(x, {read})  y = DequantizeLinear{more and "<axis = 1>"}(q, {read}) }}"""


@pytest.mark.parametrize(
    ("constants", "read", "made"),
    [
        ("float s = {0.02}", "s", ARITHMETIC),
        ("float s = {0.02}, uint8 z = {0}", "s, z", ARITHMETIC),
        ("float s = {0.02}, uint8 z = {100}", "s, z", ["Div", "Round", "Add", "Max", "Min", "Sub", "Mul"]),
        ("float s = {0.02}, int8 z = {-5}", "s, z", ["Div", "Round", "Add", "Max", "Min", "Sub", "Mul"]),
        ("float[1] s = {0.02}, uint8[1] z = {0}", "s, z", ARITHMETIC),
        ("float s = {0.02}, uint8 z = {128}", "s, z", ["QuantizeLinear", "DequantizeLinear"]),
        ("float s = {0.02}, int8 z = {0}", "s, z", ["QuantizeLinear", "DequantizeLinear"]),
    ],
)
def test_quantization_there_and_back_computes_the_same(tmp_path, constants, read, made):
    result, changes = compared(pair(constants, read), tmp_path)

    assert operators(result) == made
    assert any("without the speed of int8" in note for note in changes.costs) == ("Round" in made)
    assert {one.data_type for one in result.graph.initializer if one.name.startswith("z")} <= {1, 3}


def test_channels_have_scales_and_zero_points_of_their_own(tmp_path):
    constants = "float[4] s = {0.01, 0.02, 0.03, 0.04}, uint8[4] z = {0, 3, 128, 255}"

    result, _ = compared(pair(constants, "s, z", "<axis = 1>"), tmp_path)

    assert "QuantizeLinear" not in operators(result)


def test_channels_around_the_middle_become_int8(tmp_path):
    constants = "float[4] s = {0.01, 0.02, 0.03, 0.04}, uint8[4] z = {128, 128, 128, 128}"

    result, changes = compared(pair(constants, "s, z", "<axis = 1>"), tmp_path)

    assert operators(result) == ["QuantizeLinear", "DequantizeLinear"]
    assert changes.counts["uint8 made int8"] == 1


def test_half_precision_is_quantized_in_float32(tmp_path):
    text = pair("float16 s = {9503}, uint8 z = {7}", "s, z", kind="float16")

    result, _ = compared(text, tmp_path, x=X.astype(np.float16))

    assert operators(result).count("Cast") == 2


def test_uint8_named_by_an_attribute_alone(tmp_path):
    text = """g (float[2,4,5] x) => (float[a,b,c] y) <float s = {0.02}> {
        q = QuantizeLinear<output_dtype = 2>(x, s)  y = DequantizeLinear(q, s) }"""

    result, _ = compared(text, tmp_path)

    assert operators(result) == ARITHMETIC


@pytest.mark.parametrize("zero", [0, 128])
def test_what_a_model_shows_stays_uint8(tmp_path, zero):
    text = f"""g (float[2,4,5] x) => (uint8[a,b,c] q, float[a,b,c] y) <float s = {{0.02}}, uint8 z = {{{zero}}}> {{
        q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }}"""

    result, _ = compared(text, tmp_path)

    assert "QuantizeLinear" not in operators(result)
    assert "Cast" in operators(result)


def test_what_another_operator_reads_stays_uint8(tmp_path):
    text = """g (float[2,4,5] x) => (float[a,b,c] y) <float s = {0.02}, uint8 z = {128}> {
        q = QuantizeLinear(x, s, z)  t = Transpose(q)  y = DequantizeLinear(t, s, z) }"""

    result, _ = compared(text, tmp_path)

    assert operators(result) == [
        "Div",
        "Round",
        "Add",
        "Max",
        "Min",
        "Cast",
        "Transpose",
        "Cast",
        "Sub",
        "Mul",
    ]


def test_an_input_of_uint8_is_dequantized(tmp_path):
    text = "g (uint8[2,3] x) => (float[a,b] y) <float s = {0.02}, uint8 z = {3}> { y = DequantizeLinear(x, s, z) }"

    result, _ = compared(text, tmp_path, x=np.array([[0, 3, 255], [128, 127, 1]], np.uint8))

    assert operators(result) == ["Cast", "Sub", "Mul"]


@pytest.mark.parametrize(
    ("held", "zero", "made"),
    [
        ("{0, 128, 255, 7, 9}", "uint8 z = {128}", ["DequantizeLinear", "Add"]),
        ("{60, 70, 80, 90, 100}", "uint8 z = {75}", ["DequantizeLinear", "Add"]),
        ("{0, 128, 255, 7, 9}", "uint8 z = {3}", ["Add"]),
    ],
)
def test_weights_become_int8_where_they_fit_and_floats_elsewhere(tmp_path, held, zero, made):
    text = f"""g (float[2,4,5] x) => (float[a,b,c] y) <uint8[5] w = {held}, float s = {{0.03}}, {zero}> {{
        d = DequantizeLinear(w, s, z)  y = Add(x, d) }}"""

    result, changes = compared(text, tmp_path)

    assert operators(result) == made
    assert bool(changes.costs) == ("weights made int8" not in changes.counts) == (made == ["Add"])


def test_a_zero_point_that_is_computed_is_never_uint8_inside(tmp_path):
    text = """g (float[2,4,5] x) => (float[a,b,c] y) <float s = {0.06}, float low = {0}, float high = {255}> {
        m = ReduceMin<keepdims = 0>(x)  n = Neg(m)  d = Div(n, s)  c = Clip(d, low, high)  r = Round(c)
        z = Cast<to = 2>(r)  q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }"""

    result, _ = compared(text, tmp_path)

    assert "Cast" not in operators(result)


def test_quantization_inside_a_branch_is_written_plainly_too(tmp_path):
    text = """g (float[2,4,5] x) => (float[a,b,c] y) {
        m = ReduceMax<keepdims = 0>(x)  zero = Constant<value_float = 0.0>()  c = Greater(m, zero)
        y = If (c) <then_branch = t () => (float[a,b,c] o) {
            s = Constant<value_float = 0.02>()  z = Constant<value = uint8 {3}>()
            q = QuantizeLinear(x, s, z)  o = DequantizeLinear(q, s, z) },
        else_branch = e () => (float[a,b,c] o) { o = Neg(x) }> }"""

    result, changes = compared(text, tmp_path)

    assert changes.counts["QuantizeLinear written plainly"] == 1
    (branch,) = [node for node in result.graph.node if node.op_type == "If"]
    inner = [node.op_type for one in branch.attribute for node in one.g.node]
    assert "QuantizeLinear" not in inner
    assert "Cast" not in inner


def test_blocks_stay(tmp_path):
    text = """g (float[2,4] x) => (float[a,b] y) <float[2,2] s = {0.1, 0.2, 0.3, 0.4}, uint8[2,2] z = {1, 2, 3, 4}> {
        q = QuantizeLinear<axis = 1, block_size = 2>(x, s, z)
        y = DequantizeLinear<axis = 1, block_size = 2>(q, s, z) }"""

    result, changes = canonical(parse(text, opset=21), tmp_path)

    assert operators(result) == ["QuantizeLinear", "DequantizeLinear"]
    assert not changes.counts


def test_a_name_of_a_node_stays_on_what_makes_its_output(tmp_path):
    model = parse(pair("float s = {0.02}, uint8 z = {3}", "s, z"))
    model.graph.node[1].name = "back"

    result, _ = canonical(model, tmp_path)

    assert (result.graph.node[-1].name, list(result.graph.node[-1].output)) == ("back", ["y"])
