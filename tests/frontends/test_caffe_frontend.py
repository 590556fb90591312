"""The caffe frontend on whole nets: records are met, both generations are read, and options mean what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.frontends.caffe_files import caffemodel, delimited, evaluate, lower, net, number, run
from tests.frontends.digits_caffe import MODELS, digits_caffemodel
from trtpipe.errors import ModelError
from trtpipe.frontends import LowerReport, ModelFiles, lower_model
from trtpipe.frontends.caffe import CaffeOptions, frontend
from trtpipe.frontends.caffe_format.caffemodel import read_weights

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "caffe"
CASES = sorted(path.stem for path in (DATA / "layers").glob("*.prototxt")) if DATA.exists() else []
NOT_TRANSPOSED = "ip_flatten_transpose"
"""Its record comes from a runtime that does not know `transpose`."""

RELU = 'layer { name: "r" type: "ReLU" bottom: "a" top: "a" }\n'
PRODUCT = (
    'layer { name: "p" type: "InnerProduct" bottom: "a" top: "y" inner_product_param { num_output: 2 } }\n'
)
WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)
BLOBS = {"p": [WEIGHTS, np.float32([1, 2])]}
ROW = np.float32([[1, -2, 3]])


def case(stem: str) -> Path:
    path = DATA / f"{stem}.prototxt"
    if not path.exists():
        pytest.skip("no Caffe nets in ../shared/testdata")
    return path


def lower_case(prototxt: Path, weights: Path, out: Path, **options: object) -> LowerReport:
    given = CaffeOptions.model_validate({"weights": weights.name, **options})
    return lower_model(frontend, ModelFiles(prototxt, {"weights": weights}, DATA), given, out)


def recorded(path: Path, side: str) -> dict[str, np.ndarray]:
    arrays = np.load(path)
    return {key[len(side) :]: arrays[key] for key in arrays if key.startswith(side)}


def graph_of(folder: Path) -> onnx.GraphProto:
    return onnx.load(folder / "out" / "model.onnx").graph


def shape_of(value: onnx.ValueInfoProto) -> list[object]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("stem", [one for one in CASES if one != NOT_TRANSPOSED] or ["caffe"])
def test_recorded_outputs_are_met(tmp_path, stem):
    path = case(f"layers/{stem}")
    lower_case(path, path.with_suffix(".caffemodel"), tmp_path / "model.onnx")
    record = path.with_suffix(".npz")
    if not record.exists():
        assert stem == "dropout_trainonly_data_loss"
        return
    outputs = run(tmp_path / "model.onnx", **recorded(record, "in:"))
    for name, expected in recorded(record, "out:").items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-4, atol=1e-4)


def test_a_transposed_inner_product_is_caffes_and_without_transpose_the_record_is_met(tmp_path):
    path = case(f"layers/{NOT_TRANSPOSED}")
    given, expected = (
        recorded(path.with_suffix(".npz"), "in:"),
        recorded(path.with_suffix(".npz"), "out:")["z"],
    )
    held = read_weights(path.with_suffix(".caffemodel"), "weights").layers
    first, bias, second = (blob.array().reshape(blob.dims) for blob in (*held["i"], *held["i2"]))
    rows = given["data"].reshape(2, -1) @ first.T + bias
    lower_case(path, path.with_suffix(".caffemodel"), tmp_path / "model.onnx")

    outputs = run(tmp_path / "model.onnx", **given)

    assert second.shape == (7, 3)  # Caffe's form of transposed weights: inputs x outputs
    np.testing.assert_allclose(outputs["z"], rows @ second, rtol=1e-5, atol=1e-4)
    plain = path.read_text().replace("transpose: true", "")
    lower(tmp_path, plain, {"i": [first, bias], "i2": [second.reshape(3, 7)]})
    as_recorded = run(tmp_path / "out" / "model.onnx", **given)
    np.testing.assert_allclose(as_recorded["z"], expected, rtol=1e-4, atol=1e-4)


def test_what_is_only_for_training_is_gone(tmp_path):
    path = case("layers/dropout_trainonly_data_loss")
    lower_case(path, path.with_suffix(".caffemodel"), tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph

    assert [one.name for one in graph.input] == ["data"]
    assert [one.name for one in graph.output] == ["y"]
    assert [node.op_type for node in graph.node] == ["Flatten", "Gemm"]


def test_lenet_knows_every_digit_at_any_batch(tmp_path):
    path = case("lenet_deploy")
    lower_case(path, DATA / "lenet.caffemodel", tmp_path / "model.onnx", batch="dynamic")
    record = np.load(DATA / "lenet_mnist64.npz")

    outputs = run(tmp_path / "model.onnx", data=record["in:data"])

    assert (outputs["loss"].argmax(1) == record["label"]).all()
    np.testing.assert_allclose(outputs["loss"], record["out:loss"], atol=1e-4)


def test_mtcnn_gives_what_its_onnx_twin_gives(tmp_path):
    path = case("mtcnn_det2_relu")
    lower_case(path, path.with_suffix(".caffemodel"), tmp_path / "model.onnx", batch="dynamic")
    record = np.load(path.with_suffix(".npz"))

    outputs = run(tmp_path / "model.onnx", data=record["in:input_2"].transpose(0, 3, 1, 2))

    np.testing.assert_allclose(outputs["conv5-2"], record["out:dense_2"], atol=1e-4)
    np.testing.assert_allclose(outputs["prob1"], record["out:softmax_1"], atol=1e-4)


def test_the_example_computes_what_its_onnx_twin_computes(tmp_path):
    assert (MODELS / "digits.caffemodel").read_bytes() == digits_caffemodel()
    lower(tmp_path, (MODELS / "digits.prototxt").read_text(), digits_caffemodel(), batch="dynamic")
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)

    outputs = run(tmp_path / "out" / "model.onnx", image=images)

    np.testing.assert_allclose(
        outputs["logits"], run(MODELS / "digits_cnn.onnx", images)["logits"], atol=1e-4
    )


@pytest.mark.parametrize("how", ["packed", "unpacked", "double", "half", "legacy"])
def test_weights_are_read_however_they_are_written(tmp_path, how):
    lower(tmp_path, net(PRODUCT, (1, 3)), BLOBS, how)

    outputs = run(tmp_path / "out" / "model.onnx", ROW)

    np.testing.assert_array_equal(outputs["y"], ROW @ WEIGHTS.T + [[1, 2]])


@pytest.mark.parametrize(("how", "stays"), [("packed", True), ("unpacked", False), ("double", False)])
def test_large_weights_stay_in_their_file_where_they_can(tmp_path, how, stays):
    weights = np.random.default_rng(0).standard_normal((400, 300)).astype(np.float32)
    layer = PRODUCT.replace("num_output: 2", "num_output: 400 bias_term: false")
    lower(tmp_path, net(layer, (1, 300)), {"p": [weights]}, how)
    place = tmp_path / "place"
    place.mkdir()
    files = ModelFiles(tmp_path / "net.prototxt", {"weights": tmp_path / "net.caffemodel"}, tmp_path)

    (tensor,) = frontend.read(files, CaffeOptions(weights="net.caffemodel"), place).graph.initializer

    held = {entry.key: entry.value for entry in tensor.external_data}
    assert (held["location"] == str((tmp_path / "net.caffemodel").resolve())) == stays
    x = np.ones((1, 300), np.float32)
    outputs = run(tmp_path / "out" / "model.onnx", x)
    np.testing.assert_allclose(outputs["y"], x @ weights.T, rtol=1e-4, atol=1e-4)


V1 = """
input: "a"
input_dim: 1 input_dim: 3 input_dim: 2 input_dim: 2
layers { name: "c" type: CONVOLUTION bottom: "a" top: "c" blobs_lr: 1 weight_decay: 0
  convolution_param { num_output: 2 kernel_size: 1 } }
layers { name: "r" type: 18 bottom: "c" top: "c" }
layers { name: "s" type: SOFTMAX_LOSS bottom: "c" bottom: "label" top: "loss" include { phase: TRAIN } }
layers { name: "q" type: SOFTMAX bottom: "c" top: "y" }
"""
V2 = """
layer { name: "c" type: "Convolution" bottom: "a" top: "c" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
layer { name: "q" type: "Softmax" bottom: "c" top: "y" }
"""


def test_the_first_generation_gives_what_the_second_gives(tmp_path):
    blobs = {"c": [WEIGHTS.reshape(2, 3, 1, 1), np.float32([1, 2])]}
    x = np.random.default_rng(0).standard_normal((1, 3, 2, 2)).astype(np.float32)
    lower(tmp_path, net(V2, x.shape), blobs)
    expected = run(tmp_path / "out" / "model.onnx", x)

    lower(tmp_path, V1, caffemodel(blobs, "legacy", v1=True))

    outputs = run(tmp_path / "out" / "model.onnx", x)
    assert list(outputs) == ["y"]
    np.testing.assert_array_equal(outputs["y"], expected["y"])


def test_a_blob_that_is_written_again_keeps_its_name_at_the_end(tmp_path):
    text = """layer { name: "first" type: "AbsVal" bottom: "a" top: "x" }
    layer { name: "second" type: "Sigmoid" bottom: "x" top: "x" }
    layer { name: "third" type: "TanH" bottom: "x" top: "x" }"""
    lower(tmp_path, net(text, (1, 3)))

    assert [(node.name, node.output[0]) for node in graph_of(tmp_path).node] == [
        ("first", "x/first"),
        ("second", "x/second"),
        ("third", "x"),
    ]


def test_a_reader_between_two_writers_sees_the_first_version(tmp_path):
    text = """layer { name: "x" type: "Power" bottom: "a" top: "x" power_param { scale: -1 } }
    layer { name: "k" type: "AbsVal" bottom: "x" top: "before" }
    layer { name: "r" type: "ReLU" bottom: "x" top: "x" }"""

    outputs = evaluate(tmp_path, text, ROW)

    np.testing.assert_array_equal(outputs["before"], np.abs(ROW))
    np.testing.assert_array_equal(outputs["x"], (-ROW).clip(0))


def test_an_input_that_is_written_in_place_gives_an_output_of_another_name(tmp_path):
    outputs = evaluate(tmp_path, RELU, ROW)

    assert list(outputs) == ["a/r"]
    np.testing.assert_array_equal(outputs["a/r"], ROW.clip(0))


def test_a_blob_may_have_the_name_that_a_node_inside_a_layer_would_take(tmp_path):
    text = (
        PRODUCT.replace("num_output: 2", "num_output: 2 axis: 0").replace('top: "y"', 'top: "y1"')
        + 'layer { name: "t" type: "TanH" bottom: "a" top: "p/flat" }'
        + 'layer { name: "z" type: "ReLU" bottom: "a" top: "p" }'
    )

    outputs = evaluate(tmp_path, text, ROW, blobs=BLOBS)

    np.testing.assert_allclose(outputs["p/flat"], np.tanh(ROW), rtol=1e-6)
    np.testing.assert_array_equal(outputs["p"], ROW.clip(0))
    np.testing.assert_allclose(outputs["y1"], (ROW @ WEIGHTS.T + [[1, 2]])[0])


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, [1, 3, 8, 8]),
        ({"batch": 4}, [4, 3, 8, 8]),
        ({"batch": "dynamic"}, ["batch", 3, 8, 8]),
        ({"inputs": {"a": [2, 3, -1, -1]}}, [2, 3, "a_2", "a_3"]),
        ({"inputs": {"a": [-1, 3, 16, -1]}, "batch": 7}, ["batch", 3, 16, "a_3"]),
    ],
)
def test_shapes_of_inputs_are_those_of_the_options(tmp_path, options, shape):
    lower(tmp_path, net(RELU, (1, 3, 8, 8)), **options)

    assert [shape_of(value) for value in graph_of(tmp_path).input] == [shape]


def test_a_net_can_be_cut_before_a_layer_that_cannot_be_built(tmp_path):
    more = """layer { name: "odd" type: "Strange" bottom: "y" top: "z" }
    layer { name: "other" type: "TanH" bottom: "b" top: "w" }"""
    lower(tmp_path, net(PRODUCT + more, (1, 3), (1, 2)), BLOBS, outputs=["y"])

    assert [one.name for one in graph_of(tmp_path).output] == ["y"]
    assert [one.name for one in graph_of(tmp_path).input] == ["a"]


def test_include_and_exclude_rules_are_held_against_phase_level_and_stage(tmp_path):
    rules = {
        "always": "",
        "test": "include { phase: TEST }",
        "train": "include { phase: TRAIN }",
        "not_train": "exclude { phase: TRAIN }",
        "deploy": 'include { stage: "deploy" }',
        "not_deploy": 'include { not_stage: "deploy" }',
        "level": "include { min_level: 2 }",
        "either": 'include { phase: TRAIN } include { stage: "deploy" }',
    }
    layer = 'layer {{ name: "{0}" type: "ReLU" bottom: "a" top: "{0}" {1} }}\n'
    text = net("".join(layer.format(name, rule) for name, rule in rules.items()), (1, 3))

    def outputs(text: str = text, **options: object) -> set[str]:
        lower(tmp_path, text, **options)
        return {one.name for one in graph_of(tmp_path).output}

    assert outputs() == {"always", "test", "not_train", "not_deploy"}
    assert outputs(stages=["deploy"]) == {"always", "test", "not_train", "deploy", "either"}
    assert outputs('state { stage: "deploy" }' + text) == outputs(stages=["deploy"])
    assert outputs(level=2) == {"always", "test", "not_train", "not_deploy", "level"}


def test_the_blob_of_a_data_layer_becomes_an_input_when_its_shape_is_given(tmp_path):
    text = 'layer { name: "d" type: "Data" top: "a" top: "label" data_param { batch_size: 64 } }\n' + PRODUCT
    text += 'layer { name: "acc" type: "Accuracy" bottom: "y" bottom: "label" top: "acc" }\n'
    with pytest.raises(
        ModelError, match=r"the shape of input 'a', which layer 'd' \(Data\) makes in training"
    ):
        lower(tmp_path, text, BLOBS)

    lower(tmp_path, text, BLOBS, inputs={"a": [-1, 3]})

    assert [one.name for one in graph_of(tmp_path).input] == ["a"]
    assert [one.name for one in graph_of(tmp_path).output] == ["y"]


def test_the_same_files_give_the_same_bytes(tmp_path):
    text = (MODELS / "digits.prototxt").read_text()
    lower(tmp_path, text, digits_caffemodel())
    first = (tmp_path / "out" / "model.onnx").read_bytes()

    lower(tmp_path, text, digits_caffemodel())

    assert (tmp_path / "out" / "model.onnx").read_bytes() == first


def test_comments_in_any_encoding_lists_and_all_ways_to_write_numbers_are_read(tmp_path):
    text = (
        b'\xef\xbb\xbf# \xc4\xe3\xba\xc3 { " \n'
        b'name: \'te\' "st"; input: "a", input_shape: < dim: [0x1, 03] > # ]\n'
        b'layer: { name: "p" type: "Power" bottom: "a" top: "y" power_param { scale: 2.f shift: -.5e0 } }'
    )
    (tmp_path / "net.prototxt").write_bytes(text)
    out = tmp_path / "model.onnx"

    lower_model(frontend, ModelFiles(tmp_path / "net.prototxt", {}, tmp_path), CaffeOptions(), out)

    np.testing.assert_array_equal(run(out, ROW)["y"], 2 * ROW - 0.5)


def test_a_pair_of_files_is_proposed_for_either_of_them(tmp_path):
    (tmp_path / "net.prototxt").write_text(net(PRODUCT, (1, 3)))
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(BLOBS))
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt"\nbase_lr: 0.1\n')

    proposals = [frontend.propose(tmp_path / name) for name in ("net.prototxt", "net.caffemodel")]

    assert [one.source for one in proposals if one] == [tmp_path / "net.prototxt"] * 2
    assert [one.options for one in proposals if one] == [{"weights": tmp_path / "net.caffemodel"}] * 2
    assert frontend.propose(tmp_path / "solver.prototxt") is None
    assert frontend.propose(MODELS / "digits_cnn.onnx") is None


@pytest.mark.parametrize("generation", ["V1", "V2"])
def test_weights_whose_first_layers_have_no_name_are_recognised(tmp_path, generation):
    v1 = generation == "V1"
    nameless = delimited(2, number(5, 4)) if v1 else delimited(100, delimited(2, b"Input"))
    (tmp_path / "net.prototxt").write_text(net(PRODUCT, (1, 3)))
    (tmp_path / "net.caffemodel").write_bytes(nameless * 3 + caffemodel(BLOBS, v1=v1))

    proposal = frontend.propose(tmp_path / "net.caffemodel")

    assert proposal is not None
    assert proposal.options == {"weights": tmp_path / "net.caffemodel"}


def test_a_caffemodel_alone_is_an_error_that_asks_for_the_net(tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(BLOBS))
    with pytest.raises(ModelError, match="give the prototxt of the deployed net instead"):
        frontend.propose(tmp_path / "net.caffemodel")
    for name in ("deploy.prototxt", "train_val.prototxt"):
        (tmp_path / name).write_text(net(PRODUCT, (1, 3)))
    with pytest.raises(
        ModelError, match=r"there are deploy\.prototxt, train_val\.prototxt; give the prototxt"
    ):
        frontend.propose(tmp_path / "net.caffemodel")
