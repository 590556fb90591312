"""Finds the nodes that a spec's `keep` selects, and defines the glob syntax. Independent of the particular precision.

    /head/*, /head/**    nodes by name; `*` crosses every `/`, and a name written in full is that node
    op:Softmax           nodes by operator
    tensor:GLOB          nodes that make a tensor of that name
    between:A..B         nodes on the paths from tensors A to tensors B (globs): they depend on A, and B depends
                         on them; the nodes that make B are included, those that make A are not

A node that globs of several precisions name is held in the widest of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import onnx_ir as ir

from trtpipe.errors import Problem, SpecPath
from trtpipe.precisions.casts.element_types import graphs_of, subgraphs
from trtpipe.problem_codes import Code

SPEC_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""The spec's names of float types → the names here; the widest comes last."""

_SHOWN = 12
_WILD = frozenset("*?[")
"""What makes a text more than a name."""


def named_nodes(model: ir.Model) -> dict[str, ir.Node]:
    """Every node by its name; a node without a name is called by its operator and first output."""
    found: dict[str, ir.Node] = {}
    for graph in graphs_of(model):
        for node in graph:
            name = node.name or f"{node.op_type}({node.outputs[0].name if node.outputs else ''})"
            while name in found:
                name += "'"
            found[name] = node
    return found


def kept_by(
    model: ir.Model,
    keep: Mapping[str, Sequence[str]],
    path: SpecPath,
    nodes: Mapping[str, ir.Node] | None = None,
) -> tuple[dict[str, tuple[str, str]], list[Problem]]:
    """Node name → the type that the spec keeps it in and the glob that does it; also the globs without a match.

    `nodes` are those of the model by name, when they are known.
    """
    nodes = nodes if nodes is not None else named_nodes(model)
    held: dict[str, tuple[str, str]] = {}
    problems = []
    for precision in (name for name in SPEC_NAMES if name in keep):
        for index, glob in enumerate(keep[precision]):
            found = _matched(glob, model, nodes, (*path, precision, index))
            if isinstance(found, Problem):
                problems.append(found)
            else:
                held |= dict.fromkeys(found, (SPEC_NAMES[precision], glob))
    return held, problems


def glob_of(name: str) -> str:
    """The glob that matches this node name and no other."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def _matched(glob: str, model: ir.Model, nodes: Mapping[str, ir.Node], path: SpecPath) -> list[str] | Problem:
    kind, _, pattern = glob.partition(":")
    if kind == "op":
        valid = sorted({node.op_type for node in nodes.values()})
        found = [name for name, node in nodes.items() if fnmatchcase(node.op_type, pattern)]
        return found or _unmatched(f"has operator '{pattern}'", pattern, valid, "operators", path)
    if kind == "tensor":
        makers = _tensors(nodes.values())
        made = {node for name, node in makers.items() if _is(pattern, name)}
        found = [name for name, node in nodes.items() if node in made]
        return found or _unmatched(f"makes a tensor '{pattern}'", pattern, list(makers), "tensors", path)
    if kind == "between":
        return _between(pattern, model, nodes, path)
    found = [glob] if glob in nodes and not _WILD & set(glob) else [name for name in nodes if _is(glob, name)]
    return found or _unmatched(f"matches '{glob}'", glob, list(nodes), "nodes", path)


def _is(glob: str, name: str) -> bool:
    return glob == name or fnmatchcase(name, glob)


def _tensors(nodes: Iterable[ir.Node]) -> dict[str, ir.Node]:
    return {output.name: node for node in nodes for output in node.outputs if output.name}


def _between(
    pattern: str, model: ir.Model, nodes: Mapping[str, ir.Node], path: SpecPath
) -> list[str] | Problem:
    """The nodes on paths between two globs of tensors."""
    first, dots, last = pattern.partition("..")
    values = {output.name: output for node in nodes.values() for output in node.outputs if output.name}
    values |= {value.name: value for value in model.graph.inputs if value.name}
    ends = []
    for glob in (first, last):
        if not dots or not glob:
            return Problem(
                Code.UNKNOWN_NODE,
                f"'between:{pattern}' does not name two tensors",
                "write between:FIRST..LAST",
                path=path,
            )
        found = [value for name, value in values.items() if _is(glob, name)]
        if not found:
            return Problem(
                Code.UNKNOWN_TENSOR,
                f"no tensor of the model matches '{glob}'",
                _names(glob, list(values), "tensors"),
                path=path,
            )
        ends.append(found)
    around = {id(graph): node for node in nodes.values() for graph in subgraphs(node)}
    inside = _downstream(ends[0], around) & _upstream(ends[1])
    if not inside:
        fact = f"no path leads from tensor '{first}' to tensor '{last}'"
        return Problem(
            Code.UNKNOWN_NODE, fact, "name the tensor that is computed first before the other", path=path
        )
    return [name for name, node in nodes.items() if node in inside]


def _downstream(values: Collection[ir.Value], around: Mapping[int, ir.Node]) -> set[ir.Node]:
    """Every node that depends on one of the values; `around` maps a nested graph to the node that contains it."""
    found: set[ir.Node] = set()
    pending = list(values)
    while pending:
        for use in pending.pop().uses():
            node: ir.Node | None = use.node
            # values that a branch or body reads are read by the node around it
            while node is not None and node not in found:
                found.add(node)
                pending += node.outputs
                node = around.get(id(node.graph))
    return found


def _upstream(values: Collection[ir.Value]) -> set[ir.Node]:
    """Every node that one of the values depends on, including the nodes in its branches and bodies."""
    found: set[ir.Node] = set()
    pending = [node for value in values if (node := value.producer()) is not None]
    while pending:
        node = pending.pop()
        if node in found:
            continue
        found.add(node)
        inner = [one for graph in subgraphs(node) for one in graph]
        read = (value for value in node.inputs if value is not None)
        pending += [*inner, *(made for value in read if (made := value.producer()) is not None)]
    return found


def _unmatched(what: str, wanted: str, valid: list[str], kind: str, path: SpecPath) -> Problem:
    return Problem(Code.UNKNOWN_NODE, f"no node of the model {what}", _names(wanted, valid, kind), path=path)


def _names(wanted: str, valid: list[str], kind: str) -> str:
    close = difflib.get_close_matches(wanted.replace("*", ""), valid, n=3, cutoff=0.4) or valid[:3]
    few = len(valid) <= _SHOWN
    shown = ", ".join(f"'{name}'" for name in (valid if few else close))
    return f"the {kind} are {shown}" if few else f"nearest of {len(valid)} {kind}: {shown}"
