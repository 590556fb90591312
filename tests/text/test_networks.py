"""A network of TensorRT's parser in lines: its tensors, layers, totals, and what could not be read."""

from __future__ import annotations

import pytest

from trtpipe.text.networks import layer_words, network_lines, warning_lines

X = {"name": "x", "dtype": "float32", "shape": [-1, 3]}
TOTALS = {
    "by_type": {"Constant": 1, "Relu": 2},
    "layers": 3,
    "weights_bytes": 2048,
    "loops": 0,
    "conditionals": 0,
    "attentions": 0,
}
RECORD = {
    "cell": "p/a@x",
    "toolchain": "TensorRT-RTX 1.7",
    "inputs": [X],
    "outputs": [{"name": "y", "dtype": "float16", "shape": []}],
    "layers": [],
    "totals": TOTALS,
    "unread": [],
    "warnings": [],
}
LAYER = {
    "number": 7,
    "type": "Relu",
    "name": "r",
    "node": None,
    "outputs": [X, {"name": "z", "dtype": "int32", "shape": None}],
}


def test_a_network_without_layers_is_its_tensors_and_totals():
    assert network_lines(RECORD) == [
        "TensorRT's network of p/a@x, as TensorRT-RTX 1.7 parses it",
        "input x: float32 ?x3",
        "output y: float16 scalar",
        "3 layers: Constant 1, Relu 2",
        "weights 2.0 KiB",
    ]


def test_a_layer_is_a_row_with_the_node_that_it_comes_from():
    lines = network_lines({**RECORD, "layers": [LAYER, {**LAYER, "number": 8, "node": "relu_1"}]})

    assert [line.split() for line in lines[3].splitlines()] == [
        ["layer", "type", "name", "ONNX", "node", "outputs"],
        ["7", "Relu", "r", "x:", "float32", "?x3,", "z:", "int32", "of", "unknown", "rank"],
        ["8", "Relu", "r", "relu_1", "x:", "float32", "?x3,", "z:", "int32", "of", "unknown", "rank"],
    ]


@pytest.mark.parametrize(
    ("totals", "lines"),
    [
        ({"layers": 1, "by_type": {"Relu": 1}}, ["1 layer: Relu 1", "weights 2.0 KiB"]),
        ({"loops": 1, "attentions": 1}, ["1 loop", "1 attention"]),
        ({"loops": 2, "conditionals": 3, "attentions": 4}, ["2 loops", "3 conditionals", "4 attentions"]),
    ],
    ids=["one", "singular", "plural"],
)
def test_totals_are_counted_in_words(totals, lines):
    plain = network_lines(RECORD)

    assert [
        line for line in network_lines({**RECORD, "totals": {**TOTALS, **totals}}) if line not in plain
    ] == [line for line in lines if line not in plain]


def test_what_was_not_read_is_told_with_its_reason_and_warnings_once():
    unread = [{"name": "p", "type": "PluginV3", "why": "its code is not here"}]

    lines = network_lines({**RECORD, "unread": unread, "warnings": ["int64", "cast\n", "int64"]})

    assert lines[-3:] == [
        "not read: 'p' (PluginV3): its code is not here",
        "TensorRT's parser warns: int64 (2 times)",
        "TensorRT's parser warns: cast\\n",
    ]
    assert warning_lines([]) == []


def test_a_layer_in_a_few_words():
    assert layer_words(LAYER) == "7 Relu 'r'"
