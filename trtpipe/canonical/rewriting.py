"""Writes operators that TensorRT has no importer for as others of the same function, before types are inferred.

What stands here needs no types, only constants' sizes, so `check` applies it to a model as it was read just as an
import does. Main results keep their nodes' names and their own: keeps, cuts and messages go by them. Operators that
ONNX itself writes out are in `expansion`; those of ONNX Runtime's quantizer in `quantized_operators`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, replace_nodes
from trtpipe.canonical.naming import FreshNames
from trtpipe.canonical.opsets import opset_of, upgrade
from trtpipe.canonical.tensors import graphs_of, nodes_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.building import Attribute


class Rewriting:
    """One pass over a model: what rules need to know of it, and the nodes that they make."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        self.opset = opset_of(model)
        constants = [tensor for graph in graphs_of(model) for tensor in graph.initializer]
        self.dims: dict[str, tuple[int, ...]] = {tensor.name: tuple(tensor.dims) for tensor in constants}
        self._types: dict[str, int] = {tensor.name: tensor.data_type for tensor in constants}
        for node in nodes_of(model):
            value = attribute_of(node, "value") if node.op_type == "Constant" else None
            if isinstance(value, onnx.TensorProto):
                self.dims[node.output[0]] = tuple(value.dims)
                self._types[node.output[0]] = value.data_type
        taken = {name for node in nodes_of(model) for name in (*node.input, *node.output)}
        self._fresh = FreshNames(taken | self.dims.keys() | {value.name for value in model.graph.input})
        self._fresh_nodes = FreshNames(node.name for node in nodes_of(model))
        self._source: onnx.NodeProto | None = None
        self._made: list[onnx.NodeProto] = []

    def rank(self, name: str) -> int | None:
        """The rank of a constant; None of what is none."""
        return len(self.dims[name]) if name in self.dims else None

    def apply(self, rule: Rule, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
        """The nodes that a rule writes in place of a node; None when it leaves it alone."""
        self._source, self._made = node, []
        return self._made if rule(self, node) else None

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        output: str = "",
        *,
        name: str = "",
        attributes: Mapping[str, Attribute] | None = None,
        **more: Attribute,
    ) -> str:
        """Adds a node, named after the one that is written out unless `name` says otherwise; its output's name."""
        import onnx

        assert self._source is not None, "a rule is being applied"
        own = self._source.name or self._source.output[0]
        made = output or self._fresh(f"{own}_{operator}")
        given = {key: value for key, value in {**(attributes or {}), **more}.items() if value is not None}
        called = name or (self._fresh_nodes(f"{own}/{operator}") if self._source.name else "")
        self._made.append(onnx.helper.make_node(operator, list(inputs), [made], name=called, **given))
        return made

    def constant(self, values: Sequence[int], name: str = "shape") -> str:
        """Adds a constant of whole numbers; its name."""
        import numpy as np
        import onnx

        tensor = onnx.numpy_helper.from_array(np.asarray(values, np.int64))
        return self.add("Constant", [], self._fresh(f"{self._source_name()}_{name}"), value=tensor)

    def _source_name(self) -> str:
        assert self._source is not None, "a rule is being applied"
        return str(self._source.name or self._source.output[0])


Rule = Callable[[Rewriting, "onnx.NodeProto"], bool]
"""Writes a node out by `Rewriting.add`; False, with nothing added, when it cannot."""


def rewrite_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Writes out what the rules know, in place, at any depth; how many nodes of each operator."""
    rules = _rules()
    if not any(_key(node) in rules for node in nodes_of(model)):
        return {}
    counts: dict[str, int] = {}
    work = Rewriting(model)
    for graph in list(graphs_of(model)):
        _rewrite(graph, work, rules, counts)
    return counts


def rewrite_as_imported(model: onnx.ModelProto) -> None:
    """What an import would write out, in a model as it was read; an old opset is raised first where that takes it."""
    rewrite_operators(model)
    left = any(_key(node) in _rules() for node in nodes_of(model))
    if left and upgrade(model):
        rewrite_operators(model)


def _rules() -> Mapping[tuple[str, str], Rule]:
    from trtpipe.canonical.quantized_operators import QUANTIZED

    return {("", "GroupNormalization"): _group_normalization, **QUANTIZED}


def _rewrite(
    graph: onnx.GraphProto,
    work: Rewriting,
    rules: Mapping[tuple[str, str], Rule],
    counts: dict[str, int],
) -> None:
    nodes: list[onnx.NodeProto] = []
    changed = False
    for node in graph.node:
        rule = rules.get(_key(node))
        made = work.apply(rule, node) if rule is not None else None
        nodes += [node] if made is None else made
        if made is not None:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
            changed = True
    if changed:
        replace_nodes(graph, nodes)


def _key(node: onnx.NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain), node.op_type


def _group_normalization(work: Rewriting, node: onnx.NodeProto) -> bool:
    """Opset 18 to 20, with a scale and a bias per group; ONNX gave that up, and with it TensorRT.

    A group is then a channel of InstanceNormalization once its channels are laid end to end.
    """
    groups = attribute_of(node, "num_groups")
    if not 18 <= work.opset < 21 or not isinstance(groups, int):
        return False
    epsilon = attribute_of(node, "epsilon")
    shape = work.add("Shape", [node.input[0]])
    laid = work.add("Reshape", [node.input[0], work.constant([0, groups, -1], "groups")])
    normal = work.add(
        "InstanceNormalization",
        [laid, *node.input[1:]],
        name=node.name,
        epsilon=epsilon if isinstance(epsilon, float) else None,
    )
    work.add("Reshape", [normal, shape], node.output[0])
    return True
