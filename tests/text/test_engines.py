"""What `inspect` says of an engine, whose manifest and records may hold anything."""

from __future__ import annotations

import pytest

from trtpipe.text.descriptions import description_lines

DIGEST = "ab" * 32
PLAIN = {"kind": "engine", "bytes": 2048, "blake3": DIGEST, "gpus": {}, "manifest": None, "notes": []}
FIRST = f"TensorRT engine, 2.0 KiB, BLAKE3 {DIGEST}"
UNKNOWN = "no manifest is known for these bytes"


def told(**given) -> list[str]:
    return "\n".join(description_lines({**PLAIN, **given})).splitlines()


def test_an_engine_that_nobody_knows():
    assert told() == [FIRST, UNKNOWN]


MANIFEST = {
    "cell": "p/a@x",
    "precision": "fp16",
    "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7", "python": "Python 3.12"},
    "source": {"net.onnx": "cd"},
    "typed": {"planned": {"float16": 3, "float32": 1}},
    "io": [{"mode": "input", "name": "x", "dtype": "float32", "shape": [-1, 3]}, "damaged"],
    "profiles": [{"x": {"min": [1, 3], "opt": [4, 3], "max": [8, 3]}, "y": "damaged"}, "damaged"],
    "validation": {"outcome": "not_run"},
    "not_run": ["no GPU"],
}


def test_a_manifest_in_lines_without_what_is_damaged_in_it():
    assert told(manifest=MANIFEST)[1:] == [
        "cell p/a@x, precision fp16",
        "built by tensorrt_rtx 1.7, Python 3.12",
        "source net.onnx: cd",
        "nodes computed in: float16 3, float32 1",
        "mode   tensor  dtype    shape",
        "input  x       float32  ?x3",
        "profile 0  min  opt  max",
        "x          1x3  4x3  8x3",
        "validation: not run",
        "not run: no GPU",
    ]


def test_an_empty_manifest_leaves_gaps_and_no_traceback():
    assert told(manifest={}) == [FIRST, "cell , precision ", "built by  , ", "validation: not run"]


LAYERS = [
    {"name": "conv", "type": "Convolution", "outputs": [{"dtype": "float16", "shape": [1, 8]}]},
    {"name": "end", "type": "Cast", "outputs": []},
]
NETWORK = {"kinds": {"Convolution": 1, "Cast": 1}, "types": {"float16": 1}, "layers": LAYERS}


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            {"header": {"version": "10.1", "flags": [1, 2], "none": None, "empty": ""}},
            ["header: version 10.1, flags 1 2"],
        ),
        (
            {"gpus": {"Windows": ["RTX 4090", "L4"], "Linux": []}},
            ["runs on Windows: RTX 4090, L4", "runs on Linux: no GPU that has a name here"],
        ),
        ({"network": NETWORK}, ["network of 2 layers: Convolution 1, Cast 1", "layers in: float16 1"]),
        (
            {"network": NETWORK, "layers": None},
            [
                "network of 2 layers: Convolution 1, Cast 1",
                "layers in: float16 1",
                "layer  type         dtype    shape",
                "conv   Convolution  float16  1x8",
                "end    Cast",
            ],
        ),
        (
            {
                "records": {
                    "proof": {"outcome": "not_run", "gpu": {"name": "L4"}},
                    "bench": {"latency": {"compute": {"p50_us": 12.5}}},
                }
            },
            ["run on a GPU: not run on L4", "latency: 12.5 us of compute in the median"],
        ),
        ({"records": {"proof": {"outcome": "passed"}, "bench": "damaged"}}, ["run on a GPU: passed"]),
        ({"layers": "no GPU\nhere"}, ["layers: no GPU\\nhere"]),
        (
            {"layers": [{"name": "a", "type": "gemm", "outputs": "y"}]},
            ["engine layer  type  outputs", "a             gemm  y"],
        ),
        ({"layers": []}, []),
        ({"notes": ["its bytes were changed"]}, ["its bytes were changed"]),
    ],
    ids=[
        "header",
        "gpus",
        "network",
        "each layer",
        "records",
        "few records",
        "why not",
        "inspected",
        "none",
        "notes",
    ],
)
def test_what_else_is_known_of_an_engine(given, lines):
    assert [line for line in told(**given) if line not in (FIRST, UNKNOWN)] == lines
