"""Writes a declared layer as spec content: defaults omitted, numbers short, weights by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

import numpy as np

from trtpipe.layers.from_onnx.node import numbers_of
from trtpipe.layers.parameters import Parameters, numpy_type
from trtpipe.weights.safetensors import WRITABLE, Writable

if TYPE_CHECKING:
    from pathlib import Path

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json
    from trtpipe.networks.lowering.scope import LayerScope
    from trtpipe.networks.raised.constants import Constants
    from trtpipe.spec.network.fields import Declared

_DIMS = frozenset({"start", "shape", "stride", "reshape_dims"})
_COUNTS = frozenset({"k", "depth", "max_output_boxes_per_class"})
_NUMBERS = frozenset({"iou_threshold", "score_threshold"})
"""Fields that are numbers, or the tensors that hold them."""
_WIDER = {"int4": "int8", "float4_e2m1fn": "float8_e4m3fn"}
"""Types of half a byte, which .safetensors does not have, and those that hold the same values in it."""
_PLAIN = ("float32", "float16", "int64", "int32", "int8", "uint8", "bool")
"""Types that every opset has: a constant of one need not say it, where the file does. Of others the opset depends."""
_NOTHING = {"stride": 1, "dilation": 1, "pre_padding": 0, "post_padding": 0, "padding": 0}
"""Dims that say nothing when they are this number on every axis, and that are then left out."""


@dataclass
class Arrays:
    """Weights in memory, or mapped, by name."""

    arrays: Mapping[str, Array]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.names = tuple(self.arrays)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The dims of a tensor."""
        return tuple(self.arrays[name].shape)

    def dtype_of(self, name: str) -> str:
        """Element type of a tensor."""
        return str(self.arrays[name].dtype.name)

    def count_of(self, name: str) -> int:
        """Elements of a tensor."""
        return int(self.arrays[name].size)

    def array(self, name: str) -> Array:
        """The values."""
        return self.arrays[name]

    def location(self, name: str) -> tuple[Path, int] | None:
        """None, because these weights are not in a file."""
        return None


@dataclass
class WeightsFile:
    """The weights of all layers, as the spec's weights file will hold them, without duplicates."""

    names: Callable[[str], str]
    """Gives each name once."""
    written: dict[str, Writable] = field(default_factory=dict)
    _known: dict[tuple[str, tuple[int, ...], str], str] = field(default_factory=dict)

    def add(self, wanted: str, array: Array, digest: str) -> str:
        """Adds weights; returns their name: `wanted`, or another one if the same bytes are there already."""
        key = (str(array.dtype.name), tuple(array.shape), digest)
        if key not in self._known:
            name = self._known[key] = self.names(wanted)
            kept = _WIDER.get(key[0], key[0])
            self.written[name] = Writable(kept, key[1], lambda: array.astype(numpy_type(kept), copy=False))
        return self._known[key]


def refusal_of(arrays: Mapping[str, Array]) -> str:
    """Why weights cannot be written; empty if they can."""
    for name, array in arrays.items():
        if _WIDER.get(array.dtype.name, array.dtype.name) not in WRITABLE:
            return f"its {name} are {array.dtype.name}, which .safetensors does not support"
    return ""


def parameters_of(arrays: Mapping[str, Array]) -> Parameters:
    """A layer's own weights, by the names of its fields."""
    return Parameters({"": Arrays(arrays)})


def tidied(model: type[Declared], fields: Mapping[str, object]) -> dict[str, object]:
    """The fields without those that equal their default."""
    made = {name: value for name, value in fields.items() if not _is_default(model, name, value)}
    if (
        "pre_padding" in made
        and made.get("pre_padding") == made.get("post_padding")
        and "padding" in model.model_fields
    ):
        made = {"padding" if name == "pre_padding" else name: value for name, value in made.items()}
        del made["post_padding"]
    return {name: _short(value) for name, value in made.items()}


def _is_default(model: type[Declared], name: str, value: object) -> bool:
    if value is None:
        return True
    info = model.model_fields[name]
    if name in _NOTHING and not info.is_required() and isinstance(value, tuple):
        return all(one == _NOTHING[name] for one in value)
    return type(value) is type(info.default) and bool(value == info.default)


def _short(value: object) -> object:
    """A float32 with the fewest digits that identify it."""
    if isinstance(value, tuple):
        return tuple(_short(one) for one in value)
    if isinstance(value, float) and np.isfinite(value) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


def with_weights(
    at: LayerScope, fields: Mapping[str, object], constants: Constants
) -> tuple[dict[str, object], dict[str, Array]]:
    """The fields with the names of weights in place of arrays, and the arrays by those names.

    Dims and counts that are constants of the network become numbers.
    """
    made: dict[str, object] = {}
    weights: dict[str, Array] = {}
    for name, value in fields.items():
        array = value if isinstance(value, np.ndarray) else _own(at, name, value, fields)
        if array is not None:
            weights[name] = array
        made[name] = _in_numbers(name, value, constants) if array is None else name
    return made, weights


def _own(at: LayerScope, name: str, value: object, fields: Mapping[str, object]) -> Array | None:
    """A layer's own weights, in the field's dims; None if the field names none."""
    if name not in at.parsed.weights or value != f"{at.parsed.number}.{name}":
        return None
    parameters, called = at.parameters, f"{at.parsed.number}.{name}"
    flat: Array = parameters.array(called, (parameters.count(called),), parameters.dtype(called))
    if name != "kernel":
        return flat
    maps, groups, size = fields["num_output_maps"], fields.get("num_groups", 1), fields["kernel_size"]
    assert isinstance(maps, int) and isinstance(groups, int) and isinstance(size, tuple), (
        "it was read as such"
    )
    dims = (-1, maps // groups, *size) if at.parsed.type == "DECONVOLUTION" else (maps, -1, *size)
    return flat if 0 in dims or flat.size % math.prod(map(abs, dims)) else flat.reshape(dims)


def _in_numbers(name: str, value: object, constants: Constants) -> object:
    """Replaces a constant tensor by numbers if the field accepts both."""
    array = constants.array(value) if name in _DIMS | _COUNTS | _NUMBERS and isinstance(value, str) else None
    if array is None or (name not in _DIMS and array.size != 1):
        return value
    numbers = tuple(one.item() for one in array.reshape(-1))
    return numbers if name in _DIMS else _short(numbers[0])


def kind_of(model: type[Declared]) -> str:
    """The spec's name for a kind of layer."""
    return str(get_args(model.model_fields["layer"].annotation)[0])


def spec_of(
    layer: Declared,
    outputs: tuple[str, ...],
    fields: Mapping[str, object],
    weights: Mapping[str, Array],
    named: Callable[[str, Array], str],
) -> dict[str, Json]:
    """The layer as an entry of a spec's `layers`; `named` puts weights into the file and returns their name there."""
    made: dict[str, Json] = {"layer": layer.kind, "name": layer.name}
    default = layer.model_copy(update={"outputs": ()}).output_names
    if outputs != default:
        made["outputs"] = list(outputs)
    told = False
    for name, value in fields.items():
        if name in weights:
            array = weights[name]
            few = numbers_of(array)
            made[name] = named(name, array) if few is None else few
            told = few is None and array.dtype.name in _PLAIN
        elif name == "dtype" and told:
            continue  # the weights file contains the type
        else:
            made[name] = _json(value)
    return made


def _json(value: object) -> Json:
    if isinstance(value, (tuple, list)):
        return [_json(one) for one in value]
    assert value is None or isinstance(value, (bool, int, float, str)), value
    return value
