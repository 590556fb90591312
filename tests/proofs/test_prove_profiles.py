"""One test a rule: each profile is wrong in one way, and the problem is held whole."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, helper

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.model import prove_model
from trtpipe.proofs.profiles import prove_profiles
from trtpipe.spec.pipeline import PipelineSpec

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(
    inputs: dict[str, tuple[int, list[Any] | None]], nodes: list[Any], outputs: list[str], inits: Any = ()
) -> Any:
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(name, *info) for name, info in inputs.items()],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            list(inits),
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )


def relu(dims: list[Any]) -> Any:
    return model({"x": (FLOAT, dims)}, [helper.make_node("Relu", ["x"], ["y"], name="r")], ["y"])


def reshape() -> Any:
    node = helper.make_node("Reshape", ["x", "target"], ["y"], name="flatten")
    return model({"x": (FLOAT, [2, 6]), "target": (INT64, [2])}, [node], ["y"])


def pair(x: list[Any], y: list[Any], op: str = "Add") -> Any:
    node = helper.make_node(op, ["x", "y"], ["z"], name="join")
    return model({"x": (FLOAT, x), "y": (FLOAT, y)}, [node], ["z"])


def spec(profiles: Any, transform: Any = None) -> PipelineSpec:
    document = {
        "schema": 1,
        "pipeline": "p",
        "model": {"source": "m.onnx"},
        "targets": {"t": {"gpu": "sm89"}},
    }
    return PipelineSpec.model_validate({**document, "profiles": profiles, "transform": transform})


def prove(proto: Any, profiles: Any, transform: Any = None) -> list[Problem]:
    given = spec(profiles, transform)
    return prove_model(proto, given.profiles, given.transform)


def test_a_profile_that_fits_has_no_problem() -> None:
    assert prove(relu(["n", 3, None]), [{"x": {"min": "1x3x8", "opt": "2x3x8", "max": "4x3x16"}}]) == []


def test_a_static_model_without_profiles_has_no_problem() -> None:
    assert prove(relu([1, 3]), []) == []


def test_a_missing_profile_is_proposed_ready_to_paste() -> None:
    assert prove(pair(["batch", 3, None, None], ["batch", 3, 1, 1]), []) == [
        Problem(
            Code.PROFILE_NEEDED,
            "the model needs a profile: 'x' is [batch, 3, ?, ?], 'y' is [batch, 3, 1, 1]",
            "add this to the spec, with the sizes that you serve:\n"
            "profiles:\n"
            "  - x: {min: 1x3x32x32, opt: 1x3x224x224, max: 8x3x448x448}\n"
            "    y: {min: 1x3x1x1, opt: 1x3x1x1, max: 8x3x1x1}",
            path=("profiles",),
        )
    ]


def test_an_input_that_a_profile_leaves_out_is_proposed_with_the_sizes_of_the_others() -> None:
    profile = {"x": {"min": "2x3", "opt": "4x3", "max": "6x3"}}
    assert prove(pair(["n", 3], ["n", 3]), [profile]) == [
        Problem(
            Code.PROFILE_LEAVES_OUT,
            "profile 0 leaves out an input: 'y' is [n, 3]",
            "add y: {min: 2x3, opt: 4x3, max: 6x3}",
            path=("profiles", 0),
        )
    ]


def test_an_unknown_input_suggests_the_nearest() -> None:
    assert prove(relu([1, 3]), [{"X": "1x3"}]) == [
        Problem(
            Code.UNKNOWN_INPUT,
            "the model has no input 'X'",
            "did you mean 'x'? valid inputs: x",
            path=("profiles", 0, "X"),
        )
    ]
    image = model({"image": (FLOAT, ["n"])}, [helper.make_node("Relu", ["image"], ["y"])], ["y"])
    assert prove(image, [{"image": 1, "imge": 1}]) == [
        Problem(
            Code.UNKNOWN_INPUT,
            "the model has no input 'imge'",
            "did you mean 'image'? valid inputs: image",
            path=("profiles", 0, "imge"),
        )
    ]


def test_a_bound_input_takes_no_range() -> None:
    profile = {"x": "1x2", "y": "1x2"}
    assert prove(pair(["n", 2], [1, 2]), [profile], {"bind": {"y": [[1.0, 2.0]]}}) == [
        Problem(
            Code.NO_EFFECT,
            "input 'y' is bound to a constant by transform.bind",
            "take it out of the profile",
            path=("profiles", 0, "y"),
        )
    ]


def test_a_wrong_rank_is_said_once_when_one_shape_stands_for_all_corners() -> None:
    assert prove(relu(["n", 3]), [{"x": "1x3x4"}]) == [
        Problem(
            Code.PROFILE_MISFIT,
            "'x' has rank 2, but the profile 1x3x4 has rank 3",
            "the model declares [n, 3]",
            path=("profiles", 0, "x"),
        )
    ]


def test_a_wrong_rank_names_its_corner() -> None:
    assert prove(relu(["n", 3]), [{"x": {"min": "1x3", "opt": 3, "max": "2x3"}}]) == [
        Problem(
            Code.PROFILE_MISFIT,
            "'x' has rank 2, but opt 3 has rank 1",
            "the model declares [n, 3]",
            path=("profiles", 0, "x", "opt"),
        )
    ]


def test_a_static_dim_must_stay() -> None:
    assert prove(relu([None, 3]), [{"x": {"min": "1x3", "opt": "1x3", "max": "1x4"}}]) == [
        Problem(
            Code.PROFILE_MISFIT,
            "axis 1 of 'x' is 3 in the model, but 4 in max",
            "the model declares [?, 3]; transform.set_shapes can change it",
            path=("profiles", 0, "x", "max"),
        )
    ]


def test_a_static_model_takes_no_other_shape() -> None:
    assert prove(relu([1, 3]), [{"x": "2x3"}]) == [
        Problem(
            Code.PROFILE_MISFIT,
            "axis 0 of 'x' is 1 in the model, but 2 in the profile",
            "the model declares [1, 3]; transform.set_shapes can change it",
            path=("profiles", 0, "x"),
        )
    ]


def test_a_profile_that_repeats_a_static_model_is_only_needless() -> None:
    assert prove(relu([1, 3]), [{"x": "1x3"}]) == [
        Problem(
            Code.PROFILE_NEEDLESS,
            "every input is static, so TensorRT is given no profile",
            "leave 'profiles' out",
            path=("profiles",),
            severity="warning",
        )
    ]


@pytest.mark.parametrize(
    ("corners", "fact", "corner"),
    [
        ((2, 1, 3), "axis 0 of 'x' is 2 in min, more than 1 in opt", "opt"),
        ((1, 4, 3), "axis 0 of 'x' is 4 in opt, more than 3 in max", "max"),
    ],
)
def test_min_opt_and_max_are_ordered(corners: tuple[int, int, int], fact: str, corner: str) -> None:
    low, opt, high = corners
    assert prove(relu([None]), [{"x": {"min": low, "opt": opt, "max": high}}]) == [
        Problem(
            Code.PROFILE_ORDER, fact, "every axis needs min ≤ opt ≤ max", path=("profiles", 0, "x", corner)
        )
    ]


def test_dims_of_one_name_are_equal_at_every_corner() -> None:
    profile = {
        "x": {"min": "1x3", "opt": "2x3", "max": "4x3"},
        "y": {"min": "1x3", "opt": "1x3", "max": "4x3"},
    }
    assert prove(pair(["n", 3], ["n", 3]), [profile]) == [
        Problem(
            Code.SHARED_DIMENSION,
            "dimension 'n' is 2 on axis 0 of 'x', but 1 on axis 0 of 'y', in opt",
            "dims of one name are one size to TensorRT: make them equal",
            path=("profiles", 0, "y", "opt"),
        )
    ]


@pytest.mark.parametrize("name", ["?", "unk__3", "-1", "", None])
def test_names_that_mean_nothing_tie_nothing(name: str | None) -> None:
    profile = {"x": "2x3", "y": "1x3"}
    assert prove(pair([name, 3], [name, 3]), [profile]) == []


def test_height_and_width_of_one_made_up_name_may_differ() -> None:
    assert prove(relu([-1, 3, "?", "?"]), [{"x": "1x3x48x192"}]) == []


def test_a_model_that_is_impossible_at_a_corner_names_node_and_corners() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="mm")
    weights = helper.make_tensor("w", FLOAT, [4, 2], [0.0] * 8)
    proto = model({"x": (FLOAT, ["n", "k"])}, [node], ["y"], [weights])
    assert prove(proto, [{"x": {"min": "1x4", "opt": "1x5", "max": "1x6"}}]) == [
        Problem(
            Code.PROFILE_IMPOSSIBLE,
            "profile 0 is impossible at opt and max: node 'mm' (MatMul) does not accept these shapes: "
            "incompatible dimensions for matrix multiplication",
            "with the model as it is, this profile works:\nprofiles:\n  - x: 1x4",
            path=("profiles", 0),
        )
    ]


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "window", "padded"),
    [
        ("MaxPool", ["x"], {"kernel_shape": [7, 7]}, "7x7", "4x4"),
        ("Conv", ["x", "w"], {"dilations": [3, 1], "pads": [1, 0, 1, 0]}, "7x3", "6x4"),
    ],
)
def test_a_window_larger_than_its_input_is_impossible(
    op: str, inputs: list[str], attributes: Any, window: str, padded: str
) -> None:
    node = helper.make_node(op, inputs, ["y"], name="win", **attributes)
    weight = helper.make_tensor("w", FLOAT, [2, 3, 3, 3], [0.0] * 54)
    proto = model({"x": (FLOAT, [1, 3, "h", "w_"])}, [node], ["y"], [weight])
    assert prove(proto, [{"x": {"min": "1x3x4x4", "opt": "1x3x8x8", "max": "1x3x9x9"}}]) == [
        Problem(
            Code.PROFILE_IMPOSSIBLE,
            f"profile 0 is impossible at min: node 'win' ({op}) does not accept these shapes: "
            f"its window {window} is larger than {padded}",
            "with the model as it is, this profile works:\n"
            "profiles:\n  - x: {min: 1x3x8x8, opt: 1x3x8x8, max: 1x3x9x9}",
            path=("profiles", 0),
        )
    ]


def test_a_pooling_that_lacks_less_than_a_stride_pools_what_there_is() -> None:
    def pooled(stride: int) -> list[Problem]:
        node = helper.make_node(
            "MaxPool", ["x"], ["y"], name="win", kernel_shape=[5, 5], strides=[stride] * 2
        )
        proto = model({"x": (FLOAT, [1, 3, "h", "w_"])}, [node], ["y"])
        return prove(proto, [{"x": "1x3x4x4"}])

    assert [problem.code for problem in pooled(1)] == [Code.PROFILE_IMPOSSIBLE]
    assert pooled(2) == []


def test_an_empty_dim_is_a_warning() -> None:
    assert prove(relu(["n"]), [{"x": {"min": 0, "opt": 1, "max": 1}}]) == [
        Problem(
            Code.PROFILE_EMPTY_TENSORS,
            "axis 0 of 'x' is 0 in min, so empty tensors are allowed",
            "start at 1 unless you serve them",
            path=("profiles", 0, "x", "min"),
            severity="warning",
        )
    ]


def test_large_inputs_and_outputs_are_noted() -> None:
    assert prove(relu(["n"]), [{"x": {"min": 1, "opt": 1, "max": 2**31 - 1}}]) == []
    assert prove(relu(["n", 2]), [{"x": {"min": "1x2", "opt": "1x2", "max": f"{2**31 - 1}x2"}}]) == [
        Problem(
            Code.PROFILE_LARGE,
            "at its max, the inputs and outputs of profile 0 take 32.0 GiB",
            "a smaller max needs less GPU memory",
            path=("profiles", 0),
            severity="note",
        )
    ]


def test_a_shape_tensor_needs_values() -> None:
    assert prove(reshape(), [{"target": 2}]) == [
        Problem(
            Code.SHAPE_TENSOR_VALUES,
            "the values of 'target' set a shape at Reshape 'flatten', but the profile gives none",
            "give 2 for each of values: {min: […], opt: […], max: […]}",
            path=("profiles", 0, "target"),
        )
    ]


def test_values_are_counted_and_ordered() -> None:
    values = {"min": [3, 4], "opt": [2, 6], "max": [2, 6, 1]}
    assert prove(reshape(), [{"target": {"values": values}}]) == [
        Problem(
            Code.SHAPE_TENSOR_VALUES,
            "'target' holds 2 values, but values.max has 3",
            "give 2 in each of min, opt and max",
            path=("profiles", 0, "target", "values", "max"),
        ),
        Problem(
            Code.PROFILE_ORDER,
            "value 0 of 'target' is 3 in min, more than 2 in opt",
            "every value needs min ≤ opt ≤ max",
            path=("profiles", 0, "target", "values", "opt"),
        ),
    ]


def test_values_take_part_in_shape_inference() -> None:
    fits = {"min": [2, 6], "opt": [3, 4], "max": [3, 4]}
    assert prove(reshape(), [{"target": {"values": {**fits, "min": [3, 4]}}}]) == []
    assert [
        problem.fact for problem in prove(reshape(), [{"target": {"values": {**fits, "max": [4, 4]}}}])
    ] == [
        "value 1 of 'target' is 6 in min, more than 4 in opt",
    ]


def test_values_on_an_ordinary_input_are_refused() -> None:
    values = {"min": 1, "opt": 1, "max": 1}
    assert prove(relu(["n"]), [{"x": {"min": 1, "opt": 1, "max": 1, "values": values}}]) == [
        Problem(
            Code.SHAPE_TENSOR_VALUES,
            "'x' is not a shape tensor: no shape depends on its values",
            "take 'values' out; this model's shape tensors: none",
            path=("profiles", 0, "x", "values"),
        )
    ]


@pytest.mark.parametrize(
    ("op", "name", "dtype"),
    [("ReduceSum", "axes", INT64), ("Unsqueeze", "axes", INT64), ("Upsample", "scales", FLOAT)],
)
def test_values_that_tensorrt_takes_only_as_constants_must_be_bound(op: str, name: str, dtype: int) -> None:
    node = helper.make_node(op, ["x", name], ["y"], name="n")
    proto = model({"x": (FLOAT, [2, 3]), name: (dtype, [1])}, [node], ["y"])
    problem = Problem(
        Code.CONSTANT_SHAPE_TENSOR,
        f"the values of '{name}' set a shape at {op} 'n', which TensorRT takes only as a constant",
        f"bind it, with your values: transform: {{bind: {{{name}: [1]}}}}",
        path=("transform", "bind", name),
    )
    assert prove(proto, [])[:1] == [problem]
    assert prove(proto, [{name: 1}])[:1] == [problem]


def test_an_input_without_a_rank_is_asked_for_its_shape() -> None:
    assert prove(relu(None), []) == [  # type: ignore[arg-type]
        Problem(
            Code.NO_RANK,
            "input 'x' declares no shape, not even a rank",
            "declare it, e.g. transform: {set_shapes: {x: [-1, 3, 224, 224]}}",
            path=("model", "source"),
        )
    ]
    assert prove(relu(None), [], {"set_shapes": {"x": "1x3"}}) == []  # type: ignore[arg-type]


def test_inputs_that_contradict_each_other_are_found_without_profiles() -> None:
    assert prove(pair([2, 3], [4, 3]), []) == [
        Problem(
            Code.SHAPES_NOT_TAKEN,
            "the model's own input shapes do not fit: node 'join' (Add) does not accept these shapes: "
            "incompatible dimensions",
            path=("model", "source"),
        )
    ]


def test_the_transform_is_proved_with_the_profiles() -> None:
    transform = {"bind": {"z": 1}, "outputs": ["Z"], "set_shapes": {"x": [-1], "w": [1], "y": [-1, 3]}}
    facts = [problem.fact for problem in prove(pair([2, 3], [2, 3]), [], transform)]
    assert facts == [
        "the model has no input 'z' to bind",
        "the model has no tensor 'Z' to make an output",
        "'x' has rank 2, but the shape set for it has rank 1",
        "the model has no input 'w' to give a shape",
        "the model needs a profile: 'x' is [?], 'y' is [?, 3]",
    ]


def test_what_the_transform_cuts_off_is_not_proved() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="act"),
        helper.make_node("MatMul", ["r", "z"], ["y"], name="tail"),
    ]
    proto = model({"x": (FLOAT, ["n", 3]), "z": (FLOAT, [4, "k"])}, nodes, ["y"])
    profile = {"x": {"min": "1x3", "opt": "1x3", "max": "8x3"}}
    assert prove(proto, [profile], {"outputs": ["r"]}) == []


def branching(compare: str, *, nested: bool = False) -> Any:
    """`x` through a window of 7 or of 1, as `COMPARE(rate, 16000)` decides; inside another branch when nested."""

    def branch(name: str, window: int) -> Any:
        node = helper.make_node(
            "MaxPool", ["x"], [name], name=f"window {window}", kernel_shape=[window, window]
        )
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, FLOAT, None)])

    def choice(name: str) -> Any:
        branches = {"then_branch": branch(f"{name}_t", 7), "else_branch": branch(f"{name}_e", 1)}
        return helper.make_node("If", ["c"], [name], name=f"if {name}", **branches)

    last = choice("y")
    if nested:
        inner = helper.make_graph(
            [choice("n")], "inner", [], [helper.make_tensor_value_info("n", FLOAT, None)]
        )
        last = helper.make_node(
            "If", ["c"], ["y"], name="outer", then_branch=inner, else_branch=branch("z", 1)
        )
    nodes = [helper.make_node(compare, ["rate", "known"], ["c"], name="compare"), last]
    inputs: dict[str, Any] = {"x": (FLOAT, [1, 1, "h", "w"]), "rate": (INT64, [])}
    return model(inputs, nodes, ["y"], [helper.make_tensor("known", INT64, [], [16000])])


@pytest.mark.parametrize("nested", [False, True])
def test_the_branch_that_a_bound_input_takes_is_proved(nested: bool) -> None:
    proto, profile = branching("Equal", nested=nested), {"x": "1x1x4x4"}
    assert [problem.fact for problem in prove(proto, [profile], {"bind": {"rate": 16000}})] == [
        "profile 0 is impossible at min, opt and max: node 'window 7' (MaxPool) does not accept these shapes: "
        "its window 7x7 is larger than 4x4"
    ]
    assert prove(proto, [profile], {"bind": {"rate": 8000}}) == []


def test_a_condition_that_cannot_be_computed_leaves_both_branches() -> None:
    assert prove(branching("NoSuchOperator"), [{"x": "1x1x4x4"}], {"bind": {"rate": 16000}}) == []
    assert prove(branching("Equal"), [{"x": "1x1x4x4"}]) == []


def test_ten_wrong_entries_give_ten_problems_in_one_pass() -> None:
    proto = model(
        {
            "image": (FLOAT, ["n", 3, "h", "w"]),
            "mask": (FLOAT, ["n", 1, "h", "w"]),
            "target": (INT64, [2]),
            "scale": (FLOAT, [1]),
        },
        [
            helper.make_node("Mul", ["image", "mask"], ["m"], name="mul"),
            helper.make_node("Mul", ["m", "scale"], ["s"], name="scaled"),
            helper.make_node("Reshape", ["s", "target"], ["y"], name="flat"),
        ],
        ["y"],
    )
    profiles = [
        {
            "image": {"min": "1x3x9x8", "opt": "1x3x8x8", "max": "2x4x8x8"},
            "mask": {"min": "2x1x9x8", "opt": "1x1x8", "max": "2x1x8x8"},
            "target": {"values": {"min": [1], "opt": [1, -1], "max": [1, -1]}},
            "scale": 2,
            "imagee": "1x1",
        },
        {"mask": "1x1x8x8", "scale": {"min": 1, "opt": 1, "max": 1, "values": {"min": 1, "opt": 1, "max": 1}}},
    ]  # fmt: skip
    assert [(problem.path, problem.fact) for problem in prove(proto, profiles)] == [
        (("profiles", 0, "image", "max"), "axis 1 of 'image' is 3 in the model, but 4 in max"),
        (("profiles", 0, "image", "opt"), "axis 2 of 'image' is 9 in min, more than 8 in opt"),
        (("profiles", 0, "mask", "opt"), "'mask' has rank 4, but opt 1x1x8 has rank 3"),
        (("profiles", 0, "target", "values", "min"), "'target' holds 2 values, but values.min has 1"),
        (("profiles", 0, "scale"), "axis 0 of 'scale' is 1 in the model, but 2 in the profile"),
        (("profiles", 0, "imagee"), "the model has no input 'imagee'"),
        (("profiles", 0, "mask", "min"), "dimension 'n' is 1 on axis 0 of 'image', but 2 on axis 0 of 'mask', in min"),
        (("profiles", 1, "scale", "values"), "'scale' is not a shape tensor: no shape depends on its values"),
        (("profiles", 1), "profile 1 leaves out an input: 'image' is [n, 3, h, w]"),
        (("profiles", 1), "profile 1 leaves out an input: the values of 'target' set a shape"),
    ]  # fmt: skip


def test_no_inputs_need_no_profiles() -> None:
    def infer(shapes: Any, values: Any) -> Any:
        from trtpipe.canonical.inference import Inferred

        return Inferred({})

    assert prove_profiles([], (), infer=infer, value_inputs={}) == []
