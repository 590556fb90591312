"""Keys and values of declared layers, data sets and sources: what is told of each is written, and the file is read."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.remedies.remedy_places import SPEC, Place, Row, apply, rewrite
from tests.remedies.small_models import relu
from tests.remedies.spec_rows import MODEL, QUANTIZED, VARIANTS, shared, spec
from tests.remedies.test_data_remedies import OF_X, PICTURE, data, png
from tests.remedies.test_layer_remedies import CACHE, INPUT, RELU, WITH, layers, network, npz
from trtpipe.loader.sources import resolve_source
from trtpipe.problem_codes import Code, ProblemCode

# -- declared layers


def keys(name: str, wrong: str, remedy: str, right: str, code: ProblemCode = Code.LAYER_KEYS, files: object = None,
         weights: str = "", inputs: str = INPUT) -> Row:  # fmt: skip
    """One layer called y; `wrong` and `right` are what it says beside its name."""

    def whole(says: str) -> str:
        return network(f"      - {{name: y, {says}}}\n", inputs=inputs, weights=weights)

    return layers(name, code, whole(wrong), remedy, whole(right), files)


STATISTICS = {"s.npz": npz(m=np.zeros(3, np.float32), v=np.ones(3, np.float32), b=np.zeros(8, np.float32))}
NORMAL = "layer: normalization, type: %s"
SLICE = "layer: slice, start: [0, 0, 0, 0], shape: [1, 3, 4, 4]"
LRN = "layer: lrn, alpha: 1.0, beta: 0.5, k: 1.0, window_size: %d"
SEQUENCE = "    inputs: {x: {shape: [5, 1, 3]}}\n"
HEADS = "    inputs: {q: {shape: [1, 1, 4, 4]}, m: {shape: [1, 1, 4, 4]}}\n"
GRU = {"g.npz": npz(w=np.ones((1, 6, 3), np.float32), r=np.ones((1, 6, 2), np.float32))}


def field(name: str, wrong: str, remedy: str, right: str, code: ProblemCode = Code.LAYER_KEYS) -> Row:
    """A field of a plugin."""

    def whole(says: str) -> str:
        outputs = "outputs: [{name: y, shape: [1, 3, 8, 8]}]"
        return network(
            f"      - {{layer: plugin, name: p, plugin: Mine, inputs: [image], {outputs}, fields: {{a: {says}}}}}\n"
        )

    return layers(name, code, whole(wrong), remedy, whole(right))


POOL = "layer: pooling, type: max, window_size: [2, 2]"
LAYERS = [
    keys("two names for one output", "layer: activation, type: relu, outputs: [a, y]", "a activation layer has (one) output|has one output",
         "layer: activation, type: relu, outputs: [y]"),
    keys("a batch normalization without statistics", NORMAL % "batch", "give mean and variance", NORMAL % "batch" + ", mean: m, variance: v",
         files=STATISTICS, weights="s.npz\n    ignore_weights: [b]"),
    keys("statistics of another type", NORMAL % "layer" + ", mean: m, variance: v", "they belong to (type: batch)",
         "layer: normalization, \\1, mean: m, variance: v", files=STATISTICS, weights="s.npz\n    ignore_weights: [b]"),
    keys("axes of another type", NORMAL % "instance" + ", axes: [-1]", "they belong to type: (layer) and rms", "layer: normalization, type: \\1, axes: [3]"),
    keys("groups of another type", NORMAL % "instance" + ", num_groups: 3", "they belong to (type: group)", "layer: normalization, \\1, num_groups: 3"),
    keys("a bias of RMS", NORMAL % "rms" + ", bias: b", "add it with an elementwise layer", NORMAL % "rms", files=STATISTICS,
         weights="s.npz\n    ignore_weights: ['*']"),
    keys("a fill that is not used", SLICE + ", fill: 1.0", r"write (mode: fill)", SLICE + ", fill: 1.0, \\1"),
    keys("an even window", LRN % 4, "TensorRT supports odd sizes", LRN % 5),
    keys("unequal paddings", "layer: padding, pre_padding: [1, 1], post_padding: [1]", "give as many in both",
         "layer: padding, pre_padding: [1, 1], post_padding: [1, 1]"),
    keys("padding beside its mode", POOL + ", padding_mode: same_upper, padding: [1, 1]", "leave one of them out", POOL + ", padding_mode: same_upper"),
    keys("random numbers", "layer: fill, shape: [1, 3, 8, 8], operation: random_normal", "read them from a weights file",
         "layer: constant, shape: [1, 3, 8, 8], weights: w", files={"s.npz": npz(w=np.ones((1, 3, 8, 8), np.float32))},
         weights="s.npz"),
    keys("no shape in text", "layer: shuffle, reshape_dims: 1.5", "for example (\\[1, 2\\])|write a list of whole numbers", "layer: shuffle, reshape_dims: [1, 192]",
         code=Code.WRONG_FORM),
    keys("an empty name", "layer: activation, type: relu, input: ''", "", "layer: activation, type: relu, input: image", code=Code.WRONG_LENGTH),
    keys("an empty name of dims", "layer: shuffle, reshape_dims: ''", "write the name of a tensor", "layer: shuffle, reshape_dims: [1, 192]", code=Code.WRONG_LENGTH),
    keys("no fraction", "layer: topk, op: max, axes: [1], k: 1.5", "write one, or the name of a tensor", "layer: topk, op: max, axes: [1], k: 1",
         code=Code.WRONG_FORM),
    keys("a mask beside causality", "layer: attention, inputs: [q, q, q], mask: m, causal_kind: upper_left", "TensorRT supports only one of them",
         "layer: attention, inputs: [q, q, q], mask: m", inputs=HEADS),
    keys("a gate twice", "layer: gru, hidden_size: 2, input_weights: w, recurrent_weights: r, gate_order: [update, update, hidden]", "name each of (.*) once",
         "layer: gru, hidden_size: 2, input_weights: w, recurrent_weights: r, gate_order: [\\1]", inputs=SEQUENCE, files=GRU, weights="g.npz"),
    keys("text among numbers", "layer: constant, weights: [[one, 2]]", "write a number, true or false", "layer: constant, weights: [[1, 2]]", code=Code.WRONG_FORM),
    field("a field of fractions", "{type: int32, value: 1.5}", "write whole numbers", "{type: int32, value: 1}"),
    field("text in a field of numbers", "{type: int32, value: a}", "only (char) is text", "{type: \\1, value: a}"),
    field("no value of a field", "{type: int32, value: {a: b}}", "write a number", "{type: int32, value: 1}", code=Code.WRONG_FORM),
    keys("an operand too few", "layer: gather, inputs: [image], axis: 1", "give (\\w+), (\\w+)", "layer: gather, inputs: [image, [0, 1]], axis: 1",
         code=Code.LAYER_REFUSED),
    keys("too many sizes", "layer: pooling, type: max, window_size: [1, 1, 1, 1, 1]", "", POOL, code=Code.WRONG_LENGTH),
    layers("a size's name", Code.NOT_A_NAME, network(RELU, "    inputs: {image: {shape: ['a b', 3]}}\n"), "letters, digits and '_'",
           network(RELU, "    inputs: {image: {shape: [a_b, 3]}}\n")),
]  # fmt: skip

VALUES = [
    layers("a constant that is too deep", Code.TOO_DEEP, network("      - {layer: constant, name: y, weights: [[[[[[[[[[1]]]]]]]]]]}\n"),
           "no tensors of more dimensions", network("      - {layer: constant, name: y, weights: [[1]]}\n")),
    spec("a constant that is text in a list", Code.WRONG_FORM, ("", "transform: {bind: {x: [[one, 2, 3]]}}\n"), "write a number, true or false|for example",
         "transform: {outputs: [y]}\n"),
    spec("a shape with a fraction", Code.NOT_A_SHAPE, ("", "transform: {set_shapes: {x: [1, 3.5]}}\n"), r"or \[1, 3, 224, 224\]",
         "transform: {set_shapes: {x: [1, 3]}}\n"),
    spec("too large a size", Code.WRONG_FORM, ("", "builder: {workspace: 99999999999GiB}\n"), r"write it as (2GiB)", r"builder: {workspace: \1}" "\n"),
    spec("layers that yield nothing", Code.KEY_NEEDED, ("", "transform: {graft: {append: [{layer: activation, name: z, input: y, type: relu}]}}\n"),
         r"(outputs: )\[best\]", "transform: {graft: {append: [{layer: activation, name: z, input: y, type: relu}], \\1[z]}}\n"),
    spec("an unknown precision to keep", Code.UNKNOWN_NAME, (VARIANTS, "variants: {h: {precision: fp16, keep: {fp23: ['*']}}}"), r"did you mean '(\w+)'",
         r"variants: {h: {precision: fp16, keep: {\1: ['*']}}}"),
    spec("an unknown candidate", Code.UNKNOWN_NAME,
         (VARIANTS, "variants: {a: {precision: auto, calibration: val, try: [int9, fp16], budget: {metric: cosine, min: 0.9}}}\nvalidate: {data: val}"),
         r"did you mean '(\w+)'",
         "variants: {a: {precision: auto, calibration: val, try: [\\1, fp16], budget: {metric: cosine, min: 0.9}}}\nvalidate: {data: val}", QUANTIZED),
    spec("a metric that is a number", Code.WRONG_TYPE, ("", "validate: {data: val, thresholds: [{metric: 1, min: 1}]}\n"), r"valid values: (\w+)",
         "validate: {data: val, thresholds: [{metric: \\1, max: 1}]}\n"),
    spec("an unknown layer", Code.UNKNOWN_VALUE, ("", "transform: {graft: {append: [{layer: activatoin, name: z, input: y, type: relu}], outputs: [z]}}\n"),
         r"did you mean '(\w+)'", "transform: {graft: {append: [{layer: \\1, name: z, input: y, type: relu}], outputs: [z]}}\n"),
    spec("a layer that is a number", Code.WRONG_TYPE, ("", "transform: {graft: {append: [{layer: 1, name: z, input: y, type: relu}], outputs: [z]}}\n"),
         r"\b(activation)\b|valid layers", "transform: {graft: {append: [{layer: activation, name: z, input: y, type: relu}], outputs: [z]}}\n"),
    spec("a layer that says no kind", Code.MISSING_KEY, ("", "transform: {graft: {append: [{name: z, input: y, type: relu}], outputs: [z]}}\n"),
         "valid layers", "transform: {graft: {append: [{layer: activation, name: z, input: y, type: relu}], outputs: [z]}}\n"),
    spec("a parser's file that is none", Code.KEY_NEEDED, (MODEL, "model: {parser: caffe, source: n.prototxt, options: {weights: {a: b}}}"),
         "write its path or address", MODEL),
    spec("a parser's file without a digest", Code.WRONG_FORM,
         (MODEL, "model: {parser: caffe, source: n.prototxt, options: {weights: {source: w.caffemodel, sha256: abc}}}"), "64 hexadecimal digits", MODEL),
    spec("a warning that there is none of", Code.UNKNOWN_VALUE, ("", "validate: {data: val, readback: {accept: [loop-stop-early]}}\n"),
         r"did you mean '([\w-]+)'", "validate: {data: val, readback: {accept: [\\1]}}\n"),
    spec("an empty path", Code.WRONG_LENGTH, (MODEL, "model: {source: ' '}"), "write a path inside the project", MODEL),
]  # fmt: skip

CACHED = WITH.replace("precision: int8", "precision: fp16")
BESIDE = [
    Row("a cache for no scales", Code.NO_EFFECT, r"calibrate on data: (calibration: )NAME",
        lambda place, m: place.write("pipelines/net.yaml", SPEC.replace("fp32: {}", f"q: {{precision: fp16, {m[1]}val}}")) and None,
        {**QUANTIZED, "net.cache": CACHE, "pipelines/net.yaml": CACHED % ""}),
    Row("overflow beside a cache", Code.NO_EFFECT, "leave it out, or calibrate on data", rewrite((", overflow: keep", "")),
        {**QUANTIZED, "net.cache": CACHE, "pipelines/net.yaml": (WITH % "").replace("precision: int8", "precision: int8, overflow: keep")}),
    Row("a method beside a cache", Code.NO_EFFECT, "leave it out", rewrite((", method: max", "")),
        {**QUANTIZED, "net.cache": CACHE, "pipelines/net.yaml": (WITH % "").replace("precision: int8", "precision: int8, method: max")}),
]  # fmt: skip

# -- data sets

PICTURES = "images: p\ninputs: {x: {resize: {size: %s}}}\n"
SETS = [
    data("no pixels", Code.WRONG_FORM, PICTURES % "1x2x3", r"write (224)|(?P<n>224)", PICTURES % "4", {"p/a.png": png}, PICTURE),
    data("two sizes of one side", Code.WRONG_FORM, PICTURES % "4x5, mode: fit_short", r"write (size: 4)", "images: p\ninputs: {x: {resize: {\\1, mode: fit_short}}}\n",
         {"p/a.png": png}, PICTURE),
    data("lanczos without antialias", Code.KEYS_EXCLUDE, PICTURES % "4, interpolation: lanczos, antialias: false", "or use (bicubic)",
         PICTURES % "4, interpolation: \\1, antialias: false", {"p/a.png": png}, PICTURE),
    data("files of no function", Code.KEYS_EXCLUDE, OF_X + "files: [w.txt]\n", "leave them out", OF_X),
    data("random beside arrays", Code.KEYS_EXCLUDE, OF_X + "random: {shapes: {x: 1x3}}\n", "leave out (random)", OF_X),
]  # fmt: skip

# -- the store's and the user's own files

SMALL = "ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
STORES = [
    shared("an address with a control character", Code.BAD_ADDRESS, 'schema: 1\nstore: {remote: "s3://a/\\u0001b"}\n', r"write (s3://)BUCKET/PREFIX",
           "schema: 1\nstore: {remote: '\\1a/b'}\n"),
    shared("a key that anybody can sign for", Code.SIGNING_KEY, f"schema: 1\nstore: {{remote: 's3://a/b', trust: ['{SMALL}']}}\n", "make another one",
           "schema: 1\nstore: {remote: 's3://a/b', trust: ['ed25519:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=']}\n"),
]  # fmt: skip


# -- where sources lie


def source(text: str) -> Callable[[Place], None]:
    return lambda place: resolve_source(text, place.root) and None


def of_source(name: str, code: ProblemCode, wrong: str, remedy: str, right: str, files: object = None) -> Row:
    return Row(name, code, remedy, lambda _, m: source(m.expand(right)), files or {}, ask=source(wrong))


SOURCES = [
    of_source("an empty source", Code.WRONG_LENGTH, " ", "write a path inside the project", "net.onnx", {"net.onnx": relu(1, 3)}),
    of_source("no file of a package", Code.NO_SUCH_FILE, "pkg://numpy/__init_.py", r"'(pkg://numpy/)' holds: .*?(py\.typed)", r"\1\2"),
    of_source("a remote file of no model", Code.UNKNOWN_SOURCE, "https://host/x.npz", "download the file into the project", "x.npz", {"x.npz": b"x"}),
]  # fmt: skip

ROWS = [*LAYERS, *VALUES, *BESIDE, *SETS, *STORES, *SOURCES]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
