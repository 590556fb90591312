"""Names of a cache beside names of a model: what is found, what is repaired and said, what is never guessed."""

from __future__ import annotations

import pytest

from trtpipe.calibration.caches.entries import cache_of
from trtpipe.calibration.caches.graph_names import ModelNames, NodeNames
from trtpipe.calibration.caches.matches import match_cache
from trtpipe.calibration.caches.report import (
    lines_of,
    refuse_uncovered,
    report_of_cache,
    scales_of,
    warnings_of,
)
from trtpipe.errors import ModelError


def model_of(*nodes: tuple[str, str, str, str], inputs: tuple[str, ...] = ("x",)) -> ModelNames:
    """A model from nodes (name, operator, inputs, outputs), the last two separated by commas."""
    made = tuple(
        NodeNames(name, operator, tuple(read.split(",")), tuple(outputs.split(",")))
        for name, operator, read, outputs in nodes
    )
    tensors = {*inputs, *(name for node in made for name in node.outputs)}
    return ModelNames(frozenset(tensors), frozenset({"w"}), made)


def tensors(*names: str) -> ModelNames:
    return model_of(*((f"n{index}", "Relu", "x", name) for index, name in enumerate(names)))


def cache(*names: str, **values: float):
    rows = {**{name: 1.0 + index for index, name in enumerate(names)}, **values}
    return cache_of("tensorrt", "TRT-8601-EntropyCalibration2", rows.items(), "EntropyCalibration2")


def how(match) -> dict[str, tuple[str, str]]:
    return {name: (one.entry, one.how) for name, one in match.found.items()}


def test_equal_names_match_and_everything_else_is_said():
    match = match_cache(
        cache("x", "a", "gone", "w", "zero", zero=0.0), tensors("a", "b", "zero"), ["a", "b", "zero"]
    )

    assert how(match) == {"x": ("x", "exact"), "a": ("a", "exact")}
    assert match.stale == {
        "gone": "the model has no such tensor",
        "w": "it is a constant, and scales of weights come from their values",
    }
    assert match.unusable == {"zero": "its value is zero"}
    assert match.missing == {
        "b": "the cache has no entry for it",
        "zero": "its entry cannot be used: its value is zero",
    }
    assert match.coverage == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("entry", "tensor", "step"),
    [
        ("'conv1'", "conv1", "quotes"),
        (' "conv1" ', "conv1", "quotes"),
        ("conv1/Relu:0", "conv1/Relu", "output 0"),
        ("conv1/Relu", "conv1/Relu:0", "output 0"),
        ("/model.0/conv/Conv_output_0", "_model_0_conv_Conv_output_0", "characters"),
        ("model_0_conv", "model.0/conv:0", "characters"),
    ],
)
def test_names_that_exporters_changed_are_repaired_and_reported(entry, tensor, step):
    match = match_cache(cache(entry), tensors(tensor), [tensor])

    assert how(match) == {tensor: (entry, step)}
    assert match.repaired[tensor].entry == entry
    assert match.missing == {} and match.stale == {}


@pytest.mark.parametrize(
    ("entry", "tensor"),
    [
        ("conv1:1", "conv1"),
        ("conv1", "conv1:1"),
        ("Conv1", "conv1"),
        ("conv12", "conv1_2"),
        ("conv1", "conv2"),
        ("", "a"),
    ],
)
def test_names_that_may_mean_something_else_are_not(entry, tensor):
    match = match_cache(cache(entry), tensors(tensor), [tensor])

    assert match.found == {}
    assert list(match.stale) == [entry]
    assert list(match.missing) == [tensor]


def test_two_tensors_that_one_entry_could_be_get_none():
    match = match_cache(cache("a_b"), tensors("a/b", "a.b"), ["a/b", "a.b"])

    assert match.found == {}
    assert match.stale == {"a_b": "it could be 'a.b' or 'a/b'"}
    assert match.missing["a/b"] == "more than one name fits: 'a_b'"


def test_two_entries_that_could_be_one_tensor_are_both_left():
    match = match_cache(cache("a.b", "a_b"), tensors("a/b"), ["a/b"])

    assert match.found == {}
    assert match.stale["a.b"] == "it is one of 2 that could be 'a/b'"
    assert match.missing["a/b"] == "more than one name fits: 'a.b' and 'a_b'"


def test_a_name_that_fits_exactly_is_never_replaced_by_one_that_nearly_does():
    match = match_cache(cache("a_b", "a/b"), tensors("a/b"), ["a/b"])

    assert how(match) == {"a/b": ("a/b", "exact")}
    assert match.stale == {"a_b": "it could be 'a/b', which has an entry of its own"}


def test_a_broken_value_is_not_replaced_by_that_of_a_similar_name():
    match = match_cache(cache("a_b", "a/b", **{"a/b": float("inf")}), tensors("a/b"), ["a/b"])

    assert match.found == {}
    assert match.missing == {"a/b": "its entry cannot be used: its value is infinite"}


CHAIN = model_of(
    ("conv1", "Conv", "x,w", "t1"), ("bn1", "BatchNormalization", "t1,w", "t2"), ("relu1", "Relu", "t2", "t3"),
    ("conv2", "Conv", "t3,w", "t4"), ("relu2", "Relu", "t4", "t5"),
)  # fmt: skip


def test_names_of_nodes_mean_what_the_node_makes():
    match = match_cache(cache("relu1", "conv2_output", "bn1_output_0"), CHAIN, ["t3"])

    assert how(match) == {
        "t3": ("relu1", "node"),
        "t4": ("conv2_output", "node"),
        "t2": ("bn1_output_0", "node"),
    }


def test_a_node_with_two_outputs_means_neither():
    model = model_of(("split", "Split", "x", "a,b"))

    assert match_cache(cache("split"), model, ["a"]).found == {}


def test_layers_that_became_one_mean_what_the_last_makes():
    match = match_cache(cache("conv1 + bn1 + relu1", "conv2 + relu9"), CHAIN, ["t3"])

    assert how(match) == {"t3": ("conv1 + bn1 + relu1", "fused")}
    assert list(match.stale) == ["conv2 + relu9"]


NUMBERED = "(Unnamed Layer* {}) [{}]_output"


def test_numbered_layers_of_a_chain_have_one_place_each():
    names = [
        NUMBERED.format(7, "Convolution"),
        NUMBERED.format(0, "Convolution"),
        NUMBERED.format(1, "Scale"),
        NUMBERED.format(2, "Activation") + "_0",
    ]

    match = match_cache(cache(*names, "t5"), CHAIN, ["x", "t3"])

    assert how(match) == {
        "t5": ("t5", "exact"),
        "t1": (names[1], "layer"),
        "t4": (names[0], "layer"),
        "t2": (names[2], "layer"),
        "t3": (names[3], "layer"),
    }


BRANCHES = model_of(
    ("first", "Conv", "x", "t1"), ("left", "Conv", "t1", "t2"), ("right", "Conv", "t1", "t3"),
    ("add", "Add", "t2,t3", "t4"), ("last", "Conv", "t4", "t5"),
)  # fmt: skip


def test_numbered_layers_of_parallel_branches_are_left_and_the_others_found():
    names = [NUMBERED.format(number, "Convolution") for number in (0, 1, 2, 9)]

    match = match_cache(cache(*names), BRANCHES, ["t1", "t2"])

    assert how(match) == {"t1": (names[0], "layer"), "t5": (names[3], "layer")}
    assert set(match.stale) == set(names[1:3])
    assert "parallel branches make the node ambiguous" in match.stale[names[1]]


@pytest.mark.parametrize("numbers", [(0, 1), (0, 1, 2), (0, 1, 2, 2), (0, 1, 2, 3, 4)])
def test_numbered_layers_that_are_not_as_many_as_nodes_are_left(numbers):
    names = dict.fromkeys(NUMBERED.format(n, "Convolution") + "_0" * i for i, n in enumerate(numbers))

    assert match_cache(cache(*names), BRANCHES, ["t1"]).found == {}


def test_numbered_plugins_and_constants_are_never_placed():
    names = ["(Unnamed Layer* 3) [PluginV2IOExt]_output_0", "(Unnamed Layer* 4) [Constant]_output"]

    match = match_cache(cache(*names), CHAIN, ["t3"])

    assert list(match.stale) == names


# rename


def test_rename_says_what_a_name_means_with_stars_for_what_stays():
    names = ["backbone.0.out", "backbone.1.out", "(Unnamed Layer* 3) [Convolution]_output", "x"]
    model = tensors("net/0/y", "net/1/y", "t")
    rules = {"backbone.*.out": "net/*/y", "(Unnamed Layer* 3) [Convolution]_output": "t"}

    match = match_cache(cache(*names), model, ["net/0/y", "net/1/y", "t"], rules)

    assert how(match) == {
        "net/0/y": ("backbone.0.out", "rename"),
        "net/1/y": ("backbone.1.out", "rename"),
        "t": (names[2], "rename"),
        "x": ("x", "exact"),
    }


def test_the_longest_rule_counts_whatever_their_order():
    rules = {"*": "net/*", "head.*": "top/*", "head.1": "one"}
    for order in (list(rules), list(rules)[::-1]):
        match = match_cache(
            cache("a", "head.0", "head.1"),
            tensors("net/a", "top/0", "one"),
            [],
            {name: rules[name] for name in order},
        )

        assert {one.entry: name for name, one in match.found.items()} == {
            "a": "net/a",
            "head.0": "top/0",
            "head.1": "one",
        }


@pytest.mark.parametrize(
    ("rules", "fact"),
    [
        ({"nome": "a"}, "the cache has no entry 'nome'"),
        ({"name": "aa"}, "the model has no tensor 'aa'"),
        ({"n*": "*/*"}, "'n*' has 1 stars, but '*/*' has 2"),
        ({"z*": "*"}, "the cache has no entry 'z*'"),
    ],
)
def test_rename_that_fits_nothing_is_refused_at_its_place(rules, fact):
    with pytest.raises(ModelError) as refused:
        match_cache(cache("name"), tensors("a"), ["a"], rules)

    (problem,) = refused.value.problems
    assert fact in problem.fact
    assert problem.path == ("rename", next(iter(rules)))


def test_two_entries_renamed_to_one_tensor_are_both_left():
    match = match_cache(cache("one", "two"), tensors("a"), ["a"], {"one": "a", "two": "a"})

    assert match.found == {}
    assert match.missing == {"a": "more than one name fits: 'one' and 'two'"}


# What is said


def test_too_little_coverage_is_refused_with_what_is_missing_and_what_is_near():
    match = match_cache(cache("conv1_oud", "other"), tensors("conv1_out", "b", "c"), ["conv1_out", "b"])

    with pytest.raises(ModelError) as refused:
        refuse_uncovered(match, 0.5)

    (problem,) = refused.value.problems
    assert problem.path == ("min_coverage",)
    assert problem.fact == (
        "the cache has scales for 0 of the 2 tensors that are quantized (0.0%), less than min_coverage (50.0%)"
    )
    assert (
        "missing: 'conv1_out': the cache has no entry for it; the nearest entry is 'conv1_oud'"
        in problem.remedy
    )
    refuse_uncovered(match, 0.0)


def test_a_model_that_quantizes_nothing_is_covered():
    assert match_cache(cache("a"), tensors("a"), []).coverage == 1


def test_the_report_counts_everything_and_names_the_first():
    many = [f"gone{number}" for number in range(300)]
    found = cache("a_out", *many)
    match = match_cache(found, tensors("a/out", "b"), ["a/out", "b"])

    report = report_of_cache(found, match, 0.5)

    assert report["method"] == "EntropyCalibration2"
    assert report["cache"]["counts"] == {"repaired": 1, "stale": 300, "unusable": 0, "missing": 1}
    assert len(report["cache"]["stale"]) == 100
    assert report["cache"]["coverage"] == 0.5
    lines = list(lines_of(report))
    assert lines[0] == "TRT-8601-EntropyCalibration2: 301 entries, 1 of them tensors of the model"
    assert lines[1] == "1 of the 2 tensors that int8 quantizes have a scale (50.0%)"
    assert "repaired: 'a_out' is 'a/out' (characters)" in lines
    assert "stale: 300 in all" in lines
    assert any(
        "1 of 2 tensors have no scale and stay unquantized, 'b' among them" in one
        for one in report["warnings"]
    )
    assert list(warnings_of(found, match)) == report["warnings"]


def test_scales_go_by_the_models_names_and_say_where_they_are_from():
    found = cache("a_out", "gone")

    scales = scales_of(found, match_cache(found, tensors("a/out"), ["a/out"]))

    assert {name: one.amax for name, one in scales.tensors.items()} == {"a/out": 1.0}
    assert (scales.method, scales.source) == ("EntropyCalibration2", "TRT-8601-EntropyCalibration2")
