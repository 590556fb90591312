"""Guesses a graph's inputs and outputs, and finds what cannot be converted, from its nodes only."""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.errors import Problem
from trtpipe.frontends.tensorflow_format.graphs import Graph, Node
from trtpipe.problem_codes import Code

_NO_OUTPUT = frozenset(
    ("NoOp", "Const", "Assert", "Placeholder", "PlaceholderWithDefault", "SaveV2", "RestoreV2")
)
_VARIABLES = frozenset(("Variable", "VariableV2", "VarHandleOp"))
_EFFECTS = {
    "ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc", "DebugIdentity",
    "DebugIdentityV2", "DebugIdentityV3", "DebugNanCount", "DebugNumericSummary", "DebugNumericSummaryV2",
    "TextLineReader", "TextLineReaderV2", "TFRecordReader", "TFRecordReaderV2", "WholeFileReader",
    "WholeFileReaderV2", "FixedLengthRecordReader", "FixedLengthRecordReaderV2", "TextLineDataset",
    "TFRecordDataset", "TFRecordDatasetV2", "FixedLengthRecordDataset", "FixedLengthRecordDatasetV2",
    "CacheDataset", "CacheDatasetV2", "SaveDataset", "SaveDatasetV2", "LoadDataset", "SnapshotDataset",
    "SnapshotDatasetV2", "CreateSummaryFileWriter", "RecordInput", "XlaLaunch", "RemoteCall", "PrintV2",
    "PrintV3",
}  # fmt: skip
"""Operators that read or write files, or run other programs; none has a form in ONNX."""


def input_names(graph: Graph) -> list[str]:
    """The placeholders, in the order of the graph; those with a default only when there is no other."""
    plain = [node.name for node in graph.nodes if node.operator == "Placeholder"]
    return plain or defaulted_names(graph)


def defaulted_names(graph: Graph) -> list[str]:
    """The placeholders that have a default, in the order of the graph."""
    return [node.name for node in graph.nodes if node.operator == "PlaceholderWithDefault"]


def output_names(graph: Graph) -> list[str]:
    """All outputs of the nodes whose outputs no node reads and that compute something, in the order of the graph."""
    read = {name for node in graph.nodes for name in map(node_of, node.inputs)}
    ends = (node for node in graph.nodes if node.name not in read and _gives(node))
    return [f"{node.name}:{port}" if port else node.name for node in ends for port in range(node.outputs)]


def node_of(tensor: str) -> str:
    """The node of a tensor as a graph or a spec names it: `name`, `name:1`, `^name`."""
    name, colon, port = tensor.removeprefix("^").rpartition(":")
    return name if colon and port.isdigit() else tensor.removeprefix("^")


def tensor_of(name: str) -> str:
    """The tensor of a name in a spec, as TensorFlow writes it: its first output unless the name ends in `:N`."""
    return name if node_of(name) != name else f"{name}:0"


def with_effects(graph: Graph) -> Iterator[Problem]:
    """The operators that would access files or run other code when TensorFlow loads or folds the graph."""
    named = {node.operator: node.name for node in reversed(graph.nodes) if node.operator in _EFFECTS}
    named |= {operator: "" for operator in graph.library & _EFFECTS if operator not in named}
    for operator, name in sorted(named.items()):
        where = f"node {name!r}" if name else "a function of the graph"
        yield Problem(
            Code.TENSORFLOW_EFFECTS,
            f"{where} is {operator}, which has side effects",
            "remove it from the model before exporting",
        )


def unfrozen(graph: Graph) -> Problem | None:
    """A problem when the graph has variables, whose values are not in the graph's file."""
    variable = next((node.name for node in graph.nodes if node.operator in _VARIABLES), None)
    if variable is None:
        return None
    remedy = "freeze it, or save a SavedModel and name its directory: tf.saved_model.save(model, 'DIRECTORY')"
    return Problem(Code.TENSORFLOW_NOT_FROZEN, f"the graph is not frozen: {variable!r} is a variable", remedy)


def _gives(node: Node) -> bool:
    return node.operator not in _NO_OUTPUT
