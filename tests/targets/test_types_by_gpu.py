"""Which types and float32 operators a GPU's TensorRT refuses."""

import pytest

from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.types_by_gpu import (
    TypedNode,
    block_refusals,
    gemm_refusals,
    missing_types,
    supports_type,
)

SM75, SM80, SM86, SM89, SM90, SM120, SM121 = (
    ComputeCapability(*numbers) for numbers in ((7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (12, 0), (12, 1))
)
RTX = (SM75, SM80, SM86, SM89, SM120, SM121)


@pytest.mark.parametrize(
    ("dtype", "supported"),
    [
        ("float32", [1, 1, 1, 1, 1, 1]),
        ("float16", [1, 1, 1, 1, 1, 1]),
        ("int8", [1, 1, 1, 1, 1, 1]),
        ("bfloat16", [0, 1, 1, 1, 1, 1]),
        ("int4", [0, 1, 1, 1, 1, 1]),
        ("float8_e4m3fn", [0, 0, 0, 1, 1, 1]),
        ("fp8", [0, 0, 0, 1, 1, 1]),
        ("mxfp8", [0, 0, 0, 1, 1, 1]),
        ("float4_e2m1fn", [0, 0, 0, 0, 1, 1]),
    ],
)
def test_rtx_supports_the_types_that_builds_have_shown(dtype, supported):
    assert [supports_type("tensorrt_rtx", one, dtype) for one in RTX] == [bool(yes) for yes in supported]


def test_a_type_missing_on_one_gpu_of_several_is_refused_by_that_gpu():
    (problem,) = missing_types("tensorrt_rtx", (SM89, SM86), ("float16", "float8_e4m3fn"))

    assert problem.fact == "TensorRT-RTX has no fp8 for sm86"
    assert problem.remedy == "fp8 needs sm89 or newer; use int8 or fp16"


def test_the_weakest_gpu_decides_what_is_offered_instead():
    (for_ada,) = missing_types("tensorrt_rtx", (SM89,), ("fp4",))
    (with_turing,) = missing_types("tensorrt_rtx", (SM75, SM120), ("fp4",))

    assert for_ada.remedy.endswith("use fp8 or int4")
    assert with_turing.remedy.endswith("use int8 or fp16")


def test_tensorrt_has_fp4_from_blackwell_on():
    assert not supports_type("tensorrt", SM90, "fp4")
    assert supports_type("tensorrt", SM120, "fp4")


def kinds(*nodes):
    return [
        problem.fact.split(" for ")[0].split("116 ")[1]
        for problem in gemm_refusals("tensorrt_rtx", "1.7.1.116", (SM75, SM89), nodes)
    ]


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "Attention"])
def test_float32_products_are_refused_on_turing(op_type):
    assert kinds(TypedNode("n", op_type, ("float32", "float32"))) == ["has no float32 matrix product"]


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm", "LSTM"])
def test_float16_products_build_on_turing(op_type):
    assert kinds(TypedNode("n", op_type, ("float16", "float16"))) == []


@pytest.mark.parametrize(("op_type", "rank"), [("Conv", 5), ("ConvTranspose", 5)])
def test_float32_convolutions_over_three_axes_are_refused_on_turing(op_type, rank):
    node = TypedNode("c", op_type, ("float32", "float32"), rank)

    assert kinds(node) == ["has no float32 3-D convolution"]


@pytest.mark.parametrize("rank", [3, 4, None])
def test_other_float32_convolutions_build_on_turing(rank):
    assert kinds(TypedNode("c", "Conv", ("float32", "float32"), rank)) == []


@pytest.mark.parametrize("op_type", ["Softmax", "Add", "LayerNormalization", "AveragePool"])
def test_other_float32_operators_build_on_turing(op_type):
    assert kinds(TypedNode("n", op_type, ("float32", "float32"))) == []


def test_a_node_may_be_a_plain_tuple():
    assert kinds(("mm", "MatMul", ("float32", "float32"))) == ["has no float32 matrix product"]


def test_an_einsum_of_one_input_is_no_product():
    assert kinds(TypedNode("t", "Einsum", ("float32",))) == []


def test_without_turing_nothing_is_refused():
    node = TypedNode("n", "MatMul", ("float32", "float32"))

    assert gemm_refusals("tensorrt_rtx", "1.7.1.116", (SM80, SM89), (node,)) == []
    assert gemm_refusals("tensorrt", "11.4.0.106", (SM75,), (node,)) == []


@pytest.mark.parametrize("version", ["1.4.0.76", "1.5.0.114", "1.6.1.120"])
def test_versions_before_1_7_still_build_float32_products_for_turing(version):
    node = TypedNode("n", "MatMul", ("float32", "float32"))

    assert gemm_refusals("tensorrt_rtx", version, (SM75,), (node,)) == []


def test_refused_nodes_are_named_a_few_at_a_time_and_fp16_is_offered():
    nodes = [TypedNode(f"mm{index}", "MatMul", ("float32", "float32")) for index in range(7)]

    (problem,) = gemm_refusals("tensorrt_rtx", "1.7.1.116", (SM75,), nodes)

    assert "'mm0' (MatMul)" in problem.fact
    assert "'mm4' (MatMul) and 2 more" in problem.fact
    assert "'mm5'" not in problem.fact
    assert "precision: fp16" in problem.remedy


def test_a_quantized_product_in_float32_is_sent_to_a_base_of_half():
    (problem,) = gemm_refusals(
        "tensorrt_rtx", "1.7.1", [SM75], [("m", "MatMul", ("float32", "float32", "int8"))]
    )

    assert "a variant with `base: fp16` builds for sm75" in problem.remedy


@pytest.mark.parametrize(
    ("flavour", "dtypes", "block", "refused"),
    [
        ("tensorrt", ("float16", "int4"), 32, True),
        ("tensorrt", ("float16", "int4"), 64, False),
        ("tensorrt", ("float16", "fp4"), 64, True),
        ("tensorrt", ("float16", "int8"), 0, False),
        ("tensorrt_rtx", ("float16", "int4"), 16, False),
    ],
)
def test_blocks_have_the_sizes_that_a_flavour_takes(flavour, dtypes, block, refused):
    problems = block_refusals(flavour, dtypes, block)

    assert bool(problems) == refused
    assert all(f"in blocks of {block}" in one.fact and "`block_size: " in one.remedy for one in problems)
