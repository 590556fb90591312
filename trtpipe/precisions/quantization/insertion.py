"""Inserts Q and DQ into a graph: a pair after each activation, a DQ after each quantized weight.

One tensor is quantized once, however many nodes read it; nodes that do not compute on quantized tensors go on reading
the float one. TensorRT accepts only a zero point of zero, and reads a missing one as int8 where ONNX means uint8, so
the zero point is always written. Weights are stored in the quantized type to keep the file small.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from trtpipe.canonical.names import FreshNames
from trtpipe.precisions.casts.constants import constant_of, shape_of
from trtpipe.precisions.casts.element_types import Types, element_types
from trtpipe.precisions.quantization.formats import QuantizedType
from trtpipe.precisions.quantization.places import Placement, WeightUse
from trtpipe.precisions.quantization.weights import QuantizedTensor, WeightScales, channel_amax

if TYPE_CHECKING:
    from trtpipe.arrays import Array


def insert(
    model: ir.Model,
    placement: Placement,
    amax: Mapping[str, float],
    kind: QuantizedType,
    held: ir.DataType = ir.DataType.FLOAT,
) -> None:
    """Quantizes what `placement` names, in place.

    `amax` holds each activation's largest magnitude; `held` is the float type that scales will be stored in.
    """
    inserter = Inserter(model)
    for value, uses in placement.activations.items():
        dequantized = _activation(inserter, value, kind, kind.scale_of(amax[value.name or ""], held))
        for node, index in uses:
            node.replace_input_with(index, dequantized)
    known: dict[tuple[ir.Value, int | None, int], ir.Value] = {}
    for use in placement.weights:
        source = inserter.constant(use)
        key = (source, use.axis, use.block)
        if key not in known:
            known[key] = _weight(inserter, use, source, kind, held)
        inserter.replace(use, known[key])


def _activation(inserter: Inserter, value: ir.Value, kind: QuantizedType, scale: Array) -> ir.Value:
    """The dequantized form of an activation."""
    name = value.name or "tensor"
    scaled = inserter.initializer(f"{name}_scale", scale)
    zero = inserter.zero(kind.dtype)
    quantized = inserter.value(f"{name}_quantized", kind.dtype, value.shape)
    back = inserter.value(f"{name}_dequantized", inserter.types[value], value.shape)
    inserter.put_behind(
        value,
        [
            inserter.node("QuantizeLinear", [value, scaled, zero], [quantized], f"{name}/quantize"),
            inserter.node("DequantizeLinear", [quantized, scaled, zero], [back], f"{name}/dequantize"),
        ],
    )
    return back


def _weight(
    inserter: Inserter, use: WeightUse, source: ir.Value, kind: QuantizedType, held: ir.DataType
) -> ir.Value:
    """The dequantized form of a constant operand, which is stored quantized."""
    tensor = constant_of(source)
    assert tensor is not None, "only constants are stored quantized"
    name = source.name or "weight"
    scales = WeightScales(
        tensor, use.axis, use.block, lambda: kind.scale_of(channel_amax(tensor, use.axis, use.block), held)
    )
    stored = inserter.stored(source, QuantizedTensor(tensor, kind, scales, f"{name}_quantized"))
    back = inserter.value(f"{name}_dequantized", inserter.types[source], source.shape)
    attributes = {} if use.axis is None else {"axis": use.axis}
    attributes |= {"block_size": use.block} if use.block else {}
    inputs = [stored, inserter.constant_later(scales.constant(f"{name}_scale"))]
    node = inserter.node("DequantizeLinear", inputs, [back], f"{name}/dequantize", attributes)
    inserter.graph.insert_before(use.node, node)
    return back


class Inserter:
    """Adds values and nodes with unique names to the main graph of a model."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.types: Types = element_types(model)
        taken = {value.name or "" for value in self.graph.inputs} | set(self.graph.initializers)
        for node in self.graph:
            taken |= {node.name or "", *(output.name or "" for output in node.outputs)}
        self._fresh = FreshNames(taken)
        self._zero: ir.Value | None = None

    def node(
        self,
        operator: str,
        inputs: Sequence[ir.Value],
        outputs: Sequence[ir.Value],
        name: str,
        attributes: Mapping[str, int] | None = None,
        *,
        domain: str = "",
    ) -> ir.Node:
        """A new node that is not in the graph yet."""
        return ir.node(
            operator, inputs, attributes or {}, outputs=outputs, name=self._fresh(name), domain=domain
        )

    def value(self, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
        """A value that a new node will compute."""
        return ir.Value(name=self._fresh(name), type=ir.TensorType(dtype), shape=shape)

    def initializer(self, name: str, array: Array) -> ir.Value:
        """A small constant."""
        tensor = ir.tensor(array, name=self._fresh(name))
        return self._registered(tensor, shape_of(tensor))

    def constant_later(self, tensor: ir.TensorProtocol) -> ir.Value:
        """A constant that is computed when it is first read."""
        tensor.name = self._fresh(tensor.name or "constant")
        return self._registered(tensor, shape_of(tensor))

    def stored(self, source: ir.Value, tensor: ir.TensorProtocol) -> ir.Value:
        """A quantized weight as a constant, with its source's shape."""
        tensor.name = self._fresh(tensor.name or "weight")
        return self._registered(tensor, source.shape or shape_of(tensor))

    def _registered(self, tensor: ir.TensorProtocol, shape: ir.Shape) -> ir.Value:
        value = ir.Value(name=tensor.name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def zero(self, dtype: ir.DataType) -> ir.Value:
        """The zero point constant, shared by all Q and DQ of the graph."""
        if self._zero is None:
            self._zero = self.initializer("quantized_zero", np.zeros((), dtype.numpy()))
        return self._zero

    def put_behind(self, value: ir.Value, nodes: Sequence[ir.Node]) -> None:
        """Inserts nodes directly after the node that makes a value, or at the start when it is a model input."""
        maker = value.producer()
        if maker is not None:
            self.graph.insert_after(maker, nodes)
        else:
            self.graph.insert_before(next(iter(self.graph)), nodes)

    def constant(self, use: WeightUse) -> ir.Value:
        """The constant that an operand is."""
        source = use.node.inputs[use.index]
        assert source is not None, "an operand is there"
        return source

    def replace(self, use: WeightUse, value: ir.Value) -> None:
        """Makes a node read another value; removes the constant when nothing reads it any more."""
        source = self.constant(use)
        use.node.replace_input_with(use.index, value)
        name = source.name or ""
        if not source.uses() and not source.is_graph_output() and name in self.graph.initializers:
            del self.graph.initializers[name]
