"""Declared layers whose fields contradict each other, and values of the wrong form: each in words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from trtpipe.spec.network.network import NetworkInput, layer_models

CONV = {"layer": "convolution", "num_output_maps": 1, "kernel_size": [3, 3]}
NORM = {"layer": "normalization", "scale": "s"}
GATES = "name each of"


def said(layer: dict[str, object]) -> list[str]:
    """What is wrong with a layer `n` with one input, for each place."""
    model = layer_models()[str(layer["layer"])]
    inputs = {"inputs": ["x", "y", "z"]} if "inputs" in model.model_fields else {"input": "x"}
    try:
        model.model_validate({"name": "n", **inputs, **layer})
    except ValidationError as error:
        return [one["msg"].removeprefix("Value error, ") for one in error.errors()]
    return []


TAKEN = [
    {**CONV, "kernel": "k", "padding_mode": "same_upper"},
    {**CONV, "kernel_tensor": "k", "padding": [1, 1]},
    {"layer": "padding", "pre_padding": [1, -1], "post_padding": [0, 0]},
    {"layer": "resize", "scales": [1, 1, 2, 2]},
    {**NORM, "type": "batch", "mean": "m", "variance": "v"},
    {**NORM, "type": "layer", "axes": [-1], "bias": "b"},
    {**NORM, "type": "group", "num_groups": 2},
    {"layer": "attention", "mask": "m"},
    {"layer": "slice", "start": [0], "shape": [1], "mode": "fill", "fill": 1.0},
]


@pytest.mark.parametrize("layer", TAKEN, ids=lambda one: str(one)[:60])
def test_layers_whose_fields_go_together(layer):
    assert said(layer) == []


REFUSED = [
    (CONV, "layer 'n' needs a kernel; give either kernel or kernel_tensor"),
    (
        {**CONV, "kernel": "k", "kernel_tensor": "t"},
        "layer 'n' needs a kernel; give either kernel or kernel_tensor",
    ),
    (
        {**CONV, "kernel": "k", "padding": [1, 1], "post_padding": [1, 1]},
        "layer 'n' has padding, and pre_padding or post_padding; give one or the other",
    ),
    (
        {**CONV, "kernel": "k", "pre_padding": [1, 1], "padding_mode": "same_lower"},
        "layer 'n' has padding_mode same_lower, which takes precedence over padding; leave one of them out",
    ),
    (
        {"layer": "padding", "pre_padding": [1], "post_padding": [0, 0]},
        "layer 'n' has 1 numbers in pre_padding and 2 in post_padding; give as many in both",
    ),
    (
        {"layer": "lrn", "window_size": 4, "alpha": 1, "beta": 1, "k": 1},
        "layer 'n' has window_size 4; TensorRT supports odd sizes",
    ),
    ({"layer": "resize"}, "layer 'n' needs a size; give either shape or scales"),
    (
        {"layer": "resize", "shape": [1], "scales": [1]},
        "layer 'n' needs a size; give either shape or scales",
    ),
    (
        {**NORM, "type": "batch", "mean": "m"},
        "layer 'n' is a batch normalization; give mean and variance",
    ),
    (
        {**NORM, "type": "instance", "mean": "m"},
        "layer 'n' computes mean and variance; they belong to type: batch",
    ),
    ({**NORM, "type": "instance", "axes": [1]}, "layer 'n' has axes; they belong to type: layer and rms"),
    ({**NORM, "type": "layer", "num_groups": 2}, "layer 'n' has num_groups; they belong to type: group"),
    ({**NORM, "type": "rms", "bias": "b"}, "layer 'n' has a bias; add it with an elementwise layer"),
    (
        {"layer": "attention", "mask": "m", "causal_kind": "upper_left"},
        "layer 'n' has a mask and a causal_kind; TensorRT supports only one of them",
    ),
    (
        {"layer": "slice", "start": [0], "shape": [1], "fill": 1.0},
        "layer 'n' has a value to fill with; write mode: fill",
    ),
    (
        {"layer": "slice", "start": [0.5], "shape": [1]},
        "not a list of dims; write a list of whole numbers, for example [1, 2], or a tensor's name",
    ),
    ({"layer": "slice", "start": "", "shape": [1]}, "an empty name; write the name of a tensor"),
    (
        {"layer": "topk", "k": 1.5, "axes": [0], "operation": "max"},
        "not a whole number; write one, or the name of a tensor that holds one",
    ),
    (
        {**CONV, "kernel": {"a": 1}},
        "not a constant; write a number, true or false, or a (nested) list of them",
    ),
    ({**CONV, "kernel": [[1, float("nan")]]}, "nan is not a finite number"),
    ({**CONV, "kernel": [2**63]}, f"{2**63} does not fit 64 bits"),
    (
        {**CONV, "kernel": [[[[[[[[[1]]]]]]]]]},
        "nested deeper than 8 lists; TensorRT has no tensors of more dimensions",
    ),
]


@pytest.mark.parametrize(("layer", "words"), REFUSED, ids=[str(one[0])[:70] for one in REFUSED])
def test_a_layer_that_contradicts_itself_is_told_by_its_name(layer, words):
    assert words in said(layer)


@pytest.mark.parametrize(
    ("layer", "gates"),
    [
        ("gru", ["update", "reset", "reset"]),
        ("lstm", ["input", "output", "forget"]),
    ],
)
def test_gates_are_named_once_each(layer, gates):
    model = layer_models()[layer]
    needed = {name: "w" for name, one in model.model_fields.items() if one.is_required()}

    with pytest.raises(ValidationError, match=f"layer 'n' has gate_order {', '.join(gates)}; {GATES}"):
        model.model_validate({**needed, "name": "n", "layer": layer, "hidden_size": 4, "gate_order": gates})


@pytest.mark.parametrize(("shape", "taken"), [(["n", 3, -1], ("n", 3, -1)), ("1x3", (1, 3)), ([], ())])
def test_the_shape_of_an_input_may_have_names(shape, taken):
    assert NetworkInput.model_validate({"shape": shape}).shape == taken


@pytest.mark.parametrize("name", ["a b", "1a", ""])
def test_what_is_no_name_of_a_dimension(name):
    with pytest.raises(ValidationError, match=f"not a dimension's name: '{name}'"):
        NetworkInput.model_validate({"shape": [name, 3]})
