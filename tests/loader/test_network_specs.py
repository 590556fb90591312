"""Declared layers and grafts in a spec: told apart by kind, refused by the nearest name, described for editors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.schemas import whole_schema
from trtpipe.errors import SpecError
from trtpipe.loader.grammar import keys_of
from trtpipe.loader.project import load_project
from trtpipe.loader.schema import field_docs
from trtpipe.loader.specs import LoadedPipeline, load_pipeline
from trtpipe.loader.yaml_reader import document_from_text
from trtpipe.spec.network.network import GraftSpec, NetworkInput, NetworkOptions, Prepended, layer_models
from trtpipe.spec.network.plugin import PluginField, PluginOutput
from trtpipe.workspace.known_names import known_names

HEAD = """\
schema: 1
pipeline: net
model:
  parser: network
  options:
    weights: w.npz
    inputs: {image: {shape: [batch, 3, 8, 8]}}
    outputs: [y]
    layers:
"""
TAIL = "targets: {ada: {gpu: sm89}}\n"
GRAFTED = "schema: 1\npipeline: net\nmodel: {source: net.onnx}\ntransform:\n  graft:\n"


MODELS = [
    *layer_models().values(),
    NetworkOptions,
    NetworkInput,
    GraftSpec,
    Prepended,
    PluginField,
    PluginOutput,
]

TAKEN = {
    "convolution": "{layer: convolution, name: y, num_output_maps: 4, kernel_size: [3, 3], kernel: w, bias: [0, 1]}",
    "scale": "{layer: scale, name: y, mode: uniform, scale: 0.5}",
    "shape": "{layer: shape, name: y}",
    "slice": "{layer: slice, name: y, start: [0, 0], shape: s, axes: [2, 3], stride: [1, 1]}",
    "topk": "{layer: topk, name: t, op: max, k: 5, axes: [1], outputs: [y, best]}",
    "elementwise": "{layer: elementwise, name: y, op: floor_div, inputs: [image, [[1, 2], [3, 4]]]}",
    "lstm": "{layer: lstm, name: y, hidden_size: 4, input_weights: [a, b], recurrent_weights: r}",
    "plugin": "{layer: plugin, name: p, plugin: My, inputs: [image], outputs: [{name: y, shape: [batch, -1]}], "
    "fields: {a: {type: float32, value: 0.5}, b: {type: char, value: text}, c: {type: dims, value: [1, 2]}}}",
}
REFUSED = {
    "unknown layer": (
        "{layer: convoluton, name: y}",
        "10:17: unknown layer 'convoluton'",
        "did you mean 'convolution'? valid layers: activation, ",
    ),
    "no layer": ("{name: y}", "10:9: missing key 'layer' in 'layers.0'", "valid layers: "),
    "layer no text": (
        "{layer: 3, name: y}",
        "10:17: 'layer' must be text, not the number 3",
        "valid layers: ",
    ),
    "no mapping": ("conv", "10:9: 'layers[0]' must be a mapping, not the text 'conv'", ""),
    "unknown attribute": (
        "{layer: activation, name: y, type: relu, alpah: 1}",
        "10:50: unknown key 'alpah'",
        "did you mean 'alpha'? valid keys: name, outputs, input, layer, type, alpha, beta",
    ),
    "another layer's attribute": (
        "{layer: shape, name: y, axes: [1]}",
        "10:33: unknown key 'axes'",
        "valid keys: name, outputs, input, layer",
    ),
    "attribute called as its layer": (
        "{layer: scale, name: y, scale: x, mode: chanel}",
        "10:49: unknown mode 'chanel'",
        "did you mean 'channel'? valid values: uniform, channel, elementwise",
    ),
    "missing attribute": (
        "{layer: scale, name: y}",
        "10:9: missing key 'mode' in 'layers.0'",
        "",
    ),
    "unknown type": (
        "{layer: activation, name: y, type: relu6}",
        "10:44: unknown type 'relu6'",
        "did you mean 'relu'? valid values: relu, sigmoid, ",
    ),
    "no list": (
        "{layer: pooling, name: y, type: max, window_size: 2}",
        "10:59: 'window_size' must be a list, not the number 2",
        "write it as a list: [2]",
    ),
    "too many axes": (
        "{layer: softmax, name: y, axes: [1, 2]}",
        "10:41: 'axes' has more than 1 item",
        "for example axes: [1]",
    ),
    "two paddings": (
        "{layer: pooling, name: y, type: max, window_size: [2], padding: [1], pre_padding: [1]}",
        "10:9: layer 'y' has padding, and pre_padding or post_padding",
        "give one or the other",
    ),
    "random numbers": (
        "{layer: fill, name: y, shape: [2], operation: random_normal}",
        "10:9: layer 'y': random_normal yields different outputs each time",
        "generate the numbers once and read them from a weights file",
    ),
    "too many outputs": (
        "{layer: shape, name: y, outputs: [a, b]}",
        "10:9: layer 'y' names 2 outputs",
        "a shape layer has one output",
    ),
    "fractions in whole numbers": (
        "{layer: plugin, name: y, plugin: A, inputs: [x], outputs: [{name: y, shape: [1]}], "
        "fields: {q: {type: int32, value: 1.5}}}",
        "10:104: a field of type int32 with the value 1.5",
        "write whole numbers",
    ),
}
FORM_ALONE = {"two paddings", "random numbers", "too many outputs", "fractions in whole numbers"}
"""What a schema cannot say."""


def text_of(layer: str) -> str:
    return f"{HEAD}      - {layer}\n{TAIL}".replace("      - ", "      - ")


@pytest.fixture
def load(tmp_path: Path):
    def loaded(text: str) -> LoadedPipeline:
        (tmp_path / "pipelines").mkdir()
        for name in ("w.npz", "net.onnx", "more.npz"):
            (tmp_path / name).write_bytes(b"not read here")
        path = tmp_path / "pipelines" / "net.yaml"
        path.write_text(text)
        return load_pipeline(path, load_project(tmp_path), known_names())

    return loaded


def accepts(text: str) -> bool:
    return Draft202012Validator(whole_schema()).is_valid(document_from_text(text, "f.yaml").data)


@pytest.mark.parametrize("layer", TAKEN.values(), ids=TAKEN)
def test_a_layer_is_taken_by_the_loader_and_by_the_schema(load, layer: str) -> None:
    assert load(text_of(layer)).spec.model.parser == "network"
    assert accepts(text_of(layer))


@pytest.mark.parametrize(("layer", "fact", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_with_a_layer_is_said_where_it_stands(load, layer: str, fact: str, remedy: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(text_of(layer))

    (problem,) = caught.value.problems
    assert str(problem).partition("net.yaml:")[2].startswith(f"{fact}\n")
    assert problem.remedy.startswith(remedy)


@pytest.mark.parametrize("name", sorted(REFUSED.keys() - FORM_ALONE))
def test_what_is_wrong_in_form_the_schema_refuses(name: str) -> None:
    assert not accepts(text_of(REFUSED[name][0]))


def test_everything_wrong_with_all_layers_is_said_at_once(load) -> None:
    lines = "".join(f"      - {layer}\n" for layer, _, _ in REFUSED.values())

    with pytest.raises(SpecError) as caught:
        load(HEAD + lines + TAIL)

    assert len(caught.value.problems) == len(REFUSED)
    assert [problem.where.line for problem in caught.value.problems] == [*range(10, 10 + len(REFUSED))]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_attribute_is_described(model: Any) -> None:
    assert list(field_docs(model)) == list(model.model_fields)
    assert model.__doc__


@pytest.mark.parametrize("model", layer_models().values(), ids=layer_models())
def test_every_layer_says_what_it_is_in_tensorrt_and_in_onnx(model: Any) -> None:
    said = re.sub(r"\s+", " ", model.__doc__)

    assert re.search(r"add_[a-z_0-9]+|IShuffleLayer", said)
    assert "ONNX" in said


@pytest.mark.parametrize("kind", layer_models())
def test_an_editor_completes_each_layer(kind: str) -> None:
    options = whole_schema()["$defs"]["network"]
    entry = options["properties"]["layers"]["items"]
    (found,) = [
        one["then"]["$ref"] for one in entry["allOf"] if one["if"]["properties"]["layer"]["const"] == kind
    ]
    schema: Any = whole_schema()
    for step in found.removeprefix("#/").split("/"):
        schema = schema[step]

    assert list(schema["properties"]) == list(keys_of(layer_models()[kind]))
    assert all(value.get("description") for value in schema["properties"].values())
    assert schema["additionalProperties"] is False
    assert kind in entry["properties"]["layer"]["enum"]


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ("w.npz", {"weights": "w.npz"}),
        ("[w.npz, more.npz]", {"weights.0": "w.npz", "weights.1": "more.npz"}),
        ("{backbone: w.npz, head: more.npz}", {"weights.backbone": "w.npz", "weights.head": "more.npz"}),
    ],
)
def test_weights_are_a_file_or_a_list_or_named_files(load, weights: str, named: dict[str, str]) -> None:
    text = text_of(TAKEN["shape"]).replace("weights: w.npz", f"weights: {weights}")

    assert {place: file.name for place, file in load(text).option_files().items()} == named
    assert accepts(text)


def test_a_file_that_is_not_there_is_said_where_it_is_named(load) -> None:
    text = text_of(TAKEN["shape"]).replace("weights: w.npz", "weights: [w.npz, mroe.npz]")

    with pytest.raises(SpecError, match=r"net\.yaml:6:22: no such file: 'mroe\.npz'"):
        load(text)


def test_a_graft_is_part_of_the_transform(load) -> None:
    text = (
        GRAFTED
        + "    weights: w.npz\n    append: [{layer: topk, name: best, op: max, k: 1, axes: [1]}]\n    outputs: [best]\n"
    ) + TAIL

    loaded = load(text)

    assert isinstance(loaded.graft, GraftSpec)
    assert loaded.spec.transform.graft["append"][0]["indices_type"] == "int32"
    assert {place: file.name for place, file in loaded.graft_files().items()} == {"weights": "w.npz"}
    assert accepts(text)


@pytest.mark.parametrize(
    ("lines", "fact"),
    [
        (
            "    append: [{layer: topk, name: b, op: mx, k: 1, axes: [1]}]\n    outputs: [b]\n",
            "6:41: unknown op 'mx'",
        ),
        ("    apend: []\n", "6:5: unknown key 'apend'"),
        ("    outputs: [b]\n", "5:3: a graft without layers"),
        (
            "    append: [{layer: shape, name: b}]\n",
            "5:3: layers are appended, but none of their tensors is an output",
        ),
        (
            "    prepend: {x: {shape: [1], layers: [{layer: casst, name: b}]}}\n",
            "6:48: unknown layer 'casst'",
        ),
    ],
)
def test_what_is_wrong_with_a_graft_is_said_where_it_stands(load, lines: str, fact: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(GRAFTED + lines + TAIL)

    assert [str(one).partition("net.yaml:")[2].splitlines()[0] for one in caught.value.problems] == [
        fact
    ] or str(caught.value.problems[0]).partition("net.yaml:")[2].startswith(fact)
