"""Converts a decoded MetaGraph to an ONNX graph: the requested nodes are selected, sorted, and lowered one by one.

All errors are reported in one pass: nodes that depend on a failed node are skipped without a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import GraphBuilder
from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.uff_format import axes, channels, elementwise, shapes, windows
from trtpipe.frontends.uff_format.cuts import cut_before
from trtpipe.frontends.uff_format.messages import Graph, MetaGraph, Node
from trtpipe.frontends.uff_format.net import Constant, Dims, Misfit, Net, Tensor, ints_of
from trtpipe.frontends.uff_format.node_fields import NodeFields
from trtpipe.frontends.uff_format.operation import Operation, Rule
from trtpipe.frontends.uff_format.order import by_id, sort_needed
from trtpipe.frontends.uff_format.plugins import Plugin, lower_plugin, output_names, refusals, unused
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM

if TYPE_CHECKING:
    import onnx

RULES: dict[str, Rule] = {
    **elementwise.RULES, **windows.RULES, **channels.RULES, **axes.RULES, **shapes.RULES,
}  # fmt: skip
_SOURCES = ("Input", "Const", "MarkOutput")
OPERATIONS = (*_SOURCES, *RULES)
"""Every operation that UFF defines."""

_DESCRIPTORS = ("tensorflow_extension", "custom")
_MOST_DIMS = 32
_MOST_PROBLEMS = 50
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Request:
    """The options for a file: other shapes for inputs, other outputs, plugins for its operations."""

    inputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: Sequence[str] = ()
    plugins: Mapping[str, Plugin] = field(default_factory=dict)


def lower(meta: MetaGraph, source: Path, request: Request, workplace: Path) -> onnx.ModelProto:
    """The ONNX model of a file whose messages are `meta`. Raises ModelError with every problem."""
    graph = main_graph(meta)
    nodes = by_id(graph.nodes)
    owners = _owners(nodes, request.plugins)
    _refuse([*_misplaced(nodes, request), *unused(graph.nodes, request.plugins, OPERATIONS)])
    outputs = _outputs(nodes, owners, request)
    needed = sort_needed(nodes, [owners.get(name, name) for name in outputs], owners)
    unknown = {node.operation for node in needed} - {*OPERATIONS, *request.plugins}
    _refuse(refusals(needed, OPERATIONS, request.plugins, _cut(nodes, outputs, unknown, owners)))
    lowering = _Lowering(meta, source, request, workplace, nodes, owners)
    for node in needed:
        lowering.add(node)
    _refuse(lowering.problems[:_MOST_PROBLEMS])
    lowering.mark(outputs)
    return lowering.builder.model()


def _cut(
    nodes: Mapping[str, Node], outputs: Sequence[str], unknown: set[str], owners: Mapping[str, str]
) -> list[str]:
    return cut_before(nodes, outputs, unknown, owners) if unknown else []


def main_graph(meta: MetaGraph) -> Graph:
    """The graph to run, after checking that its versions and descriptors are supported. Raises ModelError."""
    problems = []
    for what, version in (("version", meta.version), ("core descriptor version", meta.core_version)):
        if version != 1:
            problems.append(
                Problem(Code.UFF_VERSION, f"the {what} of this UFF file is {version}, and only 1 is known")
            )
    for one in meta.descriptors:
        if one.optional or (one.id in _DESCRIPTORS and one.version == 1):
            continue
        known = ", ".join(f"'{name}' 1" for name in _DESCRIPTORS)
        problems.append(
            Problem(
                Code.UFF_VERSION,
                f"the file needs the descriptor '{one.id}' {one.version}, which is unknown",
                f"known are {known}",
            )
        )
    chosen = [graph for graph in meta.graphs if graph.id == "main"] or list(meta.graphs)
    if len(chosen) != 1:
        listed = ", ".join(f"'{graph.id}'" for graph in meta.graphs[:_SHOWN])
        problems.append(
            Problem(Code.UFF_GRAPH, f"the file has no graph 'main', but {listed or 'none at all'}")
        )
    _refuse(problems)
    return chosen[0]


class _Lowering:
    """The state of lowering one graph."""

    def __init__(
        self, meta: MetaGraph, source: Path, request: Request, workplace: Path, nodes: Mapping[str, Node],
        owners: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.builder = GraphBuilder("main", workplace)
        self.net = Net(self.builder, source, [*nodes, *owners])
        self.referenced = meta.referenced
        self.request = request
        self.problems: list[Problem] = []
        self._aliases = {name: _colonless(name) for name in owners}
        self._tensors: dict[str, Tensor] = {}

    def add(self, node: Node) -> None:
        """Lowers one node, or notes why it cannot be lowered; does nothing when one of its inputs failed."""
        names = [self._aliases.get(name, name) for name in node.inputs]
        if node.operation == "MarkOutput" or any(name not in self._tensors for name in names):
            return
        try:
            made = self._lower(node, tuple(self._tensors[name] for name in names))
        except Misfit as error:
            fact = f"{node.operation} '{node.id}' cannot be imported: {error.fact}"
            self.problems.append(Problem(Code.UFF_OPERATION, fact, error.remedy))
        except ModelError as error:
            self.problems += error.problems
        else:
            self._tensors.update(zip(output_names(node.id, len(made)), made, strict=True))

    def mark(self, names: Iterable[str]) -> None:
        """Makes tensors outputs of the graph with the file's names; inputs and constants get a second name for it."""
        plain = {name: self.net.plain(self._tensors[self._aliases.get(name, name)]) for name in names}
        taken = {one.name for one in (*self.builder.graph.input, *self.builder.graph.initializer)}
        for name, tensor in plain.items():
            dims, dtype = self.net.dims_of(tensor), self.net.dtype_of(tensor)
            wanted = f"{name}/output" if name in taken else name
            self.builder.output(tensor, wanted, dtype=dtype, dims=dims)

    def _lower(self, node: Node, inputs: tuple[Tensor, ...]) -> list[Tensor]:
        fields = NodeFields(node, self.referenced)
        if node.operation == "Input":
            return [self._input(fields)]
        if node.operation == "Const":
            return [self._const(fields)]
        op = Operation(self.net, node, fields, inputs)
        if node.operation in self.request.plugins:
            return lower_plugin(op, self.request.plugins[node.operation])
        rule = RULES[node.operation]
        if not inputs or rule.inputs not in (None, len(inputs)):
            raise Misfit(f"it has {len(inputs)} inputs, and must have {rule.inputs or 'some'}")
        return [rule.lower(op)]

    def _input(self, fields: NodeFields) -> Tensor:
        name = fields.node.id
        shape = self.request.inputs.get(name) or fields.whole_list("shape", ())
        if not shape:
            remedy = f"give it one: inputs: {{{name}: -1x224x224x3}}"
            raise ModelError(Code.INPUT_SHAPE_UNKNOWN, f"input '{name}' has no shape in the file", remedy)
        if len(shape) > _MOST_DIMS or any(not -1 <= size <= LARGEST_DIM for size in shape):
            raise fields.wrong("shape", f"is {list(shape[:_MOST_DIMS])}")
        return self.net.input(name, fields.dtype("dtype", "float32"), _input_dims(shape))

    def _const(self, fields: NodeFields) -> Tensor:
        dtype, dims = fields.dtype("dtype"), fields.whole_list("shape", ())
        blob = fields.blob("values")
        if len(dims) > _MOST_DIMS or any(not 0 <= size <= LARGEST_DIM for size in dims):
            raise fields.wrong("shape", f"is {list(dims[:_MOST_DIMS])}")
        needed = _ITEM_SIZES[dtype]
        for size in dims:
            needed *= size
        if needed != blob.length:
            raise fields.wrong(
                "values",
                f"holds {blob.length} bytes, but {dtype} {list(dims)} needs {needed}",
                "convert the model again",
            )
        constant = Constant(dtype, dims, blob)
        return Tensor(fields.node.id, constant=constant, ints=ints_of(self.net, constant))


_ITEM_SIZES = {"int8": 1, "int16": 2, "int32": 4, "int64": 8, "float16": 2, "float32": 4}


def _input_dims(shape: Sequence[int]) -> Dims:
    """The dims of an input: the batch comes first and has one name for all inputs; other dynamic dims have no name."""
    return tuple(size if size >= 0 else "batch" if axis == 0 else None for axis, size in enumerate(shape))


def _owners(nodes: Mapping[str, Node], plugins: Mapping[str, Plugin]) -> dict[str, str]:
    """The further tensors of plugins, under both names that files use: `NMS_1` and `NMS:1`; to their nodes."""
    found = {}
    for node in nodes.values():
        count = len(plugins[node.operation].outputs) if node.operation in plugins else 1
        for number in range(1, count):
            for name in (f"{node.id}_{number}", f"{node.id}:{number}"):
                if name not in nodes:
                    found[name] = node.id
    return found


def _colonless(name: str) -> str:
    head, _, number = name.rpartition(":")
    return f"{head}_{number}" if head else name


def _outputs(nodes: Mapping[str, Node], owners: Mapping[str, str], request: Request) -> list[str]:
    """The output tensors: the requested ones, or those that the file marks, including all outputs of a plugin."""
    if request.outputs:
        return list(dict.fromkeys(request.outputs))
    marked = [name for node in nodes.values() if node.operation == "MarkOutput" for name in node.inputs]
    if not marked:
        raise ModelError(Code.UFF_GRAPH, "the file marks no outputs", "name them: outputs: [NAME]")
    missing = [name for name in dict.fromkeys(marked) if name not in nodes and name not in owners]
    _refuse(
        [
            Problem(Code.UFF_GRAPH, f"the output '{name}' is marked as output, but no node makes it")
            for name in missing[:_SHOWN]
        ]
    )
    found: dict[str, None] = {}
    for name in marked:
        operation = nodes[owners.get(name, name)].operation
        whole = name in nodes and operation in request.plugins
        count = len(request.plugins[operation].outputs) if whole else 1
        found.update(dict.fromkeys(output_names(name, count)))
    return list(found)


def _misplaced(nodes: Mapping[str, Node], request: Request) -> list[Problem]:
    """Names in the options that do not occur in the file."""
    owners = _owners(nodes, request.plugins)
    inputs = [node.id for node in nodes.values() if node.operation == "Input"]
    tensors = [node.id for node in nodes.values() if node.operation != "MarkOutput"]
    problems = [
        _unknown("input", name, inputs, ("model", "options", "inputs", name))
        for name in request.inputs
        if name not in inputs
    ]
    known = {*tensors, *owners}
    problems += [
        _unknown("tensor", name, tensors, ("model", "options", "outputs", index))
        for index, name in enumerate(request.outputs)
        if name not in known
    ]
    return problems


def _unknown(what: str, name: str, valid: Sequence[str], path: tuple[str | int, ...]) -> Problem:
    near = get_close_matches(name, valid[:20_000], n=1)
    listed = ", ".join(valid[:_SHOWN]) + (f" and {len(valid) - _SHOWN} more" if len(valid) > _SHOWN else "")
    choices = f"{what}s of the file: {listed}" if valid else f"the file has no {what}s"
    return Problem(
        Code.UNKNOWN_TENSOR,
        f"the file has no {what} '{name}'",
        f"did you mean '{near[0]}'? {choices}" if near else choices,
        path=path,
    )


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise ModelError(problems)
