"""Models around which trtpipe's precisions put quantization, and models that come quantized: what that sweep builds.

Sizes are small, and such that blocks of 16 to 128 fit where products sum; weights are made up and always the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from tests.conformance.form_models import arrays_for, small_model

BASES = ("fp16", "fp32", "bf16")
BLOCKS = (16, 32, 64, 128)


_FOLDER = Path(__file__).with_name("quantized")
"""`layers.txt`: what some precision quantizes; `around.txt`: operators that other tools put Q and DQ around, too;
`operators.txt`: ONNX's own operators on whole numbers. A line is `name | nodes | inputs | constants`."""


@dataclass(frozen=True)
class Layer:
    """A float model; its name says what is tried."""

    name: str
    model: onnx.ModelProto
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """What inputs of any size are fed."""


def layers() -> Iterator[Layer]:
    """The models of the first list."""
    return map(_layer, _lines("layers"))


def _lines(name: str) -> list[str]:
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def _layer(line: str) -> Layer:
    name, _, rest = line.partition("|")
    model = small_model(rest, 21)
    arrays = arrays_for(model) if "[N," in rest else {}
    return Layer(name.strip(), model, arrays)


def sources() -> Iterator[Layer]:
    """Models that come quantized, as other tools write them."""
    for line in _lines("around"):
        for kind in ("int8", "uint8", "fp8"):
            yield _around(_layer(line), kind)
    products = {one.name: one for one in layers()}
    for name in ("Conv 2-D", "Gemm, transB", "MatMul of 3 dimensions", "ConvTranspose 2-D"):
        for form in _FORMS:
            yield _product(products[name], form)
    yield from map(_layer, _lines("operators"))


_KINDS = {
    "int8": onnx.TensorProto.INT8,
    "uint8": onnx.TensorProto.UINT8,
    "fp8": onnx.TensorProto.FLOAT8E4M3FN,
    "int4": onnx.TensorProto.INT4,
}
_FORMS = (
    "int8, all per tensor",
    "int8, weight per channel as Q and DQ",
    "int8, weight per channel as DQ",
    "int8, scales without zero points",
    "int8, weight alone",
    "int8, weight alone in blocks of 32",
    "int8, bias as int32",
    "int8, activation's zero point 5",
    "int8, weight's zero points 3",
    "uint8, zero point 128",
    "uint8, zero point 100",
    "uint8, zero point 0",
    "uint8, weight as uint8",
    "fp8, all per tensor",
    "fp8, weight per channel as DQ",
    "fp8, weight alone",
    "fp8, weight alone in blocks of 32",
    "int4, weight alone per channel",
    "int4, weight alone in blocks of 32",
)
"""How a product is quantized by its source."""


def _scale(name: str, shape: tuple[int, ...] = (), value: float = 0.05) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.full(shape, value, np.float32), name)


def _zero(name: str, kind: str, shape: tuple[int, ...] = (), value: int = 0) -> onnx.TensorProto:
    return onnx.helper.make_tensor(name, _KINDS[kind], shape, np.full(shape, value).reshape(-1).tolist())


def _around(layer: Layer, kind: str) -> Layer:
    """The layer with Q and DQ, per tensor, before each of its inputs and behind its output."""
    model = _copied(layer)
    graph = model.graph
    nodes = [*graph.node]
    graph.initializer.extend([_scale("qs"), _zero("qz", kind, value=128 if kind == "uint8" else 0)])
    before = []
    for value in graph.input:
        before += _pair(value.name, f"{value.name}_dq", "qs", "qz")
        for node in nodes:
            node.input[:] = [f"{value.name}_dq" if one == value.name else one for one in node.input]
    nodes[-1].output[0] = "y_raw"
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*before, *nodes, *_pair("y_raw", "y", "qs", "qz")])
    return Layer(f"{kind} around {layer.name}", model, layer.arrays)


def _pair(name: str, out: str, scale: str, zero: str, **attributes: int) -> list[onnx.NodeProto]:
    make = onnx.helper.make_node
    return [
        make("QuantizeLinear", [name, scale, zero], [f"{name}_q"], f"{name}/q", **attributes),
        make("DequantizeLinear", [f"{name}_q", scale, zero], [out], f"{name}/dq", **attributes),
    ]


def _copied(layer: Layer) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(layer.model)
    return model


def _product(layer: Layer, form: str) -> Layer:
    """The product quantized as the form says."""
    model = _copied(layer)
    kind, said = (part.strip() for part in form.split(",", 1))
    node, graph = model.graph.node[0], model.graph
    nodes: list[onnx.NodeProto] = []
    if "weight alone" not in said:
        number = next((int(one) for one in said.split()[-1:] if one.isdigit()), 0)
        number = number if "zero point " in said else 128 if "weight as uint8" in said else 0
        graph.initializer.extend([_scale("qs"), _zero("qz", kind, value=number)])
        nodes += _pair("x", "x_dq", "qs", "qz")
        node.input[0] = "x_dq"
    stored = kind if "uint8" not in form or "weight as" in form else "int8"
    nodes += _weight(graph, node, stored, said)
    if "bias" in said and len(node.input) > 2:
        nodes += _bias(graph, node)
    if "without" in said:
        for one in nodes:
            if one.op_type == "DequantizeLinear":
                del one.input[2:]
    del graph.node[:], graph.value_info[:]
    graph.node.extend([*nodes, node])
    return Layer(f"{layer.name}: {form}", model, layer.arrays)


def _weight(graph: onnx.GraphProto, node: onnx.NodeProto, kind: str, said: str) -> list[onnx.NodeProto]:
    """The nodes that dequantize the weight, which is stored quantized unless `as Q and DQ` is said."""
    name = node.input[1]
    tensor = next(one for one in graph.initializer if one.name == name)
    values = onnx.numpy_helper.to_array(tensor)
    axis = _channels(node)
    attributes: dict[str, int] = {}
    shape: tuple[int, ...] = ()
    if "per channel" in said or "bias" in said:
        shape, attributes = (values.shape[axis],), {"axis": axis}
    elif "blocks" in said:
        summed = 1 if axis == 0 else 0
        blocked = [*values.shape]
        blocked[summed] = max(1, blocked[summed] // 32)
        size = values.shape[summed] // blocked[summed]
        shape, attributes = tuple(blocked), {"axis": summed, "block_size": size}
    number = 3 if "weight's zero points" in said else 128 if kind == "uint8" else 0
    graph.initializer.extend([_scale("ws", shape), _zero("wz", kind, shape, number)])
    node.input[1] = f"{name}_dq"
    if "as Q and DQ" in said:
        return _pair(name, f"{name}_dq", "ws", "wz", **attributes)
    graph.initializer.remove(tensor)
    numbers = np.clip(np.rint(values / 0.05), -7, 7) + number
    graph.initializer.append(
        onnx.helper.make_tensor(f"{name}_q", _KINDS[kind], values.shape, numbers.reshape(-1).tolist())
    )
    inputs = [f"{name}_q", "ws", "wz"]
    return [onnx.helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], f"{name}/dq", **attributes)]


def _channels(node: onnx.NodeProto) -> int:
    transposed = any(one.name == "transB" and one.i for one in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _bias(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """A bias of int32 whose scales are the product of the others, as ONNX Runtime's quantizer writes it."""
    name = node.input[2]
    tensor = next(one for one in graph.initializer if one.name == name)
    count = tuple(tensor.dims)
    values = np.rint(onnx.numpy_helper.to_array(tensor) / 0.0025).astype(np.int32)
    graph.initializer.remove(tensor)
    graph.initializer.extend(
        [
            onnx.numpy_helper.from_array(values, f"{name}_q"),
            _scale("bs", count, 0.0025),
            onnx.numpy_helper.from_array(np.zeros(count, np.int32), "bz"),
        ]
    )
    node.input[2] = f"{name}_dq"
    inputs = [f"{name}_q", "bs", "bz"]
    return [onnx.helper.make_node("DequantizeLinear", inputs, [f"{name}_dq"], f"{name}/dq", axis=0)]
