"""Applies the rules for one version of TensorRT-RTX to a typed model; problems name the user's nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import nodes_of
from trtpipe.errors import Problem, Severity
from trtpipe.loader.scalars import flow_yaml
from trtpipe.problem_codes import Code
from trtpipe.proofs.engine_limits.driverless import refused_without_driver
from trtpipe.proofs.engine_limits.forms import refused_form
from trtpipe.proofs.engine_limits.older_versions import refused_by_older
from trtpipe.proofs.engine_limits.operands import refused_operand
from trtpipe.proofs.engine_limits.refusal import NAME, Refusal
from trtpipe.proofs.engine_limits.sizes import refused_size
from trtpipe.proofs.engine_limits.tensors import refused_tensors, refused_types
from trtpipe.proofs.engine_limits.values import NodeView, TypedGraph
from trtpipe.proofs.rtx_operators import operator_refusals
from trtpipe.targets.operator_types import is_newer

if TYPE_CHECKING:
    import onnx

_SHOWN = 5


def engine_refusals(
    typed: onnx.ModelProto, version: str, source: onnx.ModelProto | None = None, *, driver: bool = True
) -> list[Problem]:
    """One problem for each reason why TensorRT-RTX `version` does not build a typed model; [] when none is known.

    `source` is the model as the user has it, nodes named by `name_nodes`; a node that importing made is named by the
    user's node that it belongs to. `driver` says whether the build machine may have an NVIDIA driver. Returns warnings
    instead when the version is newer than the tested ones.
    """
    graph = TypedGraph(typed)
    names = _Names(typed, source)
    found: dict[tuple[str, str], list[str]] = {}
    for refusal in refusals_of(graph, version, driver):
        nodes = found.setdefault((refusal.why, refusal.remedy), [])
        if refusal.node and refusal.node not in nodes:
            nodes.append(refusal.node)
    severity: Severity = "warning" if is_newer(version) else "error"
    problems = [
        Problem(
            Code.OPERATOR_NOT_BUILT,
            f"TensorRT-RTX does not build {_subject([names.of(one) for one in nodes])}{why}",
            remedy.replace(NAME, flow_yaml([names.plain(one) for one in nodes])[1:-1]),
            severity=severity,
        )
        for (why, remedy), nodes in found.items()
    ]
    return [*operator_refusals(nodes_of(typed), version), *problems]


def refusals_of(graph: TypedGraph, version: str, driver: bool = True) -> Iterator[Refusal]:
    """All findings of the rules for a model's inputs, outputs and nodes."""
    yield from refused_tensors(graph)
    yield from refused_by_older(graph, version)
    if not driver:
        yield from refused_without_driver(graph, version)
    for node in graph.nodes():
        for why, remedy in _of_node(node, version):
            yield Refusal(why, remedy, node=node.node.name)


def _of_node(node: NodeView, version: str) -> Iterator[tuple[str, str]]:
    yield from refused_form(node)
    yield from refused_size(node)
    yield from refused_operand(node)
    yield from refused_types(node, version)


def _subject(names: Sequence[str]) -> str:
    if not names:
        return "this model: "
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"node{'s' if len(names) > 1 else ''} {', '.join(names[:_SHOWN])}{more}: "


class _Names:
    """The user's names for nodes of the typed model."""

    def __init__(self, typed: onnx.ModelProto, source: onnx.ModelProto | None) -> None:
        self._typed = {node.name: node for node in nodes_of(typed)}
        self._source = {node.name: node for node in nodes_of(source)} if source is not None else self._typed
        made = nodes_of(source) if source is not None else ()
        self._makers = {name: node for node in made for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self._typed.values():
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def of(self, name: str) -> str:
        """The node with its operator, or the source's node that it belongs to."""
        node = self._typed[name]
        user = self._user(node)
        if user is None:
            return f"a {node.op_type} that importing made"
        written = f", written out with {node.op_type}" if user.op_type != node.op_type else ""
        return f"'{user.name}' ({user.op_type}{written})"

    def plain(self, name: str) -> str:
        """The name alone."""
        user = self._user(self._typed[name])
        return str(user.name) if user is not None else name

    def _user(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The user's node: of the same name and operator, or the first after it that makes a value of the source."""
        known = self._source.get(node.name)
        if known is not None and known.op_type == node.op_type:
            return known
        pending, seen = [node], {node.name}
        while pending:
            one = pending.pop(0)
            for value in one.output:
                if value in self._makers:
                    return self._makers[value]
                behind = [reader for reader in self._readers.get(value, ()) if reader.name not in seen]
                seen.update(reader.name for reader in behind)
                pending += behind
        return None
