"""Declared layers and their weights, and calibration caches: the remedy is written, and the spec is right."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping

import numpy as np
import pytest

from tests.remedies.remedy_places import CHECK, SPEC, Cure, Place, Row, apply, asking
from tests.remedies.small_models import classifier, relu
from tests.remedies.spec_rows import MODEL, QUANTIZED, VARIANTS
from trtpipe.loader.project import Project
from trtpipe.loader.specs import LoadedPipeline, load_pipeline
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.spec.network.network import NetworkOptions
from trtpipe.workspace.known_names import known_names


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{name: np.asarray(array) for name, array in arrays.items()})
    return stream.getvalue()


def npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=True)
    return stream.getvalue()


def safetensors(**arrays: np.ndarray) -> bytes:
    header, data = {}, b""
    for name, array in arrays.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def wts(*rows: str) -> str:
    return "\n".join([str(len(rows)), *rows]) + "\n"


W = np.ones((4, 3, 3, 3), np.float32)
HEAD = SPEC.replace(MODEL, "model:\n  parser: network\n  options:")
INPUT = "    inputs: {image: {shape: [1, 3, 8, 8]}}\n"
RELU = "      - {layer: activation, name: y, type: relu}\n"
CONV = "      - {layer: convolution, name: y, num_output_maps: 4, kernel_size: [3, 3], kernel: w}\n"
TAIL = "    outputs: [y]\n"


def network(layers: str, inputs: str = INPUT, outputs: str = TAIL, weights: str = "") -> str:
    """A spec whose network is declared."""
    given = f"    weights: {weights}\n" if weights else ""
    return HEAD.replace(
        "  options:", f"  options:\n{given}{inputs}    layers:\n{layers}{outputs}".rstrip("\n")
    )


def _loaded(place: Place) -> LoadedPipeline:
    return load_pipeline(place.root / "pipelines/net.yaml", Project(place.root), known_names())


def lowering(place: Place) -> None:
    """Read the spec and lower its network, as importing does, in this process."""
    from trtpipe.frontends import ModelFiles, lower_model
    from trtpipe.frontends.network import frontend

    loaded = _loaded(place)
    options = NetworkOptions.model_validate(loaded.spec.model.options)
    lower_model(
        frontend, ModelFiles(None, loaded.option_files(), place.root), options, place.root / "out.onnx"
    )


def covering(place: Place) -> None:
    """Read the spec and hold its calibration cache against the model, as `check` does after an import."""
    from trtpipe.calibration.caches.reader import read_cache
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.checks.calibration_caches import _report

    loaded = _loaded(place)
    asked = loaded.spec.variants["q"].calibration
    if asked.cache is not None:
        cache = read_cache(loaded.files["variants", "q", "calibration", "cache"], asked.format)
        _report(asked, cache, read_skeleton(place.root / "net.onnx").proto)


def layers(
    name: str,
    code: ProblemCode,
    wrong: str,
    remedy: str,
    right: str | Cure,
    files: Mapping[str, object] | None = None,
) -> Row:
    """`wrong` and `right` are whole specs; \\1 in the right one is what the remedy says."""
    cure = (
        right
        if callable(right)
        else lambda place, m: place.write("pipelines/net.yaml", m.expand(right)) and None
    )
    grafted = "transform" in wrong
    return Row(
        name,
        code,
        remedy,
        cure,
        {"pipelines/net.yaml": wrong, **(files or {})},
        ask=CHECK if grafted else lowering,
    )


WEIGHTS = {"w.npz": npz(w=W)}
KERNEL = network(CONV, weights="w.npz")
TWO = "    inputs: {image: {shape: [1, 3, 8, 8]}, other: {shape: [1, 3, 8, 8]}}\n"
GRAFT = (
    SPEC
    + "transform: {graft: {append: [{layer: activation, name: %s, input: %s, type: relu}], outputs: [%s]}}\n"
)

LAYERS = [
    layers("which input", Code.LAYER_INPUT_UNKNOWN, network(RELU, TWO), r"name its input: .*(image)",
           network(RELU.replace("type", r"input: \1, type"), TWO).replace("image: {shape: [1, 3, 8, 8]}, other: {shape: [1, 3, 8, 8]}",
                                                                       "image: {shape: [1, 3, 8, 8]}")),
    layers("a layer that comes later", Code.LAYER_INPUT_UNKNOWN,
           network("      - {layer: activation, name: y, input: z, type: relu}\n      - {layer: activation, name: z, input: image, type: relu}\n"),
           "move that layer before this one",
           network("      - {layer: activation, name: z, input: image, type: relu}\n      - {layer: activation, name: y, input: z, type: relu}\n")),
    layers("an input that nothing yields", Code.LAYER_INPUT_UNKNOWN, network(RELU.replace("type", "input: imag, type")),
           r"did you mean '(\w+)'", network(RELU.replace("type", r"input: \1, type"))),
    layers("weights for an input", Code.LAYER_INPUT_UNKNOWN,
           network("      - {layer: elementwise, name: y, op: sum, inputs: [image, s]}\n", weights="s.npz"),
           "make a tensor of them with a (constant) layer",
           network("      - {layer: constant, name: c, shape: [1, 3, 8, 8], weights: s}\n      - {layer: elementwise, name: y, op: sum, inputs: [image, c]}\n",
                   weights="s.npz"), {"s.npz": npz(s=np.ones((1, 3, 8, 8), np.float32))}),
    layers("two of one name", Code.TENSOR_NAME_TAKEN, network(RELU + RELU), "give the layer another name", network(RELU + RELU.replace("name: y", "name: z"))),
    layers("an output of another's name", Code.TENSOR_NAME_TAKEN, network(RELU + RELU.replace("name: y", "name: z"), outputs="    outputs: {y: z}\n"),
           "give it another name", network(RELU + RELU.replace("name: y", "name: z"), outputs="    outputs: {best: z}\n")),
    layers("an output that is an input", Code.OUTPUT_IS_INPUT, network(RELU, outputs="    outputs: [y, image]\n"),
           r"insert an (identity) layer between them",
           network(RELU + "      - {layer: identity, name: z, input: image}\n", outputs="    outputs: [y, z]\n")),
    layers("no such output", Code.UNKNOWN_TENSOR, network(RELU, outputs="    outputs: [yy]\n"), r"did you mean '(\w+)'|tensors: \w+, (?P<t>\w+)",
           network(RELU)),
    layers("two outputs of one layer", Code.LAYER_KEYS, network(CONV.replace("kernel: w", "kernel: w, padding: [1, 1], pre_padding: [1, 1]"), weights="w.npz"),
           "give one or the other", network(CONV.replace("kernel: w", "kernel: w, padding: [1, 1]"), weights="w.npz"), WEIGHTS),
    layers("no size", Code.LAYER_KEYS, network("      - {layer: resize, name: y}\n"), r"give either (shape) or scales",
           network("      - {layer: resize, name: y, \\1: [1, 3, 16, 16]}\n")),
    layers("no kernel", Code.KEY_NEEDED, network(CONV.replace(", kernel: w", ""), weights="w.npz"), "give either (kernel) or kernel_tensor", KERNEL, WEIGHTS),
    layers("no such weights", Code.UNKNOWN_WEIGHTS, network(CONV.replace("kernel: w", "kernel: ww"), weights="w.npz"), r"did you mean '(\w+)'|weights: (?P<w>\w+)",
           KERNEL, WEIGHTS),
    layers("no weights at all", Code.UNKNOWN_WEIGHTS, network(CONV), r"name a file: (weights: )net\.npz", KERNEL, WEIGHTS),
    layers("weights of whole numbers", Code.WEIGHTS_MISFIT, KERNEL, "store them in that type",
           lambda place, _: place.write("w.npz", npz(w=W)) and None, {"w.npz": npz(w=W.astype(np.int32))}),
    layers("weights left over", Code.WEIGHTS_UNUSED, KERNEL, r"(ignore_weights: \['v'\])", KERNEL.replace("    inputs:", "    \\1\n    inputs:"),
           {"w.npz": npz(w=W, v=W)}),
    layers("weights in two files", Code.WEIGHTS_TWICE, network(CONV, weights="[w.npz, v.npz]"), r"name the files: weights: (\{a: )one(\.npz, b: )other",
           network(CONV.replace("kernel: w", "kernel: 'a:w'"), weights="\\1w\\2v.npz}").replace("    inputs:", "    ignore_weights: ['b:*']\n    inputs:"),
           {"w.npz": npz(w=W), "v.npz": npz(w=W)}),
    layers("too large an input", Code.LAYER_REFUSED, network(RELU, INPUT.replace("8, 8", "65536, 65536")), "less than 2\\^31 elements", network(RELU)),
]  # fmt: skip

FILES_OF_WEIGHTS = [
    layers("weights that are not text", Code.NOT_WTS, network(CONV, weights="w.wts"), "again",
           lambda place, _: place.write("w.wts", wts("w 108 " + "3f800000 " * 108)) and None, {"w.wts": "1\nw 108 3f8"}),
    layers("weights cut short", Code.NOT_SAFETENSORS, network(CONV, weights="w.safetensors"), "again",
           lambda place, _: place.write("w.safetensors", safetensors(w=W)) and None, {"w.safetensors": safetensors(w=W)[:-4]}),
    layers("objects", Code.WEIGHTS_TYPE, network(CONV.replace("kernel: w", "kernel: w"), weights="w.npy"), "",
           lambda place, _: place.write("w.npy", npy(W)) and None, {"w.npy": npy(np.array([{}], object))}),
    layers("an empty file of weights", Code.EMPTY_FILE, KERNEL, "copy or download it again", lambda place, _: place.write("w.npz", npz(w=W)) and None,
           {"w.npz": b""}),
    layers("no array where a file of weights is", Code.NOT_NPY, network(CONV, weights="w.npy"), "copy or download it again",
           lambda place, _: place.write("w.npy", npy(W)) and None, {"w.npy": npy(W)[:-4]}),
]  # fmt: skip

GRAFTS = [
    layers("a name that the model has", Code.TENSOR_NAME_TAKEN, GRAFT % ("y", "y", "y"), "give it another name|give the layer another name",
           GRAFT % ("z", "y", "z"), {"net.onnx": relu(1, 3)}),
    layers("no such input to graft to", Code.UNKNOWN_INPUT,
           SPEC + "transform: {graft: {prepend: {xx: {shape: [1, 3], layers: [{layer: activation, name: p, type: relu}]}}}}\n",
           r"inputs: (\w+)|did you mean '(?P<x>\w+)'",
           SPEC + "transform: {graft: {prepend: {x: {shape: [1, 3], layers: [{layer: activation, name: p, type: relu}]}}}}\n", {"net.onnx": relu(1, 3)}),
    layers("layers that yield something else", Code.GRAFT_MISFIT,
           SPEC + "transform: {graft: {prepend: {x: {shape: [3, 1], layers: [{layer: activation, name: p, type: relu}]}}}}\n",
           "add a last layer that yields that type and shape",
           SPEC + "transform: {graft: {prepend: {x: {shape: [3, 1], layers: [{layer: shuffle, name: p, reshape_dims: [1, 3]}]}}}}\n",
           {"net.onnx": relu(1, 3)}),
]  # fmt: skip

# -- calibration caches

CACHE = "TRT-8601-EntropyCalibration2\nx: 3c010a14\nfeatures: 3c010a14\nhidden: 3c010a14\ny: 3c010a14\n"
WITH = SPEC.replace(VARIANTS, "variants: {q: {precision: int8, calibration: {cache: net.cache%s}}}")


def cached(
    name: str, code: ProblemCode, cache: str | bytes, remedy: str, right: str | Cure, more: str = ""
) -> Row:
    """An int8 variant by a cache; `right` goes into its calibration."""

    def written(place: Place, m: object) -> None:
        place.write("pipelines/net.yaml", WITH % m.expand(right))

    return Row(name, code, remedy, right if callable(right) else written,
               {**QUANTIZED, "net.cache": cache, "pipelines/net.yaml": WITH % more}, ask=covering)  # fmt: skip


def whole(place: Place, _: object) -> None:
    place.write("net.cache", CACHE)


def by_data(place: Place, _: object) -> None:
    place.write("pipelines/net.yaml", WITH.replace("{cache: net.cache%s}", "{data: val}"))


TURNED = CACHE.replace("3c010a14", "140a013c")
CACHES = [
    cached("an empty cache", Code.EMPTY_FILE, "", "copy the cache again from its origin", whole),
    cached("no cache", Code.NOT_A_CACHE, "nothing of the kind\n", r"begins with a line such as (TRT-8601-EntropyCalibration2)", whole),
    cached("no cache, by data", Code.NOT_A_CACHE, b"\xff\xfe\xfd", r"calibrate again: calibration: (\{data: )NAME\}", by_data),
    cached("no tensors in it", Code.NOT_A_CACHE, "TRT-8601-EntropyCalibration2\n", "calibrate again, or take the cache from a backup", whole),
    cached("no header", Code.NOT_A_CACHE, CACHE.partition("\n")[2], r"must be like (TRT-8601-EntropyCalibration2)",
           lambda place, m: place.write("net.cache", f"{m[1]}\n{CACHE.partition(chr(10))[2]}") and None, ", format: tensorrt"),
    cached("another format", Code.CACHE_FORMAT, '{"x": 1.0, "features": 1.0, "hidden": 1.0, "y": 1.0}', r"(format: json)", r", \1", ", format: tensorrt"),
    cached("bytes turned round", Code.CACHE_FORMAT, TURNED, r"most significant digits first: (\w+), not (\w+)",
           lambda place, m: place.write("net.cache", TURNED.replace(m[2], m[1])) and None),
    cached("bytes turned round, believed", Code.CACHE_FORMAT, TURNED, r"declare (format: tensorrt)", r", \1"),
    cached("too little coverage", Code.CACHE_COVERAGE, CACHE.replace("\nx: 3c010a14", "").replace("features", "feat"), r"lower (min_coverage)", r", \1: 0"),
    cached("too little coverage, renamed", Code.CACHE_COVERAGE, CACHE.replace("\nx:", "\nxx:"), r"nearest entry is '(\w+)'.*(rename: \{)OLD: NEW\}",
           r", \2\1: x}"),
    cached("too little coverage, by data", Code.CACHE_COVERAGE, CACHE.replace("\nx: 3c010a14", ""), r"or calibrate: data: NAME", by_data),
    cached("a rule about nothing", Code.CACHE_RENAMING, CACHE, r"names of the cache: (\w+)|did you mean '(?P<n>\w+)'", ", rename: {x: x}", ", rename: {xx: x}"),
    cached("a rule of unlike stars", Code.CACHE_RENAMING, CACHE, r"each \* of the new name corresponds to one of the old", ", rename: {'x*': 'x*'}",
           ", rename: {'x*': x}"),
    cached("a rule to nowhere", Code.UNKNOWN_TENSOR, CACHE, r"tensors: .*(x)|did you mean", ", rename: {x: x}", ", rename: {x: xx}"),
]  # fmt: skip


def _scales(place: Place) -> None:
    """Scales as a calibration writes them."""
    from trtpipe.calibration.scales import Scales, TensorScale

    Scales({"x": TensorScale(1.0)}, "max", "trtpipe").write(place.root / "s.json")


EXPORTS = [
    Row("no version for a cache", Code.CACHE_FORMAT, r"for example (--trt-version) (\S+)",
        asking("export", "calibration-cache", "s.json", r"\1", r"\2"), {"s.json": ""}, ask=("export", "calibration-cache", "s.json"),
        before=_scales),
    Row("no version of TensorRT", Code.BAD_ARGUMENT, r"for example ([\d.]+) or",
        asking("export", "calibration-cache", "s.json", "--trt-version", r"\1"), {"s.json": ""},
        ask=("export", "calibration-cache", "s.json", "--trt-version", "newest"), before=_scales),
    Row("no renaming", Code.BAD_ARGUMENT, r"write (--rename) OLD=NEW",
        asking("migrate", "calibration-cache", "net.cache", "net.onnx", r"\1", "x=x"), {"net.cache": CACHE, "net.onnx": classifier},
        ask=("migrate", "calibration-cache", "net.cache", "net.onnx", "--rename", "x")),
]  # fmt: skip


ROWS = [*LAYERS, *FILES_OF_WEIGHTS, *GRAFTS, *CACHES, *EXPORTS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
