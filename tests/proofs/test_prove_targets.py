"""Cells against GPUs, toolchains and options: what is refused, by name, and what only waits for another machine."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, helper

from trtpipe.canonical.inference import infer_at
from trtpipe.proofs.model import view_model
from trtpipe.proofs.rtx_operators import operator_refusals
from trtpipe.proofs.targets import CellProof, TargetView, prove_cells
from trtpipe.proofs.typed_nodes import TypedModel, typed_model
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.types_by_gpu import TypedNode

FLOAT = TensorProto.FLOAT


def model(*nodes: Any, inits: Any = ()) -> Any:
    values = (
        [helper.make_tensor_value_info("x", FLOAT, [2, 4])],
        [helper.make_tensor_value_info("y", FLOAT, None)],
    )
    return helper.make_model(
        helper.make_graph(list(nodes), "g", *values, list(inits)), opset_imports=[helper.make_opsetid("", 17)]
    )


MATMUL = model(
    helper.make_node("MatMul", ["x", "w"], ["y"], name="fc"),
    inits=[helper.make_tensor("w", FLOAT, [4, 3], [0.0] * 12)],
)
RELU = model(helper.make_node("Relu", ["x"], ["y"], name="act"))


def spec(targets: Any, **more: Any) -> PipelineSpec:
    return PipelineSpec.model_validate(
        {"schema": 1, "pipeline": "p", "model": {"source": "m"}, "targets": targets, **more}
    )


def view(name: str, *gpus: str, flavour: Any = "tensorrt_rtx", version: str = "1.7.1.116") -> TargetView:
    return TargetView(name, tuple(ComputeCapability.parse(gpu) for gpu in gpus), flavour, version)


def typed(proto: Any, computed: Any = None) -> TypedModel:
    return typed_model(proto, infer_at(proto, {}), computed)


def prove(given: PipelineSpec, views: list[TargetView], proto: Any = RELU, **more: Any) -> Any:
    typed_models = more.pop("typed", {"fp32": typed(proto)})
    return prove_cells(given, views, typed_models, view_model(proto, given.transform), **more)


def test_an_engine_for_another_machine_is_built_and_says_why_it_is_not_run() -> None:
    proofs, problems = prove(spec({"ada": {"gpu": "sm89"}}), [view("ada", "sm89")])
    assert problems == []
    assert [proof.to_json() for proof in proofs] == [
        {
            "cell": "p/fp32@ada",
            "buildable": True,
            "buildable_here": True,
            "runnable_here": False,
            "notes": ["not run here: it needs sm89, this machine has no GPU"],
        }
    ]


def test_an_engine_for_a_gpu_that_is_here_has_nothing_to_note() -> None:
    here = [ComputeCapability(8, 9)]
    proofs, _ = prove(spec({"ada": {"gpu": "sm89"}}), [view("ada", "sm86", "sm89")], present=here)
    assert proofs == (CellProof("p/fp32@ada", True, True, True),)


def test_the_flavour_tensorrt_waits_for_its_own_gpu() -> None:
    server = view("server", "sm90", flavour="tensorrt", version="11.4.0.106")
    proofs, problems = prove(spec({"server": {"gpu": "h100"}}), [server])
    assert problems == []
    assert proofs == (
        CellProof(
            "p/fp32@server",
            buildable=True,
            buildable_here=False,
            runnable_here=False,
            notes=(
                "not built here: TensorRT builds an engine on the GPU it is for: needs sm90, this machine has no GPU",
                "not run here: it needs sm90, this machine has no GPU",
            ),
        ),
    )


def test_a_gpu_that_the_toolchain_does_not_know_is_refused_once_for_all_variants() -> None:
    both = {"fp32": typed(MATMUL), "fp16": typed(MATMUL, {"fc": "float16"})}
    proofs, problems = prove(spec({"hopper": {"gpu": "h100"}}), [view("hopper", "sm90")], MATMUL, typed=both)
    assert [(problem.path, problem.fact) for problem in problems] == [
        (("targets", "hopper", "gpu"), "TensorRT-RTX 1.7.1.116 cannot build for sm90 (Hopper)")
    ]
    assert [proof.buildable for proof in proofs] == [False, False]


def test_float32_products_are_refused_for_turing_by_node_and_fp16_builds() -> None:
    both = {"fp32": typed(MATMUL), "fp16": typed(MATMUL, {"fc": "float16"})}
    proofs, problems = prove(spec({"old": {"gpu": "t4"}}), [view("old", "sm75", "sm89")], MATMUL, typed=both)
    (problem,) = problems
    assert problem.path == ("targets", "old", "gpu")
    assert problem.fact == (
        "p/fp32@old: TensorRT-RTX 1.7.1.116 has no float32 matrix product for sm75 (Turing): 'fc' (MatMul)"
    )
    assert problem.remedy.startswith("a variant with `precision: fp16` builds for sm75")
    assert [(proof.cell, proof.buildable) for proof in proofs] == [
        ("p/fp32@old", False),
        ("p/fp16@old", True),
    ]


@pytest.mark.parametrize(
    ("dtype", "gpu", "refused"),
    [
        ("bfloat16", "sm75", True),
        ("bfloat16", "sm86", False),
        ("float8_e4m3fn", "sm86", True),
        ("float8_e4m3fn", "sm89", False),
        ("int4", "sm75", True),
        ("float4_e2m1fn", "sm89", True),
        ("float4_e2m1fn", "sm120", False),
    ],
)
def test_types_need_their_generation(dtype: str, gpu: str, refused: bool) -> None:
    only = {"v": TypedModel((TypedNode("act", "Relu", (dtype,)),), frozenset())}
    (proof,), problems = prove(spec({"t": {"gpu": gpu}}), [view("t", gpu)], typed=only)
    assert proof.buildable is not refused
    assert [problem.path for problem in problems] == [("targets", "t", "gpu")] * refused


@pytest.mark.parametrize(
    ("op", "domain", "why"),
    [
        ("NonZero", "", "its parser needs a plugin, and TensorRT-RTX has none"),
        ("NonMaxSuppression", "", "no kernel implements it"),
        ("RoiAlign", "", "its plugin ends the process"),
        ("Unique", "", "its parser does not know it"),
        ("BatchedNMS_TRT", "", "a custom operator, and it takes no plugins"),
        ("NegPos", "com.acme", "a custom operator of domain 'com.acme', and it takes no plugins"),
    ],
)
def test_operators_that_rtx_never_builds_are_named_before_its_parser_sees_them(
    op: str, domain: str, why: str
) -> None:
    proto = model(helper.make_node(op, ["x"], ["y"], name="n", domain=domain))
    targets = {"a": {"gpu": "sm86"}, "b": {"gpu": "sm89"}}
    proofs, problems = prove(
        spec(targets), [view("a", "sm86"), view("b", "sm89")], proto, typed={"v": TypedModel((), frozenset())}
    )
    assert [(problem.path, problem.fact, problem.severity) for problem in problems] == [
        (("model", "source"), f"TensorRT-RTX does not build {op}: {why} ('n')", "error")
    ]
    assert [proof.buildable for proof in proofs] == [False, False]


NONE: dict[str, TypedModel] = {}
NON_ZERO = [
    helper.make_node("Relu", ["x"], ["r"], name="act"),
    helper.make_node("NonZero", ["r"], ["n"], name="nz"),
    helper.make_node("Cast", ["n"], ["y"], name="cast", to=FLOAT),
]


def test_what_the_transform_cuts_off_is_not_judged() -> None:
    targets = {"a": {"gpu": "sm86"}}
    _, problems = prove(spec(targets), [view("a", "sm86")], model(*NON_ZERO), typed=NONE)
    assert len(problems) == 1
    _, problems = prove(
        spec(targets, transform={"outputs": ["r"]}), [view("a", "sm86")], model(*NON_ZERO), typed=NONE
    )
    assert problems == []


def test_what_folds_to_a_constant_is_not_judged() -> None:
    constant = helper.make_tensor("c", FLOAT, [4, 4], [1.0] * 16)
    folded = [
        helper.make_node("MatMul", ["c", "c"], ["cc"], name="constant product"),
        helper.make_node("Shape", ["x"], ["s"], name="of a static input"),
        helper.make_node("NonZero", ["s"], ["nz"], name="nz"),
        helper.make_node("Cast", ["nz"], ["f"], name="cast", to=FLOAT),
        helper.make_node("ReduceSum", ["f"], ["sum"], name="sum", keepdims=0),
        helper.make_node("Mul", ["x", "sum"], ["xs"], name="mul"),
        helper.make_node("ReduceMax", ["cc"], ["m"], name="max", keepdims=0),
        helper.make_node("Add", ["xs", "m"], ["y"], name="add"),
    ]
    proto = model(*folded, inits=[constant])
    _, problems = prove(spec({"a": {"gpu": "sm75"}}), [view("a", "sm75")], proto)
    assert problems == []


def test_a_branch_that_a_bound_input_decides_is_not_judged() -> None:
    def branch(op: str) -> Any:
        nodes = [
            helper.make_node(op, ["x"], [f"{op}_v"], name=f"in {op}"),
            helper.make_node("Cast", [f"{op}_v"], [f"{op}_out"], name=f"cast {op}", to=FLOAT),
        ]
        return helper.make_graph(nodes, op, [], [helper.make_tensor_value_info(f"{op}_out", FLOAT, None)])

    node = helper.make_node(
        "If", ["c"], ["y"], name="if", then_branch=branch("Relu"), else_branch=branch("NonZero")
    )
    proto = model(node)
    proto.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    views, targets = [view("a", "sm86")], {"a": {"gpu": "sm86"}}
    _, problems = prove(spec(targets), views, proto, typed=NONE)
    assert [problem.fact for problem in problems] == [
        "TensorRT-RTX does not build NonZero: its parser needs a plugin, and TensorRT-RTX has none ('in NonZero')"
    ]
    _, problems = prove(spec(targets, transform={"bind": {"c": True}}), views, proto, typed=NONE)
    assert problems == []


def test_calls_of_the_models_own_functions_are_not_judged() -> None:
    proto = model(helper.make_node("Mine", ["x"], ["y"], name="call", domain="local"))
    body = [helper.make_node("Relu", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    proto.functions.append(helper.make_function("local", "Mine", ["a"], ["b"], body, opsets))
    proto.opset_import.append(helper.make_opsetid("local", 1))
    _, problems = prove(spec({"a": {"gpu": "sm86"}}), [view("a", "sm86")], proto, typed=NONE)
    assert problems == []


def test_nothing_is_refused_that_importing_expands() -> None:
    from trtpipe.legalization.expansion import _TABLE

    nodes = [helper.make_node(op, ["x"], ["y"]) for op in _TABLE]
    assert operator_refusals(nodes, "1.7.1.116") == []


@pytest.mark.parametrize("op", ["Gelu", "SimplifiedLayerNormalization", "TRT_FP8QuantizeLinear"])
def test_the_parser_goes_by_the_operators_name_alone(op: str) -> None:
    proto = model(helper.make_node(op, ["x"], ["y"], name="n", domain="com.microsoft"))
    _, problems = prove(spec({"a": {"gpu": "sm86"}}), [view("a", "sm86")], proto, typed={})
    assert problems == []


def test_a_newer_rtx_is_only_warned_about_operators() -> None:
    proto = model(helper.make_node("NonZero", ["x"], ["y"], name="n"))
    newer = view("a", "sm86", version="1.8.0.1")
    _, problems = prove(spec({"a": {"gpu": "sm86"}}), [newer], proto, typed={})
    assert [problem.severity for problem in problems] == ["warning"]


def test_the_flavour_tensorrt_is_told_that_custom_operators_need_plugins() -> None:
    proto = model(helper.make_node("NegPos", ["x"], ["y"], name="n", domain="com.acme"))
    server = view("s", "sm90", flavour="tensorrt", version="11.4")
    given = spec({"s": {"gpu": "sm90"}})
    _, problems = prove(given, [server], proto, typed={})
    assert [(problem.fact, problem.severity) for problem in problems] == [
        ("TensorRT needs a plugin for what is not ONNX's own: 'NegPos'", "note")
    ]
    _, problems = prove(
        spec({"s": {"gpu": "sm90"}}, plugins=[{"library": "l.so"}]), [server], proto, typed={}
    )
    assert problems == []


def test_options_that_rtx_lacks_ignores_or_limits_are_all_said_in_one_pass() -> None:
    given = spec(
        {"a": {"gpu": "sm86", "hardware_compatibility": "ampere_plus", "version_compatible": True}},
        plugins=[{"library": "l.so"}],
        builder={
            "workspace": "1MiB",
            "tactic_shared_memory": "2GiB",
            "optimization_level": 5,
            "sparse_weights": True,
            "avg_timing_iterations": 8,
            "max_aux_streams": 2,
        },
    )
    (proof,), problems = prove(given, [view("a", "sm86")])
    assert [(problem.severity, problem.path, problem.fact) for problem in problems] == [
        (
            "error",
            ("targets", "a", "hardware_compatibility"),
            "TensorRT-RTX has no hardware compatibility levels",
        ),
        ("error", ("targets", "a", "version_compatible"), "TensorRT-RTX makes no version-compatible engines"),
        (
            "error",
            ("builder", "workspace"),
            "a workspace of 1.0 MiB is too little for TensorRT-RTX to find any kernel",
        ),
        (
            "error",
            ("builder", "tactic_shared_memory"),
            "TensorRT-RTX takes a tactic_shared_memory of at most 1 GiB, not 2.0 GiB",
        ),
        (
            "note",
            ("builder", "optimization_level"),
            "TensorRT-RTX ignores builder.optimization_level: it has one level only",
        ),
        (
            "note",
            ("builder", "sparse_weights"),
            "TensorRT-RTX ignores builder.sparse_weights: it never looks for sparsity",
        ),
        (
            "note",
            ("builder", "avg_timing_iterations"),
            "TensorRT-RTX ignores builder.avg_timing_iterations: it times nothing when it builds",
        ),
        (
            "note",
            ("builder", "max_aux_streams"),
            "TensorRT-RTX ignores builder.max_aux_streams: it runs on one stream",
        ),
        ("error", ("plugins",), "TensorRT-RTX takes no plugins (targets 'a')"),
    ]
    assert not proof.buildable


def test_an_option_of_one_target_does_not_stand_against_another() -> None:
    given = spec({"a": {"gpu": "sm86", "version_compatible": True}, "b": {"gpu": "sm86"}})
    proofs, _ = prove(given, [view("a", "sm86"), view("b", "sm86")])
    assert [proof.buildable for proof in proofs] == [False, True]


def test_a_compatibility_level_that_came_later_is_refused() -> None:
    given = spec({"s": {"gpu": "sm90", "hardware_compatibility": "same_compute_capability"}})
    _, problems = prove(given, [view("s", "sm90", flavour="tensorrt", version="10.8.0.43")])
    assert [problem.fact for problem in problems] == [
        "TensorRT 10.8.0.43 has no hardware compatibility 'same_compute_capability'"
    ]
