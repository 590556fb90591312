"""Runs the passes that make a model canonical, in order, and records what each of them changed.

Canonical means: valid ONNX of a widely supported opset; one main graph without functions or sparse tensors; constants
as initializers and folded as far as possible; unique names; no metadata of the exporter. The same model gives the same
bytes on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.canonical import constants, names, simplification
from trtpipe.canonical.branches import resolve_branches
from trtpipe.canonical.checks import check_model
from trtpipe.canonical.edits import remove_unused, sort_nodes
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.folding import fold_constants, infer_values
from trtpipe.canonical.opsets import normalize_domains, upgrade
from trtpipe.canonical.slices import widen_slice_indices
from trtpipe.canonical.tensors import graphs_of, number_of_dtype
from trtpipe.legalization.affine_grids import rewrite_affine_grids
from trtpipe.legalization.expansion import (
    expand_operators,
    inline_functions,
    make_range_scalar,
    refuse_recursion,
    replace_castlike,
)
from trtpipe.legalization.misreadings import rewrite_misread
from trtpipe.legalization.optional_outputs import compute_optional_outputs
from trtpipe.legalization.quantized_tables import dequantize_tables
from trtpipe.legalization.rewrites import bring_forward, rewrite_operators
from trtpipe.legalization.runtime_operators.recurrences import steps_in_floats

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json

_MOST_ROUNDS = 64


@dataclass
class Changes:
    """The changes made by the passes, counted by pass, and in words where that is more informative."""

    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)
    """What equal forms cost, a sentence each: the user has to know."""

    def add(self, name: str, count: int) -> int:
        """Counts `count` more for a pass and returns it."""
        if count:
            self.counts[name] = self.counts.get(name, 0) + count
        return count

    def to_json(self) -> dict[str, Json]:
        """The changes as plain JSON values."""
        counts = dict(sorted(self.counts.items()))
        return {"counts": counts, "notes": list(self.notes), "costs": list(self.costs)}


def legalize(model: onnx.ModelProto, evaluator: Evaluator, *, opset: int | None = None) -> Changes:
    """Makes the model canonical in place; `opset`, when given, is the least version to bring it to.

    Raises ModelError when the model is not valid ONNX or cannot be made canonical.
    """
    changes = Changes()
    _accept(model, changes)
    changes.add("functions inlined", inline_functions(model))
    _upgrade(model, opset, changes)
    _rewrite(model, changes)
    flatten(model, changes)
    settle(model, evaluator, changes)
    simplify_operators(model, evaluator, changes)
    finish(model, changes)
    return changes


def simplify_operators(model: onnx.ModelProto, evaluator: Evaluator, changes: Changes) -> None:
    """Expands operators that TensorRT's parser lacks, and folds the results; types must be settled."""
    changes.add("AffineGrid written plainly", rewrite_affine_grids(model))
    for operator, count in compute_optional_outputs(model).items():
        changes.add(f"other outputs of {operator} computed beside it", count)
    for operator, count in expand_operators(model).items():
        changes.add(f"{operator} expanded", count)
    changes.add("CastLike made Cast", replace_castlike(model))
    flatten(model, changes)
    settle(model, evaluator, changes)
    write_plainly(model, evaluator, changes)
    while changes.add("Range given scalars", make_range_scalar(model)):
        settle(model, evaluator, changes)


def write_plainly(model: onnx.ModelProto, evaluator: Evaluator, changes: Changes) -> None:
    """Rewrites what TensorRT's parser misreads; types and constants must be settled."""
    counts, costs = rewrite_misread(model)
    if widened := widen_slice_indices(model):
        counts = {**counts, "indices of Slice made int64": widened}
    for name, count in counts.items():
        changes.add(name, count)
    changes.costs.extend(costs)
    if counts:
        flatten(model, changes)
        settle(model, evaluator, changes)


def _accept(model: onnx.ModelProto, changes: Changes) -> None:
    clear_descriptions(model)
    normalize_domains(model)
    changes.add("inputs with a default made constant", constants.drop_initializers_from_inputs(model))
    if model.ir_version:
        # before IR version 4, an initializer had to be an input as well
        model.ir_version = max(model.ir_version, 4)
    if sort_nodes(model):
        changes.notes.append("nodes sorted")
    names.name_nodes(model)  # before folding, so that numbered names match the source
    refuse_recursion(model)
    _rewrite(model, changes)  # the checker rejects operators that ONNX has removed
    note = bring_forward(model)
    if note:
        changes.notes.append(note)
        _rewrite(model, changes)
    check_model(model)


def _rewrite(model: onnx.ModelProto, changes: Changes) -> None:
    changes.add("quantized tables dequantized first", dequantize_tables(model))
    counts = rewrite_operators(model)
    for operator, count in counts.items():
        changes.add(f"{operator} expanded", count)
    if counts.get("DynamicQuantizeLSTM"):
        changes.costs.append(steps_in_floats(counts["DynamicQuantizeLSTM"]))


def _upgrade(model: onnx.ModelProto, opset: int | None, changes: Changes) -> None:
    note = upgrade(model) if opset is None else upgrade(model, oldest=opset, chosen=opset)
    if note:
        changes.notes.append(note)


def flatten(model: onnx.ModelProto, changes: Changes) -> None:
    """One name per value, and constants where the other passes look for them."""
    changes.add("values renamed", names.make_values_unique(model))
    changes.add("sparse tensors made dense", constants.densify(model))
    constants.lift_constants(model)
    constants.make_raw(model)


def settle(model: onnx.ModelProto, evaluator: Evaluator, changes: Changes) -> None:
    """Folds, resolves branches and removes leftovers until nothing changes any more."""
    for _ in range(_MOST_ROUNDS):
        changes.add("names trimmed", simplification.trim(model))
        changes.add("identities removed", simplification.remove_identities(model))
        changes.add("unused removed", remove_unused(model))
        constants.lift_constants(model)
        folded = changes.add("nodes folded", fold_constants(model, evaluator))
        resolved = changes.add("branches resolved", resolve_branches(model))
        if not folded and not resolved:
            break
    changes.add("unused removed", remove_unused(model))


def finish(model: onnx.ModelProto, changes: Changes) -> None:
    """Names, order and imports as they are written; the result is checked once more."""
    import onnx

    sort_nodes(model)
    names.name_nodes(model)
    changes.notes.extend(names.distinguish_dims(model))
    constants.make_raw(model)
    clear_descriptions(model)
    normalize_domains(model)
    _type_outputs(model)
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(model.ir_version, _LEAST_IR)
    check_model(model)


def _type_outputs(model: onnx.ModelProto) -> None:
    """Gives outputs without type or shape the inferred ones."""
    import onnx

    bare = [value for value in model.graph.output if not value.type.tensor_type.HasField("shape")]
    known = infer_values(model) if bare else {}
    for value in bare:
        info = known.get(value.name)
        if info is None or info.dims is None or value.type.WhichOneof("value") not in (None, "tensor_type"):
            continue
        dims = [dim if isinstance(dim, int) else None for dim in info.dims]
        number = value.type.tensor_type.elem_type or number_of_dtype(info.dtype)
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, number, dims))


_LEAST_IR = 8  # opset 15 to 18; below 4, initializers would have to be inputs as well


def clear_descriptions(model: onnx.ModelProto) -> None:
    """Removes metadata: producer, doc strings, metadata properties, inferred types."""
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string", "metadata_props",
                 "training_info", "configuration"):  # fmt: skip
        _clear(model, name)
    for graph in graphs_of(model):
        _clear(graph, "doc_string")
        _clear(graph, "metadata_props")
        graph.name = graph.name or "graph"
        foreign = {name for node in graph.node if node.domain not in ("", "ai.onnx") for name in node.output}
        kept = type(graph)(value_info=[value for value in graph.value_info if value.name in foreign])
        graph.ClearField("value_info")
        graph.value_info.extend(kept.value_info)
        for item in (*graph.node, *graph.input, *graph.output, *graph.value_info):
            _clear(item, "doc_string")
            _clear(item, "metadata_props")
        for node in graph.node:
            _clear(node, "device_configurations")
            for attribute in node.attribute:
                _clear(attribute, "doc_string")
    model.graph.name = "main"


def _clear(
    message: onnx.GraphProto | onnx.NodeProto | onnx.ValueInfoProto | onnx.AttributeProto, name: str
) -> None:
    if name in message.DESCRIPTOR.fields_by_name:  # other onnx versions have other fields
        message.ClearField(name)
