"""The `tensorflow` frontend: frozen graphs (`.pb`) and SavedModels, converted by tf2onnx in a child process.

Checks which options apply to which of the two; the files are read in `tensorflow_format`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from trtpipe.errors import ModelError, Problem
from trtpipe.frontends import ModelFiles, Proposal, is_installed
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, DynamicShape, SpecModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.frontends.conversion.converters import Converter
    from trtpipe.frontends.tensorflow_format.graphs import Graph, MetaGraph
    from trtpipe.json_values import Json

_OPTIONS = ("model", "options")
_OPSET = 17
"""What tf2onnx writes; a higher one is converted from it like any other model."""
_LARGE = 1 << 30
"""Bytes from which weights stay out of the ONNX file: one protobuf holds less than twice as much."""
_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos")


class TensorflowOptions(SpecModel):
    """`model.options` of the tensorflow parser."""

    inputs: Annotated[tuple[str, ...], AsTuple] = ()
    """A frozen graph's inputs: nodes (`x`) or tensors (`x:0`). The model's inputs are called as written here.

    A placeholder with a default that is left out has its default."""
    outputs: Annotated[tuple[str, ...], AsTuple] = ()
    """A frozen graph's outputs, as `inputs`."""
    signature: str | None = None
    """The signature of a SavedModel; `serving_default` when left out."""
    tags: Annotated[tuple[str, ...], AsTuple] = ()
    """The tags that name the graph in a SavedModel; `[serve]` when left out."""
    shapes: dict[str, DynamicShape] = Field(default_factory=dict)
    """Shapes of inputs in place of the model's own; -1 is a dynamic dimension."""
    opset: Annotated[int | None, Field(ge=13, le=25)] = None
    """The least opset to bring the model to."""


class TensorflowFrontend:
    """Reads frozen `.pb` files and the directories of SavedModels."""

    name = "tensorflow"
    version = 1
    Options = TensorflowOptions
    needs_source = True
    takes_directory = True
    companion = ""
    extra = "tensorflow"

    @property
    def packages(self) -> tuple[str, ...]:
        """The distribution that TensorFlow is installed from, the first of those known when it is not, and tf2onnx."""
        found = next((name for name in _DISTRIBUTIONS if is_installed(name)), _DISTRIBUTIONS[0])
        return (found, "tf2onnx")

    def belonging(self, files: ModelFiles, options: TensorflowOptions) -> list[Path]:
        """No further files: a graph is one file, a SavedModel one directory. Raises ModelError for anything else."""
        _request(files.model, options)
        return []

    def read(self, files: ModelFiles, options: TensorflowOptions, workplace: Path) -> onnx.ModelProto:
        """The model as ONNX. Raises ModelError when it is damaged, cannot be converted, or options do not fit it."""
        from trtpipe.canonical.reader import read_skeleton
        from trtpipe.frontends.conversion.converters import run_converter
        from trtpipe.frontends.conversion.renames import rename_interface, strip_notes
        from trtpipe.frontends.tensorflow_format.order import put_in_order

        run_converter(_converter(), _request(files.model, options), workplace)
        proto = read_skeleton(workplace / "model.onnx", root=workplace).proto
        strip_notes(proto)
        proto.producer_version = ""
        put_in_order(proto)
        if options.inputs:
            rename_interface(proto, options.inputs, options.outputs, _OPTIONS)
        return proto

    def propose(self, path: Path) -> Proposal | None:
        """A frozen graph with its placeholders and unread nodes, or a SavedModel; None for anything else."""
        from trtpipe.frontends.tensorflow_format.graphs import read_graph, read_saved_model
        from trtpipe.frontends.tensorflow_format.proposals import defaulted_names, input_names, output_names

        try:
            if path.is_dir():
                return _proposed_signature(path, read_saved_model(path))
            graph = read_graph(path)
        except ModelError:
            return None
        inputs, outputs = input_names(graph), output_names(graph)
        comment = "inputs: the placeholders; outputs: the nodes whose outputs no node reads."
        left = [name for name in defaulted_names(graph) if name not in inputs]
        if left:
            comment += f" Not in inputs, so it has its default: {', '.join(left)}."
        return Proposal(path, {"inputs": inputs, "outputs": outputs}, comment)


def _converter() -> Converter:
    from trtpipe.frontends import tensorflow_format
    from trtpipe.frontends.conversion.converters import Converter

    return Converter(Path(tensorflow_format.__file__).with_name("converter.py"), "tf2onnx", "tensorflow")


def _request(source: Path, options: TensorflowOptions) -> dict[str, Json]:
    """The request for the converter. Raises ModelError with all options that do not fit the model."""
    shapes = {name: list(shape) for name, shape in options.shapes.items()}
    common: dict[str, Json] = {"source": str(source.resolve()), "opset": _OPSET}
    if source.is_dir():
        chosen = _saved_model(source, options)
        large = sum(file.stat().st_size for file in source.rglob("*") if file.is_file()) >= _LARGE
        return {**common, **chosen, "shapes": shapes, "large": large}
    tensors = _frozen(source, options)
    shapes = {_tensor(name): shape for name, shape in shapes.items()}
    return {**common, **tensors, "shapes": shapes, "large": source.stat().st_size >= _LARGE}


def _tensor(name: str) -> str:
    from trtpipe.frontends.tensorflow_format.proposals import tensor_of

    return tensor_of(name)


def _frozen(source: Path, options: TensorflowOptions) -> dict[str, list[str]]:
    from trtpipe.frontends.tensorflow_format.graphs import read_graph
    from trtpipe.frontends.tensorflow_format.proposals import unfrozen, with_effects

    graph = read_graph(source)
    problems = [*_only_for("a SavedModel", options, ("signature", "tags")), *_missing(graph, options)]
    problems += [*_unknown(graph, "inputs", options.inputs), *_unknown(graph, "outputs", options.outputs)]
    problems += _shapeless(options.shapes, options.inputs)
    problems += [*with_effects(graph), *filter(None, [unfrozen(graph)])]
    if problems:
        raise ModelError(problems)
    return {"inputs": list(map(_tensor, options.inputs)), "outputs": list(map(_tensor, options.outputs))}


def _missing(graph: Graph, options: TensorflowOptions) -> Iterator[Problem]:
    from trtpipe.frontends.tensorflow_format.proposals import input_names, output_names
    from trtpipe.loader.scalars import flow_yaml

    missing = [key for key in ("inputs", "outputs") if not getattr(options, key)]
    if missing:
        proposed = {"inputs": input_names(graph), "outputs": output_names(graph)}
        text = flow_yaml({key: proposed[key] for key in missing})
        fact = f"a frozen graph needs {' and '.join(map(repr, missing))} in model.options"
        yield Problem(
            Code.PARSER_OPTIONS,
            fact,
            f"by its placeholders and the nodes whose outputs no node reads: {text}",
            path=_OPTIONS,
        )


def _unknown(graph: Graph, key: str, names: Sequence[str]) -> Iterator[Problem]:
    from trtpipe.frontends.tensorflow_format.proposals import input_names, node_of, output_names
    from trtpipe.loader.grammar import choose_from, nearest

    nodes = {node.name for node in graph.nodes}
    for index, name in enumerate(names):
        if node_of(name) not in nodes:
            likely = input_names(graph) if key == "inputs" else output_names(graph)
            near = nearest(node_of(name), likely) or nearest(node_of(name), sorted(nodes))
            remedy = (
                choose_from(near, likely, key)
                if near in likely
                else f"did you mean {near!r}?"
                if near
                else ""
            )
            fact = f"the graph has no node {node_of(name)!r}"
            yield Problem(
                Code.UNKNOWN_TENSOR,
                fact,
                remedy or choose_from(name, likely, key),
                path=(*_OPTIONS, key, index),
            )
    for name in sorted({name for name in names if list(map(_tensor, names)).count(_tensor(name)) > 1}):
        yield Problem(
            Code.LISTED_TWICE,
            f"{name!r} stands twice in {key!r}",
            "name each tensor once",
            path=(*_OPTIONS, key),
        )


def _shapeless(shapes: Iterable[str], inputs: Sequence[str]) -> Iterator[Problem]:
    known = set(map(_tensor, inputs))
    for name in shapes:
        if inputs and _tensor(name) not in known:
            remedy = f"the inputs are: {', '.join(inputs)}"
            yield Problem(
                Code.PARSER_OPTIONS,
                f"a shape for {name!r}, which is not an input",
                remedy,
                path=(*_OPTIONS, "shapes", name),
            )


def _only_for(what: str, options: TensorflowOptions, keys: Sequence[str]) -> Iterator[Problem]:
    for key in keys:
        if getattr(options, key):
            yield Problem(
                Code.PARSER_OPTIONS, f"{key!r} is an option for {what}", "leave it out", path=(*_OPTIONS, key)
            )


def _saved_model(folder: Path, options: TensorflowOptions) -> dict[str, Json]:
    from trtpipe.frontends.tensorflow_format.graphs import read_saved_model

    found = read_saved_model(folder)
    problems = list(_only_for("a frozen graph", options, ("inputs", "outputs")))
    problems += _outside(folder)
    tags = list(options.tags or ("serve",))
    graph = next((one for one in found if set(one.tags) == set(tags)), None)
    if graph is None:
        known = "; ".join(", ".join(one.tags) or "(none)" for one in found)
        fact = f"the SavedModel has no graph with the tags {', '.join(tags)}"
        problems.append(
            Problem(
                Code.TENSORFLOW_SIGNATURE,
                fact,
                f"its graphs have the tags: {known}",
                path=(*_OPTIONS, "tags"),
            )
        )
    else:
        problems += _signature_problems(graph, options)
    if problems:
        raise ModelError(problems)
    return {"signature": options.signature or "serving_default", "tags": tags}


def _signature_problems(graph: MetaGraph, options: TensorflowOptions) -> Iterator[Problem]:
    from trtpipe.frontends.tensorflow_format.proposals import with_effects
    from trtpipe.loader.grammar import choose_from

    signatures = {name: one for name, one in graph.signatures.items() if not name.startswith("_")}
    wanted = options.signature or "serving_default"
    if wanted not in signatures:
        fact = f"the SavedModel has no signature {wanted!r}"
        yield Problem(
            Code.TENSORFLOW_SIGNATURE,
            fact,
            choose_from(wanted, signatures, "signatures"),
            path=(*_OPTIONS, "signature"),
        )
    else:
        yield from _shapeless(options.shapes, signatures[wanted].inputs)
    yield from with_effects(graph.graph)
    for asset in graph.assets:
        if Path(asset).is_absolute() or ".." in Path(asset).parts:
            yield Problem(
                Code.TENSORFLOW_OUTSIDE,
                f"the SavedModel refers to the file {asset!r} outside of it",
                "save it again",
            )


def _outside(folder: Path) -> Iterator[Problem]:
    """Links that lead out of the directory, whose target would be read."""
    home = folder.resolve()
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            name = path.relative_to(folder).as_posix()
            yield Problem(
                Code.TENSORFLOW_OUTSIDE,
                f"'{name}' in '{folder.name}' leads out of it",
                f"copy it: {path.readlink()}",
            )


def _proposed_signature(path: Path, found: Sequence[MetaGraph]) -> Proposal:
    graph = next((one for one in found if one.tags == ("serve",)), found[0])
    options: dict[str, object] = {} if graph.tags == ("serve",) else {"tags": list(graph.tags)}
    names = [name for name in graph.signatures if not name.startswith("_")]
    if "serving_default" not in names and names:
        options["signature"] = names[0]
    more = f"signature: one of {', '.join(names)}." if len(names) > 1 else ""
    return Proposal(path, options, more)


frontend = TensorflowFrontend()
