"""Makes one quantized model use the other's quantized tensors, so that what lies between them can be compared closely.

A float between two quantization steps may be rounded to either of them when the same numbers are summed in a different
order, and after many layers such a difference is as large as many real errors. So the second model reads the first
one's dequantized tensors in place of its own. Its own are compared separately: no element may differ by more than one
step, and only as many may differ at all as the error of the floats before it explains.

A step is the scale of an integer type; for a floating-point type (fp8) it is one unit in the last of its three mantissa
bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.canonical.tensors import is_external
from trtpipe.metrics.metrics import json_number
from trtpipe.runners.cpu.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.arrays import Array
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.json_values import Json

_OWN = "/own"
_SLACK = 1.1
"""Tolerance, as half-precision scales or values make a step inexact: 127 steps of 2^-11 each."""
_STEPS = 127.0
"""Steps of a full scale: an error of the floats before it that is a share of the largest is as many of them."""
_MOST_FLIPPED = 0.5
_FP8_STEP, _FP8_LEAST = 2.0**-3, 2.0**-9
"""Of e4m3: the distance of neighbours as a share of the smaller one, and between subnormals."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """A tensor that both models dequantize."""

    tensor: str
    node: str
    scale: float
    floating: bool
    """Whether it is quantized to a floating type."""

    def steps_off(self, expected: Array, actual: Array, bound: float) -> Array:
        """By how many steps each element is off, minus a tolerance relative to the largest element.

        In a floating-point type small numbers have small steps, but small results of cancellation have large errors.
        """
        r, a = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
        before = bound * float(np.abs(r).max(initial=0.0))
        step: Array = np.full(r.shape, self.scale)
        if self.floating:
            step = np.maximum(self.scale * _FP8_LEAST, np.minimum(np.abs(r), np.abs(a)) * _FP8_STEP)
        off: Array = np.maximum(np.abs(r - a) - before, 0.0) / step
        return off


@dataclass(slots=True)
class Flips:
    """Measurements of a quantized tensor, accumulated batch by batch."""

    quantized: Quantized
    bound: float
    """The allowed difference of the floats before it, as a share of the largest."""
    elements: int = 0
    flipped: int = 0
    largest: float = 0.0
    misfit: bool = False

    def add(self, expected: Array, actual: Array) -> None:
        """Takes in a batch."""
        if np.shape(expected) != np.shape(actual):
            self.misfit = True
            return
        off = self.quantized.steps_off(expected, actual, self.bound)
        self.elements += off.size
        self.flipped += int(np.count_nonzero(off > 0.5))
        self.largest = max(self.largest, float(off.max(initial=0.0)))

    @property
    def allowed(self) -> float:
        """The share of elements that may be a step off: as many as the error of the floats before explains."""
        return min(_MOST_FLIPPED, 2 * self.bound * _STEPS)

    @property
    def departs(self) -> bool:
        """Whether it differs by more than isolated single steps."""
        share = self.flipped / self.elements if self.elements else 0.0
        within = self.largest <= _SLACK and share <= self.allowed
        return self.misfit or not within

    def to_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        return {
            "tensor": self.quantized.tensor,
            "node": self.quantized.node,
            "steps": json_number(self.largest),
            "share": self.flipped / self.elements if self.elements else 0.0,
            "allowed": self.allowed,
            "misfit": self.misfit,
            "departs": self.departs,
        }


def quantized_in(typed: RunnableModel, network: RunnableModel) -> list[Quantized]:
    """The activations that both models dequantize under one name, with constant scales, in the first one's order.

    Outputs are left out, because they are compared anyway.
    """
    known = typed.values
    constants = {tensor.name: tensor for tensor in typed.proto.graph.initializer}
    shared = network.tensors().difference(typed.outputs(), network.outputs())
    made = {name: node for node in typed.proto.graph.node for name in node.output}
    return [
        found
        for node in typed.proto.graph.node
        if node.op_type == "DequantizeLinear" and node.output[0] in shared
        for found in _activation(node, made, constants, known)
    ]


def _activation(
    node: onnx.NodeProto,
    made: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
    known: Mapping[str, TensorInfo],
) -> Iterator[Quantized]:
    """The dequantized activation; None for a weight, and if its scale is not a known constant."""
    source, scale = made.get(node.input[0]), constants.get(node.input[1])
    if source is None or source.op_type != "QuantizeLinear" or scale is None or is_external(scale):
        return
    if all(name in constants for name in source.input[:1]):
        return
    from onnx import numpy_helper

    array = numpy_helper.to_array(scale).astype(np.float64)
    dtype = known[node.input[0]].dtype if node.input[0] in known else ""
    if array.size:
        yield Quantized(
            node.output[0], node.name or node.op_type, float(array.max()), dtype.startswith("float")
        )


def forced(network: RunnableModel, tensors: Mapping[str, str]) -> RunnableModel:
    """A copy that takes these tensors (name → element type) as inputs, and makes its own as `NAME/own` instead."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(network.proto)
    for node in copy.graph.node:
        for index, name in enumerate(node.output):
            if name in tensors:
                node.output[index] = own_name(name)
    for name, dtype in tensors.items():
        number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        copy.graph.input.append(onnx.helper.make_tensor_value_info(name, number, None))
    kept = [one for one in copy.graph.value_info if one.name not in tensors]
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(kept)
    return RunnableModel(copy, network.folder, network.path)


def own_name(tensor: str) -> str:
    """The name of the tensor that a forced model computes itself."""
    return tensor + _OWN
