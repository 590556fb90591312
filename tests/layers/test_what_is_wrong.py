"""What is wrong with a declared network is said by layer, with both shapes, all of it at once, at its line."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest

from tests.layers.declared_networks import lowered
from trtpipe.checks.check import check_specs
from trtpipe.errors import ModelError
from trtpipe.loader.project import find_project
from trtpipe.loader.specs import load_pipeline
from trtpipe.spec.network.network import NetworkOptions
from trtpipe.workspace.known_names import known_names

IMAGE = {"shape": ["batch", 3, 8, 8]}
WEIGHTS = {
    "w": np.zeros((4, 3, 3, 3), np.float32),
    "transposed": np.zeros((3, 3, 3, 4), np.float32),
    "flat": np.zeros(108, np.float32),
    "short": np.zeros(100, np.float32),
    "whole": np.zeros((4, 3, 3, 3), np.int32),
    "wide": np.zeros((4, 3, 3, 3), np.float64),
}
ROWS = {"shape": ["batch", 6]}


def conv(**changes: Any) -> dict[str, Any]:
    return {
        "layer": "convolution", "name": "conv", "num_output_maps": 4, "kernel_size": [3, 3], "kernel": "w", **changes,
    }  # fmt: skip


def network(*layers: dict[str, Any], inputs: Any = None, **more: Any) -> NetworkOptions:
    written = {
        "weights": "w.npz",
        "ignore_weights": ["*"],
        "inputs": inputs or {"image": IMAGE},
        "layers": list(layers),
        "outputs": [layers[-1].get("name", "y")],
    }
    return NetworkOptions.model_validate(written | more)


def problems(options: NetworkOptions, folder: Path) -> list[Any]:
    with pytest.raises(ModelError) as caught:
        lowered(options, WEIGHTS, folder)
    return list(caught.value.problems)


SAID = {
    "kernel of another shape": (
        [conv(kernel="transposed")],
        "layer 'conv' (convolution): weights 'transposed' are [3, 3, 3, 4] instead of [4, 3, 3, 3]; "
        "its input 'image' is [batch, 3, 8, 8]",
        "kernel",
    ),
    "too few weights": (
        [conv(kernel="short")],
        "layer 'conv' (convolution): weights 'short' are [100] instead of [4, 3, 3, 3]; "
        "its input 'image' is [batch, 3, 8, 8]",
        "kernel",
    ),
    "weights of whole numbers": (
        [conv(kernel="whole")],
        "layer 'conv' (convolution): weights 'whole' are int32 instead of float32; "
        "its input 'image' is [batch, 3, 8, 8]",
        "kernel",
    ),
    "inline weights of another shape": (
        [conv(bias=[1, 2, 3])],
        "layer 'conv' (convolution) has a bias of [3] instead of [4]",
        "bias",
    ),
    "a window larger than its input": (
        [{"layer": "pooling", "name": "y", "type": "max", "window_size": [9, 2]}],
        "layer 'y' (pooling) has a window of 9 on spatial axis 0, but 'image' [batch, 3, 8, 8] with its padding has 8",
        "window_size",
    ),
    "a kernel of other axes": (
        [conv(kernel_size=[3])],
        "layer 'conv' (convolution) has kernel_size [3] for 1 spatial axes, but 'image' [batch, 3, 8, 8] has 2",
        "kernel_size",
    ),
    "a stride of other axes": (
        [conv(stride=[1, 1, 1])],
        "layer 'conv' (convolution) has 3 numbers in stride, but there are 2 spatial axes",
        "stride",
    ),
    "groups that do not divide": (
        [conv(num_groups=2)],
        "layer 'conv' (convolution) has 2 groups, but 'image' [batch, 3, 8, 8] has 3 channels",
        "num_groups",
    ),
    "shapes that do not broadcast": (
        [conv(padding=[1, 1]), {"layer": "elementwise", "name": "y", "op": "sum", "inputs": ["image", "conv"]}],
        "layer 'y' (elementwise) reads 'image' [batch, 3, 8, 8] and 'conv' [batch, 4, 8, 8], which do not broadcast",
        "inputs",
    ),
    "a concatenation of unlike tensors": (
        [conv(), {"layer": "concatenation", "name": "y", "inputs": ["image", "conv"], "axis": 1}],
        "layer 'y' (concatenation) puts 'conv' [batch, 4, 6, 6] behind 'image' [batch, 3, 8, 8] on axis 1",
        "inputs",
    ),
    "another number of elements": (
        [{"layer": "shuffle", "name": "y", "reshape_dims": [0, 200]}],
        "layer 'y' (shuffle) makes [0, 200] of 'image' [batch, 3, 8, 8], which has another number of elements",
        "reshape_dims",
    ),
    "what does not divide": (
        [{"layer": "shuffle", "name": "y", "reshape_dims": [0, -1, 7]}],
        "layer 'y' (shuffle) makes [0, -1, 7] of 'image' [batch, 3, 8, 8], which has another number of elements",
        "reshape_dims",
    ),
    "an axis that is not there": (
        [{"layer": "softmax", "name": "y", "axes": [4]}],
        "layer 'y' (softmax) has axis 4, but there are 4 axes",
        "axes",
    ),
    "an axis that is not one": (
        [{"layer": "squeeze", "name": "y", "axes": [1]}],
        "layer 'y' (squeeze) removes axis 1 of 'image' [batch, 3, 8, 8], which is not 1",
        "axes",
    ),
    "elements outside": (
        [{"layer": "slice", "name": "y", "axes": [2], "start": [4], "shape": [3], "stride": [2]}],
        "layer 'y' (slice) reads elements 4 to 8 of axis 2 of 'image' [batch, 3, 8, 8]",
        "start",
    ),
    "a type that an operator does not take": (
        [{"layer": "cast", "name": "c", "to_type": "bool"}, {"layer": "activation", "name": "y", "type": "tanh"}],
        "layer 'y' (activation) does not take 'c' [batch, 3, 8, 8]: Tanh does not take bool ('c')",
        None,
    ),
    "unlike types": (
        [
            {"layer": "cast", "name": "c", "to_type": "int32"},
            {"layer": "elementwise", "name": "y", "op": "sum", "inputs": ["image", "c"]},
        ],
        "layer 'y' (elementwise) does not take 'image' [batch, 3, 8, 8], 'c' [batch, 3, 8, 8]: "
        "'image' [batch, 3, 8, 8] is float32, but 'c' [batch, 3, 8, 8] is int32",
        None,
    ),
    "products of unlike rows": (
        [
            {"layer": "constant", "name": "c", "weights": [[1.0, 2.0], [3.0, 4.0]]},
            {"layer": "matrix_multiply", "name": "y", "inputs": ["image", "c"]},
        ],
        "layer 'y' (matrix_multiply) multiplies 'image' [batch, 3, 8, 8] (none) by 'c' [2, 2] (none)",
        "inputs",
    ),
    "an equation with other letters": (
        [{"layer": "einsum", "name": "y", "inputs": ["image"], "equation": "ij->j"}],
        "layer 'y' (einsum) has 'ij' for 'image' [batch, 3, 8, 8] in its equation",
        "equation",
    ),
    "more than there are": (
        [{"layer": "topk", "name": "y", "op": "max", "k": 9, "axes": [3]}],
        "layer 'y' (topk) takes the first 9 of axis 3 of 'image' [batch, 3, 8, 8]",
        "k",
    ),
    "a size that is not known": (
        [conv(stride=[2, 2], padding_mode="explicit_round_up", input="x")],
        "layer 'conv' (convolution) needs the size of spatial axis 0 to round its output up, which is dynamic",
        None,
    ),
    "a parameter that does nothing": (
        [{"layer": "activation", "name": "y", "type": "relu", "alpha": 1}],
        "layer 'y' (activation) has alpha, which relu does not take",
        "alpha",
    ),
    "a parameter that lacks": (
        [{"layer": "activation", "name": "y", "type": "clip", "alpha": 1}],
        "layer 'y' (activation) has no beta, which clip needs",
        "type",
    ),
    "no form in ONNX": (
        [{"layer": "resize", "name": "y", "scales": [1, 1, 2, 2], "selector_for_single_pixel": "upper"}],
        "layer 'y' (resize) has selector_for_single_pixel upper with asymmetric, which has no ONNX form",
        "selector_for_single_pixel",
    ),
    "gates of one direction": (
        [{"layer": "rnn", "name": "y", "hidden_size": 2, "input_weights": ["w", "w"], "recurrent_weights": "w",
          "input": "steps"}],
        "layer 'y' (rnn) has input_weights for two directions and runs in one",
        "input_weights",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("layers", "fact", "field"), SAID.values(), ids=SAID)
def test_it_is_said_of_the_layer_with_both_shapes(layers, fact, field, tmp_path):
    inputs = {"image": IMAGE, "x": {"shape": [1, 3, -1, 8]}, "steps": {"shape": [1, 4, 3]}}
    layers = [{"input": "image"} | layer if "inputs" not in layer and layer["layer"] != "constant" and i == 0 else layer
              for i, layer in enumerate(layers)]  # fmt: skip

    (problem,) = problems(network(*layers, inputs=inputs), tmp_path)

    assert problem.fact.startswith(fact)
    index = len(layers) - 1
    assert problem.path[:4] == ("model", "options", "layers", index)
    assert field is None or problem.path[4] == field


def test_float_weights_of_another_width_are_cast(tmp_path):
    assert lowered(network(conv(kernel="wide")), WEIGHTS, tmp_path).exists()


def test_independent_mistakes_are_said_at_once_and_what_follows_from_them_is_not(tmp_path):
    found = problems(
        network(
            conv(kernel="transposed"),
            {"layer": "activation", "name": "relu", "type": "relu"},
            {"layer": "softmax", "name": "soft", "axes": [7], "input": "image"},
            {"layer": "elementwise", "name": "sum", "op": "sum", "inputs": ["relu", "imgae"]},
            {"layer": "elementwise", "name": "early", "op": "sum", "inputs": ["relu", "late"]},
            {"layer": "identity", "name": "late"},
            {"layer": "identity", "name": "relu"},
            outputs=["late", "lat"],
            ignore_weights=[],
        ),
        tmp_path,
    )

    assert [(problem.fact, problem.path[2:]) for problem in found] == [
        (
            "layer 'conv' (convolution): weights 'transposed' are [3, 3, 3, 4] instead of [4, 3, 3, 3]; "
            "its input 'image' is [batch, 3, 8, 8]",
            ("layers", 0, "kernel"),
        ),
        ("layer 'soft' (softmax) has axis 7, but there are 4 axes", ("layers", 2, "axes", 0)),
        (
            "layer 'sum' (elementwise) reads 'imgae', which no layer before it yields",
            ("layers", 3, "inputs", 1),
        ),
        (
            "layer 'early' (elementwise) reads 'late', which only a later layer yields",
            ("layers", 4, "inputs", 1),
        ),
        ("there are two tensors 'relu': layer 'relu' (identity) yields the second", ("layers", 6, "name")),
        ("output 'lat' is not a tensor of the network", ("outputs", 1)),
        ("no layer uses the weights 'w', 'flat', 'short', 'whole', 'wide'", ("weights",)),
    ]
    assert found[2].remedy.startswith("did you mean 'image'? valid tensors: ")
    assert found[5].remedy.startswith("did you mean 'late'? valid tensors: ")


def test_missing_weights_are_answered_with_the_likely_name(tmp_path):
    (problem,) = problems(network(conv(kernel="flt")), tmp_path)

    assert problem.fact == "layer 'conv' (convolution): no weights 'flt'"
    assert problem.remedy == "did you mean 'flat'? valid weights: w, transposed, flat, short, whole, wide"


def test_weights_in_the_place_of_a_tensor_are_answered_with_the_way(tmp_path):
    (problem,) = problems(
        network({"layer": "elementwise", "name": "y", "op": "sum", "inputs": ["image", "w"]}), tmp_path
    )

    assert problem.remedy.startswith(
        "it is the name of weights: make a tensor of them with a constant layer\n"
    )


def test_unused_weights_may_be_said_to_be_unneeded(tmp_path):
    options = network(conv(), ignore_weights=["[!w]*", "w[ih]*"])

    assert lowered(options, WEIGHTS, tmp_path).exists()


SPEC = """\
    schema: 1
    pipeline: net
    model:
      parser: network
      options:
        weights: w.npz
        inputs: {image: {shape: [batch, 3, 8, 8]}}
        layers:
          - layer: convolution
            name: conv
            num_output_maps: 4
            kernel_size: [3, 3]
            kernel: w
          - {layer: softmax, name: y, axes: [9]}
        outputs: [y]
    profiles: [{image: 1x3x8x8}]
    targets: {ada: {gpu: sm89}}
"""


def test_check_says_it_at_the_line_of_the_spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "w.npz", w=np.zeros((4, 2, 3, 3), np.float32))
    (tmp_path / "pipelines").mkdir()
    path = tmp_path / "pipelines" / "net.yaml"
    path.write_text(dedent(SPEC))
    assert load_pipeline(path, find_project(path), known_names()).option_files()

    report = check_specs([], [])

    assert [str(problem).splitlines()[:3] for problem in report.problems] == [
        [
            "pipelines/net.yaml:13:17: layer 'conv' (convolution): weights 'w' are [4, 2, 3, 3] instead of "
            "[4, 3, 3, 3]; its input 'image' is [batch, 3, 8, 8]",
            "            kernel: w",
            "                    ^",
        ]
    ]
