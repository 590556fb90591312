"""What TensorRT-RTX is known to refuse of typed models: each form is told by the user's node, and its remedy helps."""

from __future__ import annotations

import onnx
import pytest

from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.names import name_nodes
from trtpipe.legalization.legalize import legalize
from trtpipe.proofs.engine_limits.proof import engine_refusals
from trtpipe.proofs.live_nodes import cut_at
from trtpipe.targets.operator_types import nearest_tried, newest_refuses, tried_versions, type_refusal

NEWEST, OLDEST = "1.7.1.116", "1.4.0.76"


def model(body, inputs="float[1,3,8,8] x", constants="", outputs="y", opset=20):
    constants = f"<{constants}>" if constants else ""
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => (float {outputs}) {constants} {{ {body} }}'
    made = onnx.parser.parse_model(text)
    made.graph.output[0].type.Clear()
    name_nodes(made)
    return onnx.shape_inference.infer_shapes(made)


def facts(proto, version=NEWEST, source=None):
    return [problem.fact for problem in engine_refusals(proto, version, source)]


FORMS = {
    "dilated pooling": ("y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(r)", "dilations are [2, 2]"),
    "dilated average": ("y = AveragePool<kernel_shape = [2, 2], dilations = [2, 1]>(r)", "dilations are [2, 1]"),
    "paddings twice": (
        'y = MaxPool<kernel_shape = [2, 2], pads = [0, 0, 1, 1], auto_pad = "SAME_UPPER">(r)', "pads beside",
    ),
    "third norm": ("y = LpPool<kernel_shape = [2, 2], p = 3>(r)", "p is 3"),
    "modulo of floats": ("y = Mod(r, r)", "fmod is 0"),
    "antialias": ('y = Resize<mode = "linear", antialias = 1>(r, , s)', "antialias is 1"),
    "aspect": ('y = Resize<keep_aspect_ratio_policy = "not_larger">(r, , , z)', "policy is not_larger"),
    "coordinates": ('y = Resize<coordinate_transformation_mode = "half_pixel_symmetric">(r, , s)', "symmetric"),
    "pixels for nearest": (
        'y = Resize<coordinate_transformation_mode = "tf_half_pixel_for_nn", nearest_mode = "floor">(r, , s)',
        "nearest_mode is floor beside tf_half_pixel_for_nn",
    ),
    "half numbers drawn": ("c = Cast<to = 10>(r)\n d = RandomUniformLike(c)\n y = Cast<to = 1>(d)", "has no dtype"),
    "scattered sums": ('y = ScatterND<reduction = "add">(r, i, u)', "reduction is add"),
    "slope": ("y = PRelu(r, w)", "its slope does not broadcast"),
    "axes computed": ("m = Shape(n)\n y = ReduceSum(r, m)", "its axes are computed"),
    "a window in half": (
        "b = BlackmanWindow<output_datatype = 10>(l)\n c = Cast<to = 1>(b)\n y = Add(r, c)", "output_datatype",
    ),
    "a cast to 16 bits": ("c = Cast<to = 5>(r)\n y = Cast<to = 1>(c)", "it has int16"),
    "whole numbers multiplied": ("c = Cast<to = 6>(r)\n d = MatMul(c, c)\n y = Cast<to = 1>(d)", "computes in int32"),
    "narrow HardSwish": ("c = Cast<to = 16>(r)\n d = HardSwish(c)\n y = Cast<to = 1>(d)", "computes in bfloat16"),
    "unknown": ("y = Det(r)", "its parser does not know it"),
    "even window": ("y = LRN<size = 4>(r)", "size is 4"),
    "flat exponent": ("y = LRN<size = 3, beta = 0.001>(r)", "beta is 0.001"),
    "no bias": ("y = LRN<size = 3, bias = 0.0>(r)", "bias is 0"),
    "one axis": ("f = Reshape(r, o)\n y = Softmax<axis = 0>(f)", "has 1 dimension"),
    "four spatial axes": ("f = Reshape(r, h)\n y = MaxPool<kernel_shape = [1, 1, 2, 2]>(f)", "has 6 dimensions"),
    "nine axes": ("y = Reshape(r, j)", "more than 8 dimensions"),
    "indices of maxima": ("y, k = MaxPool<kernel_shape = [2, 2]>(r)", "its indices are read"),
    "strided and dilated": ("y = ConvTranspose<strides = [2, 2], dilations = [2, 2]>(r, v)", "strides and dilations"),
    "a scale that does not fit": ("y = Mul(r, w)", "its operands are 1x3x8x8 and 5, which do not broadcast"),
    "coupled gates": (
        "f = Reshape(r, q)\n y = LSTM<hidden_size = 1, input_forget = 1>(f, a, b)", "input_forget is 1",
    ),
    "affine gates": (
        'f = Reshape(r, q)\n y = RNN<hidden_size = 1, activations = ["Affine"]>(f, e, d)', "activation Affine",
    ),
    "batch resized": ('y = Resize<mode = "linear">(r, , t)', "it resizes axis 0 by mode linear"),
}  # fmt: skip
CONSTANTS = """float[4] s = {1, 1, 2, 2}, int64[4] z = {1, 3, 16, 12}, int64[1,4] i = {0, 0, 0, 0}, float[1] u = {1},
float[5] w = {1, 1, 1, 1, 1}, int64 l = {8}, int64[1] o = {192}, int64[6] h = {1, 3, 2, 4, 2, 4},
int64[9] j = {1, 1, 1, 1, 1, 1, 3, 8, 8}, float[3,1,1,1] v = {1, 1, 1}, int64[3] q = {8, 3, 8},
float[1,4,8] a = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
float[1,4,1] b = {1, 1, 1, 1}, float[1,1,8] e = {1, 1, 1, 1, 1, 1, 1, 1}, float[1,1,1] d = {1},
float[4] t = {2, 1, 2, 2}"""


def formed(name):
    body, _ = FORMS[name]
    return model(f"r = Relu(x)\n {body}", "float[1,3,8,8] x, float[n] n", constants=CONSTANTS)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_told_with_what_is_too_much_and_goes_when_the_graph_is_cut(name):
    proto = formed(name)

    (fact,) = [one for one in facts(proto) if FORMS[name][1] in one]

    assert "TensorRT" in fact
    cut_at(proto, ["r"])
    assert facts(proto) == []


@pytest.mark.parametrize(
    "body",
    [
        "y = MaxPool<kernel_shape = [2, 2], dilations = [1, 1]>(r)",
        'y = MaxPool<kernel_shape = [2, 2], auto_pad = "SAME_UPPER">(r)',
        "y = LpPool<kernel_shape = [2, 2], p = 1>(r)",
        "y = Mod<fmod = 1>(r, r)",
        "y = Mul(r, o)",
        'y = Resize<mode = "linear">(r, , s)',
        "y = ScatterND(r, i, u)",
        "y = PRelu(r, o)",
        "y = ReduceSum(r, l)",
        "y = LRN<size = 5>(r)",
        "y = Softmax<axis = 1>(r)",
        "y = ConvTranspose<strides = [2, 2]>(r, v)",
        "y = ConvTranspose<dilations = [2, 2]>(r, v)",
        'y = Resize<mode = "linear">(r, , c3)',
        'y = Resize<coordinate_transformation_mode = "tf_half_pixel_for_nn">(r, , s)',
        'y = Resize<coordinate_transformation_mode = "half_pixel", nearest_mode = "round_prefer_ceil">(r, , s)',
        "c = Cast<to = 10>(r)\n d = RandomUniformLike<dtype = 10>(c)\n y = Cast<to = 1>(d)",
        "y = MaxPool<kernel_shape = [5, 5], strides = [4, 4]>(r)",
        "c = Cast<to = 10>(r)\n d = HardSwish(c)\n y = Cast<to = 1>(d)",
        "c = Cast<to = 16>(r)\n d = Sigmoid(c)\n y = Cast<to = 1>(d)",
    ],
)
def test_what_builds_is_not_refused(body):
    constants = "float[4] s = {1, 1, 2, 2}, int64[1,4] i = {0, 0, 0, 0}, float[1] u = {1}, float[8] o = {1, 1, 1, 1, 1, 1, 1, 1}, int64[1] l = {1}, float[3,1,1,1] v = {1, 1, 1}, float[4] c3 = {1, 2, 2, 2}"  # noqa: E501

    assert facts(model(f"r = Relu(x)\n {body}", constants=constants)) == []


@pytest.mark.parametrize(
    ("axis", "scales", "taken"), [(1, "1,1,8,8", False), (2, "1,3,1,8", True), (-1, "1,3,8,1", True)]
)
def test_blocks_run_along_the_last_two_axes(axis, scales, taken):
    size = 3 if axis == 1 else 8
    body = f"y = DequantizeLinear<axis = {axis}, block_size = {size}>(x, s)"

    told = facts(model(body, f"int8[1,3,8,8] x, float[{scales}] s", opset=21))

    assert told == [] if taken else "its blocks run along axis 1 of 4" in told[0]


def quantized(product, weight, kind="int8"):
    """A product of two operands that come of Q and DQ."""
    codes = "w_codes = QuantizeLinear(w, s, z)\n w_dq = DequantizeLinear(w_codes, s, z)"
    body = f"codes = QuantizeLinear(x, s, z)\n dq = DequantizeLinear(codes, s, z)\n {codes}\n y = {product}(dq, w_dq)"
    zero = {"int8": "int8 z = {0}", "fp8": "float8e4m3fn z = {0}"}[kind]
    return model(body, f"float[1,3,8,8] x, float[{weight}] w", constants=f"float s = {{1}}, {zero}")


@pytest.mark.parametrize(
    ("version", "product", "weight", "kind", "refused"),
    [
        ("1.4.0.76", "MatMul", "1,3,8,8", "int8", "builds nothing that does"),
        ("1.5.0.114", "Conv", "4,3,3,3", "int8", "an int8 convolution"),
        ("1.6.1.120", "ConvTranspose", "3,4,3,3", "int8", "an int8 convolution"),
        ("1.6.1.120", "ConvTranspose<group = 3>", "3,4,3,3", "int8", ""),
        ("1.6.1.120", "MatMul", "1,3,8,8", "int8", ""),
        ("1.6.1.120", "Conv", "4,3,3,3", "fp8", ""),
        ("1.7.1.116", "Conv", "4,3,3,3", "int8", ""),
    ],
)
def test_what_older_versions_quantize_without_a_driver(version, product, weight, kind, refused):
    proto = quantized(product, weight, kind)

    found = [one.fact for one in engine_refusals(proto, version, driver=False)]

    assert (
        any(refused in one and "without an NVIDIA driver" in one for one in found) if refused else not found
    )
    assert not any("driver" in one.fact for one in engine_refusals(proto, version))


@pytest.mark.parametrize(("stash", "refused"), [(3, True), (1, False)])
def test_a_norm_that_is_stashed_in_int8_is_too_much_before_1_7(stash, refused):
    proto = model(f"y = RMSNormalization<stash_type = {stash}>(x, w)", "float[2,3] x, float[3] w", opset=23)

    assert [("its stash_type is int8" in one) for one in facts(proto, OLDEST)] == [True] * refused
    assert facts(proto, NEWEST) == []


def test_swish_is_known_from_1_5_on():
    proto = model("y = Swish(x)", opset=24)

    assert "'Swish_0' (Swish): the parser of TensorRT-RTX 1.4 does not know it" in facts(proto, OLDEST)[0]
    assert facts(proto, "1.5.0.114") == []


def test_a_normalization_that_is_written_out_is_told_by_its_own_name(tmp_path):
    """Asked for its mean in bfloat16 as well, it is written out; ONNX's definition does not broadcast this scale."""
    source = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[3,4] x) => (float[3,4] y, float[1,1] m)
        <float[4] s = {1, 1, 1, 1}> { [norm] y, m = LayerNormalization <axis = 0, stash_type = 16> (x, s) }"""
    )
    typed = onnx.ModelProto()
    typed.CopyFrom(source)
    with Evaluator(tmp_path) as evaluator:
        legalize(typed, evaluator)

    (fact,) = facts(typed, source=source)

    assert "'norm' (LayerNormalization" in fact and "1x12 and 1x4" in fact


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "uint64"])
def test_an_input_of_a_type_that_no_network_has_is_named_and_int32_helps(dtype):
    def fed(kind):
        return model("c = Cast<to = 1>(x)\n y = Relu(c)", f"{kind}[2,3] x")

    assert any(f"input 'x' is {dtype}" in fact for fact in facts(fed(dtype)))
    assert facts(fed("int32")) == []


def test_branches_of_unequal_ranks_are_told():
    def branched(other):
        body = f"""r = Relu(x)
            y = If (c) <then_branch = t () => (float[1,3,8,8] o) {{ o = Neg(r) }},
                        else_branch = e () => (float[{other}] p) {{ p = Reshape(r, s) }}>"""
        return model(body, "float[1,3,8,8] x, bool c", "int64[1] s = {192}")

    assert any("its branches yield 1 and 4 dimensions" in fact for fact in facts(branched("192")))
    assert facts(branched("1,3,8,8")) == []


@pytest.mark.parametrize(
    ("most", "told"), [("2147483647", True), ("9223372036854775807", True), ("10", False)]
)
def test_rounds_that_are_counted_must_be_limited(most, told):
    body = """y = Loop(m, k, x) <body = b (int64 i, bool c, float[4] a) => (bool o, float[4] r) {
        f = Cast<to = 1>(i)  r = Add(a, f)  s = ReduceMax<keepdims = 0>(r)  o = Less(s, t) }>"""

    found = facts(model(body, "float[4] x", f"float t = {{9}}, bool k = {{1}}, int64 m = {{{most}}}"))

    assert any("counts limited ones only" in fact for fact in found) == told


def test_a_node_that_importing_made_is_called_by_the_node_whose_work_it_does():
    source = model("r = Relu(x)\n y = HardSwish(r)")
    typed = model("r = Relu(x)\n c = Cast<to = 6>(r)\n d = MatMul(c, c)\n y = Cast<to = 1>(d)")

    (fact,) = facts(typed, source=source)

    assert "'HardSwish_0' (HardSwish, written out with MatMul)" in fact


def test_the_oldest_takes_plain_int8_only_between_quantizers():
    plain = model("c = Cast<to = 1>(d)\n y = Relu(c)\n d = Identity(x)", "int8[2,3] x")
    quantized = model("c = DequantizeLinear(x, s)\n y = Relu(c)", "int8[2,3] x", "float s = {0.1}")

    assert any("reads an int8 input; TensorRT-RTX 1.4" in fact for fact in facts(plain, OLDEST))
    assert facts(plain, NEWEST) == []
    assert facts(quantized, OLDEST) == []


def test_what_older_versions_lack_is_told_of_them_alone():
    sampled = model("y = GridSample(x, g)", "float[1,1,4,4,4] x, float[1,2,2,2,3] g")
    scaled = model("c = Cast<to = 10>(x)\n d = Gemm<alpha = 0.5>(c, c)\n y = Cast<to = 1>(d)", "float[3,3] x")
    wide = model("y = Gemm<alpha = 0.5>(x, x)", "float[3,3] x")

    assert [bool(facts(sampled, one)) for one in tried_versions()] == [True, True, False, False]
    assert [bool(facts(scaled, one)) for one in tried_versions()] == [True, False, False, False]
    assert facts(wide, OLDEST) == []


def test_a_version_newer_than_those_tried_is_only_warned_about():
    found = engine_refusals(formed("third norm"), "9.9.1")

    assert {problem.severity for problem in found} == {"warning"}


def test_a_version_that_was_not_tried_goes_by_its_neighbour():
    assert tried_versions() == ("1.4.0.76", "1.5.0.114", "1.6.1.120", "1.7.1.116")
    assert nearest_tried("1.6.0.1") == "1.6.1.120"
    assert nearest_tried("1.3") == "1.4.0.76"
    assert nearest_tried("2.0") == "1.7.1.116"


def test_the_table_says_who_refuses_which_type_and_what_is_taken():
    found = type_refusal("HardSwish", "T", "bfloat16")

    assert found is not None
    assert (found.by, found.versions) == ("parser", tried_versions())
    assert {"float32", "float16"} <= set(found.taken)
    assert type_refusal("Conv", "T", "bfloat16") is None
    gru = type_refusal("GRU", "T", "float16")
    assert gru is not None
    assert gru.versions == ("1.4.0.76",)
    assert newest_refuses("GRU", "T", "float16") is None
