"""Caffe, UFF, TensorFlow and PyTorch: what a front end says is done to its file or its options, and it is read."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.frontends.caffe_files import caffemodel, lower, net
from tests.frontends.foreign_files import LINE, graph, node, program, saved_model, write_pt2
from tests.remedies.remedy_places import Cure, Place, Row, apply, rewrite
from tests.uff_writer import Node, mark, placeholder, uff
from tests.uff_writer import node as uff_node
from trtpipe.frontends import ModelFiles, lower_model, pytorch, tensorflow
from trtpipe.frontends import caffe as caffe_parser
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.spec.fields import ProjectFile

TESTS = Path(__file__).resolve().parents[1]

# -- Caffe

PRODUCT = (
    'layer { name: "p" type: "InnerProduct" bottom: "a" top: "y" inner_product_param { num_output: 2 } }'
)
GOOD = {"p": [np.zeros((2, 3)), np.zeros(2)]}
A3, A4 = ((1, 3),), ((1, 4, 6, 6),)


def lowering(folder: Place) -> None:
    """Read the net with the options and weights that lie beside it."""
    options = yaml.safe_load((folder.root / "options.yaml").read_text()) or {}
    weights = folder.root / "given.caffemodel"
    lower(
        folder.root,
        (folder.root / "given").read_text(),
        weights.read_bytes() if weights.exists() else None,
        **options,
    )


def caffe(
    name: str,
    code: ProblemCode,
    wrong: str,
    remedy: str,
    right: str | Cure,
    shapes: tuple[tuple[int, ...], ...] = A4,
    weights: bytes | None = None,
    options: str = "{}",
) -> Row:
    """A net in which `wrong` stands; `right` is what the remedy makes of it."""
    cure = rewrite((wrong, right), file="given") if isinstance(right, str) else right
    files: dict[str, str | bytes] = {"given": net(wrong, *shapes), "options.yaml": options}
    return Row(
        name, code, remedy, cure, files | ({"given.caffemodel": weights} if weights else {}), ask=lowering
    )


def layer(body: str, **more: str) -> str:
    return f'layer {{ name: "l" bottom: "a" top: "y"\n  {body} }}'


def option(text: str) -> Cure:
    """Other options, in which \\1 is what the remedy says."""
    return lambda place, m: place.write("options.yaml", m.expand(text)) and None


def weigh(blobs: dict[str, list[np.ndarray]]) -> Cure:
    return lambda place, _: place.write("given.caffemodel", caffemodel(blobs)) and None


RELU = layer('type: "ReLU"')
WITH = caffemodel(GOOD)
CAFFE = [
    caffe("an unknown field", Code.CAFFE_PARAMETER, layer('type: "ReLU" relu_param { negative_slop: 1 }'),
          r"did you mean '(\w+)'", layer(r'type: "ReLU" relu_param { \1: 1 }')),
    caffe("written twice", Code.CAFFE_PARAMETER, layer('type: "ELU" elu_param { alpha: 1 alpha: 2 }'), "leave out one of them",
          layer('type: "ELU" elu_param { alpha: 1 }')),
    caffe("an unknown value", Code.CAFFE_PARAMETER, layer('type: "Pooling" pooling_param { pool: MAXX kernel_size: 2 }'),
          r"did you mean '(\w+)'", layer(r'type: "Pooling" pooling_param { pool: \1 kernel_size: 2 }')),
    caffe("chance", Code.CAFFE_PARAMETER, layer('type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 }'),
          r"use (AVE) or MAX", layer(r'type: "Pooling" pooling_param { pool: \1 kernel_size: 2 }')),
    caffe("two kernels", Code.CAFFE_PARAMETER,
          layer('type: "Pooling" pooling_param { kernel_h: 2 kernel_w: 2 kernel_size: 3 }'), "leave out one of them",
          layer('type: "Pooling" pooling_param { kernel_size: 3 }')),
    caffe("statistics of a batch", Code.CAFFE_PARAMETER, layer('type: "BatchNorm" batch_norm_param { use_global_stats: false }'),
          "remove use_global_stats: false", layer('type: "BatchNorm"'),
          weights=caffemodel({"l": [np.zeros(4), np.ones(4), np.ones(1)]})),
    caffe("no type", Code.CAFFE_PARAMETER, layer(""), r'write (type: )"Convolution"', layer(r'\1"ReLU"')),
    caffe("an unknown type", Code.CAFFE_PARAMETER, layer('type: "Relu"'), r"did you mean '(\w+)'", layer(r'type: "\1"')),
    caffe("windows behind the input", Code.CAFFE_LAYER, layer('type: "Pooling" pooling_param { kernel_size: 1 stride: 6 }'),
          r"set (round_mode: FLOOR)", layer(r'type: "Pooling" pooling_param { kernel_size: 1 stride: 6 \1 }')),
    caffe("a size that is not fixed", Code.CAFFE_LAYER, PRODUCT, r"a fixed size there, in model\.options\.(inputs)",
          option(r"{\1: {a: [1, 3]}}"), ((1, 3),), WITH, "{inputs: {a: [1, -1]}}"),
    caffe("a reshape that would fix a size", Code.CAFFE_LAYER,
          layer('type: "Reshape" reshape_param { shape { dim: 4 dim: 4 } }'), r"write (0) for an unchanged axis",
          layer('type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 4 } }'), ((1, 4, 4),),
          options="{inputs: {a: [1, -1, 4]}}"),
    caffe("equal parts of a dynamic axis", Code.CAFFE_LAYER,
          'layer { name: "s" type: "Slice" bottom: "a" top: "y" top: "z" }', "give slice points",
          'layer { name: "s" type: "Slice" bottom: "a" top: "y" top: "z" slice_param { slice_point: 1 } }', ((1, 4, 4),),
          options="{inputs: {a: [1, -1, 4]}}"),
    caffe("weights of another shape", Code.CAFFE_LAYER, PRODUCT, "the weights that were trained with this prototxt", weigh(GOOD), A3,
          caffemodel({"p": [np.zeros((3, 2)), np.zeros(2)]})),
    caffe("weights cut short", Code.CAFFE_WEIGHTS, PRODUCT, "copy or download it again", weigh(GOOD), A3, WITH[:-5]),
    caffe("weights in HDF5", Code.CAFFE_WEIGHTS, PRODUCT, "save it as binary protobuf", weigh(GOOD), A3, b"\x89HDF\r\n\x1a\n"),
    caffe("no weights of that layer", Code.CAFFE_LAYER, PRODUCT, "did you mean 'pp'", weigh(GOOD), A3, caffemodel({"pp": GOOD["p"]})),
    caffe("no weights named", Code.CAFFE_LAYER, PRODUCT, "name the caffemodel: model.options.weights", weigh(GOOD), A3),
    caffe("no such bottom", Code.CAFFE_NET, layer('type: "ReLU"').replace('"a"', '"aa"'), r"did you mean '(\w+)'",
          layer('type: "ReLU"').replace('"a"', r'"\1"')),
    caffe("made twice", Code.CAFFE_NET, RELU + RELU.replace('"l"', '"m"'), "give one of them another name",
          RELU + RELU.replace('"l"', '"m"').replace('"y"', '"z"')),
    caffe("both formats", Code.CAFFE_NET, RELU + '\nlayers { type: RELU name: "m" bottom: "y" top: "z" }',
          r'write all as layer \{ type: "…" \}', RELU + '\nlayer { type: "ReLU" name: "m" bottom: "y" top: "z" }'),
    caffe("a solver", Code.CAFFE_NET, 'net: "x.prototxt"\nbase_lr: 0.1', "give the prototxt of the deployed net",
          lambda place, _: place.write("given", net(RELU, (1, 3))) and None, ()),
    caffe("inputs without shapes", Code.CAFFE_NET, 'input: "a"\n' + RELU, "write an input_shape { dim: … } for each input",
          'input: "a"\ninput_shape { dim: 1 dim: 3 }\n' + RELU, ()),
    caffe("no such output", Code.UNKNOWN_TENSOR, RELU, r"did you mean '(\w+)'", option(r"{outputs: [\1]}"), options="{outputs: [yy]}"),
    caffe("no such input", Code.UNKNOWN_INPUT, RELU, r"did you mean '(\w+)'", option(r"{inputs: {\1: [1, 3]}}"),
          options="{inputs: {aa: [1, 3]}}"),
    caffe("an input of no shape", Code.INPUT_SHAPE_UNKNOWN,
          'layer { name: "d" type: "ImageData" top: "a" include { phase: TEST } }\n' + RELU,
          r"model\.options\.(inputs: \{a: \[1, 3, 224, 224\]\})", option(r"{\1}"), ()),
    caffe("the weights for a net", Code.NOT_A_PROTOTXT, "\0", "the source must be the prototxt",
          lambda place, _: place.write("given", net(RELU, (1, 3))) and None, ()),
    caffe("no layers of one's own", Code.CAFFE_CODE, layer('type: "Mine"'), r"add (LAYERS = )\{",
          lambda place, m: place.write("mine.py", OWN + m[1] + '{"Mine": mine}\n') and None,
          options="{lowering: mine.py}"),
]  # fmt: skip
OWN = "def mine(layer):\n    return layer.inputs[0]\n"
WRITES = {"no layers of one's own": {"mine.py": OWN}}


# -- UFF


def reading(place: Place) -> None:
    from trtpipe.frontends.uff import UffOptions, frontend

    options = UffOptions.model_validate(yaml.safe_load((place.root / "options.yaml").read_text()) or {})
    lower_model(frontend, ModelFiles(place.root / "net.uff"), options, place.root / "out.onnx")


IMAGE = placeholder("x", [-1, 2, 2, 1])
PLAIN = [IMAGE, uff_node("Activation", "y", "x", func="relu"), *mark("y")]
CUSTOM = [IMAGE, uff_node("_Swish", "c", "x"), *mark("c")]
NMS = "{plugins: {_Swish: {name: Swish, outputs: [{dims: [-1, 2, 2, 1]}]}}}"


def uff_row(
    name: str,
    code: ProblemCode,
    wrong: bytes,
    remedy: str,
    right: Callable[[], bytes] | str,
    options: str = "{}",
) -> Row:
    def cure(place: Place, match: re.Match[str]) -> None:
        if callable(right):
            place.write("net.uff", right())
        else:
            place.write("options.yaml", match.expand(right))

    return Row(name, code, remedy, cure, {"net.uff": wrong, "options.yaml": options}, ask=reading)


def plain() -> bytes:
    return uff(PLAIN)


UFF = [
    uff_row("no UFF", Code.NOT_UFF, b"\xff" * 20, "again", plain),
    uff_row("nothing", Code.EMPTY_FILE, b"", "again", plain),
    uff_row("no outputs", Code.UFF_GRAPH, uff(PLAIN[:2]), r"name them: (outputs: )\[NAME\]", r"{\1[y]}"),
    uff_row("an input of no shape of UFF", Code.INPUT_SHAPE_UNKNOWN, uff([Node("x", "Input", ()), *PLAIN[1:]]),
            r"give it one: (inputs: \{x: \S+\})", r"{\1}"),
    uff_row("no such output of UFF", Code.UNKNOWN_TENSOR, plain(), r"did you mean '(\w+)'|tensors of the file: (?P<t>\w+)",
            "{outputs: [y]}", "{outputs: [yy]}"),
    uff_row("no such input of UFF", Code.UNKNOWN_TENSOR, plain(), r"inputs of the file: (\w+)", r"{inputs: {\1: [-1, 2, 2, 1]}}",
            "{inputs: {xx: [-1, 2, 2, 1]}}"),
    uff_row("a custom operation", Code.UFF_PLUGIN, uff(CUSTOM), r"(plugins: \{_Swish: \{name: Swish\}\})", r"{\1}"),
    uff_row("a custom operation, cut", Code.UFF_PLUGIN, uff([IMAGE, PLAIN[1], uff_node("_Swish", "c", "y"), *mark("c")]),
            r"end the graph before it: (outputs: \[y\])", r"{\1}"),
    uff_row("an unknown operation", Code.UFF_PLUGIN, uff([IMAGE, PLAIN[1], uff_node("Swish", "c", "y"), *mark("c")]),
            r"(plugins: \{Swish: \{name: )…", r"{\1Swish}}}"),
    uff_row("a plugin for nothing", Code.UFF_PLUGIN, uff(CUSTOM), r"its custom operations: (\w+)", r"{plugins: {\1: {name: Swish}}}",
            "{plugins: {_Swis: {name: Swish}, _Swish: {name: Swish}}}"),
    uff_row("a cycle", Code.GRAPH_CYCLE, uff([uff_node("Activation", "y", "z", func="relu"),
                                            uff_node("Activation", "z", "y", func="relu"), *mark("y")]),
            "convert the model again", plain),
    uff_row("a read of nothing", Code.UFF_GRAPH, uff([IMAGE, uff_node("Activation", "y", "xx", func="relu"), *mark("y")]),
            "", plain),
]  # fmt: skip


# -- TensorFlow


def held(path: str) -> Callable[[Place], None]:
    """Hold a model of TensorFlow against its options, without TensorFlow."""

    def ask(place: Place) -> object:
        given = yaml.safe_load((place.root / "options.yaml").read_text()) or {}
        options = tensorflow.TensorflowOptions.model_validate(given)
        return tensorflow.frontend.belonging(ModelFiles(place.root / path), options)

    return ask


def saved(**changes: object) -> bytes:
    return saved_model(LINE, {"serving_default": ("x",)}, **changes)


BOTH = "{inputs: [x], outputs: [y]}"


def tf(name: str, code: ProblemCode, data: bytes, remedy: str, right: bytes | str, options: str = BOTH, path: str = "g.pb",
       ask: str = "") -> Row:  # fmt: skip
    def cure(place: Place, match: re.Match[str]) -> None:
        if isinstance(right, bytes):
            place.write(path, right)
        else:
            place.write("options.yaml", match.expand(right))

    return Row(name, code, remedy, cure, {path: data, "options.yaml": options}, ask=held(ask or path))


def holding(operator: str) -> bytes:
    return graph(node("x", "Placeholder", dims=(-1, 4)), node("y", operator, "x"))


SAVED = {"path": "net/saved_model.pb", "ask": "net"}
TENSORFLOW = [
    tf("no inputs", Code.PARSER_OPTIONS, LINE, r"(\{inputs: \[x\], outputs: \[y\]\})", r"\1", "{}"),
    tf("an option of the other kind", Code.PARSER_OPTIONS, LINE, "leave it out", BOTH, "{inputs: [x], outputs: [y], signature: s}"),
    tf("a shape of no input", Code.PARSER_OPTIONS, LINE, r"the inputs are: (\w+)", r"{inputs: [x], outputs: [y], shapes: {\1: 1x4}}",
       "{inputs: [x], outputs: [y], shapes: {z: 1x4}}"),
    tf("no such node", Code.UNKNOWN_TENSOR, LINE, r"did you mean '(\w+)'", r"{inputs: [\1], outputs: [y]}", "{inputs: [X], outputs: [y]}"),
    tf("a tensor twice", Code.LISTED_TWICE, LINE, "name each tensor once", BOTH, "{inputs: [x], outputs: [y, 'y:0']}"),
    tf("a variable", Code.TENSORFLOW_NOT_FROZEN, holding("ReadVariableOp") + graph(node("v", "VarHandleOp")), "freeze it", LINE),
    tf("effects", Code.TENSORFLOW_EFFECTS, holding("WriteFile"), "remove it from the model before exporting", LINE),
    tf("other tags", Code.TENSORFLOW_SIGNATURE, saved(tags=("train",)), r"its graphs have the tags: (\w+)", r"{tags: [\1]}", "{}", **SAVED),
    tf("another signature", Code.TENSORFLOW_SIGNATURE, saved(), r"did you mean '(\w+)'", r"{signature: \1}", "{signature: serving_defalt}",
       **SAVED),
    tf("a file outside", Code.TENSORFLOW_OUTSIDE, saved(asset="../x"), "save it again", saved(), "{}", **SAVED),
    Row("a link outside", Code.TENSORFLOW_OUTSIDE, r"copy it: (\S+)", lambda place, _: _copied(place),
        {"net/saved_model.pb": saved(), "options.yaml": "{}", "vocabulary.txt": b"a"}, ask=held("net"),
        before=lambda place: (place.root / "net/vocabulary.txt").symlink_to("../vocabulary.txt")),
    Row("no SavedModel in the directory", Code.NOT_TENSORFLOW, "name the directory that model.export or tf.saved_model.save has written",
        lambda *_: held("net"), {"net/saved_model.pb": saved(), "up/x": b"", "options.yaml": "{}"}, ask=held("up")),
]  # fmt: skip


def _copied(place: Place) -> None:
    link = place.root / "net/vocabulary.txt"
    content = link.read_bytes()
    link.unlink()
    link.write_bytes(content)


# -- PyTorch


def program_of(place: Place) -> object:
    return pytorch.frontend.belonging(ModelFiles(place.root / "net.pt2"), pytorch.PytorchOptions())


def pt2(**changes: object) -> Callable[[Place], None]:
    return lambda place: write_pt2(place.root / "net.pt2", **changes) and None


def torch(name: str, code: ProblemCode, before: Callable[[Place], object], remedy: str) -> Row:
    """A file that is replaced by an exported program, which is what the remedy has its reader make."""
    return Row(name, code, remedy, lambda place, _: pt2()(place), ask=program_of, before=before)


def zipped(**members: bytes) -> Callable[[Place], None]:
    def write(place: Place) -> None:
        with zipfile.ZipFile(place.root / "net.pt2", "w") as archive:
            for name, data in members.items():
                archive.writestr(name.replace("__", "/").replace("_dot_", "."), data)

    return write


def odd_size() -> dict:
    described = program()
    sizes = described["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = "__import__('os')"
    return described


TORCH = [
    torch("a pickle", Code.PYTORCH_PICKLE, lambda place: place.write("net.pt2", pickle.dumps({"w": 1})), r"torch\.export\.save\(program"),
    torch("TorchScript", Code.PYTORCH_PICKLE, zipped(net__constants_dot_pkl=b"\x80\x02.", net__data_dot_pkl=b"\x80\x02."),
          r"torch\.export\.save\(program"),
    torch("an old program", Code.PYTORCH_PICKLE, zipped(version=b"8.1", serialized_exported_program_dot_json=b"{}"),
          r"torch\.export\.save\(program"),
    torch("a size that is code", Code.PYTORCH_REFUSED, pt2(described=odd_size()), "export a model with tensors as inputs and outputs"),
    torch("no program", Code.NOT_PYTORCH, zipped(net__archive_format=b"pt2"), "again"),
    torch("damaged", Code.PYTORCH_DAMAGED, lambda place: (pt2()(place), place.write("net.pt2", (place.root / "net.pt2").read_bytes()[:-40])),
          "fetch or export it again"),
    torch("no JSON", Code.PYTORCH_DAMAGED, pt2(**{"models__model.json": b"{"}), "export it again"),
    torch("not described", Code.PYTORCH_DAMAGED, pt2(described={"torch_version": "2.8"}), "export it again with a newer PyTorch"),
    torch("pickled weights", Code.PYTORCH_DAMAGED,
          pt2(**{"data__weights__model_weights_config.json":
                 b'{"config": {"w": {"path_name": "weight_0", "use_pickle": true, "tensor_meta": null}}}'}),
          "use only plain tensors of strided layout"),
]  # fmt: skip


def dims(asked: dict[str, str]) -> Callable[[Place], object]:
    from trtpipe.frontends.torch_format.dims import chosen_names

    return lambda _: chosen_names({"s77": "x_0", "s78": "x_1"}, asked, ("model", "options", "dims")) and None


DIMS = [
    Row("no such dimension", Code.PYTORCH_DIMENSION, r"its dynamic dimensions are: (\w+) \((\w+)\)",
        lambda _, m: dims({m[1]: "batch"}), ask=dims({"s99": "batch"})),
    Row("two of one name", Code.PYTORCH_DIMENSION, "give each a different name", lambda *_: dims({"s77": "n", "s78": "m"}),
        ask=dims({"s77": "n", "s78": "n"})),
]  # fmt: skip

# -- what belongs to which


class NeedsWeights(caffe_parser.CaffeOptions):
    """As a parser may have it that reads nothing without its second file."""

    weights: ProjectFile


SIGMOID = 'layer { name: "s" type: "Sigmoid" bottom: "a" top: "y" }'
PAIR = [
    Row("weights without a net", Code.CAFFE_PAIR_UNKNOWN, "give the prototxt of the deployed net instead",
        lambda *_: ["init", "net.prototxt"], {"other/net.caffemodel": WITH, "net.prototxt": net(PRODUCT, (1, 3)), "net.caffemodel": WITH},
        ask=["init", "other/net.caffemodel"]),
    Row("weights of a net, alone", Code.NOT_ONNX, "name the model .* and this file with (--with)", lambda _, m: ["init", "net.prototxt", m[1], "w.bin"],
        {"w.bin": b"\x0a\x03net", "net.prototxt": net(SIGMOID, (1, 3))}, ask=["init", "w.bin"]),
    Row("a required second file", Code.PARSER_OPTIONS, "name the file with (--with) FILE", lambda _, m: ["init", "net.prototxt", m[1], "other/w"],
        {"other/w": WITH, "net.prototxt": net(PRODUCT, (1, 3))}, ask=["init", "net.prototxt"],
        before=lambda place: place.patch.setattr(caffe_parser.CaffeFrontend, "Options", NeedsWeights)),
    Row("a second file of an address", Code.OPTIONS_EXCLUDE, "download the model and give its path", lambda *_: ["init", "net.prototxt", "--with", "other/net.caffemodel"],
        {"other/net.caffemodel": WITH, "net.prototxt": net(PRODUCT, (1, 3))},
        ask=["init", "https://example.org/net.prototxt", "--with", "other/net.caffemodel"]),
    Row("no second file", Code.NO_SUCH_FILE, "give --with the path of a file", lambda *_: ["init", "net.prototxt", "--with", "other/net.caffemodel"],
        {"other/net.caffemodel": WITH, "net.prototxt": net(PRODUCT, (1, 3))}, ask=["init", "net.prototxt", "--with", "other/nett.caffemodel"]),
]  # fmt: skip

ROWS = [*CAFFE, *UFF, *TENSORFLOW, *TORCH, *DIMS, *PAIR]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    for name, content in WRITES.get(row.name, {}).items():
        place.write(name, content)
    apply(row, place)
