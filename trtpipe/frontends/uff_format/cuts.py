"""Where a graph can end so that unsupported operations are left out. Uses only nodes and their inputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from trtpipe.frontends.uff_format.messages import Node
from trtpipe.frontends.uff_format.order import sort_needed

_WEIGHTED = frozenset({"BatchNorm", "Conv", "ConvTranspose", "FullyConnected"})
_GIVEN = frozenset({"Const", "Input"})
_NUMBERED = re.compile(r"(.*)[:_]\d+")


def cut_before(
    nodes: Mapping[str, Node],
    outputs: Sequence[str],
    refused: Iterable[str],
    owners: Mapping[str, str] | None = None,
) -> list[str]:
    """The tensors to use as outputs so that none of the `refused` operations is needed.

    None if that would leave out operations with weights. For `owners` and exceptions see `sort_needed`.
    """
    operations = set(refused)
    owners = {**(owners or {}), **_owners(nodes, operations)}
    order = sort_needed(nodes, [owners.get(name, name) for name in outputs], owners)
    lost: set[str] = set()
    for node in order:
        inputs = [owners.get(name, name) for name in node.inputs]
        if node.operation in operations or lost.intersection(inputs):
            lost.add(node.id)
    left_out = [node for node in order if node.id in lost]
    read = [
        name
        for node in left_out
        for name in node.inputs
        if name in nodes and name not in lost and nodes[name].operation not in _GIVEN
    ]
    if not read or any(node.operation in _WEIGHTED for node in left_out):
        return []
    kept = [name for name in outputs if name in nodes and name not in lost]
    return list(dict.fromkeys([*kept, *read]))


def _owners(nodes: Mapping[str, Node], operations: set[str]) -> dict[str, str]:
    """Further tensors of refused operations, called `NMS_1` or `NMS:1` after their node."""
    found: dict[str, str] = {}
    for node in nodes.values():
        for name in node.inputs:
            numbered = _NUMBERED.fullmatch(name) if name not in nodes else None
            if numbered and numbered[1] in nodes and nodes[numbered[1]].operation in operations:
                found[name] = numbered[1]
    return found
