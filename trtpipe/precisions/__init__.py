"""Numeric precisions: each module directly in this package is one, with a module-level `precision`.

The subpackages hold what the precisions share. A precision rewrites an ONNX graph so that strongly typed TensorRT
computes in that type; it does not use the TensorRT API. This module imports neither onnx nor numpy because step keys
are computed with it, also in builds that have nothing to do.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, SpecPath
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import Threshold

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from trtpipe.precisions.casts.free_types import GraphFacts
    from trtpipe.precisions.casts.overflow import Measured
    from trtpipe.precisions.casts.rewrite import RewriteReport
    from trtpipe.precisions.casts.type_plan import TypePlan
    from trtpipe.precisions.quantization.places import Placement


@dataclass(frozen=True, slots=True)
class Choices:
    """Settings of a variant besides its precision and `keep`, and measurements that are known for it."""

    measured: Measured | None = None
    """Magnitudes of tensors on a calibration set; None without one."""
    refuse_overflow: bool = False
    """Whether an overflow of half precision is an error; otherwise the node stays in float32."""
    io: Mapping[str, str] = field(default_factory=dict)
    """Glob of inputs and outputs → `keep` or `convert` their type; those without a match are kept."""
    base: str | None = None
    """The type of everything that is not quantized, when not the precision's default."""
    amax: Mapping[str, float] | None = None
    """The largest magnitude of each activation, for a quantized precision; None when not known yet."""
    block: int | None = None
    """The block size, when not the precision's default."""


_HALF_SCALES = 19
"""The opset from which on the scales of Q/DQ, and so the values between them, may be halves."""


def _is_quantized(proto: onnx.ModelProto) -> bool:
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in proto.graph.node)


@dataclass(frozen=True)
class Precision:
    """One numeric precision of the spec."""

    name: str
    version: int
    """Part of the key; increase it when the rewritten graph of any model changes."""
    dtype: str
    """The type that the graph computes in: `float32`, `float16`; for a quantized one, that of the rest."""
    keeps: tuple[str, ...]
    """The precisions that `keep` may hold nodes in."""
    default_thresholds: tuple[Threshold, ...]
    """The thresholds against the reference for a variant whose spec sets none."""
    quantized: str = ""
    """The type that operands of products are quantized to, such as `int8`; empty for a floating type."""
    block: int = 0
    """The default number of elements that share a scale; 0: one scale for a tensor or a channel."""
    dynamic: bool = False
    """With blocks: whether activations are quantized too, at run time. Otherwise only weights are."""
    scaled: bool = False
    """Whether it needs calibrated scales of activations."""
    opset: int = 0
    """The lowest opset whose operators may have the type; models are converted to it."""

    def prepare(self, proto: onnx.ModelProto, base: str | None = None) -> str:
        """Raises the model's opset in place to the one that its types need, and declares shapes that placement needs.

        Returns how the opset was changed, empty when it was not. `base` is the type of everything that is not
        quantized, when it is not the precision's default.
        """
        from trtpipe.canonical.opsets import upgrade

        least = self._least_opset(proto, base)
        raised = upgrade(proto, oldest=least, chosen=least) if least else ""
        if raised:
            from onnx.helper import find_min_ir_version_for

            oldest = find_min_ir_version_for(proto.opset_import, ignore_unknown=True)
            proto.ir_version = max(proto.ir_version, oldest)
        if self.dynamic:
            from trtpipe.precisions.quantization.ranks import declare_shapes

            declare_shapes(proto)
        return raised

    def _least_opset(self, proto: onnx.ModelProto, base: str | None) -> int:
        """The lowest opset that the model may have; 0 when any is sufficient."""
        rest = find_precision(base) if base else None
        least = max(self.opset, rest.opset if rest else 0)
        return least or (_HALF_SCALES if self.dtype == "float16" and _is_quantized(proto) else 0)

    def changes(self, proto: onnx.ModelProto, base: str | None = None) -> bool:
        """Whether `prepare` or `plan_types` may change the model; if not, several plans can share one copy of it."""
        return bool(self.quantized or self._least_opset(proto, base))

    @property
    def is_low(self) -> bool:
        """Whether the purpose of this precision is fewer than 32 bits, so that an audit must find such layers."""
        return self.dtype != "float32" or bool(self.quantized)

    @property
    def needs_calibration(self) -> bool:
        """Whether it needs calibrated scales for activations."""
        return self.scaled

    def misfits(self, base: object = None, block: object = None) -> tuple[Problem, ...]:
        """Problems with a variant's `base` and `block_size` (at those paths) that this precision does not accept."""
        found = []
        if base is not None and not self.quantized:
            fact = f"precision '{self.name}' computes everything in one type"
            found.append(
                Problem(
                    Code.PRECISION_OPTION,
                    fact,
                    "leave out base; keep holds nodes in another type",
                    path=("base",),
                )
            )
        if block is not None and not self.block:
            fact, remedy = (
                f"precision '{self.name}' has no blocks",
                "leave out block_size; int4 and fp4 support one",
            )
            found.append(Problem(Code.PRECISION_OPTION, fact, remedy, path=("block_size",)))
        elif block is not None and self.dynamic and block != self.block:
            fact = f"precision '{self.name}' has blocks of {self.block}"
            found.append(Problem(Code.PRECISION_OPTION, fact, "leave out block_size", path=("block_size",)))
        return tuple(found)

    def computes_in_half(self, base: str | None = None) -> bool:
        """Whether whatever is not quantized computes in float16; `base` is the variant's own choice for it."""
        return base == "fp16" if base else self.dtype == "float16"

    def plan_types(
        self,
        model: onnx_ir.Model,
        keep: Mapping[str, Sequence[str]] | None = None,
        path: SpecPath = (),
        *,
        choices: Choices | None = None,
        facts: GraphFacts | None = None,
    ) -> TypePlan:
        """Decides the type that each node computes in; `path` is the place of `keep` in the spec. Reads no weights.

        `facts` are those of the unchanged model, so that a caller that plans it several times computes them once.

        A quantized precision inserts its Q and DQ into `model` first, with placeholders for magnitudes that are not
        known yet. Nodes whose tensors overflow half precision, as `choices` say, compute in float32 or are a problem at
        the path `overflow` beside `keep`. Problems (a glob without a match, a precision that a node cannot be kept in)
        are in the plan.
        """
        from trtpipe.precisions.casts.free_types import GraphFacts
        from trtpipe.precisions.casts.kept_nodes import SPEC_NAMES
        from trtpipe.precisions.casts.limits import refused_keeps
        from trtpipe.precisions.casts.overflow import refusal
        from trtpipe.precisions.casts.type_plan import dtype_called, kept_nodes, plan_around

        keep, chosen = keep or {}, choices or Choices()
        dtype = dtype_called(SPEC_NAMES[chosen.base] if chosen.base else self.dtype)
        assert dtype is not None, f"no float type is called {self.dtype}"
        refused = tuple(self._cannot_keep(name, path) for name in keep if name not in self.keeps)
        held = {n: globs for n, globs in keep.items() if n in self.keeps}
        facts = facts or GraphFacts(model)
        forced, problems = kept_nodes(model, facts.names, held, path)
        reasons = {name: one.reason for name, one in forced.items()}
        size = chosen.block or self.block
        placement = None if self.dynamic else self._quantize(model, reasons, chosen.amax, size, dtype)
        facts = facts if placement is None else GraphFacts(model)
        plan = plan_around(facts, dtype, forced, (*refused, *problems), chosen.measured)
        if plan.refused:
            unkept = refused_keeps(plan.refused, reasons, held, plan.precision, path)
            plan = replace(plan, problems=(*plan.problems, *unkept))
        if plan.overflows and chosen.refuse_overflow:
            problem = refusal(plan.overflows, (*path[:-1], "overflow"))
            plan = replace(plan, problems=(*plan.problems, problem))
        plan = self._with_borders(model, plan, chosen, path[:-1])
        if self.dynamic:
            return self._plan_blocks(model, plan, reasons, size, chosen.amax)
        return plan if placement is None else placement.onto(plan)

    def _with_borders(
        self, model: onnx_ir.Model, plan: TypePlan, chosen: Choices, path: SpecPath
    ) -> TypePlan:
        """The plan, extended by the inputs and outputs that are converted; `path` is the variant's place."""
        if not chosen.io:
            return plan
        from trtpipe.precisions.casts.borders import border_refusal, converted_borders, out_of_range

        names, problems = converted_borders(model, chosen.io, (*path, "io"))
        beyond = out_of_range(names, chosen.measured) if plan.precision == "float16" else {}
        if chosen.refuse_overflow:
            problems += [border_refusal(name, reaches, (*path, "io")) for name, reaches in beyond.items()]
        return replace(
            plan,
            problems=(*plan.problems, *problems),
            converted=names - beyond.keys(),
            unconverted=beyond,
        )

    def _quantize(
        self,
        model: onnx_ir.Model,
        keep: Mapping[str, str],
        amax: Mapping[str, float] | None,
        block: int,
        base: onnx_ir.DataType,
    ) -> Placement | None:
        if not self.quantized:
            return None
        from trtpipe.precisions.quantization.blocks import place_weights
        from trtpipe.precisions.quantization.formats import QUANTIZED
        from trtpipe.precisions.quantization.insertion import insert
        from trtpipe.precisions.quantization.places import place

        placement = (
            place_weights(model, keep, block)
            if block
            else place(model, keep, scaled=amax, kind=self.quantized)
        )
        known = dict.fromkeys(placement.names(), 1.0) if amax is None else amax
        insert(model, placement, known, QUANTIZED[self.quantized], base)
        return placement

    def _plan_blocks(
        self,
        model: onnx_ir.Model,
        plan: TypePlan,
        keep: Mapping[str, str],
        block: int,
        amax: Mapping[str, float] | None,
    ) -> TypePlan:
        """The plan, extended by what is quantized in blocks, once the types are decided."""
        from trtpipe.precisions.quantization.blocks import BlockPlan, place_blocks

        placement = place_blocks(model, keep, block, scaled=amax if self.scaled else None)
        return BlockPlan.of(placement.onto(plan), placement, amax or {})

    def nothing_quantized(self, plan: TypePlan) -> tuple[Problem, ...]:
        """A warning when a quantized precision quantizes nothing, with the reasons; the audit would fail."""
        if not self.quantized or plan.quantized:
            return ()
        reasons = Counter(plan.why_not().values()).most_common(3)
        told = "; ".join(f"{count} because {reason}" for reason, count in reasons)
        fact = f"precision '{self.name}' finds nothing to quantize in this model"
        why = f"nodes that stay float: {told}" if told else "it has no convolutions and no matrix products"
        return (Problem(Code.NOTHING_QUANTIZED, fact, severity="warning", details=why),)

    def rewrite(self, model: onnx_ir.Model, plan: TypePlan) -> RewriteReport:
        """Rewrites `model` in place. Weights are read one at a time and cast when the model is written."""
        from trtpipe.precisions.casts.rewrite import rewrite_types

        report = rewrite_types(model, plan)
        if self.dynamic:
            from trtpipe.precisions.quantization.block_insertion import insert_blocks
            from trtpipe.precisions.quantization.blocks import BlockPlan

            assert isinstance(plan, BlockPlan), "planned by the same precision"
            insert_blocks(model, plan, self.quantized)
        return report

    def _cannot_keep(self, name: str, path: SpecPath) -> Problem:
        valid = ", ".join(f"'{keep}'" for keep in self.keeps)
        remedy = f"it can keep nodes in {valid}" if valid else "leave out keep"
        return Problem(
            Code.CANNOT_KEEP,
            f"precision '{self.name}' cannot keep nodes in '{name}'",
            remedy,
            path=(*path, name),
        )


@cache
def precision_names() -> tuple[str, ...]:
    """The names of all precisions, taken from the module names; none is imported."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def find_precision(name: str) -> Precision | None:
    """The precision of this name; None when there is none."""
    if name not in precision_names():
        return None
    found = importlib.import_module(f"{__name__}.{name}").precision
    assert isinstance(found, Precision), f"{name} has no module-level precision"
    return found
