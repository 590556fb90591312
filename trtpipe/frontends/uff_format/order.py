"""Sorts nodes in execution order: those that outputs need, inputs before the nodes that read them.

Uses only identifiers and inputs of nodes. Does not recurse, because files may nest deeply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.uff_format.messages import Node
from trtpipe.problem_codes import Code

_SHOWN = 12


def by_id(nodes: Iterable[Node]) -> dict[str, Node]:
    """The nodes by their ids. Raises ModelError for duplicate ids."""
    found: dict[str, Node] = {}
    twice = [node.id for node in nodes if found.setdefault(node.id, node) is not node]
    if twice:
        listed = sorted(set(twice))
        raise ModelError(
            [Problem(Code.UFF_GRAPH, f"two nodes have the id '{name}'") for name in listed[:_SHOWN]]
        )
    return found


def sort_needed(nodes: Mapping[str, Node], outputs: Iterable[str], owners: Mapping[str, str]) -> list[Node]:
    """The nodes that `outputs` need, each after those whose tensors it reads; `outputs` are ids of nodes.

    `owners` maps tensors whose name is not their node's to that node. Raises ModelError for cycles and for
    inputs that no node produces.
    """
    done: dict[str, Node] = {}
    missing: dict[str, str] = {}
    for output in outputs:
        _visit(nodes, owners, output, done, missing)
    if missing:
        raise ModelError([_missing(reader, wanted, nodes) for wanted, reader in missing.items()])
    return list(done.values())


def _visit(
    nodes: Mapping[str, Node],
    owners: Mapping[str, str],
    start: str,
    done: dict[str, Node],
    missing: dict[str, str],
) -> None:
    """Depth first from one node; `path` holds the nodes being visited, each with its remaining inputs."""
    path = {} if start in done else {start: iter(nodes[start].inputs)}
    while path:
        name, inputs = next(reversed(path.items()))
        wanted = next(inputs, None)
        if wanted is None:
            done[name] = nodes[name]
            path.popitem()
            continue
        wanted = owners.get(wanted, wanted)
        if wanted in path:
            raise ModelError(
                Code.GRAPH_CYCLE,
                f"the graph has a cycle: {_cycle(list(path), wanted)}",
                "convert the model again",
            )
        if wanted not in nodes:
            if len(missing) < _SHOWN:
                missing.setdefault(wanted, name)
        elif wanted not in done:
            path[wanted] = iter(nodes[wanted].inputs)


def _cycle(path: list[str], name: str) -> str:
    around = [*path[path.index(name) :], name]
    if len(around) > _SHOWN:
        half = _SHOWN // 2
        around = [*around[:half], "…", *around[-half:]]
    return " -> ".join(around)


def _missing(reader: str, wanted: str, nodes: Mapping[str, Node]) -> Problem:
    near = get_close_matches(wanted[:200], nodes, n=1) if len(nodes) < 20_000 else []
    remedy = f"did you mean '{near[0]}'?" if near else "convert the model again"
    return Problem(Code.UFF_GRAPH, f"node '{reader}' reads '{wanted}', which no node makes", remedy)
