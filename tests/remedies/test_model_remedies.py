"""What is told of a model, its profiles and what is fed to it: the remedy is applied to the spec or to the model."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.remedies.remedy_places import SPEC, Cure, Place, Row, apply
from tests.remedies.small_models import classifier, net, node, relu
from tests.remedies.spec_rows import FILES, MODEL, SET, spec
from trtpipe.canonical.summary import TensorInfo
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.proofs.samples import prove_samples

INT64, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def model(
    name: str,
    code: ProblemCode,
    wrong: Callable[[], bytes] | bytes,
    remedy: str,
    right: Callable[[], bytes] | Cure | str,
    more: str = "",
) -> Row:
    """A model that cannot be taken, and the model that it becomes, or what is written into the spec."""
    return Row(name, code, remedy, _to(right), {"net.onnx": wrong, "pipelines/net.yaml": SPEC + more})


def _to(right: object) -> Cure:
    if isinstance(right, str):
        return lambda place, m: place.write("pipelines/net.yaml", SPEC + m.expand(right)) and None
    return (
        right
        if right.__code__.co_argcount == 2
        else lambda place, _: place.write("net.onnx", right()) and None
    )


def good() -> bytes:
    return relu(1, 3)()


# -- profiles

PAIR = {"x": ["n", 3], "y": ["n", 3]}


def pair() -> bytes:
    return net([node("Add", ["x", "y"], ["z"], "join")], PAIR, {"z": ["n", 3]})


def reshape(dims: object = (2,), source: object = (2, 6), static: bool = False) -> bytes:
    """Whose target comes as an input."""
    nodes = [node("Reshape", ["x", "target"], ["y"], "flatten")]
    return net(nodes, {"x": source, "target": dims}, {"y": [None, None]}, types={"target": INT64})


def fixed_batch() -> bytes:
    target = {"to": np.array([1, 12], np.int64)}
    return net([node("Reshape", ["x", "to"], ["y"], "flat")], {"x": ["n", 3, 4]}, {"y": [1, 12]}, target)


def any_batch() -> bytes:
    target = {"to": np.array([-1, 12], np.int64)}
    return net([node("Reshape", ["x", "to"], ["y"], "flat")], {"x": ["n", 3, 4]}, {"y": ["n", 12]}, target)


def prelu(*slope: int) -> Callable[[], bytes]:
    def make() -> bytes:
        nodes = [node("PRelu", ["x", "s"], ["y"], "act")]
        return net(nodes, {"x": [1, 4, 8, 8]}, {"y": [1, 4, 8, 8]}, {"s": np.ones(slope, np.float32)})

    return make


def without_rank() -> bytes:
    made = onnx.ModelProto.FromString(good())
    made.graph.input[0].type.tensor_type.ClearField("shape")
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made.SerializeToString()


def constant_only() -> bytes:
    """The axes of a reduction come as an input."""
    nodes = [node("ReduceSum", ["x", "axes"], ["y"], "sum", keepdims=1)]
    return net(nodes, {"x": [2, 3], "axes": [1]}, {"y": [None, None]}, types={"axes": INT64})


def profile(name: str, code: ProblemCode, make: Callable[[], bytes], wrong: str, remedy: str, right: str | Cure,
            ends: int = 0) -> Row:  # fmt: skip
    return Row(
        name,
        code,
        remedy,
        _to(right),
        {**FILES, "net.onnx": make, "pipelines/net.yaml": SPEC + wrong},
        ends=ends,
    )


ROW = "profiles: [{x: {min: %s, opt: %s, max: %s}}]\n"
ONE = ROW % ("1x3", "1x3", "8x3")
DYNAMIC = relu("n", 3)

PROFILES = [
    profile("no profile", Code.PROFILE_NEEDED, DYNAMIC, "", r"the sizes that you serve:\n(profiles:\n.*)", r"\1" "\n"),
    profile("no profile of two inputs", Code.PROFILE_NEEDED, pair, "", r"serve:\n(profiles:\n.*)", r"\1" "\n"),
    profile("no profile of a shape tensor", Code.PROFILE_NEEDED, reshape, "", r"serve:\n(profiles:\n.*)", r"\1" "\n"),
    profile("a needless profile", Code.PROFILE_NEEDLESS, good, "profiles: [{x: 1x3}]\n", "leave 'profiles' out", ""),
    profile("an input left out", Code.PROFILE_LEAVES_OUT, pair, ONE, r"add (y: \{.*\})",
            r"profiles: [{x: {min: 1x3, opt: 1x3, max: 8x3}, \1}]" "\n"),
    profile("another rank", Code.PROFILE_MISFIT, DYNAMIC, ROW % ("1x3x1", "1x3x1", "8x3x1"),
            r"the model declares \[n, (3)\]", r"profiles: [{x: {min: 1x\1, opt: 1x\1, max: 8x\1}}]" "\n"),
    profile("another size", Code.PROFILE_MISFIT, DYNAMIC, ROW % ("1x4", "1x4", "8x4"),
            r"the model declares \[n, (3)\]", r"profiles: [{x: {min: 1x\1, opt: 1x\1, max: 8x\1}}]" "\n"),
    profile("another size, set", Code.PROFILE_MISFIT, DYNAMIC, ROW % ("1x4", "1x4", "8x4"),
            "transform.set_shapes can change it",
            "transform: {set_shapes: {x: [-1, 4]}}\n" + ROW % ("1x4", "1x4", "8x4")),
    profile("an impossible size", Code.NOT_A_SHAPE, DYNAMIC, ROW % ("1x3", "1x3", "3000000000x3"),
            r"write one that does", ONE),
    profile("out of order", Code.PROFILE_ORDER, DYNAMIC, ROW % ("4x3", "1x3", "8x3"), "min ≤ opt ≤ max",
            ROW % ("1x3", "4x3", "8x3")),
    profile("empty tensors", Code.PROFILE_EMPTY_TENSORS, DYNAMIC, ROW % ("0x3", "1x3", "8x3"), "start at (1)",
            "profiles: [{x: {min: " r"\1x3" ", opt: 1x3, max: 8x3}}]\n"),
    profile("one name, two sizes", Code.SHARED_DIMENSION, pair,
            "profiles: [{x: {min: 1x3, opt: 2x3, max: 4x3}, y: {min: 1x3, opt: 2x3, max: 8x3}}]\n", "make them equal",
            "profiles: [{x: {min: 1x3, opt: 2x3, max: 8x3}, y: {min: 1x3, opt: 2x3, max: 8x3}}]\n"),
    profile("a profile of no input", Code.UNKNOWN_INPUT, DYNAMIC, "profiles: [{xx: {min: 1x3, opt: 1x3, max: 8x3}}]\n",
            r"did you mean '(\w+)'|inputs: (?P<x>\w+)", ONE),
    profile("a profile of a constant", Code.NO_EFFECT, pair,
            "transform: {bind: {y: [[1, 1, 1]]}}\n"
            "profiles: [{x: {min: 1x3, opt: 1x3, max: 8x3}, y: {min: 1x3, opt: 1x3, max: 8x3}}]\n",
            "take it out of the profile", "transform: {bind: {y: [[1, 1, 1]]}}\n" + ONE),
    profile("a batch that was fixed", Code.PROFILE_IMPOSSIBLE, fixed_batch,
            ROW % ("1x3x4", "4x3x4", "8x3x4"), r"this profile works:\n(profiles:\n.*)", r"\1" "\n"),
    profile("a batch that was fixed, exported again", Code.PROFILE_IMPOSSIBLE, fixed_batch,
            ROW % ("1x3x4", "4x3x4", "8x3x4"), "-1 in place of that size",
            lambda place, _: place.write("net.onnx", any_batch()) and None),
    profile("large inputs", Code.PROFILE_LARGE, DYNAMIC, ROW % ("1x3", "1x3", "2000000000x3"), "a smaller max", ONE),
    profile("no values", Code.SHAPE_TENSOR_VALUES, reshape, "profiles: [{x: 2x6, target: 2}]\n",
            r"give 2 for each of (values: \{min: )\[…\](, opt: )\[…\](, max: )\[…\]\}",
            r"profiles: [{target: {\1[2, 6]\2[2, 6]\3[2, 6]}}}]" "\n"),
    profile("values of another length", Code.SHAPE_TENSOR_VALUES, reshape,
            "profiles: [{target: {values: {min: [2], opt: [2], max: [2]}}}]\n", "give 2 in each of min, opt and max",
            "profiles: [{target: {values: {min: [2, 6], opt: [2, 6], max: [2, 6]}}}]\n"),
    profile("values for what sets no shape", Code.SHAPE_TENSOR_VALUES, DYNAMIC,
            "profiles: [{x: {min: 1x3, opt: 1x3, max: 8x3, values: {min: 1, opt: 1, max: 1}}}]\n", "take 'values' out", ONE),
    profile("values of unknown number", Code.SHAPE_TENSOR_VALUES, lambda: reshape(["k"]),
            "profiles: [{target: {min: 2, opt: 2, max: 2}}]\n", r"fix it, e\.g\. (transform: .*)\[4\]",
            "\\1[2]}}\nprofiles: [{target: {values: {min: [2, 6], opt: [2, 6], max: [2, 6]}}}]\n"),
    profile("values out of order", Code.PROFILE_ORDER, reshape,
            "profiles: [{target: {values: {min: [12, 1], opt: [2, 6], max: [2, 6]}}}]\n", "every value needs min ≤ opt ≤ max",
            "profiles: [{target: {values: {min: [2, 6], opt: [2, 6], max: [2, 6]}}}]\n"),
    profile("what must be a constant", Code.CONSTANT_SHAPE_TENSOR, constant_only, "",
            r"bind it, with your values: (transform: \{bind: \{axes: \[1\]\}\})", r"\1" "\n"),
    profile("no rank", Code.NO_RANK, without_rank, "", r"declare it, e\.g\. (transform: \{set_shapes: \{x: )\[.*\]",
            r"\1[1, 3]}}" "\n"),
    profile("a slope of another rank", Code.SHAPES_NOT_TAKEN, prelu(4), "", r"such as (\(4, 1, 1\))",
            lambda place, _: place.write("net.onnx", prelu(4, 1, 1)()) and None),
]  # fmt: skip


# -- what the graph holds


def labelled() -> bytes:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("ArgMax", ["r"], ["i"], "best", axis=1, keepdims=0),
        node("Gather", ["names", "i"], ["label"], "look up"),
    ]
    made = onnx.ModelProto.FromString(
        net(nodes, {"x": [1, 3]}, {"label": [1]}, types={"label": TensorProto.STRING})
    )
    made.graph.initializer.append(
        helper.make_tensor("names", TensorProto.STRING, [3], [b"cat", b"dog", b"cow"])
    )
    return made.SerializeToString()


def only_text() -> bytes:
    made = onnx.ModelProto.FromString(
        net([], {"x": [1]}, {"label": [1]}, types={"x": TensorProto.STRING, "label": TensorProto.STRING})
    )
    made.graph.node.append(node("Identity", ["x"], ["label"], "same"))
    return made.SerializeToString()


def weighted(value: float, op: str = "Mul") -> Callable[[], bytes]:
    def make() -> bytes:
        weight = np.full((3,) if op == "Mul" else (3, 3), value, np.float32)
        return net([node(op, ["x", "w"], ["y"])], {"x": [1, 3]}, {"y": [1, 3]}, {"w": weight})

    return make


def drawing() -> bytes:
    nodes = [node("RandomNormalLike", ["x"], ["noise"], "draw"), node("Add", ["x", "noise"], ["y"])]
    return net(nodes, {"x": [1, 3]}, {"y": [1, 3]})


def fed() -> bytes:
    return net([node("Add", ["x", "noise"], ["y"])], {"x": [1, 3], "noise": [1, 3]}, {"y": [1, 3]})


def with_op(op: str, *inputs: str, **attributes: object) -> Callable[[], bytes]:
    """A Relu that the operator follows, and something else that can be used."""

    def make() -> bytes:
        nodes = [
            node("Relu", ["x"], ["before"]),
            node(op, ["before", *inputs], ["y"], "the one", **attributes),
        ]
        kinds = {"y": TensorProto.INT64} if op in ("NonZero", "TopK") else {}
        return net(nodes, {"x": [1, 3]}, {"y": None if op == "NonZero" else [None, None]}, types=kinds)

    return make


def custom() -> bytes:
    made = onnx.ModelProto.FromString(with_op("Relu")())
    made.graph.node[1].op_type, made.graph.node[1].domain = "Frobnicate", "acme"
    made.opset_import.append(helper.make_opsetid("acme", 1))
    return made.SerializeToString()


def top_k(k: int) -> Callable[[], bytes]:
    def make() -> bytes:
        nodes = [node("Relu", ["x"], ["before"]), node("TopK", ["before", "k"], ["y", "at"], "best")]
        return net(nodes, {"x": [1, 5000]}, {"y": [1, k]}, {"k": np.array([k], np.int64)})

    return make


TALL = "profiles: [{x: {min: 1x1x4x4, opt: 1x1x4x4, max: 1x1x6x4}}]\n"


def resized(**attributes: object) -> Callable[[], bytes]:
    """From a height that is not known: of fixed sizes importing makes a matrix product."""

    def make() -> bytes:
        nodes = [
            node("Relu", ["x"], ["before"]),
            node("Resize", ["before", "", "", "to"], ["y"], "grow", **attributes),
        ]
        to = {"to": np.array([1, 1, 8, 8], np.int64)}
        return net(nodes, {"x": [1, 1, "h", 4]}, {"y": [None] * 4}, to, opset=18)

    return make


def batch_norm(training: int) -> Callable[[], bytes]:
    def make() -> bytes:
        each = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "v")}
        outputs = ["y", "mo", "vo"] if training else ["y"]
        nodes = [node("BatchNormalization", ["x", *each], outputs, "bn", training_mode=training)]
        return net(nodes, {"x": [2, 3, 4, 4]}, {"y": [2, 3, 4, 4]}, each)

    return make


def unused(*names: str) -> Callable[[], bytes]:
    def make() -> bytes:
        return net([node("Relu", ["x"], ["y"])], {name: [1, 3] for name in names}, {"y": [1, 3]})

    return make


CUT = "transform: {outputs: [before]}\n"
GRAPHS = [
    model("text at the end", Code.FOREIGN_TYPE, labelled, r"(transform: \{outputs: .*\})", r"\1" "\n"),
    model("nothing but text", Code.FOREIGN_TYPE, only_text, "export the part of the model that computes on numbers", good),
    model("NaN", Code.NONFINITE_WEIGHTS, weighted(float("nan")), "export the model again from finite weights", weighted(1.0)),
    model("infinity", Code.NONFINITE_WEIGHTS, weighted(float("inf"), "MatMul"), "from finite weights", weighted(1.0, "MatMul")),
    model("infinity that may be meant", Code.NONFINITE_WEIGHTS, weighted(float("inf")), "nothing is to be done if that is meant; "
          "else export the model again from finite weights", weighted(1.0)),
    model("random numbers", Code.RANDOM_NODES, drawing, "make the numbers an input of the model instead", fed),
    model("an operator that RTX lacks", Code.OPERATOR_NOT_BUILT, with_op("Det"), r"cut the graph before it with transform\.outputs",
          CUT),
    model("what only the parser takes", Code.OPERATOR_NOT_BUILT, with_op("NonZero"), r"cut the graph before it", CUT),
    model("a custom operator", Code.OPERATOR_NOT_BUILT, custom, r"cut the graph before it", CUT),
    model("too large a k", Code.OPERATOR_NOT_BUILT, top_k(4000), "lower k", top_k(3000)),
    model("too large a k, cut off", Code.OPERATOR_NOT_BUILT, top_k(4000), "or cut the graph before it with transform.outputs", CUT),
    model("antialias", Code.OPERATOR_NOT_BUILT, resized(antialias=1, mode="linear"), "export it without antialias",
          resized(mode="linear"), TALL),
    model("aspect ratios", Code.OPERATOR_NOT_BUILT, resized(keep_aspect_ratio_policy="not_larger", mode="linear"),
          "with the sizes that come of it", resized(mode="linear"), TALL),
    model("coordinates", Code.OPERATOR_NOT_BUILT, resized(coordinate_transformation_mode="half_pixel_symmetric", mode="linear"),
          "export it with one of those", resized(mode="linear", coordinate_transformation_mode="half_pixel"), TALL),
    model("training", Code.TRAINING_MODE, batch_norm(1), "export the model for inference", batch_norm(0)),
    model("an input that nobody reads", Code.UNUSED_INPUT, unused("x", "mask"), "export the model without it", unused("x")),
    spec("plugins for RTX", Code.TARGET_OPTION, ("", "plugins: [{library: libacme.so}]\n"),
         "give these targets a toolchain of flavour tensorrt|leave 'plugins' out", "", {"libacme.so": b"\x7fELF"}),
]  # fmt: skip


# -- the file


def cut_short() -> bytes:
    return classifier()[:-100]


def stripped() -> bytes:
    made = onnx.ModelProto.FromString(classifier())
    made.graph.initializer[0].ClearField("raw_data")
    return made.SerializeToString()


def external(location: str, length: int = 64 * 64 * 4) -> bytes:
    made = onnx.ModelProto.FromString(classifier())
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        entry = weight.external_data.add()
        entry.key, entry.value = key, value
    return made.SerializeToString()


WEIGHTS = b"\0\0\x80?" * 64 * 64


def odd_name() -> bytes:
    return good().replace(b"relu", b"re\xffu")


def zipped() -> bytes:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net.onnx", good())
    return stream.getvalue()


def gzipped() -> bytes:
    import gzip

    return gzip.compress(good())


def ungzip(place: Place, _: re.Match[str]) -> None:
    import gzip

    place.write("net.onnx", gzip.decompress((place.root / "net.onnx").read_bytes()))


FOREIGN = [
    (b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
    (b"\x80\x04\x95", "export it to ONNX"),
    (b"\x89HDF\r\n", "export it to ONNX"),
    (b"ptrt\0\0\0", "give the model that it was built from"),
    (b"\0\0\0\0TFL3", "convert it to ONNX"),
    (b"\0\0\0\0ORTM", "give the .onnx file that it was made from"),
    (b"<!DOCTYPE html><html></html>", "download the model again"),
    (b'{"error": "not found"}', "download the model again"),
    (b"not found", "download the model again"),
]
FILE = [
    model("empty", Code.EMPTY_FILE, b"", "download or export the model again", good),
    model("cut short", Code.NOT_ONNX, cut_short, "download or export the model again", classifier),
    model("no graph", Code.NOT_ONNX, b"\x08\x08", "download or export the model again", good),
    model("gzip", Code.FOREIGN_MODEL, gzipped, "unpack it first", ungzip),
    model("zip", Code.FOREIGN_MODEL, zipped, "export it to ONNX", good),
    *(model(f"foreign: {head[:12]!r}", Code.FOREIGN_MODEL, head, re.escape(remedy), good) for head, remedy in FOREIGN),
    model("stripped", Code.STRIPPED_WEIGHTS, stripped, "give the model with its weights", classifier),
    model("a name that is not text", Code.NAME_NOT_UTF8, odd_name, "export the model again", good),
    Row("no weights beside the model", Code.WEIGHTS_MISSING, "copy it into the model's folder",
        lambda place, _: place.write("w.bin", WEIGHTS) and None,
        {"net.onnx": lambda: external("w.bin"), "pipelines/net.yaml": SPEC}),
    Row("too few weights", Code.WEIGHTS_CUT_SHORT, "copy or download it again",
        lambda place, _: place.write("w.bin", WEIGHTS) and None,
        {"net.onnx": lambda: external("w.bin"), "w.bin": WEIGHTS[:-4], "pipelines/net.yaml": SPEC}),
    Row("weights elsewhere", Code.WEIGHTS_MISPLACED, "external data must be in the model's folder",
        lambda place, _: (place.write("w.bin", WEIGHTS), place.write("net.onnx", external("w.bin")), None)[2],
        {"net.onnx": lambda: external("../w.bin"), "pipelines/net.yaml": SPEC}),
    Row("weights behind a link", Code.WEIGHTS_MISPLACED, "replace the link by the file itself",
        lambda place, _: ((place.root / "w.bin").unlink(), place.write("w.bin", WEIGHTS), None)[2],
        {"net.onnx": lambda: external("w.bin"), "../elsewhere.bin": WEIGHTS, "pipelines/net.yaml": SPEC},
        before=lambda place: (place.root / "w.bin").symlink_to("../elsewhere.bin")),
    spec("another model than was pinned", Code.PIN_MISMATCH, (MODEL, "model: {source: net.onnx, sha256: %s}" % ("ab" * 32)),
         r"pin this digest: sha256: (\w{64})", lambda place, m: place.edit("pipelines/net.yaml", "ab" * 32, m[1])),
]  # fmt: skip


# -- what is fed


def feeding(**shapes: tuple[int, ...]) -> Callable[[Place], object]:
    """What is said of a batch of these shapes, of `relu(2, 3)`."""
    inputs = [TensorInfo("x", "float32", (2, 3))]
    return lambda _: prove_samples([shapes], inputs, (), data="val")


SAMPLES = [
    Row("samples of another rank", Code.SAMPLES_MISFIT, r"the model declares \[(2), (3)\], rank 2",
        lambda _, m: feeding(x=(int(m[1]), int(m[2]))), ask=feeding(x=(2, 3, 1))),
    Row("samples of no input", Code.SAMPLES_MISFIT, r"inputs(?: are)?:? '?(x)", lambda _, m: feeding(**{m[1]: (2, 3)}),
        ask=feeding(x=(2, 3), xx=(2, 3))),
    Row("an input without samples", Code.SAMPLES_MISFIT, "add it to the set's 'inputs'", lambda *_: feeding(x=(2, 3)),
        ask=feeding()),
    Row("too small a batch", Code.SAMPLES_MISFIT, r"write batch: (2)", lambda _, m: feeding(x=(int(m[1]), 3)),
        ask=feeding(x=(1, 3))),
    Row("samples beyond the profile", Code.SAMPLES_MISFIT, r"widen it: (x: \{.*\})",
        lambda place, m: place.edit("pipelines/net.yaml", "x: {min: 4x3, opt: 4x3, max: 8x3}", m[1]),
        {"net.onnx": DYNAMIC, "calibration/val.yaml": SET,
         "pipelines/net.yaml": SPEC + ROW % ("4x3", "4x3", "8x3") + "validate: {data: val}\n"}),
]  # fmt: skip

ROWS = [*PROFILES, *GRAPHS, *FILE, *SAMPLES]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
