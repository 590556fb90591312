"""Nodes that a rule adds to a model, named after the node that the rule is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.names import FreshNames

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.builder import Attribute


class AddedNodes:
    """The nodes added so far for one node; `names` and `node_names` keep those of tensors and nodes distinct."""

    def __init__(self, names: FreshNames, node_names: FreshNames) -> None:
        self._fresh, self._fresh_nodes = names, node_names
        self._source: onnx.NodeProto | None = None
        self._made: list[onnx.NodeProto] = []

    def begin(self, node: onnx.NodeProto) -> None:
        """Turn to another node: what is added from now on is named after it."""
        self._source, self._made = node, []

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
        """Adds a node, named after the one that it is for unless `name` says otherwise; its output's name."""
        made = output or self._fresh(f"{self._source_name()}_{operator}")
        self._add(operator, inputs, [made], name, {**(attributes or {}), **more})
        return made

    def add_several(
        self, operator: str, inputs: Sequence[str], count: int, *, name: str = "", **attributes: Attribute
    ) -> list[str]:
        """Adds a node of several outputs, named as `add` does; their names."""
        made = [self._fresh(f"{self._source_name()}_{operator}") for _ in range(count)]
        self._add(operator, inputs, made, name, attributes)
        return made

    def keep(self, node: onnx.NodeProto) -> None:
        """Adds a node unchanged, because its outputs may also have other readers."""
        self._made.append(node)

    def learn(self, node: onnx.NodeProto) -> None:
        """Hook: a node was added, and what its outputs are can be told."""

    def _add(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        name: str,
        attributes: Mapping[str, Attribute],
    ) -> None:
        import onnx

        assert self._source is not None, "a rule is being applied"
        called = name or (self._fresh_nodes(f"{self._source.name}/{operator}") if self._source.name else "")
        given = {key: value for key, value in attributes.items() if value is not None}
        node = onnx.helper.make_node(operator, list(inputs), list(outputs), name=called, **given)
        self._made.append(node)
        self.learn(node)

    def _source_name(self) -> str:
        assert self._source is not None, "a rule is being applied"
        return str(self._source.name or self._source.output[0])
