"""Describes a model or weights of any supported format from the file alone: no spec, no project, no extra package.

For TensorFlow and PyTorch models this is what their files say; they are not converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.app.look.asked import refuse_in_vain
from trtpipe.files import temporary_folder
from trtpipe.frontends import Frontend, ModelFiles, Proposal
from trtpipe.inspection.inspect_model import Asked, ModelDescription, describe_graph, describe_model
from trtpipe.inspection.weight_table import WeightsDescription, weight_lines

if TYPE_CHECKING:
    import onnx

_UNCONVERTED = ("tensorflow", "pytorch")


@dataclass(frozen=True, slots=True)
class UnconvertedModel:
    """What the file of a TensorFlow or PyTorch model contains. Dims are sizes, symbols, or -1 and None.

    Tensors are name, dtype (empty when unknown) and dims (None when unknown).
    """

    path: str
    format: str
    what: str
    inputs: Sequence[tuple[str, str, Sequence[Any] | None]]
    outputs: Sequence[str]
    operators: Mapping[str, int]
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """This description as plain JSON values."""
        return {
            "kind": "unconverted model",
            "format": self.format,
            "path": self.path,
            "what": self.what,
            "inputs": [
                {"name": name, "dtype": dtype, "dims": None if dims is None else list(dims)}
                for name, dtype, dims in self.inputs
            ],
            "outputs": list(self.outputs),
            "operators": dict(sorted(self.operators.items())),
            "facts": dict(self.facts),
            "notes": list(self.notes),
        }


def describe_any_model(path: Path, asked: Asked, companion: Path | None = None) -> dict[str, Any]:
    """The description of a model in any format. Raises ModelError, and SpecError for what is asked in vain."""
    from trtpipe.frontends.recognition import propose

    if companion is None and _is_npz(path):
        return describe_weights(path, asked)
    frontend, proposal = propose(path, companion=companion)
    if frontend.name == "onnx":
        return describe_model(path, asked).to_json()
    if frontend.name in _UNCONVERTED:
        refuse_in_vain(asked, f"a {frontend.name} model is not converted here: name a spec instead")
        described = _tensorflow(path) if frontend.name == "tensorflow" else _pytorch(path)
        return described.to_json()
    return _read(frontend, proposal, asked).to_json()


def kind_of_model(path: Path) -> str:
    """`model` for what can be read as ONNX, `weights`, or `unconverted model`. Raises ModelError."""
    from trtpipe.frontends.recognition import propose

    if _is_npz(path):
        return "weights"
    return "unconverted model" if propose(path)[0].name in _UNCONVERTED else "model"


def readable_proto(path: Path, stack: ExitStack, companion: Path | None = None) -> onnx.ModelProto:
    """A model as ONNX, a skeleton whose weights can be read until the stack is closed.

    Raises ModelError, and SpecError when the format has no use for the second file, `companion`.
    """
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.frontends.recognition import propose

    frontend, proposal = propose(path, companion=companion)
    if frontend.name == "onnx":
        return read_skeleton(path).proto
    workplace = stack.enter_context(temporary_folder("diff"))
    files, options = _files_of(frontend, proposal)
    return frontend.read(files, options, Path(workplace))


def describe_weights(path: Path, asked: Asked) -> dict[str, Any]:
    """The description of a file of weights. Raises ModelError, and SpecError for what is asked in vain."""
    from trtpipe.weights import open_weights
    from trtpipe.weights.pieces import streams_of_file

    refuse_in_vain(replace(asked, weights=False), "of weights, --weights shows their statistics")
    weights = open_weights(path, root=None)
    name = type(weights).__name__.removesuffix("File").lower()
    lines = weight_lines(streams_of_file(weights), statistics=asked.weights)
    return WeightsDescription(str(path), name, path.stat().st_size, lines).to_json()


def _is_npz(path: Path) -> bool:
    """A zip archive of arrays, which no frontend takes for a model."""
    import zipfile

    try:
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                return False
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _read(frontend: Frontend, proposal: Proposal, asked: Asked) -> ModelDescription:
    """The model as its frontend reads it, with the options that `init` would write."""
    files, options = _files_of(frontend, proposal)
    with temporary_folder("inspect") as workplace:
        graph = describe_graph(frontend.read(files, options, Path(workplace)), asked)
    size = sum(file.stat().st_size for file in (files.model, *files.named.values()))
    return ModelDescription(str(files.model), frontend.name, size, (), graph)


def _files_of(frontend: Frontend, proposal: Proposal) -> tuple[ModelFiles, Any]:
    """A model's files and options as `init` would write them."""
    from trtpipe.frontends.recognition import options_of

    assert proposal.source is not None, "only declared networks have none, and they have no file"
    source, said = proposal.source, proposal.options
    named = {name: value for name, value in said.items() if isinstance(value, Path)}
    written = {name: value.as_posix() if isinstance(value, Path) else value for name, value in said.items()}
    return ModelFiles(source, named, source.resolve().parent), options_of(frontend, written)


_FEW_TYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 6: "int8", 9: "int64", 10: "bool", 14: "bfloat16",
              19: "float16"}  # fmt: skip
"""TensorFlow's DataType, of types.proto."""


def _tensorflow(path: Path) -> UnconvertedModel:
    from trtpipe.frontends.tensorflow_format.graphs import read_graph, read_saved_model
    from trtpipe.frontends.tensorflow_format.proposals import output_names, unfrozen, with_effects

    if path.is_dir():
        graphs = read_saved_model(path)
        graph = next((one for one in graphs if one.tags == ("serve",)), graphs[0])
        signatures = {
            name: {"inputs": list(one.inputs), "outputs": list(one.outputs)}
            for name, one in graph.signatures.items()
            if not name.startswith("_")
        }
        facts: dict[str, Any] = {"tags": [list(one.tags) for one in graphs], "signatures": signatures}
        nodes, library, outputs = graph.graph.nodes, graph.graph.library, list[str]()
        problems, what = list(with_effects(graph.graph)), "SavedModel"
    else:
        frozen = read_graph(path)
        nodes, library, facts = frozen.nodes, frozen.library, {}
        outputs, what = output_names(frozen), "frozen graph"
        problems = [*with_effects(frozen), *filter(None, [unfrozen(frozen)])]
    if library:
        facts["operators in functions"] = sorted(library)
    inputs = [
        (node.name, _FEW_TYPES.get(node.dtype, ""), node.dims)
        for node in nodes
        if node.operator.startswith("Placeholder")
    ]
    operators = Counter(node.operator for node in nodes)
    notes = [problem.fact for problem in problems]
    return UnconvertedModel(str(path), "tensorflow", what, inputs, outputs, operators, facts, notes)


def _pytorch(path: Path) -> UnconvertedModel:
    from trtpipe.frontends.torch_format.archive import read_pt2

    archive = read_pt2(path)
    operators = Counter(name.removeprefix("torch.ops.") for name in archive.targets())
    weights = [
        one.file_size for name, one in archive.members.items() if name.startswith("data/weights/weight_")
    ]
    ranges = {
        symbol: f"{low or 0} to {'any' if high is None else high}"
        for symbol, (low, high) in archive.facts.ranges.items()
    }
    facts = {
        "PyTorch": archive.facts.torch_version,
        "weights": {"tensors": len(weights), "nbytes": sum(weights)},
        "sizes": ranges,
    }
    inputs = [(name, "", dims) for name, dims in archive.facts.inputs.items()]
    return UnconvertedModel(
        str(path), "pytorch", "exported program", inputs, archive.facts.outputs, operators, facts
    )
