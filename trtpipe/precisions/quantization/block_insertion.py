"""Inserts block quantization into a typed graph: activations are quantized at run time, weights are constants.

TensorRT's own operators (domain `trt`) compute the scales of an activation's blocks at run time, and divide by them:

    nvfp4   TRT_FP4DynamicQuantize(x, s) -> e2m1, e4m3 scales; DQ(scales, s) -> t; DQ(e2m1, t); Cast
    mxfp8   TRT_MXFP8DynamicQuantize(x) -> e4m3, e8m0 scales; TRT_MXFP8DequantizeLinear(e4m3, scales)

s is the scale of the whole tensor, from calibration. Weights are stored the same way. TensorRT-RTX 1.7 fuses nvfp4 when
its scales are float32 and a Cast follows, and crashes on a Cast after mxfp8, which is therefore dequantized directly to
the type that the product computes in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx_ir as ir

from trtpipe.precisions.casts.constants import CastTensor, constant_of
from trtpipe.precisions.quantization.blocks import BlockPlan
from trtpipe.precisions.quantization.formats import (
    QUANTIZED,
    block_scales,
    exponents_of,
    powers_of,
    whole_scale,
)
from trtpipe.precisions.quantization.insertion import Inserter
from trtpipe.precisions.quantization.places import WeightUse
from trtpipe.precisions.quantization.weights import QuantizedTensor, WeightScales, channel_amax

DOMAIN = "trt"
_FLOAT, _E4M3, _E2M1 = ir.DataType.FLOAT, ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT4E2M1


def insert_blocks(model: ir.Model, plan: BlockPlan, name: str) -> None:
    """Quantizes what the plan names to `nvfp4` or `mxfp8`, in place. The model's types must be final."""
    inserter = Inserter(model)
    made = _FORMATS[name](inserter)
    activations: dict[ir.Value, ir.Value] = {}
    for uses in plan.placement.activations.values():
        for node, index in uses:
            value = node.inputs[index]
            assert value is not None, "an operand is there"
            if value not in activations:
                activations[value] = made.activation(value, plan.scales.get(node, 0.0))
            node.replace_input_with(index, activations[value])
    weights: dict[tuple[ir.Value, int | None], ir.Value] = {}
    for use in plan.placement.weights:
        source = inserter.constant(use)
        key = (source, use.axis)
        if key not in weights:
            weights[key] = made.weight(use, source)
        inserter.replace(use, weights[key])
    if activations:
        model.opset_imports[DOMAIN] = 1


class _Format(Protocol):
    def activation(self, value: ir.Value, amax: float) -> ir.Value:
        """The dequantized form of an activation with this largest magnitude, in the same type."""

    def weight(self, use: WeightUse, source: ir.Value) -> ir.Value:
        """The dequantized form of a constant operand, which is stored quantized."""


@dataclass(frozen=True, slots=True)
class _Nvfp4:
    new: Inserter

    def activation(self, value: ir.Value, amax: float) -> ir.Value:
        new, name = self.new, value.name or "tensor"
        whole = new.initializer(f"{name}_scale", whole_scale(amax))
        narrow = new.value(f"{name}_quantized", _E2M1, value.shape)
        stored = new.value(f"{name}_block_scales", _E4M3, _blocked(value.shape, 16))
        attributes = {"axis": -1, "block_size": 16, "scale_type": int(_E4M3)}
        operator, inputs = "TRT_FP4DynamicQuantize", [value, whole]
        quantize = _node(new, operator, inputs, [narrow, stored], f"{name}/quantize", attributes)
        nodes, back = self._back(name, narrow, (stored, whole), -1, new.types[value])
        new.put_behind(value, [quantize, *nodes])
        return back

    def weight(self, use: WeightUse, source: ir.Value) -> ir.Value:
        new, name, tensor = self.new, source.name or "weight", _exact(source)
        assert use.axis is not None, "blocks run along an axis"
        amax = channel_amax(tensor, use.axis, use.block)
        whole = whole_scale(amax.max(initial=0))
        narrow = block_scales(amax, whole)
        scales = WeightScales(tensor, use.axis, use.block, lambda: narrow.astype("float32") * whole)
        quantized = new.stored(
            source, QuantizedTensor(tensor, QUANTIZED["nvfp4"], scales, f"{name}_quantized")
        )
        stored = (new.initializer(f"{name}_block_scales", narrow), new.initializer(f"{name}_scale", whole))
        nodes, back = self._back(name, quantized, stored, use.axis, new.types[source])
        new.graph.insert_before(use.node, nodes)
        return back

    def _back(
        self, name: str, narrow: ir.Value, stored: tuple[ir.Value, ir.Value], axis: int, dtype: ir.DataType
    ) -> tuple[list[ir.Node], ir.Value]:
        """The nodes that dequantize the scales, then the elements, and cast to the product's type."""
        new, attributes = self.new, {"axis": axis, "block_size": 16}
        scales = new.value(f"{name}_scales", _FLOAT, stored[0].shape)
        wide = new.value(f"{name}_dequantized", _FLOAT, narrow.shape)
        nodes = [
            new.node("DequantizeLinear", stored, [scales], f"{name}/dequantize_scales"),
            new.node("DequantizeLinear", [narrow, scales], [wide], f"{name}/dequantize", attributes),
        ]
        if dtype == _FLOAT:
            return nodes, wide
        back = new.value(f"{name}_dequantized_cast", dtype, narrow.shape)
        return [*nodes, new.node("Cast", [wide], [back], f"{name}/dequantize_cast", {"to": int(dtype)})], back


@dataclass(frozen=True, slots=True)
class _Mxfp8:
    new: Inserter

    def activation(self, value: ir.Value, amax: float) -> ir.Value:
        new, name = self.new, value.name or "tensor"
        narrow = new.value(f"{name}_quantized", _E4M3, value.shape)
        stored = new.value(f"{name}_block_scales", ir.DataType.UINT8, _blocked(value.shape, 32))
        attributes = {"axis": -1, "block_size": 32, "output_dtype": int(_E4M3)}
        operator, outputs = "TRT_MXFP8DynamicQuantize", [narrow, stored]
        quantize = _node(new, operator, [value], outputs, f"{name}/quantize", attributes)
        dequantize, back = self._back(name, narrow, stored, -1, new.types[value])
        new.put_behind(value, [quantize, dequantize])
        return back

    def weight(self, use: WeightUse, source: ir.Value) -> ir.Value:
        new, name, tensor = self.new, source.name or "weight", _exact(source)
        assert use.axis is not None, "blocks run along an axis"
        exponents = exponents_of(channel_amax(tensor, use.axis, use.block))
        scales = WeightScales(tensor, use.axis, use.block, lambda: powers_of(exponents))
        quantized = new.stored(
            source, QuantizedTensor(tensor, QUANTIZED["mxfp8"], scales, f"{name}_quantized")
        )
        stored = new.initializer(f"{name}_block_scales", exponents)
        node, back = self._back(name, quantized, stored, use.axis, new.types[source])
        new.graph.insert_before(use.node, node)
        return back

    def _back(
        self, name: str, narrow: ir.Value, stored: ir.Value, axis: int, dtype: ir.DataType
    ) -> tuple[ir.Node, ir.Value]:
        new, attributes = self.new, {"axis": axis, "block_size": 32, "output_dtype": int(dtype)}
        back = new.value(f"{name}_dequantized", dtype, narrow.shape)
        operator, inputs = "TRT_MXFP8DequantizeLinear", [narrow, stored]
        return _node(new, operator, inputs, [back], f"{name}/dequantize", attributes), back


def _node(
    new: Inserter,
    operator: str,
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    name: str,
    attributes: Mapping[str, int],
) -> ir.Node:
    """A node of TensorRT's own operators."""
    return new.node(operator, inputs, outputs, name, attributes, domain=DOMAIN)


def _exact(source: ir.Value) -> ir.TensorProtocol:
    """A constant as it is in the source, not rounded to the type that products compute in."""
    tensor = constant_of(source)
    assert tensor is not None, "only constants are stored quantized"
    return tensor.source if isinstance(tensor, CastTensor) else tensor


def _blocked(shape: ir.Shape | None, block: int) -> ir.Shape | None:
    """The shape with its last axis counted in blocks; None when that is unknown."""
    if shape is None or not isinstance(shape[-1], int):
        return None
    return ir.Shape([*shape[:-1], shape[-1] // block])


_FORMATS: Mapping[str, type[_Nvfp4] | type[_Mxfp8]] = {"nvfp4": _Nvfp4, "mxfp8": _Mxfp8}
