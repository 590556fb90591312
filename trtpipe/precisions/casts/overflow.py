"""Finds nodes that leave float16's range on a calibration set. Reads measured ranges, no weights.

A node overflows when a float tensor that it reads or makes comes closer to the largest half, 65504, than `MARGIN` on
the data; the margin is there because inputs larger than those of the calibration set will occur. A node also overflows
when its result fits but an intermediate sum does not: a mean is computed from a sum, and the root of a sum of squares
from that sum. bfloat16 has the range of float32 and needs no such check. Tensors of nested graphs are not measured, and
constants are checked as weights (`ranges`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx_ir as ir

from trtpipe.calibration.scales import Scales
from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casts.constants import HALF_LARGEST, constant_of
from trtpipe.precisions.casts.element_types import Types, element_types
from trtpipe.precisions.casts.kept_nodes import glob_of
from trtpipe.precisions.casts.signatures import FLOATS, is_standard
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.json_values import Json

MARGIN = 2.0
"""How many times the largest measured value a tensor in half precision must be able to hold."""

_MEANS = frozenset({"GlobalAveragePool", "ReduceMean"})
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Measured:
    """Largest finite magnitude of each tensor on the data; for tensors that hold means, that of their sums."""

    ranges: Mapping[str, float]
    sums: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overflow:
    """One node that overflows half precision, and the worst of its tensors."""

    tensor: str
    reaches: float
    inside: bool = False
    """Whether an intermediate sum of the node overflows, and not the tensor itself."""

    def words(self) -> str:
        """A description of the overflow, without the node's name."""
        what = f"what makes '{self.tensor}' adds up to" if self.inside else f"'{self.tensor}' reaches"
        return f"{what} {self.reaches:.6g} on the calibration set"

    def as_json(self) -> dict[str, Json]:
        """Plain data for a report."""
        return {"tensor": self.tensor, "reaches": self.reaches, "inside": self.inside}


def measured_of(scales: Scales) -> Measured:
    """The measurements of a calibration: its ranges, or the largest magnitudes recorded with the scales."""
    largest = {name: one.largest for name, one in scales.tensors.items() if one.largest is not None}
    return Measured({**largest, **scales.ranges}, scales.sums)


def tensors_to_range(model: ir.Model) -> tuple[tuple[str, ...], dict[str, str]]:
    """The float tensors of the main graph whose ranges are needed; and, for means, the tensors that they average."""
    types = element_types(model)
    values = [*model.graph.inputs]
    means = {}
    for node in model.graph:
        values += [] if node.op_type == "Constant" else node.outputs
        source = node.inputs[0] if node.inputs else None
        if (
            node.op_type in _MEANS
            and is_standard(node)
            and source is not None
            and constant_of(source) is None
        ):
            means[node.outputs[0].name or ""] = source.name or ""
    return tuple(value.name for value in values if value.name and types.get(value) in FLOATS), means


def overflowing(
    nodes: Mapping[str, ir.Node], types: Types, measured: Measured, judged: Collection[str]
) -> dict[str, Overflow]:
    """The nodes named in `judged` that overflow, each with the tensor that exceeds the range most."""
    found = {}
    for name in nodes:
        if name in judged:
            worst = max(_reached(nodes[name], types, measured), key=lambda one: one.reaches, default=None)
            if worst is not None and worst.reaches > HALF_LARGEST / MARGIN:
                found[name] = worst
    return found


def _reached(node: ir.Node, types: Types, measured: Measured) -> Iterator[Overflow]:
    made = [value for value in node.outputs if types.get(value) in FLOATS]
    read = [value for value in node.inputs if value is not None and types.get(value) in FLOATS]
    for value in (*made, *(value for value in read if constant_of(value) is None)):
        reaches = measured.ranges.get(_measured_name(value))
        if reaches is not None:
            yield Overflow(value.name or "", reaches)
    for value in made[:1]:
        inside = _inside(node, value.name or "", measured)
        if inside is not None:
            yield Overflow(value.name or "", inside, inside=True)


def _inside(node: ir.Node, name: str, measured: Measured) -> float | None:
    """The magnitude of a node's internal sums; None when it is unknown or the sum is the result itself."""
    reaches = measured.ranges.get(name)
    if node.op_type in _MEANS:
        return measured.sums.get(name)
    if reaches is not None and node.op_type == "ReduceL2":
        return reaches * reaches
    if reaches is not None and node.op_type in ("ReduceLogSum", "ReduceLogSumExp"):
        return math.exp(min(reaches, 700.0))
    return None


def _measured_name(value: ir.Value) -> str:
    """The name under which a tensor was measured; a quantized and dequantized tensor is measured as its source."""
    maker = value.producer()
    if maker is not None and maker.op_type == "DequantizeLinear" and maker.inputs[0] is not None:
        quantize = maker.inputs[0].producer()
        if quantize is not None and quantize.op_type == "QuantizeLinear" and quantize.inputs[0] is not None:
            return quantize.inputs[0].name or ""
    return value.name or ""


def refusal(found: Mapping[str, Overflow], path: SpecPath) -> Problem:
    """The error for a variant that may not keep such nodes automatically, with the spec lines that would keep them."""
    count = f"{len(found)} nodes overflow" if len(found) > 1 else "a node overflows"
    shown = [f"'{name}': {one.words()}" for name, one in list(found.items())[:_SHOWN]]
    more = f"\nand {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    globs = ", ".join(json.dumps(glob_of(name), ensure_ascii=False) for name in found)
    return Problem(
        Code.OVERFLOWS_HALF,
        f"{count} float16, which ends at {HALF_LARGEST:.0f} (a margin of {MARGIN:g} is kept): {shown[0]}",
        "\n".join((*shown[1:],))
        + more
        + f"\nkeep them in float32: overflow: keep, or\nkeep: {{fp32: [{globs}]}}",
        path=path,
    )
