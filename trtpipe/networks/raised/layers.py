"""The declared layer for each layer type that lowering turns into nodes, and its fields.

Fields that are arrays are weights, which go into the spec's weights file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.layers.from_onnx.node import DECLARED_TYPES
from trtpipe.networks.lowering import windows
from trtpipe.networks.lowering.declared import DECLARED
from trtpipe.networks.lowering.scope import LayerScope, dtype_of
from trtpipe.networks.raised import normalization, quantization, slices
from trtpipe.spec.network import pointwise as points
from trtpipe.spec.network import reductions as reduced
from trtpipe.spec.network import shape_layers as shaped
from trtpipe.spec.network.fields import Declared

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.networks.raised.constants import Constants

Fields: TypeAlias = "dict[str, object]"
Raised: TypeAlias = "tuple[type[Declared], Fields]"


@dataclass(frozen=True)
class Raising:
    """A layer to be raised, and the constants of its network."""

    at: LayerScope
    constants: Constants

    def array(self, index: int, what: str) -> Array:
        """An input that must be constant in a declared layer. Raises ModelError when it is computed."""
        value = self.at.read(index)
        array = self.constants.array(value.name)
        if array is None:
            self.at.refuse(f"has its {what} computed, by '{value.name}': a declared layer has it constant")
        return array

    def ints(self, index: int, what: str) -> tuple[int, ...]:
        """Whole numbers that must be constant in a declared layer. Raises ModelError when they are computed."""
        return tuple(int(one) for one in self.array(index, what).reshape(-1))

    def number(self, index: int, what: str) -> float:
        """A number that must be constant in a declared layer. Raises ModelError when it is computed, or not one."""
        array = self.array(index, what)
        if array.size != 1:
            self.at.refuse(f"has {array.size} numbers as its {what}, where a declared layer has one")
        return float(array.reshape(-1)[0])

    def dtype(self, name: str) -> str:
        """An element type as a spec names it. Raises ModelError when no declared layer has it."""
        project = dtype_of(name)
        if project not in DECLARED_TYPES:
            self.at.refuse(f"makes {project}, which no declared layer does")
        return DECLARED_TYPES[project]


Form = Callable[[Raising], Raised]


def identity(one: Raising) -> Raised:
    """An identity, or a cast if the output has another type."""
    x, made = one.at.read(0), one.at.dtype_made
    if x.dtype == made:
        return points.Identity, {"input": x.name}
    return points.Cast, {"input": x.name, "to_type": one.dtype(made)}


def cast(one: Raising) -> Raised:
    """A cast."""
    return points.Cast, {"input": one.at.read(0).name, "to_type": one.dtype(one.at.text("to_type"))}


def select(one: Raising) -> Raised:
    """A choice between tensors of equal ranks."""
    condition, chosen, other = (one.at.read(index) for index in range(3))
    one.at.equal_ranks(condition, chosen, other)
    if chosen.dtype == "bool":
        one.at.refuse("chooses among booleans, which ONNX Runtime does not do on a CPU")
    return points.Select, {"inputs": (condition.name, chosen.name, other.name)}


def parametric_relu(one: Raising) -> Raised:
    """A parametric ReLU; its slopes are weights."""
    one.at.equal_ranks(one.at.read(0), one.at.read(1))
    return points.ParametricReLU, {"input": one.at.read(0).name, "slopes": one.array(1, "slopes")}


def squeeze(one: Raising) -> Raised:
    """Squeeze with constant axes; without any, the axes of length 1, which must be known."""
    x = one.at.read(0)
    if one.at.maybe(1):
        return shaped.Squeeze, {"input": x.name, "axes": one.ints(1, "axes")}
    dims = one.at.dims(x)
    if None in dims:
        one.at.refuse(
            f"removes what axes of '{x.name}' {x.text} are of length 1: a declared layer names them"
        )
    return shaped.Squeeze, {"input": x.name, "axes": tuple(axis for axis, dim in enumerate(dims) if dim == 1)}


def unsqueeze(one: Raising) -> Raised:
    """Unsqueeze with constant axes."""
    return shaped.Unsqueeze, {"input": one.at.read(0).name, "axes": one.ints(1, "axes")}


def one_hot(one: Raising) -> Raised:
    """Indices, values and depth."""
    indices, values, depth = (one.at.read(index).name for index in range(3))
    return shaped.OneHot, {"input": indices, "values": values, "depth": depth, "axis": one.at.whole("axis")}


def reverse_sequence(one: Raising) -> Raised:
    """Data and lengths."""
    inputs = tuple(one.at.read(index).name for index in range(2))
    axes = {name: one.at.whole(name) for name in ("batch_axis", "sequence_axis")}
    return shaped.ReverseSequence, {"inputs": inputs, **axes}


def fill(one: Raising) -> Raised:
    """The first value and one step, which are numbers."""
    at = one.at
    start = one.number(1, "start") if at.maybe(1) else at.number("alpha")
    steps = one.array(2, "delta").reshape(-1) if at.maybe(2) else [at.number("beta")]
    if len(steps) > 1 and any(float(step) for step in steps):
        at.refuse("makes steps along several axes, which no declared layer does")
    shape = at.maybe(0)
    return shaped.Fill, {
        "shape": shape.name if shape else at.sizes("shape"),
        "operation": at.member("operation"),
        "alpha": start,
        "beta": float(steps[0]) if len(steps) else 0.0,
        "to_type": at.text("to_type"),
    }


def einsum(one: Raising) -> Raised:
    """The equation."""
    inputs = tuple(one.at.read(index).name for index in range(len(one.at.tensors)))
    return reduced.Einsum, {"inputs": inputs, "equation": one.at.text("equation")}


def cumulative(one: Raising) -> Raised:
    """The axis is a number."""
    flags = {name: one.at.flag(name) for name in ("exclusive", "reverse")}
    axis = int(one.number(1, "axis"))
    return reduced.Cumulative, {
        "input": one.at.read(0).name, "op": one.at.member("op"), "axis": axis, **flags,
    }  # fmt: skip


def nms(one: Raising) -> Raised:
    """Boxes, scores, and their limits."""
    at = one.at
    fields: Fields = {
        "inputs": (at.read(0).name, at.read(1).name),
        "max_output_boxes_per_class": at.read(2).name,
        "bounding_box_format": at.member("bounding_box_format"),
        "indices_type": at.dtype_made,
    }
    for name, index in (("iou_threshold", 3), ("score_threshold", 4)):
        if at.maybe(index):
            fields[name] = at.read(index).name
    return reduced.NMS, fields


def constant(one: Raising) -> Raised:
    """The values, which the spec writes out where they are few."""
    array = one.constants.of_layer(one.at.parsed)
    if array is None:
        one.at.refuse("has no values, or not as many as its dims say")
    return shaped.Constant, {"weights": array, "dtype": one.dtype(one.at.made[0].dtype)}


def convolution(one: Raising) -> Raised:
    """A bias that is an input is weights here."""
    model, fields = DECLARED[one.at.parsed.type]
    made = fields(one.at)
    if one.at.weights_named("bias") is None and one.at.maybe(2):
        made["bias"] = one.array(2, "bias").reshape(-1)
    return model, made


def pooling(one: Raising) -> Raised:
    """The declared pooling. Raises ModelError if ONNX might omit TensorRT's last window (known for fixed sizes)."""
    at = one.at
    if windows.may_reach_beyond(at) and any(dim is None for dim in at.dims(at.read(0))[2:]):
        at.refuse(
            "rounds a padded window up over dynamic sizes: of some, a declared layer makes one element less"
        )
    model, fields = DECLARED["POOLING"]
    return model, fields(at)


_OWN: Mapping[str, Form] = {
    "IDENTITY": identity,
    "CAST": cast,
    "SELECT": select,
    "PARAMETRIC_RELU": parametric_relu,
    "SQUEEZE": squeeze,
    "UNSQUEEZE": unsqueeze,
    "ONE_HOT": one_hot,
    "REVERSE_SEQUENCE": reverse_sequence,
    "FILL": fill,
    "EINSUM": einsum,
    "CUMULATIVE": cumulative,
    "NMS": nms,
    "CONSTANT": constant,
    "CONVOLUTION": convolution,
    "DECONVOLUTION": convolution,
    "POOLING": pooling,
    "SLICE": slices.slice_,
    "QUANTIZE": quantization.quantize,
    "DEQUANTIZE": quantization.dequantize,
    "NORMALIZATION": normalization.normalization,
}


def form_of(kind: str) -> Form | None:
    """The function that declares layers of this type; None if there is none."""
    if kind in _OWN or kind not in DECLARED:
        return _OWN.get(kind)
    model, fields = DECLARED[kind]
    return lambda one: (model, fields(one.at))


def raised_types() -> list[str]:
    """The types that are raised."""
    return sorted({*_OWN, *DECLARED})
