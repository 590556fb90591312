"""A float32 model with random errors as large as a precision's rounding, to estimate the noise of that precision.

The typed model is not used, so an error in it cannot hide in the estimate. With u uniform in [-1, 1] for each element
and each seed:

    a floating type of p bits of mantissa   x (1 + u 2^-(p+1)), for every computed tensor, for weights and inputs
    an integer type, symmetric, of n steps  x + u max|x| / (2 n), for operands of products

u / 2 of a step is the largest error of rounding to nearest, so the noise has the power of independent rounding errors.
The steps of a tensor follow from its largest element; those of real scales are finer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import remove_unused, replace_nodes
from trtpipe.canonical.folding import infer_values
from trtpipe.runners.cpu.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_WEIGHTED = PRODUCTS | {
    "Add", "Sub", "Mul", "Div", "BatchNormalization", "LayerNormalization", "InstanceNormalization", "PRelu",
    "LSTM", "GRU", "RNN", "Gather",
}  # fmt: skip
EXACT = frozenset({
    "Identity", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Concat", "Gather", "GatherND",
    "GatherElements", "Split", "Expand", "Tile", "Pad", "MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin", "Relu",
    "Max", "Min", "Clip", "Neg", "Abs", "Cast", "Constant", "ConstantOfShape", "Where", "DepthToSpace", "SpaceToDepth",
    "Dropout", "TopK", "Floor", "Ceil", "Round", "Sign", "If", "Loop", "Scan",
})  # fmt: skip
"""Operators that return elements of their inputs: already rounded, so not rounded again."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The size of a precision's rounding errors."""

    relative: float
    """For all computed values, weights and inputs: half a unit in the last place."""
    operand: float = 0.0
    """For operands of products in addition: relative, or a share of the tensor's largest element."""
    of_largest: bool = False
    weights_only: bool = False


_FLOATS = {"fp32": 2.0**-24, "fp16": 2.0**-11, "bf16": 2.0**-8}
_OPERANDS: Mapping[str, tuple[float, bool, bool]] = {
    "int8": (1 / 254, True, False),
    "fp8": (2.0**-4, False, False),
    "mxfp8": (2.0**-4, False, False),
    "nvfp4": (2.0**-2, False, False),
    "int4": (1 / 14, True, True),
    "fp4": (2.0**-2, False, True),
}
"""Precision → of operands: how much, whether of the largest element, whether of weights alone.

e4m3 has 3 bits of mantissa and e2m1 has 1; int8 has 127 steps on either side and int4 has 7.
"""


def noise_of(precision: str, base: str) -> Noise | None:
    """The noise of a precision; `base` is the type of what is not quantized. None when it is unknown."""
    if precision in _FLOATS:
        return Noise(_FLOATS[precision])
    known = _OPERANDS.get(precision)
    return Noise(_FLOATS[base], *known) if known is not None and base in _FLOATS else None


def perturbed(model: RunnableModel, noise: Noise, seed: int) -> RunnableModel:
    """A copy whose tensors have random errors; the same seed gives the same copy. Reads no weight."""
    copy, work = _worked_on(model, noise, seed)
    replace_nodes(copy.graph, [*work.of_weights, *work.nodes])
    return RunnableModel(copy, model.folder, model.path)


def perturbed_apart(model: RunnableModel, noise: Noise, seed: int) -> tuple[RunnableModel, RunnableModel]:
    """The same copy in two parts, for several runs: one makes the weights with their errors, the other takes them.

    In one run both together compute what `perturbed` computes. In several runs with the same weights only the errors
    of what is computed differ, and the weights' errors take no time. Only for noise without operands.
    """
    import onnx

    assert not noise.operand, "what the operands' noise is made from is not kept apart"
    taking, work = _worked_on(model, noise, seed)
    dims = {tensor.name: list(tensor.dims) for tensor in taking.graph.initializer}
    made = [
        onnx.helper.make_tensor_value_info(target, onnx.TensorProto.FLOAT, dims[name])
        for (name, _), target in work.known.items()
        if name in work.weights
    ]
    making = onnx.ModelProto()
    making.CopyFrom(taking)
    making.graph.ClearField("input")
    making.graph.ClearField("output")
    making.graph.output.extend(made)
    taking.graph.input.extend(made)
    replace_nodes(making.graph, work.of_weights)
    replace_nodes(taking.graph, work.nodes)
    for part in (making, taking):
        remove_unused(part)
    return (
        RunnableModel(making, model.folder, model.path),
        RunnableModel(taking, model.folder, model.path),
    )


def _worked_on(model: RunnableModel, noise: Noise, seed: int) -> tuple[onnx.ModelProto, _Perturbing]:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    known = infer_values(copy)
    # Only rank two and more, because tensors of lower rank may be sizes, which are not rounded.
    floats = {n for n, one in known.items() if one.dtype == "float32" and len(one.dims or (0, 0)) >= 2}
    weights = {tensor.name for tensor in copy.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    work = _Perturbing(noise, floats, weights, count(seed * 100_003))
    for value in copy.graph.input:
        if value.name in floats and value.name not in weights:
            work.later[value.name] = value.name
    for node in list(copy.graph.node):
        work.take(node)
    return copy, work


@dataclass
class _Perturbing:
    noise: Noise
    floats: set[str]
    weights: set[str]
    seeds: Iterator[int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    of_weights: list[onnx.NodeProto] = field(default_factory=list)
    """Those that make weights with errors; they read nothing but weights."""
    later: dict[str, str] = field(default_factory=dict)
    """Inputs that are perturbed when they are first read."""
    known: dict[tuple[str, bool], str] = field(default_factory=dict)

    def take(self, node: onnx.NodeProto) -> None:
        """Append a node that reads perturbed tensors, and perturb its outputs."""
        import onnx

        made = onnx.NodeProto()
        made.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in self.floats | self.weights and node.op_type != "Resize":
                made.input[index] = self._read(node, name, operand=index < 2)
        rounds = node.op_type not in EXACT and node.op_type not in ("DequantizeLinear", "QuantizeLinear")
        behind = [name for name in node.output if name in self.floats and rounds]
        for index, name in enumerate(node.output):
            if name in behind:
                made.output[index] = f"{name}/exact"
        self.nodes.append(made)
        for name in behind:
            self.nodes += self._rounding(f"{name}/exact", name, self.noise.relative, of_largest=False)

    def _read(self, node: onnx.NodeProto, name: str, *, operand: bool) -> str:
        """The name of a tensor as a node reads it."""
        weight = name in self.weights
        sizes = all(output not in self.floats for output in node.output)
        if weight and (node.op_type not in _WEIGHTED or sizes):
            return name
        found = name
        if weight or name in self.later:
            found = self._once(name, name, False)
        noise = self.noise
        if noise.operand and operand and node.op_type in PRODUCTS and (weight or not noise.weights_only):
            found = self._once(name, found, True)
        return found

    def _once(self, name: str, source: str, operand: bool) -> str:
        if (name, operand) not in self.known:
            target = f"{name}/{'quantized' if operand else 'rounded'}"
            nodes = self.of_weights if name in self.weights else self.nodes
            if operand:
                nodes += self._rounding(source, target, self.noise.operand, of_largest=self.noise.of_largest)
            else:
                nodes += self._rounding(source, target, self.noise.relative, of_largest=False)
            self.known[name, operand] = target
        return self.known[name, operand]

    def _rounding(
        self, source: str, target: str, size: float, *, of_largest: bool
    ) -> Iterator[onnx.NodeProto]:
        """Nodes for target = source + u * size * (max|source|, or |source| itself)."""
        from onnx import helper

        random, part, scale = f"{target}/random", f"{target}/part", f"{target}/scale"
        seed = float(next(self.seeds))
        yield helper.make_node("RandomUniformLike", [source], [random], low=-size, high=size, seed=seed)
        if of_largest:
            yield helper.make_node("Abs", [source], [f"{target}/abs"])
            yield helper.make_node("ReduceMax", [f"{target}/abs"], [scale], keepdims=0)
        yield helper.make_node("Mul", [random, scale if of_largest else source], [part])
        yield helper.make_node("Add", [source, part], [target])
