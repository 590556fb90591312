"""Files that are damaged, too large or elsewhere: each is replaced as the remedy says, and read."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.remedies.remedy_places import SPEC, Place, Row, apply
from tests.remedies.small_models import classifier, net, node, relu
from tests.remedies.spec_rows import TARGETS, VARIANTS, spec
from tests.remedies.test_data_remedies import OF_X, PICTURE, data, npy, parquet, png, reading
from tests.remedies.test_import_remedies import LINE, caffe, caffemodel, layer, plain, pt2, tf, torch
from tests.remedies.test_layer_remedies import (
    CACHE,
    CONV,
    KERNEL,
    W,
    cached,
    layers,
    lowering,
    network,
    npz,
    safetensors,
    whole,
    wts,
)
from tests.remedies.test_model_remedies import CUT, DYNAMIC, good, model, profile
from trtpipe.datasets import npz as npz_sets
from trtpipe.datasets.spools import columns, spool
from trtpipe.problem_codes import Code

# -- weights

AGAIN = "again"


def put(name: str, content: bytes | str) -> Callable[[Place, object], None]:
    return lambda place, _: place.write(name, content) and None


def twice() -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("w.npy", npy(W))
    return stream.getvalue()


def deflated(claim: int = 0) -> bytes:
    """An archive of compressed weights, which may claim to unpack to more."""
    stream = io.BytesIO()
    np.savez_compressed(stream, w=W)
    raw = bytearray(stream.getvalue())
    if claim:
        at = raw.index(b"PK\x01\x02") + 24
        raw[at : at + 4] = struct.pack("<I", claim)
    return bytes(raw)


def cut_archive() -> bytes:
    """Whose directory says that a member is longer than it is."""
    raw = bytearray(npz(w=W))
    at = raw.index(b"PK\x01\x02") + 20
    raw[at : at + 8] = struct.pack("<II", 1 << 20, 1 << 20)
    return bytes(raw)


def holey() -> bytes:
    header = {"w": {"dtype": "F32", "shape": [4, 3, 3, 3], "data_offsets": [4, 4 + W.nbytes]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4) + W.tobytes()


def initializers(count: int) -> bytes:
    made = onnx.ModelProto.FromString(relu(1, 3)())
    made.graph.initializer.extend([onnx.numpy_helper.from_array(W, "w")] * count)
    return made.SerializeToString()


def of_dtype(dtype: str) -> bytes:
    return safetensors(w=W).replace(b'"F32"', f'"{dtype}"'.encode())


SAFE = network(CONV, weights="w.safetensors")
TEXT = network(CONV, weights="w.wts")
WTS = wts("w 108 " + "3f800000 " * 108)
WEIGHTS = [
    layers("an array twice in its archive", Code.WEIGHTS_TWICE, KERNEL, "save the archive again", put("w.npz", npz(w=W)), {"w.npz": twice}),
    layers("an archive that claims too much", Code.NOT_NPZ, KERNEL, "copy or download the archive again", put("w.npz", npz(w=W)),
           {"w.npz": lambda: deflated(1 << 31)}),
    layers("an archive cut short", Code.NOT_NPZ, KERNEL, "copy or download the archive again", put("w.npz", npz(w=W)), {"w.npz": cut_archive}),
    layers("weights that ONNX has no type for", Code.WEIGHTS_TYPE, KERNEL, "save it as (float32)", put("w.npz", npz(w=W)),
           {"w.npz": npz(w=W.astype(np.longdouble))}),
    Row("compressed weights that unpack to too much", Code.FILE_TOO_LARGE, "store the arrays uncompressed", put("w.npz", npz(w=W)),
        {"w.npz": deflated, "pipelines/net.yaml": KERNEL}, ask=lowering,
        before=lambda place: place.patch.setattr("trtpipe.weights.npz.LARGEST_UNPACKED", 64)),
    layers("initializers of one name", Code.WEIGHTS_TWICE, network(CONV, weights="w.onnx"), "export the model again", put("w.onnx", initializers(1)),
           {"w.onnx": initializers(2)}),
    caffe("blobs too many", Code.CAFFE_WEIGHTS, layer('type: "ReLU"'), "", lambda place, _: place.write("given.caffemodel", caffemodel({})) and None,
          weights=caffemodel({"l": [np.zeros(4)]})),
    layers("no header in safetensors", Code.NOT_SAFETENSORS, SAFE, AGAIN, put("w.safetensors", safetensors(w=W)), {"w.safetensors": struct.pack("<Q", 5) + b"{abc}"}),
    layers("an unknown type in safetensors", Code.NOT_SAFETENSORS, SAFE, AGAIN, put("w.safetensors", safetensors(w=W)), {"w.safetensors": of_dtype("XYZ")}),
    layers("a gap in safetensors", Code.NOT_SAFETENSORS, SAFE, AGAIN, put("w.safetensors", safetensors(w=W)), {"w.safetensors": holey}),
    layers("fewer tensors than are said", Code.NOT_WTS, TEXT, AGAIN, put("w.wts", WTS), {"w.wts": "2" + WTS[1:]}),
    layers("binary rows in .wts", Code.NOT_WTS, TEXT, r"or save (\.safetensors)",
           lambda place, m: (place.write(f"w{m[1]}", safetensors(w=W)), place.edit("pipelines/net.yaml", "w.wts", f"w{m[1]}"), None)[2],
           {"w.wts": "1\nw 0 (4, 3, 3, 3)\n"}),
]  # fmt: skip

# -- declared layers beside a model

PREPEND = "transform: {graft: {prepend: {x: {shape: [1, 3], %slayers: [{layer: activation, name: %s, type: relu}]}}}}\n"
APPEND = "transform: {graft: {append: [%s], outputs: %s}}\n"
ACT = "{layer: activation, name: z, input: y, type: relu}"
TWO = {
    "net.onnx": lambda: net(
        [node("Relu", ["x"], ["r"]), node("Relu", ["r"], ["y"], "second")], {"x": [1, 3]}, {"y": [1, 3]}
    )
}
WHOLE = {
    "net.onnx": lambda: net(
        [node("Cast", ["x"], ["y"], to=TensorProto.INT32)],
        {"x": [1, 3]},
        {"y": [1, 3]},
        types={"y": TensorProto.INT32},
    )
}
SUM = "{layer: elementwise, name: z, op: sum, inputs: [y, x]}"
GRAFTS = [
    layers("an input called as a tensor", Code.TENSOR_NAME_TAKEN, SPEC + PREPEND % ("name: r, ", "p"), "give the input another name",
           SPEC + PREPEND % ("name: s, ", "p"), TWO),
    layers("a layer called as a tensor", Code.TENSOR_NAME_TAKEN, SPEC + PREPEND % ("", "r"), "give the layer another name", SPEC + PREPEND % ("", "p"), TWO),
    layers("no such tensor for an output", Code.UNKNOWN_TENSOR, SPEC + APPEND % (ACT, "[zz]"), r"\bz\b|did you mean", SPEC + APPEND % (ACT, "[z]"),
           {"net.onnx": relu(1, 3)}),
    layers("an output called as a tensor", Code.TENSOR_NAME_TAKEN, SPEC + APPEND % (ACT, "{x: z}"), "give it another name", SPEC + APPEND % (ACT, "{best: z}"),
           {"net.onnx": relu(1, 3)}),
    layers("two types in one sum", Code.LAYER_REFUSED, SPEC + APPEND % (SUM, "[z]"), "insert a (cast) layer before one of them",
           SPEC + APPEND % ("{layer: \\1, name: c, input: y, to_type: float32}, " + SUM.replace("[y, x]", "[c, x]"), "[z]"), WHOLE),
    layers("a type that a layer does not take", Code.LAYER_REFUSED, SPEC + APPEND % ("{layer: unary, name: z, input: y, op: exp}", "[z]"),
           r"it takes .*(float)", SPEC + APPEND % ("{layer: cast, name: c, input: y, to_type: float32}, {layer: unary, name: z, input: c, op: exp}", "[z]"),
           WHOLE),
]  # fmt: skip

# -- calibration caches

CACHES = [
    cached("binary data for text", Code.CACHE_FORMAT, b"TRT-8601-EntropyCalibration2\nx\0: 3c010a14\n", AGAIN, whole, ", format: tensorrt"),
    cached("scales of another trtpipe", Code.NOT_A_CACHE, '{"schema": 99, "tensors": {"x": {"amax": 1.0}}}', "or calibrate again",
           lambda place, _: place.write("pipelines/net.yaml", SPEC.replace(VARIANTS, "variants: {q: {precision: int8, calibration: {data: val}}}")) and None),
]  # fmt: skip


def read(place: Place) -> None:
    from trtpipe.calibration.caches.reader import read_cache

    return read_cache(place.root / "net.cache", "auto") and None


CACHES += [
    Row("a directory for a cache", Code.NOT_A_FILE, "name a file", lambda place, _: ((place.root / "net.cache").rmdir(), place.write("net.cache", CACHE), None)[2],
        ask=read, before=lambda place: (place.root / "net.cache").mkdir()),
    Row("too large a cache", Code.FILE_TOO_LARGE, "", put("net.cache", CACHE), {"net.cache": CACHE * 4}, ask=read,
        before=lambda place: place.patch.setattr("trtpipe.calibration.caches.reader.MAX_BYTES", len(CACHE))),
]  # fmt: skip

# -- data

ROWS_OF_IMAGES = reading(None, 3, 4, 4)


def image_rows() -> bytes:
    return parquet(x=[{"bytes": png(seed=seed), "path": f"{seed}.png"} for seed in range(2)])


SETS = [
    data("folders of two places", Code.LABELS, "images: [p, q]\nlabels: folders\n", "name that folder", "images: p\nlabels: folders\n",
         {"p/cat/a.png": png, "q/dog/b.png": png}, PICTURE),
]  # fmt: skip


def set_row(
    name: str, code: object, wrong: str, remedy: str, right: object, files: dict, ask: object, before: object
) -> Row:
    made = data(name, code, wrong, remedy, right, files, ask)
    return Row(name, code, remedy, made.cure, made.files, ask, before)


def _few_pixels(place: Place) -> None:
    from PIL import Image

    place.patch.setattr(Image, "MAX_IMAGE_PIXELS", 20)


def _packed() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros((2, 3), np.float32))
    return stream.getvalue()


SETS += [
    set_row("too many pixels", Code.IMAGE_UNREADABLE, "images: p\n", "remove it, or make it smaller", put("p/a.png", png()),
            {"p/a.png": lambda: png(8, 8)}, PICTURE, _few_pixels),
    set_row("arrays that unpack to too much", Code.FILE_TOO_LARGE, "npz: a.npz\n", r"or as (\.npy) files", OF_X, {"a.npz": _packed},
            reading(None, 3), lambda place: place.patch.setattr(npz_sets, "LARGEST_UNPACKED", 16)),
    set_row("images without Pillow", Code.MISSING_PACKAGE, "parquet: a.parquet\n", r"pip install 'trtpipe\[images\]'",
            lambda place, _: place.patch.setattr(columns, "find_spec", lambda name: name), {"a.parquet": image_rows}, ROWS_OF_IMAGES,
            lambda place: place.patch.setattr(columns, "find_spec", lambda _: None)),
    set_row("too many rows", Code.DATA_TOO_LARGE, "parquet: a.parquet\n", "give fewer samples", put("a.parquet", parquet(x=[{"bytes": png(), "path": "a.png"}])), {"a.parquet": image_rows},
            ROWS_OF_IMAGES, lambda place: place.patch.setattr(spool, "MOST_SAMPLES", 1)),
]  # fmt: skip


# -- models


def of_two_indices() -> bytes:
    nodes = [
        node("Relu", ["x"], ["before"]),
        node("MaxPool", ["before"], ["y", "at"], "pool", kernel_shape=[2, 2]),
    ]
    return net(
        nodes, {"x": [1, 1, 4, 4]}, {"y": [1, 1, 3, 3], "at": [1, 1, 3, 3]}, types={"at": TensorProto.INT64}
    )


def squeezed(*axes: int) -> Callable[[], bytes]:
    def make() -> bytes:
        given = {"axes": np.array(axes, np.int64)} if axes else {}
        nodes = [node("Squeeze", ["x", *given], ["y"], "squeeze")]
        return net(nodes, {"x": ["n", 1, 3]}, {"y": None}, given)

    return make


SQUEEZED = "profiles: [{x: {min: 1x1x3, opt: 1x1x3, max: 8x1x3}}]\n"
CALLS = 200


def functions() -> bytes:
    """Four functions, each of which calls the next 200 times."""
    made = onnx.ModelProto.FromString(relu(1, 3)())
    made.graph.node[0].domain, made.graph.node[0].op_type = "f", "f0"
    made.opset_import.append(helper.make_opsetid("f", 1))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    for level in range(4):
        op, domain = (f"f{level + 1}", "f") if level < 3 else ("Relu", "")
        names = ["a", *(f"t{index}" for index in range(CALLS - 1)), "b"]
        nodes = [helper.make_node(op, [x], [y], domain=domain) for x, y in pairwise(names)]
        made.functions.append(helper.make_function("f", f"f{level}", ["a"], ["b"], nodes, opsets))
    return made.SerializeToString()


def inlined(place: Place) -> None:
    from trtpipe.legalization.expansion import inline_functions

    inline_functions(onnx.load(place.root / "net.onnx"))


def skeleton(where: Callable[[Place], Path]) -> Callable[[Place], None]:
    from trtpipe.canonical.reader import read_skeleton

    return lambda place: read_skeleton(where(place)) and None


def uff_at(path: str) -> Callable[[Place], None]:
    from trtpipe.frontends.uff_format.source import read_uff

    return lambda place: read_uff((place.root / path).resolve(), place.root) and None


ODD = "m\udcff.onnx"
MODELS = [
    model("indices of a pooling", Code.OPERATOR_NOT_BUILT, of_two_indices, r"cut the graph before it with transform\.outputs", CUT),
    profile("a squeeze of whatever is one", Code.PROFILE_IMPOSSIBLE, squeezed(), SQUEEZED, "export it with the axes that it squeezes",
            lambda place, _: place.write("net.onnx", squeezed(1)()) and None),
    profile("values alone", Code.PROFILE_LEAVES_OUT, DYNAMIC, "profiles: [{x: {values: {min: 1, opt: 1, max: 1}}}]\n", "give min, opt and max",
            "profiles: [{x: {min: 1x3, opt: 1x3, max: 8x3}}]\n"),
    Row("functions without end", Code.FUNCTIONS_NOT_INLINED, "export the model without functions", put("net.onnx", good()), {"net.onnx": functions},
        ask=inlined),
    Row("a path that is not text", Code.NAME_NOT_UTF8, "rename the file", lambda place, _: ((place.root / ODD).rename(place.root / "net.onnx"),
        skeleton(lambda place: place.root / "net.onnx"))[1], {ODD: good}, ask=skeleton(lambda place: place.root / ODD)),
    Row("UFF outside", Code.OUTSIDE_PROJECT, "move the model into the project",
        lambda place, _: ((place.root / "../net.uff").rename(place.root / "net.uff"), uff_at("net.uff"))[1], {"../net.uff": plain}, ask=uff_at("../net.uff")),
    tf("no TensorFlow in it", Code.NOT_TENSORFLOW, b"\x00\x01\x02", "", LINE),
    torch("no description of weights", Code.PYTORCH_DAMAGED, pt2(**{"data__weights__model_weights_config.json": b"{}"}), ""),
    spec("no such tensor to end at", Code.UNKNOWN_TENSOR, ("", "transform: {outputs: [yy]}\n"), r"did you mean '(\w+)'|there are '(?P<y>y)'",
         "transform: {outputs: [y]}\n"),
    spec("a tensor that nothing makes", Code.UNKNOWN_TENSOR, (VARIANTS, "variants: {h: {precision: fp16, keep: {fp32: ['between:xx..y']}}}"),
         r"did you mean '(\w+)'|\b(?P<x>x)\b", "variants: {h: {precision: fp16, keep: {fp32: ['between:x..y']}}}"),
    spec("accuracy without labels", Code.LABELS,
         (VARIANTS, "variants: {a: {precision: auto, try: [fp16], budget: {accuracy_drop: 0.1}}}\nvalidate: {data: val}"),
         r"of another metric: (\{metric: cosine, min: 0.999\})",
         "variants: {a: {precision: auto, try: [fp16], budget: \\1}}\nvalidate: {data: val}", {"net.onnx": classifier,
         "calibration/val.yaml": "schema: 1\nrandom: {shapes: {x: 4x64}}\n"}),
    spec("a compatibility that came later", Code.TARGET_OPTION,
         (TARGETS, "targets: {t: {gpu: sm86, toolchain: o, hardware_compatibility: same_compute_capability}}\n"
          "toolchains: {o: {flavour: tensorrt, version: '10.8.0.43'}}"), r"'(ampere_plus)' is older",
         "targets: {t: {gpu: sm86, toolchain: o, hardware_compatibility: \\1}}\ntoolchains: {o: {flavour: tensorrt, version: '10.8.0.43'}}"),
]  # fmt: skip

ROWS = [*WEIGHTS, *GRAFTS, *CACHES, *SETS, *MODELS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
