"""Values of types that TensorRT lacks entirely: strings, sequences, maps, optionals, complex numbers.

Any of these makes an engine impossible. The problem suggests a transform to paste that avoids them: the outputs that do
not depend on them, or else the last tensors before them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, values_read
from trtpipe.canonical.tensors import dtype_name, nodes_of
from trtpipe.errors import Problem
from trtpipe.loader.scalars import flow_yaml
from trtpipe.problem_codes import Code
from trtpipe.proofs.model import ModelView

if TYPE_CHECKING:
    import onnx

_FOREIGN = {
    "string": "strings",
    "sequence": "sequences",
    "map": "maps",
    "optional": "optionals",
    "complex64": "complex numbers",
    "complex128": "complex numbers",
}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ForeignValues:
    """The values of such types in a model, and the tensors that could be outputs without them."""

    kinds: Mapping[str, str]
    """Value → its kind, in the plural."""
    nodes: tuple[str, ...]
    """The nodes that make or read one, by their first outputs."""
    ends: tuple[str, ...]
    """The outputs that need one."""
    usable: tuple[str, ...]
    """The outputs that do not need one; where each does, the tensors that such nodes read."""
    problem: Problem


def foreign_values(view: ModelView) -> ForeignValues | None:
    """The values of types that TensorRT lacks; None if there are none."""
    kinds = _kinds(view)
    if not kinds:
        return None
    live = view.live_nodes()
    touching = [node for node in live if any(name in kinds for name in (*values_read(node), *node.output))]
    fed = [info.name for info in view.inputs if info.name in kinds]
    if not touching and not fed:
        return None
    ends = _reached(view.proto, {name for node in touching for name in node.output} | {*fed})
    usable = [info.name for info in view.outputs if info.name not in ends]
    problem = _problem(kinds, touching, fed, ends, usable or _before(live, touching, kinds))
    cut = tuple(usable or _before(live, touching, kinds))
    nodes = tuple(node.output[0] for node in touching)
    return ForeignValues(kinds, nodes, tuple(ends), cut, problem)


def without_maps(model: onnx.ModelProto) -> None:
    """Removes declared types that contain a map, in place, because onnx_ir cannot read a model with one."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.WhichOneof("value") not in (None, "tensor_type") and _holds_map(value.type):
            value.ClearField("type")


def _holds_map(kind: onnx.TypeProto) -> bool:
    match kind.WhichOneof("value"):
        case "map_type":
            return True
        case "sequence_type":
            return _holds_map(kind.sequence_type.elem_type)
        case "optional_type":
            return _holds_map(kind.optional_type.elem_type)
    return False


def _kinds(view: ModelView) -> dict[str, str]:
    known = {info.name: info.dtype for info in (*view.inputs, *view.outputs)}
    known |= {info.name: info.dtype for info in view.infer({}, {}).values.values()}
    known |= {tensor.name: dtype_name(tensor.data_type) for tensor in view.proto.graph.initializer}
    for node in nodes_of(view.proto):
        if node.op_type == "Constant" and any(
            attribute_of(node, n) for n in ("value_string", "value_strings")
        ):
            known[node.output[0]] = "string"
    return {name: _FOREIGN[dtype] for name, dtype in known.items() if dtype in _FOREIGN}


def _reached(model: onnx.ModelProto, start: Collection[str]) -> list[str]:
    """The model's outputs that depend on any of these values, or are such values themselves."""
    reached = set(start)
    for node in model.graph.node:
        if not reached.isdisjoint(values_read(node)):
            reached.update(node.output)
    return [value.name for value in model.graph.output if value.name in reached]


def _before(
    live: Sequence[onnx.NodeProto], touching: Sequence[onnx.NodeProto], kinds: Collection[str]
) -> list[str]:
    """Computed tensors of plain types that these nodes read."""
    bad = {name for node in touching for name in node.output}
    for node in live:
        if not bad.isdisjoint(values_read(node)):
            bad.update(node.output)
    made = {name for node in live for name in node.output if name and name not in bad}
    read = [name for node in touching for name in values_read(node)]
    return list(dict.fromkeys(name for name in read if name in made and name not in kinds))


def _problem(
    kinds: Mapping[str, str],
    touching: Sequence[onnx.NodeProto],
    fed: Sequence[str],
    ends: Sequence[str],
    usable: Sequence[str],
) -> Problem:
    named = [_called(node, kinds) for node in touching] or [f"input '{name}' holds them" for name in fed]
    seen = [kinds[name] for node in touching for name in (*values_read(node), *node.output) if name in kinds]
    sorts = " and no ".join(sorted(set(seen or [kinds[name] for name in fed])))
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    needed = ", ".join(f"'{name}'" for name in ends)
    plural = "s" if len(ends) != 1 else ""
    fact = f"TensorRT has no {sorts}: {', '.join(named[:_SHOWN])}{more}"
    fact += f", for the output{plural} {needed}" if needed else ""
    return Problem(Code.FOREIGN_TYPE, fact, _remedy(usable), path=("model", "source"))


def _called(node: onnx.NodeProto, kinds: Mapping[str, str]) -> str:
    makes = [name for name in node.output if name in kinds]
    names = makes or [name for name in values_read(node) if name in kinds]
    verb = "makes" if makes else "reads"
    return f"node '{node.name or node.output[0]}' ({node.op_type}) {verb} '{names[0]}'"


def _remedy(usable: Sequence[str]) -> str:
    if not usable:
        return "export the part of the model that computes on numbers"
    return f"leave that step to the caller of the engine: transform: {{outputs: {flow_yaml(list(usable))}}}"
