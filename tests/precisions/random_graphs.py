"""Random mixed graphs, and what they compute in float64 with a bound on the error of any typed version of them.

The bound is a running error analysis (Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3): each
node takes its operands rounded to the type that it computes in, and makes a result that is off by a few units of that
type beside what its operands' errors come to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

Array = Any
UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24}
LEAST = {"float16": 2.0**-25, "bfloat16": 0.0, "float32": 0.0}
UNARY = ("Relu", "Tanh", "Sigmoid", "Abs", "Neg")
BINARY = ("Add", "Sub", "Mul", "Max")
MOVING = ("Identity", "Transpose", "Reshape", "Concat", "Slice")
OTHER = ("MatMul", "Softmax", "ReduceMean", "ReduceSum", "Cast")
NUMBER = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}
ROWS, COLUMNS = 2, 4


@dataclass
class Building:
    """A graph under construction; every value has 4 columns or, transposed, 4 rows."""

    draw: Any
    values: dict[str, tuple[tuple[int, int], str]] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def any_value(self, like: str | None = None) -> str:
        names = [name for name, one in self.values.items() if like is None or one == self.values[like]]
        return self.draw(st.sampled_from(names))

    def constant(self, array: Array) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = array
        return name

    def add(self, op: str) -> None:
        x = self.any_value()
        shape, dtype = self.values[x]
        inputs, attributes = [x], {}
        if op in BINARY:
            inputs.append(self.any_value(like=x))
        elif op == "MatMul":
            seed = self.draw(st.integers(0, 99))
            scale = self.draw(st.sampled_from([0.25, 1.0]))
            weight = np.random.default_rng(seed).uniform(-scale, scale, (shape[1], shape[1]))
            inputs.append(self.constant(weight.astype(dtype)))
        elif op == "Transpose":
            attributes, shape = {"perm": [1, 0]}, shape[::-1]
        elif op == "Reshape":
            inputs.append(self.constant(np.array([shape[1], shape[0]], np.int64)))
            shape = shape[::-1]
        elif op == "Concat":
            inputs.append(self.any_value(like=x))
            attributes, shape = {"axis": 0}, (shape[0] * 2, shape[1])
        elif op == "Slice":
            inputs += [self.constant(np.array([part], np.int64)) for part in (0, 1, 0)]
            shape = (1, shape[1])
        elif op == "Softmax":
            attributes = {"axis": -1}
        elif op in ("ReduceMean", "ReduceSum"):
            inputs.append(self.constant(np.array([1], np.int64)))
            shape = (shape[0], 1)
        elif op == "Cast":
            dtype = self.draw(st.sampled_from(["float16", "float32"]))
            attributes = {"to": NUMBER[dtype]}
        number = len(self.nodes)
        self.nodes.append(helper.make_node(op, inputs, [f"t{number}"], f"{op}_{number}", **attributes))
        self.values[f"t{number}"] = (shape, dtype)


@st.composite
def random_models(draw: Any, casts: bool = True) -> onnx.ModelProto:
    """A model of up to 14 nodes, parts of which may compute in float16 already."""
    building = Building(draw, {"x": ((ROWS, COLUMNS), "float32"), "z": ((ROWS, COLUMNS), "float32")})
    kinds = [one for one in (*UNARY, *BINARY, *MOVING, *OTHER) if casts or one != "Cast"]
    for op in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=14)):
        building.add(op)
    made = [name for name in building.values if name not in ("x", "z")]
    outputs = draw(st.lists(st.sampled_from(made), min_size=1, max_size=2, unique=True))
    outputs = outputs if made[-1] in outputs else [*outputs, made[-1]]
    used = {name for node in building.nodes for name in node.input}
    graph = helper.make_graph(
        building.nodes,
        "random",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [ROWS, COLUMNS])
            for name in ("x", "z")
            if name in used
        ],
        [
            helper.make_tensor_value_info(
                name, NUMBER[building.values[name][1]], list(building.values[name][0])
            )
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in building.weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


@dataclass(frozen=True)
class Known:
    """A tensor in float64, and how far a typed version of it may be off."""

    value: Array
    error: Array

    def taken_in(self, dtype: str) -> Known:
        """Rounded to a type once more."""
        off = UNIT[dtype] * (np.abs(self.value) + self.error) + LEAST[dtype]
        return Known(self.value, self.error + off)


def evaluated(
    model: onnx.ModelProto,
    feed: dict[str, Array],
    types: dict[str, str],
    largest: float,
    fed: str = "float32",
) -> dict[str, Known] | None:
    """Every tensor; `types` says what each node computes in, `fed` what inputs are. None when one exceeds `largest`."""
    exact = {name: Known(array.astype(np.float64), np.zeros(array.shape)) for name, array in feed.items()}
    known = {name: one.taken_in(fed) for name, one in exact.items()}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        known[tensor.name] = Known(array.astype(np.float64), np.zeros(array.shape))
    for node in model.graph.node:
        operands = [known[name] for name in node.input]
        dtype = types[node.name]
        if dtype in UNIT:
            operands = [one.taken_in(dtype) for one in operands]
        made = _computed(node, operands, UNIT.get(dtype, 0.0))
        known[node.output[0]] = (
            made if node.op_type == "Cast" else Known(made.value, made.error + LEAST.get(dtype, 0))
        )
        if np.abs(made.value).max() > largest:
            return None
    return known


def _computed(node: onnx.NodeProto, operands: list[Known], unit: float) -> Known:
    op, first = node.op_type, operands[0]
    x, e = first.value, first.error
    y = operands[1].value if len(operands) > 1 else None
    f = operands[1].error if len(operands) > 1 else 0.0
    if op in ("Cast", "Identity"):
        return first
    if op in MOVING:
        return Known(_moved(node, operands, "value"), _moved(node, operands, "error"))
    if op == "MatMul":
        off = np.abs(x) @ f + e @ np.abs(y) + e @ f
        return _rounded(x @ y, off, x.shape[1] * 2 * unit, (np.abs(x) + e) @ (np.abs(y) + f))
    if op in ("ReduceMean", "ReduceSum"):
        many = x.shape[1] if op == "ReduceMean" else 1
        total, off = x.sum(1, keepdims=True) / many, e.sum(1, keepdims=True) / many
        size = (np.abs(x) + e).sum(1, keepdims=True) / many
        return _rounded(total, off, (x.shape[1] + 2) * unit, size)
    if op == "Softmax":
        value = np.exp(x - x.max(1, keepdims=True))
        value /= value.sum(1, keepdims=True)
        spread = np.expm1(2 * e.max(1, keepdims=True) + 4 * unit * (1 + np.ptp(x, 1, keepdims=True)))
        return _rounded(value, value * spread, (x.shape[1] + 4) * unit, value * (1 + spread))
    if op == "Max":
        return Known(np.maximum(x, y), np.maximum(e, f))
    if op in BINARY:
        value = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op](x, y)
        off = np.abs(x) * f + np.abs(y) * e + e * f if op == "Mul" else e + f
        return _rounded(value, off, 2 * unit, np.abs(value) + off)
    value = {
        "Relu": lambda: np.maximum(x, 0),
        "Tanh": lambda: np.tanh(x),
        "Sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "Abs": lambda: np.abs(x),
        "Neg": lambda: -x,
    }[op]()
    return _rounded(value, e, 4 * max(unit, 2.0**-22), np.abs(value) + e)


def _rounded(value: Array, off: Array, units: float, size: Array) -> Known:
    return Known(value, off + units * size)


def _moved(node: onnx.NodeProto, operands: list[Known], part: str) -> Array:
    arrays = [getattr(one, part) for one in operands]
    if node.op_type == "Transpose":
        return arrays[0].T
    if node.op_type == "Reshape":
        return arrays[0].reshape(arrays[0].shape[::-1])
    if node.op_type == "Concat":
        return np.concatenate(arrays, 0)
    return arrays[0][:1]
