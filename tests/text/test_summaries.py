"""A cell's page in the build directory: what it says of an engine, part by part, and what it leaves out."""

from __future__ import annotations

import pytest

from trtpipe.text.summaries import cell_summary

PROVED = [
    {"part": "canonical", "outcome": "proved", "why": ""},
    {"part": "typed", "outcome": "proved", "why": ""},
    {"part": "network", "outcome": "not proved", "why": "a layer was not read"},
    {"part": "engine", "outcome": "not proved", "why": "no GPU here"},
]
PLAIN = {
    "cell": "digits/fp16@ada",
    "engine": {"file": "model.engine", "bytes": 3 << 20, "blake3": "ab" * 32},
    "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7"},
    "compute_capabilities": ["8.6", "8.9"],
    "precision": "fp16",
    "audit": {},
    "reproducibility": {"address_randomisation": "off"},
    "io": [
        {"name": "x", "mode": "input", "dtype": "float32", "shape": [-1, 3, 8]},
        {"name": "y|`z`", "mode": "output", "dtype": "float16", "shape": []},
    ],
    "validation": {"outcome": "not_run"},
    "reach": PROVED,
    "network": {"layers": 5, "layers_read": 4, "warnings": []},
    "not_run": [],
}


def page(**given) -> list[str]:
    return cell_summary({**PLAIN, **given}).splitlines()


def said(**given) -> list[str]:
    """The lines that a page has beyond the plain one."""
    plain = page()
    return [line for line in page(**given) if line and line not in plain]


def test_the_page_of_a_cell_of_which_little_is_known():
    assert page() == [
        "# digits/fp16@ada",
        "",
        "- engine: `model.engine`, 3.0 MiB, BLAKE3 `abababababab`",
        "- built by tensorrt_rtx 1.7 for 8.6, 8.9",
        "- precision: fp16",
        "- address randomisation while building: off",
        "- addresses while building: unknown",
        "",
        "| tensor | mode | dtype | shape |",
        "| --- | --- | --- | --- |",
        "| `x` | input | float32 | ?x3x8 |",
        "| `y\\|'z'` | output | float16 | scalar |",
        "",
        "Validation: not run",
        "",
        "| proof | outcome | why |",
        "| --- | --- | --- |",
        "| source to canonical ONNX | proved | - |",
        "| canonical to typed ONNX | proved | - |",
        "| typed ONNX to TensorRT's network | not proved | a layer was not read |",
        "| TensorRT's network to the engine on a GPU | not proved | no GPU here |",
        "",
        "- TensorRT's network: 4 of 5 layers were read",
    ]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ({"imported": {"costs": ["two\nlines"]}}, ["- import: two\\nlines"]),
        ({"imported": {}}, []),
        (
            {"audit": {"layers": {"float32": 1, "float16": 4}}},
            ["- precision: fp16 (4 layers float16, 1 layers float32)"],
        ),
        ({"not_run": ["no GPU"]}, ["- not run: no GPU"]),
        ({"other_runtimes": ["ORT needs 1.20"]}, ["- elsewhere: ORT needs 1.20"]),
        (
            {"reproducibility": {"address_randomisation": "on", "addresses": "fixed"}},
            ["- address randomisation while building: on", "- addresses while building: fixed"],
        ),
        (
            {
                "network": {
                    "layers": 1,
                    "layers_read": 1,
                    "warnings": [
                        {"kind": "cast", "message": "int64", "count": 1},
                        {"kind": "range", "message": "clamped", "count": 3},
                    ],
                }
            },
            [
                "- TensorRT's network: 1 of 1 layers were read",
                "- TensorRT's parser warns, cast: int64",
                "- TensorRT's parser warns, range: clamped (3 times)",
            ],
        ),
    ],
    ids=lambda one: next(iter(one), "none") if isinstance(one, dict) else "",
)
def test_what_else_is_known_of_an_engine(given, lines):
    assert said(**given) == lines


@pytest.mark.parametrize(
    ("wide", "lines"),
    [
        (
            {"by_default": {"Softmax": 2, "Exp": 1}},
            ["- nodes in float32 by default: 2 for Softmax, 1 for Exp"],
        ),
        (
            {"overflow": {"a": {"tensor": "t", "reaches": 65000.5, "inside": False}}},
            ["- kept in float32: `a`, for `t` reaches 65000.5, too near half precision's end"],
        ),
        (
            {"overflow": {"a": {"tensor": "t", "reaches": float("inf"), "inside": True}}},
            ["- kept in float32: `a`, for what makes `t` adds up to inf, too near half precision's end"],
        ),
        (
            {"unmeasured": 3},
            ["- not measured: 3 nodes in branches and bodies may overflow half precision"],
        ),
        (
            {"overflow_io": {"x": 70000}},
            ["- type kept: `x` reaches 70000, too near half precision's end"],
        ),
    ],
    ids=["by default", "overflow", "inside", "unmeasured", "io"],
)
def test_what_is_kept_in_float32_and_why(wide, lines):
    assert said(typed={"wide": wide}) == lines


@pytest.mark.parametrize(("count", "more"), [(20, None), (21, 1), (25, 5)])
def test_of_many_overflowing_nodes_twenty_are_named_and_the_others_counted(count, more):
    nodes = {f"n{index}": {"tensor": "t", "reaches": 1e5, "inside": False} for index in range(count)}

    lines = said(typed={"wide": {"overflow": nodes}})

    assert [line.split("`")[1] for line in lines[:20]] == list(nodes)[:20]
    told = f"- kept in float32 for the same reason: {more} more nodes, which the manifest names"
    assert lines[20:] == ([told] if more else [])


CACHE = {
    "tensors": 9,
    "cache": {
        "origin": "TRT-8",
        "wanted": 10,
        "counts": {"missing": 1},
        "matched": 9,
        "entries": 12,
    },
}


@pytest.mark.parametrize(
    ("calibration", "lines"),
    [
        (
            {"tensors": 9, "method": "entropy", "samples": 64, "from": "the lockfile"},
            [
                "- scales: taken from the lockfile",
                "- scales: entropy of 64 samples, 9 tensors",
            ],
        ),
        (
            CACHE,
            [
                "- scales: from a calibration cache (TRT-8): 9 of 10 tensors; 9 of its 12 entries match",
            ],
        ),
        (
            {
                "tensors": 2,
                "method": "max",
                "samples": 1,
                "counts": {"scaled": 2, "missing": 1},
                "recommended": "entropy",
                "cosines": {"max": 0.99, "entropy": 0.9991234},
                "compared_on": 8,
                "decibels": {"max": 20.04},
            },
            [
                "- scales: max of 1 samples, 2 tensors",
                "- coverage: 2 scaled, 1 missing; method recommended: entropy",
                "- cosine of the outputs with int8 activations on 8 samples, by method: max 0.99, entropy 0.999123",
                "- signal over noise in int8, by method: max 20.0 dB",
            ],
        ),
        (
            {"tensors": 2, "method": "max", "samples": 1, "counts": {"scaled": 2}},
            [
                "- scales: max of 1 samples, 2 tensors",
                "- coverage: 2 scaled; method recommended: not known",
            ],
        ),
        ({"ranges": 3, "samples": 8}, ["- ranges: 3 tensors, 8 samples"]),
        ({"warnings": ["few samples"]}, ["- calibration: few samples"]),
    ],
    ids=["scales", "cache", "coverage", "no recommendation", "ranges", "warnings"],
)
def test_where_the_scales_come_from_and_how_well_they_fit(calibration, lines):
    assert said(calibration=calibration) == lines


SEARCH = {
    "from": "a search",
    "budget": "cosine at least 0.99",
    "reached": "cosine 0.995",
    "choice": {"keep": {"fp32": ["a", "b"], "fp16": ["c"]}},
    "evaluations": 7,
}


@pytest.mark.parametrize(
    ("search", "lines"),
    [
        (
            SEARCH,
            [
                "- found by a search within its budget, cosine at least 0.99: cosine 0.995, 2 kept in fp32, "
                "1 kept in fp16"
            ],
        ),
        (
            {**SEARCH, "choice": {"keep": {}}, "bounded": "its limit"},
            [
                "- found by a search within its budget, cosine at least 0.99: cosine 0.995, nothing kept wider",
                "- the search stopped at its limit after 7 evaluations",
            ],
        ),
    ],
    ids=["kept", "bounded"],
)
def test_what_a_search_found(search, lines):
    assert said(search=search) == lines


POINT = {
    "precision": "int8",
    "kept": {"fp32": 2},
    "cost": 0.253,
    "weight_bytes": 2048,
    "noise": 0.012345,
    "value": 0.99512345678,
    "inside": True,
}
UNKNOWN = {**POINT, "kept": {}, "noise": None, "value": None, "inside": False}


@pytest.mark.parametrize(
    ("count", "plot", "first", "last"),
    [
        (7, "", "Cost against error, of 7 typed models that were measured:", None),
        (
            1,
            "front.svg",
            "Cost against error, of the one typed model that was measured:",
            "![cost against error](front.svg)",
        ),
        (
            2,
            "no matplotlib",
            "Cost against error, of 2 typed models that were measured:",
            "plot: no matplotlib",
        ),
    ],
    ids=["no plot", "a plot", "why not"],
)
def test_the_measured_points_of_a_search_and_their_plot(count, plot, first, last):
    lines = said(search={**SEARCH, "evaluations": count, "plot": plot, "front": [POINT, UNKNOWN]})[1:]

    assert lines[0] == first
    rows = [
        "| int8 | 2 fp32 | 25.3 % | 2.0 KiB | 0.0123 | 0.9951235 | yes |",
        "| int8 | - | 25.3 % | 2.0 KiB | not finite | - | no |",
    ]
    assert [line for line in lines if line.startswith("| int8")] == rows
    assert lines[-1] == (last or rows[-1])


VERDICT = {"place": "data", "output": "y", "metric": "cosine", "outcome": "passed"}


def test_verdicts_with_their_bounds():
    verdicts = [
        {**VERDICT, "value": 0.99987654321, "min": 0.999},
        {**VERDICT, "metric": "max_abs", "value": "inf", "min": 0, "max": 0.5, "outcome": "failed"},
    ]

    lines = said(validation={"outcome": "failed", "verdicts": verdicts})

    assert lines == [
        "Validation: failed",
        "| on | output | metric | value | must be | outcome |",
        "| --- | --- | --- | --- | --- | --- |",
        "| data | `y` | cosine | 0.999877 | >= 0.999 | passed |",
        "| data | `y` | max_abs | inf | >= 0 and <= 0.5 | failed |",
    ]


@pytest.mark.parametrize(
    ("validation", "line"),
    [
        ({"accuracy": 0.98765, "reference_accuracy": 0.99}, "- accuracy 0.9877 (reference 0.99)"),
        ({"accuracy": 1}, "- accuracy 1 (reference nan)"),
        (
            {"twins": {"bfloat16": "the float32 model"}},
            "- run on the CPU: the float32 model, for ONNX Runtime has no kernels for bfloat16 there",
        ),
    ],
    ids=["accuracy", "no reference", "twin"],
)
def test_what_a_validation_measured_besides(validation, line):
    assert said(validation={"outcome": "passed", **validation}) == ["Validation: passed", line]
