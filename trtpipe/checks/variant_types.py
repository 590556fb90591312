"""The types that each variant of a pipeline computes in, according to its precision's plan, for `check`.

A plan is made once for each distinct set of the options that affect it, because many variants of one spec differ only
in others. Facts that no option changes are found once: the types of the source, the names and signatures of its nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.building.searches.search import heads_of
from trtpipe.errors import Problem
from trtpipe.precisions import Choices, Precision, find_precision
from trtpipe.spec.budget import AUTO
from trtpipe.spec.variant import VariantSpec

if TYPE_CHECKING:
    import onnx
    import onnx_ir

    from trtpipe.precisions.casts.free_types import GraphFacts
    from trtpipe.proofs.typed_nodes import SourceTypes, TypedModel

_Key: TypeAlias = tuple[object, ...]
_Head: TypeAlias = tuple[str, str | None]
"""A precision and what the rest computes in, when that is not the precision's own choice."""


@dataclass(frozen=True, slots=True)
class VariantTypes:
    """A variant's typed model, and the problems of its settings, at places in the spec."""

    model: TypedModel
    problems: tuple[Problem, ...]

    def of(self, variant: str) -> VariantTypes:
        """The same for another variant with the same settings."""
        placed = (replace(one, path=("variants", variant, *one.path[2:])) for one in self.problems)
        return VariantTypes(self.model, tuple(placed))


@dataclass(slots=True)
class VariantTyping:
    """Finds the types of a model's variants. The model must not change while this is used."""

    proto: onnx.ModelProto
    source: SourceTypes
    _made: dict[_Key, VariantTypes] = field(default_factory=dict)
    _facts: tuple[onnx_ir.Model, GraphFacts] | None = None

    def types_of(self, name: str, variant: VariantSpec) -> VariantTypes:
        """The types of a variant; for a search, those of all its precisions."""
        heads = (
            heads_of(variant.candidates())
            if variant.precision == AUTO
            else [(variant.precision, variant.base)]
        )
        key = (tuple(heads), *_seen_by_plans(variant))
        if key not in self._made:
            self._made[key] = self._types(name, variant, heads)
        return self._made[key].of(name)

    def _types(self, name: str, variant: VariantSpec, heads: Sequence[_Head]) -> VariantTypes:
        first, *others = [self._types_as(name, variant, head) for head in heads]
        model, problems = first.model, [*first.problems]
        for one in others:
            model = model.joined(one.model)
            problems += one.problems
        return VariantTypes(model, tuple(problems))

    def _types_as(self, name: str, variant: VariantSpec, head: _Head) -> VariantTypes:
        precision, base = find_precision(head[0]), head[1]
        assert precision is not None, "the loader knows the precisions"
        model, facts = self._graph(precision, base)
        plan = precision.plan_types(
            model,
            variant.keep,
            ("variants", name, "keep"),
            choices=Choices(io=variant.io, base=base, block=variant.block_size),
            facts=facts,
        )
        problems = [*plan.problems]
        if variant.min_low_precision > 0:
            told = precision.nothing_quantized(plan)
            problems += [replace(one, path=("variants", name, "precision")) for one in told]
        made = self.source.computed_in({name: node.dtype for name, node in plan.nodes.items()})
        block = 0 if precision.dynamic else variant.block_size or precision.block
        made = made.reading(plan.quantized, precision.quantized, block) if plan.quantized else made
        return VariantTypes(made, tuple(problems))

    def _graph(self, precision: Precision, base: str | None) -> tuple[onnx_ir.Model, GraphFacts]:
        """The model as a precision plans it; shared by all precisions that neither change it nor insert anything."""
        from trtpipe.precisions.casts.free_types import GraphFacts
        from trtpipe.proofs.foreign_types import without_maps

        if self._facts is not None and not precision.changes(self.proto, base):
            return self._facts
        import onnx_ir

        typed = type(self.proto)()
        typed.CopyFrom(self.proto)
        without_maps(typed)
        precision.prepare(typed, base)
        model = onnx_ir.from_proto(typed)
        found = (model, GraphFacts(model))
        if not precision.changes(self.proto, base):
            self._facts = found
        return found


def _seen_by_plans(variant: VariantSpec) -> _Key:
    """The settings of a variant that its plans and messages depend on, besides precision and base."""
    keep = tuple((name, tuple(globs)) for name, globs in variant.keep.items())
    return keep, tuple(variant.io.items()), variant.block_size, variant.min_low_precision > 0
