"""What `inspect` says of each kind of file, in lines: all that is known, and nothing of what is not."""

from __future__ import annotations

import pytest

from trtpipe.text.descriptions import description_lines, dims_text, flops_text


def told(record) -> list[str]:
    return "\n".join(description_lines(record)).splitlines()


TENSOR = {"name": "x", "dtype": "float32", "dims": [None, 3, -1, "h"]}
SUMMARY = {
    "opsets": [["", 17], ["com.microsoft", 1]],
    "producer": "",
    "inputs": [TENSOR],
    "outputs": [{"name": "y", "dtype": "float32", "dims": []}],
    "operators": [["Relu", 2]],
    "functions": [],
    "weights": [],
}
MODEL = {
    "kind": "model",
    "format": "onnx",
    "nbytes": 2048,
    "summary": SUMMARY,
    "external": [],
    "dynamic_dims": [],
    "shape_tensors": [],
    "custom_operators": [],
    "nested_graphs": 0,
    "quantized": 0,
    "float_types": [],
    "costs": {"flops": 0, "uncounted": 0, "activation_bytes": None, "peak_at": None},
    "at": {},
    "io_bytes": None,
    "support": [],
    "problems": [],
}
TABLE = [
    "mode    tensor  dtype    shape",
    "input   x       float32  ?x3x?xh",
    "output  y       float32  scalar",
]


def test_a_model_of_which_little_is_known():
    assert told(MODEL) == [
        "ONNX model, 2.0 KiB, opset ai.onnx 17, com.microsoft 1",
        *TABLE,
        "operators: Relu 2",
    ]


@pytest.mark.parametrize(
    ("form", "title"), [("caffe", "Caffe net"), ("uff", "UFF model"), ("stack", "stack model")]
)
def test_a_model_of_another_format_has_no_opset(form, title):
    assert told({**MODEL, "format": form})[0] == f"{title}, 2.0 KiB"


NODE = {
    "name": "",
    "domain": "",
    "op": "Relu",
    "outputs": [["y", "float32", [1, 8]]],
    "parameters": 0,
    "flops": 8,
    "output_bytes": 32,
}
STATISTICS = {"least": -1.23456, "most": 2, "mean": None, "deviation": 0.5, "zeros": 1, "nonfinite": 0}
WEIGHT = {"name": "w", "dtype": "float32", "dims": [2, 3], "elements": 6, "statistics": None}
COSTS = {"flops": 2_500_000, "uncounted": 2, "activation_bytes": 1024, "peak_at": "a"}


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({"summary": {**SUMMARY, "producer": "pytorch"}}, ["made by pytorch"]),
        ({"external": [{"name": "net.data", "nbytes": 1024}]}, ["external data: net.data, 1.0 KiB"]),
        (
            {
                "dynamic_dims": [{"name": "h", "places": ["x[3]", "y[0]"], "origin": "an input"}],
                "shape_tensors": ["s"],
            },
            [
                "dynamic size  where       from",
                "h             x[3], y[0]  an input",
                "shape tensors: s",
            ],
        ),
        (
            {
                "nodes": [
                    NODE,
                    {
                        **NODE,
                        "name": "n",
                        "domain": "my.ops",
                        "outputs": [],
                        "flops": None,
                        "output_bytes": None,
                    },
                ]
            },
            [
                "node  operator      dtype    shape         parameters  FLOPs  output",
                "y     Relu          float32  1x8           0           8      32 B",
                "n     my.ops::Relu  ?        unknown rank  0           ?      ?",
            ],
        ),
        (
            {
                "custom_operators": ["my.ops::A", "my.ops::B"],
                "nested_graphs": 2,
                "quantized": 4,
                "float_types": [["float16", 3], ["float32", 1]],
                "summary": {
                    **SUMMARY,
                    "functions": ["f"],
                    "weights": [{"dtype": "float32", "elements": 6, "nbytes": 24}],
                },
            },
            [
                "custom operators: my.ops::A, my.ops::B",
                "functions: f",
                "nested graphs: 2",
                "quantize and dequantize nodes: 4",
                "weights float32: 6 values, 24 B",
                "values in: float16 3, float32 1",
            ],
        ),
        (
            {"at": {"x": [1, 3, 8, 8]}, "costs": COSTS, "io_bytes": 512},
            [
                "at x 1x3x8x8: 2.5 M FLOPs, 2 nodes not counted",
                "memory: weights 0 B, inputs and outputs 512 B, activations at most 1.0 KiB, at 'a'",
            ],
        ),
        (
            {"at": {"x": [1]}, "costs": {**COSTS, "uncounted": 0, "peak_at": None}},
            ["at x 1: 2.5 M FLOPs", "memory: weights 0 B, activations at most 1.0 KiB"],
        ),
        (
            {
                "weights": [
                    {**WEIGHT, "statistics": STATISTICS},
                    {**WEIGHT, "name": "v", "dims": None, "statistics": STATISTICS},
                ],
                "nonfinite_weights": ["v\n"],
            },
            [
                "weight  dtype    shape  values  min     max  mean  deviation  zeros  not finite",
                "w       float32  2x3    6       -1.235  2    -     0.5        1      0",
                "v       float32  flat   6       -1.235  2    -     0.5        1      0",
                "not finite: weight v\\n holds NaN or infinity",
            ],
        ),
        ({"problems": ["shape inference\nfails"]}, ["shape inference\\nfails"]),
    ],
    ids=["producer", "external", "dynamic", "nodes", "counts", "costs", "no peak", "weights", "problems"],
)
def test_what_else_is_known_of_a_model(given, lines):
    plain = told(MODEL)

    assert [line for line in told({**MODEL, **given}) if line not in plain] == lines


def test_a_model_without_inputs_has_its_cost_at_no_input():
    lines = told({**MODEL, "summary": {**SUMMARY, "inputs": []}, "costs": {**COSTS, "uncounted": 0}})

    assert "at no input: 2.5 M FLOPs" in lines


def test_each_toolchain_answers_once_with_its_gpus_and_a_refusal_is_told_below():
    plain = {"flavour": "tensorrt", "versions": "10", "capability": "8.6", "refused": [], "notes": []}
    rtx = {**plain, "flavour": "tensorrt_rtx", "versions": "1.7"}
    support = [
        plain,
        {**plain, "capability": "8.9"},
        {**rtx, "refused": ["no Foo", "no Bar"]},
        {**rtx, "versions": "1.6", "refused": ["no Bar"], "notes": ["not tried"]},
    ]

    lines = told({**MODEL, "support": support})

    assert lines[len(told(MODEL)) :] == [
        "toolchain     version  for      result",
        "tensorrt_rtx  1.7      8.6      refuses it: (1) (2)",
        "tensorrt_rtx  1.6      8.6      refuses it: (2), not tried",
        "tensorrt      10       8.6 8.9  no known problem",
        "(1) no Foo",
        "(2) no Bar",
    ]


def test_a_pipeline_has_its_layers_each_with_its_outputs_below_it():
    layer = {"name": "t", "layer": "topk", "outputs": [TENSOR, {**TENSOR, "name": "i"}], "parameters": 7}
    record = {**MODEL, "kind": "pipeline", "pipeline": "p", "parser": "network", "layers": [layer]}

    assert told(record)[:4] == [
        "pipeline p, parser network",
        "layer  kind  output  dtype    shape    parameters",
        "t      topk  x       float32  ?x3x?xh  7",
        "             i       float32  ?x3x?xh",
    ]
    assert told({**record, "layers": []})[1] == TABLE[0]


def test_a_file_of_weights_is_a_table_of_its_tensors():
    record = {"kind": "weights", "format": "npz", "nbytes": 48, "tensors": [WEIGHT, {**WEIGHT, "name": "v"}]}

    assert told(record) == [
        "weights (npz), 48 B: 2 tensors, 12 values",
        "weight  dtype    shape  values",
        "w       float32  2x3    6",
        "v       float32  2x3    6",
    ]


def test_a_model_that_was_not_converted_shows_what_its_format_says():
    record = {
        "kind": "unconverted model",
        "format": "pytorch",
        "what": "program",
        "operators": {"aten::relu": 2, "aten::add": 1},
        "inputs": [{"name": "x", "dtype": None, "dims": ["b", 3]}],
        "outputs": ["y"],
        "facts": {
            "signatures": {"serve": {"inputs": ["x", "n"], "outputs": ["y"]}},
            "weights": {"tensors": 4, "nbytes": 1024},
            "sizes": {"b": "1 to 8"},
            "tags": [["serve", "gpu"], "x"],
            "made by": "torch 2.9",
        },
        "notes": ["an old format"],
    }

    assert told(record) == [
        "pytorch program: 3 nodes",
        "mode    tensor  dtype  shape",
        "input   x       ?      bx3",
        "output  y",
        "signature serve: x, n -> y",
        "weights: 4 tensors, 1.0 KiB",
        "size b: 1 to 8",
        "tags: serve, gpu; x",
        "made by: torch 2.9",
        "operators: aten::relu 2, aten::add 1",
        "an old format",
        "read without converting it: shapes, costs and targets need a spec, and the parser's extra",
    ]
    assert told({**record, "inputs": [], "outputs": [], "facts": {}})[1] == (
        "operators: aten::relu 2, aten::add 1"
    )


def test_a_lockfile_has_a_column_for_each_field_that_some_cell_has():
    cells = {
        "p/a@x": {"toolchain": "rtx 1.7", "engine": f"{'a' * 64} (3 bytes)", "run_on_gpu": ""},
        "p/b@x": {"precision": "fp16"},
    }

    assert told({"kind": "lockfile", "cells": cells}) == [
        "lockfile, 2 cells",
        "cell   toolchain  precision  engine",
        "p/a@x  rtx 1.7               aaaaaaaaaaaa (3 bytes)",
        "p/b@x             fp16",
    ]
    assert told({"kind": "lockfile", "cells": {}}) == ["lockfile, 0 cells"]


SCALES = {
    "kind": "scales",
    "method": "entropy",
    "backend": "trtpipe",
    "samples": 64,
    "source": "photos",
    "tensors": {"x": {"amax": 1.23456, "largest": 2.0, "clipped": 0.0123, "zeros": None}, "y": {"amax": 1}},
    "ranges": {"z": 70000.0},
}


def test_scales_are_a_table_and_ranges_another():
    assert told(SCALES) == [
        "scales by entropy (trtpipe), 64 samples",
        "from photos",
        "tensor  amax   largest  clipped  zeros",
        "x       1.235  2        1.23%    -",
        "y       1      -        -        -",
        "tensor  range",
        "z       7e+04",
    ]
    bare = {**SCALES, "samples": None, "source": "", "tensors": {}}
    del bare["ranges"]
    assert told(bare) == ["scales by entropy (trtpipe)"]


def test_a_calibration_cache_names_what_cannot_be_right_in_it():
    tensors = [
        {"name": "x", "amax": 1.27, "scale": 0.01, "plausible": True},
        {"name": "y", "amax": 1e30, "scale": 1e28, "plausible": False},
    ]
    record = {
        "kind": "calibration cache",
        "origin": "TensorRT 8.6",
        "method": "entropy",
        "tensors": tensors,
        "unusable": {"z": "its scale is NaN"},
        "notes": ["made on another machine"],
    }

    assert told(record) == [
        "calibration cache: TensorRT 8.6, entropy, 2 tensors",
        "tensor  amax   int8 scale",
        "x       1.27   0.01",
        "y       1e+30  1e+28",
        "implausible scales: y",
        "unusable: z: its scale is NaN",
        "made on another machine",
    ]
    assert told({**record, "method": "", "tensors": [], "unusable": {}, "notes": []}) == [
        "calibration cache: TensorRT 8.6, 0 tensors"
    ]


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1 k"),
        (999_499, "999 k"),
        (999_500, "1 M"),
        (1_820_000_000, "1.82 G"),
        (5 * 10**12, "5 T"),
        (2 * 10**15, "2 P"),
    ],
)
def test_operations_for_a_reader(flops, text):
    assert flops_text(flops) == text


@pytest.mark.parametrize(
    ("dims", "text"),
    [([1, "n", None, -1], "1xnx?x?"), ([], "scalar"), (None, "unknown rank"), (["a\nb"], "a\\nb")],
)
def test_a_shape_for_a_reader(dims, text):
    assert dims_text(dims) == text
