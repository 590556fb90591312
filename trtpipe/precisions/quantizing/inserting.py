"""Puts Q and DQ into a graph: a pair behind each activation, a DQ behind each quantized weight.

One tensor is quantized once, however many nodes read it; nodes that do not compute on quantized tensors go on reading
the float one. TensorRT takes no zero point but zero, and would take a missing one for int8 where ONNX means uint8: it
is always written. Weights are stored in the quantized type, so that the file has their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from trtpipe.canonical.naming import fresh
from trtpipe.precisions.casting.constants import constant_of, shape_of
from trtpipe.precisions.casting.element_types import Types, element_types
from trtpipe.precisions.quantizing.formats import QuantizedType
from trtpipe.precisions.quantizing.placing import Placement, WeightUse
from trtpipe.precisions.quantizing.weights import QuantizedTensor, channel_amax

_Known = dict[tuple[ir.Value, int | None, int], ir.Value]


def insert(model: ir.Model, placement: Placement, amax: Mapping[str, float], kind: QuantizedType) -> None:
    """Quantizes what `placement` names, in place; `amax` holds each activation's largest magnitude."""
    inserter = _Inserter(model.graph, kind, element_types(model))
    for value, uses in placement.activations.items():
        dequantized = inserter.activation(value, amax[value.name or ""])
        for node, index in uses:
            node.replace_input_with(index, dequantized)
    known: _Known = {}
    for use in placement.weights:
        inserter.weight(use, known)


class _Inserter:
    def __init__(self, graph: ir.Graph, kind: QuantizedType, types: Types) -> None:
        self.graph, self.kind, self.types = graph, kind, types
        self.taken = {value.name or "" for value in graph.inputs} | set(graph.initializers)
        for node in graph:
            self.taken |= {node.name or "", *(output.name or "" for output in node.outputs)}
        self.zero: ir.Value | None = None

    def activation(self, value: ir.Value, amax: float) -> ir.Value:
        """The dequantized form of an activation."""
        name = value.name or "tensor"
        scale = self._initializer(f"{name}_scale", self.kind.scale_of(amax))
        quantized = self._value(f"{name}_quantized", self.kind.dtype, value.shape)
        back = self._value(f"{name}_dequantized", self.types[value], value.shape)
        inputs = [value, scale, self._zero_point()]
        q = ir.node("QuantizeLinear", inputs, outputs=[quantized], name=self._fresh(f"{name}/quantize"))
        dq = ir.node(
            "DequantizeLinear",
            [quantized, scale, self._zero_point()],
            outputs=[back],
            name=self._fresh(f"{name}/dequantize"),
        )
        maker = value.producer()
        if maker is not None:
            self.graph.insert_after(maker, [q, dq])
        else:
            self.graph.insert_before(next(iter(self.graph)), [q, dq])
        return back

    def weight(self, use: WeightUse, known: _Known) -> None:
        """Stores an operand quantized and lets its node read it through a DQ."""
        source = use.node.inputs[use.index]
        assert source is not None
        key = (source, use.axis, use.block)
        if key not in known:
            known[key] = self._stored(source, use)
        use.node.replace_input_with(use.index, known[key])
        name = source.name or ""
        if not source.uses() and not source.is_graph_output() and name in self.graph.initializers:
            del self.graph.initializers[name]

    def _stored(self, source: ir.Value, use: WeightUse) -> ir.Value:
        tensor = constant_of(source)
        assert tensor is not None, "only constants are stored quantized"
        name = source.name or "weight"
        scale = self.kind.scale_of(channel_amax(tensor, use.axis, use.block))
        stored_name = self._fresh(f"{name}_quantized")
        stored = ir.Value(
            name=stored_name,
            type=ir.TensorType(self.kind.dtype),
            shape=source.shape,
            const_value=QuantizedTensor(tensor, self.kind, scale, use.axis, stored_name, use.block),
        )
        self.graph.register_initializer(stored)
        back = self._value(f"{name}_dequantized", self.types[source], source.shape)
        attributes = {} if use.axis is None else {"axis": use.axis}
        attributes |= {"block_size": use.block} if use.block else {}
        dq = ir.node(
            "DequantizeLinear",
            [stored, self._initializer(f"{name}_scale", scale)],
            attributes,
            outputs=[back],
            name=self._fresh(f"{name}/dequantize"),
        )
        self.graph.insert_before(use.node, dq)
        return back

    def _zero_point(self) -> ir.Value:
        if self.zero is None:
            self.zero = self._initializer("quantized_zero", np.zeros((), self.kind.dtype.numpy()))
        return self.zero

    def _initializer(self, name: str, array: Any) -> ir.Value:
        own = self._fresh(name)
        tensor = ir.tensor(array, name=own)
        value = ir.Value(
            name=own, type=ir.TensorType(tensor.dtype), shape=shape_of(tensor), const_value=tensor
        )
        self.graph.register_initializer(value)
        return value

    def _value(self, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> ir.Value:
        return ir.Value(name=self._fresh(name), type=ir.TensorType(dtype), shape=shape)

    def _fresh(self, wanted: str) -> str:
        return fresh(wanted, self.taken)
