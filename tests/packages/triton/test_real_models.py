"""`config.pbtxt` of real models and of Polygraphy's, read by Triton's own definition and held against ONNX Runtime.

What ONNX Runtime gives at two batch sizes decides whether an output has the batch as its first dimension.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.endtoend.zoo import folder_of
from tests.packages.triton.model_config import parsed, type_name
from tests.projects import ROOT
from trtpipe.errors import PackageError
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.batch_proof import outputs_follow
from trtpipe.packages.triton.batches import most_batches
from trtpipe.packages.triton.config import ModelConfig, config_text
from trtpipe.packages.triton.tensors import TYPES

DYNAMIC = {
    "real/magika_v3_3": ([{"bytes": ((1, 2048), (8, 2048))}], 8),
    "real/mtcnn_rnet": ([{"input_2": ((1, 24, 24, 3), (32, 24, 24, 3))}], 32),
    "real/ppocr_cls": (
        [{"x": ((1, 3, 48, 64), (4, 3, 64, 320))}],
        0,
    ),  # not proved of the source; of the typed model it is, see test_real_models.py of tests/endtoend
    "polygraphy/dim_param": ([{"Input:0": ((1, 16, 128), (8, 16, 128))}], 8),
    "polygraphy/dynamic_identity": ([{"X": ((1, 2, 1, 1), (1, 2, 64, 64))}], 0),
    "polygraphy/inp_dim_val_not_set": ([{"X": ((1, 1, 1), (4, 8, 8))}], 4),
    "polygraphy/residual_block": ([{"gpu_0/data_0": ((1, 3, 224, 224), (2, 3, 224, 224))}], 2),
    "digits_cnn": ([{"image": ((1, 1, 8, 8), (4, 1, 8, 8))}, {"image": ((5, 1, 8, 8), (64, 1, 8, 8))}], 64),
}
"""Model → its profiles, and the largest batch that they and the model allow."""
FIXED = (
    "add_with_dup_inputs", "and", "cleanable", "const_foldable", "conv", "identity", "identity_multi_ch",
    "instancenorm", "loop", "matmul", "matmul.fp16", "matmul_2layer", "multi_output", "needs_constraints",
    "renamable", "scan", "unsorted", "transpose_matmul",
)  # fmt: skip
ONNX_TYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(bool)": "bool", "tensor(int32)": "int32",
    "tensor(int64)": "int64", "tensor(string)": "string", "tensor(int8)": "int8", "tensor(uint8)": "uint8",
}  # fmt: skip


def path_of(name: str) -> Path:
    kind, _, file = name.rpartition("/")
    return folder_of(kind) / f"{file}.onnx" if kind else ROOT / f"pipelines/models/{name}.onnx"


def tensors_of(session: onnxruntime.InferenceSession) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The tensors as the model declares them; what it leaves open is dynamic."""

    def tensor(one):
        shape = tuple(dim if isinstance(dim, int) else -1 for dim in one.shape)
        return Tensor(one.name, ONNX_TYPES[one.type], shape)

    return tuple(map(tensor, session.get_inputs())), tuple(map(tensor, session.get_outputs()))


def profile_of(ranges, inputs):
    """A profile: every dynamic input, opt being the smallest shape."""
    return {
        one.name: {"min": [*low], "opt": [*low], "max": [*high]}
        for one in inputs
        if one.name in ranges
        for low, high in [ranges[one.name]]
    }


def run(session, inputs, profile, batch):
    """Each output's shape at a batch size."""
    feed = {}
    for one in inputs:
        shape = profile[one.name]["opt"] if one.name in profile else [*one.shape]
        shape = [batch, *shape[1:]] if one.shape[:1] == (-1,) else shape
        feed[one.name] = np.zeros(shape, one.dtype)
    return [array.shape for array in session.run(None, feed)]


def as_in_config(config, tensor):
    """The whole shape that a request has, by the configuration."""
    found = next(one for one in (*config.input, *config.output) if one.name == tensor.name)
    dims = list(found.reshape.shape) if found.HasField("reshape") else list(found.dims)
    return type_name(found.data_type), ([-1, *dims] if config.max_batch_size else dims)


def checked(path, tensors, profiles, most):
    """The configurations for both backends say what the model says."""
    for backend in ("tensorrt", "onnxruntime"):
        config = ModelConfig(
            "net", backend, *tensors, most, files={"8.9": "x.plan"}, profiles=max(len(profiles), 1)
        )
        found = parsed(config_text(config))
        assert found.max_batch_size == most
        for one in (*tensors[0], *tensors[1]):
            assert as_in_config(found, one) == (TYPES[backend][one.dtype], list(one.shape)), path
        if backend == "tensorrt" and len(profiles) > 1:
            assert list(found.instance_group[0].profile) == [str(n) for n in range(len(profiles))]


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic_models(name):
    ranges, expected = DYNAMIC[name]
    path = path_of(name)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = tensors_of(session)
    profiles = [profile_of(one, inputs) for one in ranges]
    batched = all(one.shape[0] == -1 for one in inputs)

    follows = outputs_follow(path, inputs, outputs, profiles)
    most = most_batches(inputs, outputs, profiles, follows).most

    assert most == expected
    checked(path, (inputs, outputs), profiles, most)
    if most:
        shapes = {batch: run(session, inputs, profiles[0], batch) for batch in (2, 3)}
        assert all(shape[0] == batch for batch, found in shapes.items() for shape in found)
    if batched:
        real = [
            all(run(session, inputs, profiles[0], batch)[index][0] == batch for batch in (2, 3))
            for index in range(len(outputs))
        ]
        assert [follows[one.name] in (told, None) for one, told in zip(outputs, real, strict=True)] == [
            True
        ] * len(outputs)


@pytest.mark.parametrize("name", FIXED)
def test_fixed_models_take_no_batches(name):
    path = path_of(f"polygraphy/{name}")
    inputs, outputs = tensors_of(onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]))

    most = most_batches(inputs, outputs, [], outputs_follow(path, inputs, outputs, [])).most

    assert most == 0
    checked(path, (inputs, outputs), [], most)


@pytest.mark.parametrize(
    ("name", "scalar"), [("polygraphy/pow_scalar", "y"), ("real/silero_vad_op18_ifless", "sr")]
)
def test_models_with_scalars_are_refused_by_name(name, scalar):
    session = onnxruntime.InferenceSession(path_of(name), providers=["CPUExecutionProvider"])

    with pytest.raises(PackageError, match=f"'{scalar}' is a scalar, and Triton knows none"):
        config_text(ModelConfig("net", "tensorrt", *tensors_of(session), 0))


# -- models of our own, for what those do not have


def saved(path, nodes, inputs, outputs):
    def info(name, dtype, shape):
        return onnx.helper.make_tensor_value_info(name, dtype, shape)

    graph = onnx.helper.make_graph(
        nodes, "g", [info(*one) for one in inputs], [info(*one) for one in outputs]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_int8_tensors(tmp_path):
    nodes = [onnx.helper.make_node("Identity", ["x"], ["y"])]
    path = tmp_path / "int8.onnx"
    session = saved(
        path, nodes, [("x", onnx.TensorProto.INT8, ["n", 4])], [("y", onnx.TensorProto.INT8, ["n", 4])]
    )
    inputs, outputs = tensors_of(session)
    profiles = [profile_of({"x": ((1, 4), (16, 4))}, inputs)]

    most = most_batches(inputs, outputs, profiles, outputs_follow(path, inputs, outputs, profiles)).most

    assert (most, inputs[0].dtype) == (16, "int8")
    checked(path, (inputs, outputs), profiles, most)


def test_an_output_of_one_number_for_each_sample(tmp_path):
    nodes = [onnx.helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0)]
    path = tmp_path / "best.onnx"
    session = saved(
        path, nodes, [("x", onnx.TensorProto.FLOAT, ["n", 4])], [("best", onnx.TensorProto.INT64, ["n"])]
    )
    inputs, outputs = tensors_of(session)
    profiles = [profile_of({"x": ((1, 4), (16, 4))}, inputs)]

    most = most_batches(inputs, outputs, profiles, outputs_follow(path, inputs, outputs, profiles)).most
    found = parsed(config_text(ModelConfig("net", "tensorrt", inputs, outputs, most)))

    assert most == 16
    assert list(found.output[0].dims) == [1]
    assert found.output[0].HasField("reshape")
    checked(path, (inputs, outputs), profiles, most)


def test_an_output_whose_length_depends_on_values_is_no_batch(tmp_path):
    nodes = [
        onnx.helper.make_node("NonZero", ["x"], ["places"]),
        onnx.helper.make_node("Transpose", ["places"], ["found"], perm=[1, 0]),
    ]
    path = tmp_path / "places.onnx"
    session = saved(
        path, nodes, [("x", onnx.TensorProto.FLOAT, ["n", 4])], [("found", onnx.TensorProto.INT64, ["k", 2])]
    )
    inputs, outputs = tensors_of(session)
    profiles = [profile_of({"x": ((1, 4), (16, 4))}, inputs)]

    found = most_batches(inputs, outputs, profiles, outputs_follow(path, inputs, outputs, profiles))

    assert (found.most, found.why) == (0, "it is not known that the first dimension of 'found' is the batch")


def test_a_batch_that_becomes_something_else_is_seen(tmp_path):
    shape = onnx.helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [-1, 2])
    nodes = [
        onnx.helper.make_node("Constant", [], ["shape"], value=shape),
        onnx.helper.make_node("Reshape", ["x", "shape"], ["y"]),
    ]
    path = tmp_path / "pairs.onnx"
    session = saved(
        path, nodes, [("x", onnx.TensorProto.FLOAT, ["n", 4])], [("y", onnx.TensorProto.FLOAT, ["m", 2])]
    )
    inputs, outputs = tensors_of(session)
    profiles = [profile_of({"x": ((1, 4), (16, 4))}, inputs)]

    assert outputs_follow(path, inputs, outputs, profiles) == {"y": False}
    assert run(session, inputs, profiles[0], 2) == [(4, 2)]


@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
def test_text_is_refused_by_name(tmp_path, backend):
    nodes = [onnx.helper.make_node("Identity", ["words"], ["same"])]
    kind = onnx.TensorProto.STRING
    session = saved(tmp_path / "text.onnx", nodes, [("words", kind, ["n", 1])], [("same", kind, ["n", 1])])

    with pytest.raises(PackageError) as caught:
        config_text(ModelConfig("net", backend, *tensors_of(session), 4))

    assert [one.fact for one in caught.value.problems] == [
        "Triton cannot serve net: 'words' is text, which no engine takes or gives",
        "Triton cannot serve net: 'same' is text, which no engine takes or gives",
    ]


def test_enough_models_are_looked_at():
    assert len(DYNAMIC) + len(FIXED) >= 20
    assert math.prod(len(one) for one in (DYNAMIC, FIXED))
