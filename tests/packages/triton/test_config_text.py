"""`config.pbtxt` from plain data, read back by Triton's own definition."""

from __future__ import annotations

import pytest

from tests.packages.triton.model_config import parsed, type_name
from trtpipe.errors import PackageError
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.config import ModelConfig, config_text
from trtpipe.packages.triton.pbtxt import Message, Word, render
from trtpipe.packages.triton.warmup import Warmup, WarmupInput
from trtpipe.spec.packaging import DynamicBatchingSpec, InstanceGroupSpec

IMAGE = Tensor("image", "float32", (-1, 3, -1, -1))
SCORES = Tensor("scores", "float16", (-1, 10))
UNKNOWN = "which its tensorrt backend does not know"
UNKNOWN_ONNX = "which its onnxruntime backend does not know"
SCALAR = "and Triton knows none; give it the shape 1 with a graft"


def config(**changes):
    plain = {
        "name": "net",
        "backend": "tensorrt",
        "inputs": (IMAGE,),
        "outputs": (SCORES,),
        "max_batch_size": 8,
        "files": {"8.9": "ada.plan"},
    }
    return ModelConfig(**{**plain, **changes})


def test_the_whole_text_of_a_plain_engine():
    text = config_text(config(files={"12.0": "blackwell.plan", "8.9": "ada.plan"}))

    assert (
        text
        == """\
name: "net"
platform: "tensorrt_plan"
backend: "tensorrt"
max_batch_size: 8
input {
  name: "image"
  data_type: TYPE_FP32
  dims: [ 3, -1, -1 ]
}
output {
  name: "scores"
  data_type: TYPE_FP16
  dims: [ 10 ]
}
instance_group {
  count: 1
  kind: KIND_GPU
}
cc_model_filenames {
  key: "8.9"
  value: "ada.plan"
}
cc_model_filenames {
  key: "12.0"
  value: "blackwell.plan"
}
"""
    )


def test_a_gpu_that_nobody_built_for_has_no_file():
    found = parsed(config_text(config()))

    assert dict(found.cc_model_filenames) == {"8.9": "ada.plan"}
    assert found.default_model_filename == ""


def test_typed_onnx_has_one_file_for_every_gpu():
    found = parsed(config_text(config(backend="onnxruntime", files={}, default_file="model.onnx")))

    assert (found.platform, found.backend) == ("onnxruntime_onnx", "onnxruntime")
    assert found.default_model_filename == "model.onnx"
    assert not found.cc_model_filenames
    assert not found.instance_group


def test_without_batches_the_first_dimension_stays():
    found = parsed(config_text(config(max_batch_size=0)))

    assert found.max_batch_size == 0
    assert list(found.input[0].dims) == [-1, 3, -1, -1]


def test_a_tensor_that_is_nothing_but_the_batch_is_reshaped():
    found = parsed(config_text(config(outputs=(Tensor("count", "int32", (-1,)),))))

    assert list(found.output[0].dims) == [1]
    assert found.output[0].HasField("reshape")
    assert list(found.output[0].reshape.shape) == []


@pytest.mark.parametrize(
    ("dtype", "word"),
    [
        ("bool", "TYPE_BOOL"),
        ("uint8", "TYPE_UINT8"),
        ("int8", "TYPE_INT8"),
        ("int32", "TYPE_INT32"),
        ("int64", "TYPE_INT64"),
        ("float16", "TYPE_FP16"),
        ("float32", "TYPE_FP32"),
        ("bfloat16", "TYPE_BF16"),
    ],
)
def test_every_type_of_tensorrt(dtype, word):
    found = parsed(config_text(config(inputs=(Tensor("x", dtype, (-1, 4)),))))

    assert type_name(found.input[0].data_type) == word


@pytest.mark.parametrize(
    ("tensor", "backend", "batch", "fact"),
    [
        (Tensor("text", "string", (-1, 1)), "onnxruntime", 8, "'text' is text, which no engine takes or gives"),
        (Tensor("x", "float8e4m3fn", (-1, 4)), "tensorrt", 8, f"'x' is float8e4m3fn, {UNKNOWN}"),
        (Tensor("x", "bfloat16", (-1, 4)), "onnxruntime", 8, f"'x' is bfloat16, {UNKNOWN_ONNX}"),
        (Tensor("x", "uint16", (-1, 4)), "tensorrt", 8, f"'x' is uint16, {UNKNOWN}"),
        (Tensor("x", "float32", ()), "tensorrt", 0, f"'x' is a scalar, {SCALAR}"),
        (Tensor("x", "float32", (0, 4)), "tensorrt", 0, "'x' is empty: it has a dimension of 0"),
        (Tensor("x", "int64", (-1,), True), "tensorrt", 0, "'x' is a shape tensor of unknown length"),
    ],
)  # fmt: skip
def test_what_triton_cannot_describe_is_refused_by_name(tensor, backend, batch, fact):
    with pytest.raises(PackageError) as caught:
        config_text(config(inputs=(tensor,), backend=backend, max_batch_size=batch))

    assert [one.fact for one in caught.value.problems] == [f"Triton cannot serve net: {fact}"]


def test_shape_tensors_are_marked():
    sizes = Tensor("sizes", "int64", (2,), shape_tensor=True)

    found = parsed(config_text(config(inputs=(IMAGE, sizes), max_batch_size=0)))

    assert [one.is_shape_tensor for one in found.input] == [False, True]


def test_several_profiles_are_named_in_every_instance_group():
    groups = (InstanceGroupSpec(count=2, gpus=(0,)), InstanceGroupSpec(kind="gpu", gpus=(1, 2)))

    found = parsed(config_text(config(profiles=3, instance_groups=groups)))

    assert [list(one.profile) for one in found.instance_group] == [["0", "1", "2"]] * 2
    assert [(one.count, list(one.gpus)) for one in found.instance_group] == [(2, [0]), (1, [1, 2])]
    assert {one.kind for one in found.instance_group} == {1}  # KIND_GPU


def test_dynamic_batching():
    plain = parsed(config_text(config(dynamic_batching=DynamicBatchingSpec())))
    chosen = DynamicBatchingSpec(preferred_sizes=(4, 8), max_queue_delay=100)
    tuned = parsed(config_text(config(dynamic_batching=chosen)))

    assert plain.HasField("dynamic_batching")
    assert list(tuned.dynamic_batching.preferred_batch_size) == [4, 8]
    assert tuned.dynamic_batching.max_queue_delay_microseconds == 100


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        (
            {"max_batch_size": 0, "dynamic_batching": DynamicBatchingSpec()},
            "dynamic_batching has nothing to do, for the model takes no batches",
        ),
        (
            {"dynamic_batching": DynamicBatchingSpec(preferred_sizes=(16,))},
            "preferred size 16 is above its largest batch, 8",
        ),
        (
            {"instance_groups": (InstanceGroupSpec(kind="cpu"),)},
            "an engine runs on GPUs only, and an instance group is of kind cpu",
        ),
    ],
)
def test_settings_that_contradict_the_model_are_refused(changes, fact):
    with pytest.raises(PackageError) as caught:
        config_text(config(**changes))

    assert [one.fact for one in caught.value.problems] == [
        f"Triton cannot serve net as its spec says: {fact}"
    ]


def test_labels_and_warmup():
    request = Warmup("sample-0", 4, {"image": WarmupInput("float32", (3, 32, 32), "0-image")})

    found = parsed(config_text(config(labels={"scores": "labels.txt"}, warmup=[request])))

    assert found.output[0].label_filename == "labels.txt"
    assert found.model_warmup[0].batch_size == 4
    assert found.model_warmup[0].inputs["image"].input_data_file == "0-image"
    assert list(found.model_warmup[0].inputs["image"].dims) == [3, 32, 32]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "日本/é", "tab\there", "line\nbreak", "'", "\x7f"])
def test_names_of_tensors_come_back_as_they_were(name):
    found = parsed(config_text(config(inputs=(Tensor(name, "float32", (-1, 4)),))))

    assert found.input[0].name == name


def test_the_text_format_writes_every_kind_of_value():
    fields = [
        ("a", True),
        ("b", 3),
        ("c", "x"),
        ("d", Word("W")),
        ("e", ()),
        ("f", (1, -1)),
        ("g", Message([])),
    ]

    assert render([("m", Message(fields))]) == (
        'm {\n  a: true\n  b: 3\n  c: "x"\n  d: W\n  e: [ ]\n  f: [ 1, -1 ]\n  g { }\n}\n'
    )
