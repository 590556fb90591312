"""The grammar of the spec language, derived from its models: valid keys at each place, examples, and names.

Works on the models' fields and annotations; independent of files and of validation.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.plain import Yaml

LISTED_NAMES = 20
"""A remedy lists at most this many names."""


class AnyOptions(BaseModel):
    """Options of an unknown parser; everything is accepted."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class Parser:
    """The options that a spec may give for a model of some format."""

    options: type[BaseModel]
    needs_source: bool = True
    takes_directory: bool = False


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names from plug-ins that a spec may use, and their options."""

    parsers: tuple[str, ...]
    precisions: tuple[str, ...]
    parser: Callable[[str], Parser] = lambda _: Parser(AnyOptions)
    """A parser by name; what knows its options is imported only when it is asked for."""
    calibrators: tuple[str, ...] = ("trtpipe",)
    methods: Callable[[str], tuple[str, ...]] = lambda _: ()
    """The methods that a calibrator has."""
    needs_calibration: Callable[[str], bool] = lambda _: False
    """Whether a precision takes scales."""
    misfits: Callable[[str, object, object], Iterable[Problem]] = lambda *_: ()
    """What a variant of a precision cannot have as `base` and `block_size`, by their paths in the variant."""
    has_blocks: Callable[[str], bool] = lambda _: False
    """Whether a precision quantizes in blocks."""
    computes_in_half: Callable[[str], bool] = lambda _: False
    """Whether a precision computes in float16 what it does not quantize, unless a variant's `base` says otherwise."""


EXAMPLES: Mapping[str, Mapping[str, Yaml]] = {
    "PipelineSpec": {
        "schema": 1,
        "pipeline": "ocr-det",
        "model": {"source": "models/ocr_det.onnx"},
        "transform": {"set_shapes": {"x": [-1, 3, -1, -1]}},
        "variants": {"fp32": {}, "fp16": {"precision": "fp16"}},
        "profiles": [{"x": {"min": "1x3x32x32", "opt": "1x3x736x736", "max": "4x3x1536x1536"}}],
        "targets": {"ada": {"gpu": "rtx4090"}},
        "toolchains": {"rtx": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"}},
        "builder": {"workspace": "2GiB"},
        "plugins": [{"library": "plugins/libmyops.so"}],
        "validate": {"data": "ocr-val"},
    },
    "ReadbackSpec": {"accept": ["loop-stops-early"]},
    "ModelSpec": {
        "source": "models/ocr_det.onnx",
        "files": {"ocr_det.onnx.data": "4c3f" * 16},
        "parser": "onnx",
        "options": {},
    },
    "TransformSpec": {
        "bind": {"sr": 16000},
        "outputs": ["logits"],
        "set_shapes": {"x": [-1, 3, -1, -1]},
        "graft": {
            "append": [{"layer": "topk", "name": "best", "op": "max", "k": 1, "axes": [1]}],
            "outputs": ["best", "best:1"],
        },
    },
    "VariantSpec": {
        "precision": "fp16",
        "keep": {"fp32": ["op:Softmax", "/head/*"]},
        "base": "fp16",
        "block_size": 32,
        "calibration": "ocr-calib",
        "io": {"*": "convert", "logits": "keep"},
        "overflow": "keep",
        "method": "entropy",
        "percentile": 99.99,
        "min_low_precision": 0.1,
        "budget": {"metric": "cosine", "min": 0.999},
        "try": ["int8", "fp16"],
    },
    "BudgetSpec": {
        "metric": "cosine",
        "min": 0.999,
        "max": 0.01,
        "accuracy_drop": 0.005,
        "samples": 128,
        "max_evaluations": 200,
        "max_seconds": 600,
    },
    "CalibrationSpec": {
        "data": "ocr-calib",
        "samples": 512,
        "backend": "trtpipe",
        "provider": "cpu",
        "cache": "calibration/ocr.cache",
        "format": "auto",
        "min_coverage": 0.9,
        "rename": {"backbone/*:0": "backbone.*"},
    },
    "ShapeValues": {"min": [1, 32], "opt": [4, 64], "max": [8, 128]},
    "ProfileInput": {
        "min": "1x3x32x32",
        "opt": "1x3x736x736",
        "max": "4x3x1536x1536",
        "values": {"min": [1, 32], "opt": [4, 64], "max": [8, 128]},
    },
    "TargetSpec": {"gpu": "rtx4090", "toolchain": "rtx"},
    "ToolchainSpec": {
        "flavour": "tensorrt_rtx",
        "version": "1.7.1.116",
        "python": "/opt/tensorrt/bin/python",
    },
    "BuilderSpec": {
        "optimization_level": 3,
        "workspace": "2GiB",
        "tactic_shared_memory": "1GiB",
        "max_aux_streams": 0,
        "avg_timing_iterations": 4,
        "time_limit": 600,
        "memory_limit": "8GiB",
    },
    "PluginSpec": {"library": "plugins/libmyops.so"},
    "RandomData": {"seed": 0, "samples": 8},
    "Threshold": {"output": "logits", "metric": "cosine", "min": 0.999, "max": 0.01},
    "OtherReference": {"golden": "tests/outputs.npz", "variant": "fp32"},
    "ValidateSpec": {
        "data": "ocr-val",
        "random": {"seed": 0, "samples": 8},
        "samples": 100,
        "reference": "onnxruntime",
        "thresholds": [{"output": "*", "metric": "cosine", "min": 0.999}],
    },
    "StoreSpec": {
        "path": "/var/cache/trtpipe",
        "locks": "system",
        "shared": ["/mnt/trtpipe"],
        "remote": "s3://bucket/prefix",
        "mode": "read-only",
        "sign": "$TRTPIPE_SIGNING_KEY",
        "trust": ["ed25519:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI="],
    },
    "ProjectSpec": {
        "schema": 1,
        "targets": {"ada": {"gpu": "rtx4090"}},
        "toolchains": {"rtx": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"}},
        "builder": {"workspace": "2GiB"},
        "store": {"path": "/var/cache/trtpipe"},
        "reach": ["/data/models"],
    },
    "FleetSpec": {
        "schema": 1,
        "scheduler": {"host": "local", "address": "desk.example.org"},
        "certificates": "~/.config/trtpipe/fleet",
        "hosts": {"gpu1": {"user": "builder", "gpus": [0], "certificates": "send"}},
    },
    "FleetSchedulerSpec": {"host": "local", "port": 8786, "address": "desk.example.org", "insecure": False},
    "FleetHostSpec": {
        "address": "gpu1.example.org",
        "user": "builder",
        "port": 22,
        "identity": "~/.ssh/id_ed25519",
        "python": "~/trtpipe/bin/python",
        "command": ["docker", "run", "-i", "trtpipe-agent", "trtpipe"],
        "lanes": 4,
        "gpus": [0, 1],
        "env": ["AWS_PROFILE"],
        "env_file": "~/trtpipe.env",
        "certificates": "send",
    },
    "RandomSource": {"shapes": {"x": "1x3x224x224"}, "low": 0, "high": 255},
    "InputSpec": {
        "array": "images",
        "scale": 0.00392156862745098,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "dtype": "float32",
        "resize": {"size": 256, "mode": "fit_short"},
        "center_crop": 224,
        "pad_to_multiple": 32,
        "pad_value": 114,
    },
    "ResizeSpec": {"size": "640x640", "mode": "letterbox"},
    "DatasetSpec": {
        "schema": 1,
        "images": "data/photos",
        "npz": "data/digits.npz",
        "npy": {"images": "data/images.npy"},
        "safetensors": "data/images.safetensors",
        "parquet": "data/*.parquet",
        "python": "calibration.samples:draw",
        "files": ["calibration/words.txt"],
        "random": {"shapes": {"x": "1x3x224x224"}},
        "inputs": {"x": {"array": "images", "scale": 0.00392156862745098}},
        "labels": "labels",
        "samples": 100,
        "license": "CC-BY-4.0",
        "description": "handwritten digits",
    },
    "UffOptions": {
        "inputs": {"Input": [-1, 3, 300, 300]},
        "outputs": ["logits"],
        "plugins": {"_NMS_TRT": {"name": "NMS_TRT"}},
    },
    "UffPlugin": {"name": "NMS_TRT", "fields": {"topK": 100}, "outputs": [{"shape": "-1x1x100x7"}]},
    "UffPluginOutput": {"shape": "-1x1x100x7"},
}
"""Model → key → a value that could stand there; keys that are left out have a default that serves."""


LAYER_EXAMPLES: Mapping[str, Yaml] = {
    "name": "conv1",
    "kernel_size": [3, 3],
    "num_output_maps": 16,
    "num_outputs": 10,
    "kernel": "conv1.weight",
    "bias": "conv1.bias",
    "window_size": [2, 2],
    "stride": [2, 2],
    "inputs": ["a", "b"],
    "input": "conv1",
    "axes": [1],
    "axis": 1,
    "k": 5,
    "depth": 10,
    "equation": "ij,jk->ik",
    "pre_padding": [1, 1],
    "post_padding": [1, 1],
    "hidden_size": 64,
    "input_weights": "lstm.weight_ih_l0",
    "recurrent_weights": "lstm.weight_hh_l0",
    "slopes": "prelu.weight",
    "weights": [1, 2, 3],
    "to_type": "float32",
    "max_output_boxes_per_class": 100,
    "plugin": "EfficientNMS_TRT",
    "alpha": 0.0001,
    "beta": 0.75,
    "reshape_dims": [0, -1],
    "layer": "convolution",
}
"""Key of a declared layer → a value that could stand there."""


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a mapping, in the order of the model's fields."""
    return tuple(info.alias or name for name, info in model.model_fields.items())


def model_at(model: type[BaseModel], path: SpecPath, data: object = None) -> type[BaseModel] | None:
    """The model of the mapping at a path below `model`; None where any keys are allowed, or no mapping.

    `data` is the document's value, whose tag selects the model of a union.
    """
    return next(_models(annotation_at(model, path, data)), None)


def annotation_at(model: type[BaseModel], path: SpecPath, data: object = None) -> object:
    """The annotation of the value at a path below `model`; Any if the path is not in the grammar."""
    current: object = model
    for step in path:
        current = next((inner for one in members_of(current) for inner in inside(one, step)), Any)
        data = item_of(data, step)
        current = told_apart(current, data)
    return current


def item_of(data: object, step: str | int) -> object:
    """The value under a key or an index; None if there is none."""
    if isinstance(data, dict):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else None


def tag_of(annotation: object) -> str | None:
    """The key that discriminates the models of a union, such as `layer`; None for any other annotation."""
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    tags = [one.discriminator for one in marks if isinstance(one, FieldInfo)]
    return next((tag for tag in tags if isinstance(tag, str)), None)


def told_apart(annotation: object, data: object) -> object:
    """The model of a union that the data's tag selects; the annotation itself if there is no tag."""
    tag = tag_of(annotation)
    if tag is not None and isinstance(data, dict):
        for one in _models(annotation):
            if data.get(tag) in literals_of(one.model_fields[tag].annotation):
                return one
    return annotation


def tags_of(annotation: object) -> tuple[str, ...]:
    """The tags of a union's models: the kinds of layers, sorted."""
    tag = tag_of(annotation)
    if tag is None:
        return ()
    found = (value for one in _models(annotation) for value in literals_of(one.model_fields[tag].annotation))
    return tuple(sorted(map(str, found)))


def literals_of(annotation: object) -> tuple[object, ...]:
    """The values that an annotation's literals allow."""
    return tuple(
        value for one in members_of(annotation) if get_origin(one) is Literal for value in get_args(one)
    )


def example_of(model: type[BaseModel] | None, key: str) -> Yaml:
    """An example of the value of a key, or None."""
    if model is None:
        return None
    example = examples_of(model).get(key)
    if example is not None:
        return example
    info = next((info for name, info in model.model_fields.items() if (info.alias or name) == key), None)
    return info.default if info is not None and isinstance(info.default, (str, int, float)) else None


def examples_of(model: type[BaseModel]) -> Mapping[str, Yaml]:
    """Key → an example of its value; a declared layer's keys mean the same in every layer."""
    known = EXAMPLES.get(model.__name__)
    return known if known is not None else LAYER_EXAMPLES if "layer" in model.model_fields else {}


def members_of(annotation: object) -> Iterator[object]:
    """The alternatives of an annotation, without pydantic's metadata."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members_of(get_args(annotation)[0])
    elif origin is Union or origin is types.UnionType:
        for one in get_args(annotation):
            yield from members_of(one)
    else:
        yield annotation


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model in an annotation, at any depth of lists, mappings and unions."""
    for one in members_of(annotation):
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one
        for inner in get_args(one) if get_origin(one) is not Literal else ():
            yield from models_in(inner)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    return (one for one in members_of(annotation) if isinstance(one, type) and issubclass(one, BaseModel))


def inside(annotation: object, step: str | int) -> Iterator[object]:
    """The annotations of the value under a key or an index of a value with this annotation."""
    origin = get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if (info.alias or name) == step:
                yield info.annotation
    elif origin is dict:
        yield get_args(annotation)[1]
    elif origin in (tuple, list):
        yield get_args(annotation)[0]


def choose_from(name: object, valid: Iterable[str], noun: str) -> str:
    """The remedy for a wrong name: the nearest valid one, and all of them (`valid keys: …`)."""
    names = list(valid)
    near = nearest(name, names)
    choices = f"valid {noun}: {listed(names)}" if names else f"there are no {noun}"
    return f"did you mean {near!r}? {choices}" if near else choices


def listed(names: Sequence[str]) -> str:
    """Names as a list, at most LISTED_NAMES of them."""
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return ", ".join(names[:LISTED_NAMES]) + more


def nearest(name: object, valid: Iterable[str]) -> str | None:
    """The valid name most similar to `name` or starting with it, ignoring case; None if none is similar."""
    if not isinstance(name, str):
        return None
    by_lower = {one.lower(): one for one in valid}
    wanted = name[:100].lower()
    near = get_close_matches(wanted, by_lower, n=1) or [
        one for one in by_lower if wanted and one.startswith(wanted)
    ]
    return by_lower[near[0]] if near else None
