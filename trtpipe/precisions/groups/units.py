"""The units of a model for a precision: nodes that the precision would lower, grouped as TensorRT fuses them.

A node that only computes element by element, or takes the largest element of a window, joins the unit that computes its
input; when there are several inputs, it joins the last of these units, as a residual Add becomes the epilogue of the
later convolution. Every other node begins a unit: products, normalizations, softmax, reductions, and functions that
leave the range of their input. Nodes that only move data belong to no unit because they follow their neighbours;
neither do nodes that the precision leaves as they are, or that the spec keeps. Reads the graph and shapes; weights only
as far as the precision's own plan does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from trtpipe.canonical.inference import Inferred, infer_at
from trtpipe.canonical.reader import ir_model, read_skeleton
from trtpipe.canonical.summary import summarize
from trtpipe.errors import SpecError
from trtpipe.inspection.costs import flops_of_nodes
from trtpipe.precisions import Choices, Precision
from trtpipe.precisions.casts.constants import constant_of
from trtpipe.precisions.casts.free_types import MOVES_DATA
from trtpipe.precisions.casts.kept_nodes import SPEC_NAMES, named_nodes
from trtpipe.precisions.casts.type_plan import TypePlan
from trtpipe.proofs.corners import shapes_at, values_at
from trtpipe.search.units import Unit
from trtpipe.spec.pipeline import Profile

if TYPE_CHECKING:
    import onnx

_JOINS = frozenset({
    "Abs", "Add", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Erf", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Max", "MaxPool", "Min", "Mish", "Mul", "Neg", "PRelu", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sub", "Swish", "Tanh", "ThresholdedRelu", "Where",
})  # fmt: skip
"""Operators that join the unit before them."""


def find_units(
    precision: Precision,
    source: Path,
    *,
    keep: Mapping[str, Sequence[str]] | None = None,
    choices: Choices | None = None,
    profile: Profile | None = None,
) -> tuple[Unit, ...]:
    """The units of the canonical model at `source`, in graph order.

    Nodes that overflow according to `choices.measured` are in no unit. When `choices.amax` is given, only tensors that
    it has scales for are quantized.

    Raises SpecError when a glob of `keep` matches nothing, ModelError when the model cannot be read.
    """
    skeleton = read_skeleton(source)
    choices = choices or Choices()
    precision.prepare(skeleton.proto, choices.base)
    # Planning puts Q and DQ into the model that it is given.
    model = ir_model(skeleton)
    choices = replace(choices, amax=choices.amax if precision.needs_calibration else None)
    plan = precision.plan_types(model, keep, ("keep",), choices=choices)
    if plan.problems:
        raise SpecError(plan.problems)
    model = ir_model(skeleton)
    measure = _Measure(skeleton.proto, model, frozenset(plan.quantized), profile or {})
    return tuple(measure.unit(group) for group in _groups(model, _lowered(precision, plan, choices.base)))


def _lowered(precision: Precision, plan: TypePlan, base: str | None) -> set[str]:
    """The nodes that would be wider in fp32: those that compute in a narrow type, and those that are quantized."""
    found = set(plan.quantized)
    narrow = SPEC_NAMES[base] if base else precision.dtype
    if narrow != "float32":
        found |= {name for name, node in plan.nodes.items() if node.dtype == narrow}
    return found - set(plan.forced)


def _groups(model: ir.Model, lowered: set[str]) -> Iterator[list[str]]:
    """Names of nodes, unit by unit in graph order."""
    names = {node: name for name, node in named_nodes(model).items()}
    group_of: dict[ir.Node, int] = {}
    groups: list[list[str]] = []
    for node, name in names.items():
        before = [group_of[one] for one in _makers(node) if one in group_of]
        if node.op_type in MOVES_DATA or node.op_type == "Cast":
            if before:
                group_of[node] = max(before)  # what reads through it reads that unit
            continue
        if name not in lowered:
            continue
        if node.op_type in _JOINS and before:
            group_of[node] = max(before)
            groups[group_of[node]].append(name)
        else:
            group_of[node] = len(groups)
            groups.append([name])
    yield from groups


def _makers(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        maker = value.producer() if value is not None else None
        if maker is not None:
            yield maker


@dataclass
class _Measure:
    """Sizes and operations of a model's units at the opt shapes of a profile."""

    proto: onnx.ModelProto
    model: ir.Model
    quantized: frozenset[str]
    profile: Profile
    sizes: dict[str, int] = field(init=False)
    flops: dict[str, int] = field(init=False)
    nodes: dict[str, ir.Node] = field(init=False)

    def __post_init__(self) -> None:
        inferred = self._inferred()
        self.nodes = named_nodes(self.model)
        self.sizes = {name: _elements(info.dims) for name, info in inferred.values.items()}
        in_order = [name for name, node in self.nodes.items() if node.graph is self.model.graph]
        counts = flops_of_nodes(self.proto, inferred)
        self.flops = {in_order[index]: count or 0 for index, count in counts.items()}

    def _inferred(self) -> Inferred:
        inputs = summarize(self.proto).inputs
        return infer_at(self.proto, shapes_at(inputs, self.profile, "opt"), values_at(self.profile, "opt"))

    def unit(self, names: list[str]) -> Unit:
        """The size and operation count of a group of nodes."""
        nodes = {self.nodes[name] for name in names}
        quantized = tuple(name for name in names if name in self.quantized)
        weights, others = self._constants(names, quantized)
        inside = {output for node in nodes for output in node.outputs}
        read = {value for node in nodes for value in node.inputs if value is not None and value not in inside}
        written = {v for v in inside if v.is_graph_output() or any(use.node not in nodes for use in v.uses())}
        return Unit(
            names[0],
            self.nodes[names[0]].op_type,
            tuple(names),
            quantized,
            sum(self.flops.get(name, 0) for name in names),
            weights,
            others,
            sum(self.sizes.get(value.name or "", 0) for value in read if constant_of(value) is None),
            sum(self.sizes.get(value.name or "", 0) for value in written),
        )

    def _constants(self, names: Sequence[str], quantized: Sequence[str]) -> tuple[int, int]:
        """Elements of the weights of its products, and of its other constants; each constant counts once."""
        products = set(quantized or names[:1])
        found: dict[ir.Value, bool] = {}
        for name in names:
            for value in self.nodes[name].inputs:
                tensor = constant_of(value)
                if value is not None and tensor is not None:
                    is_weight = name in products and len(tensor.shape) > 1
                    found[value] = found.get(value, False) or is_weight
        sizes = {True: 0, False: 0}
        for value, is_weight in found.items():
            tensor = constant_of(value)
            assert tensor is not None, "only constants were found"
            sizes[is_weight] += tensor.size
        return sizes[True], sizes[False]


def _elements(dims: Sequence[object] | None) -> int:
    known = [dim for dim in dims or () if isinstance(dim, int)]
    return math.prod(known) if dims is not None and len(known) == len(dims) else 0
