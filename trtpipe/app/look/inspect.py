"""`inspect`: recognises a file, directory or cell by its content and describes it.

Nothing is built, converted or run, except that a spec's model in another format than ONNX is imported unless the store
has it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtpipe.app.look.asked import refuse_in_vain
from trtpipe.building.canonical_models import readable_model
from trtpipe.digests import Digest
from trtpipe.errors import ModelError, SpecError
from trtpipe.frontends.recognition import refuse_companion
from trtpipe.inspection.engine_files import ENGINE, MANIFEST
from trtpipe.inspection.inspect_model import NOTHING_MORE, Asked
from trtpipe.inspection.inspect_pipeline import LayerLine, PipelineDescription
from trtpipe.json_values import JsonObject, Malformed, as_object, object_in, text_in
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import BUILD_DIRECTORY, open_workspace


@dataclass(frozen=True, slots=True)
class Subject:
    """What to describe, and in how much detail."""

    path: Path
    asked: Asked = NOTHING_MORE
    companion: Path | None = None
    """The second file of a model, such as the weights of a prototxt, when it is not found beside the first."""


def describe(subject: Subject) -> dict[str, Any]:
    """The description as plain JSON values; its `kind` says what was described. Raises SpecError and ModelError."""
    path = subject.path
    if path.is_dir():
        return _directory(subject)
    from trtpipe.inspection.file_kind import kind_of_file

    kind = kind_of_file(path)
    if kind != "model":
        _expect_no_companion(subject)
    if kind == "engine":
        return _engine(path, subject.asked)
    if kind == "pipeline":
        return describe_spec(str(path), subject.asked).to_json()
    if kind == "model":
        return _model(subject)
    if kind == "weights":
        return _weights(path, subject.asked)
    from trtpipe.app.look import records

    if kind == "json" and records.is_manifest(path):
        return _engine(path.with_name(ENGINE), subject.asked)
    refuse_in_vain(subject.asked, "this is none")
    return {"lockfile": records.lockfile, "cache": records.cache, "json": records.json_file}[kind](path)


def _expect_no_companion(subject: Subject) -> None:
    if subject.companion is not None:
        refuse_companion(f"goes with a model, and '{subject.path}' is none")


def find_subject(text: str, cwd: Path) -> Path:
    """The path that a user means: a file, a directory, or the delivered directory of a cell. Raises SpecError."""
    path = Path(text)
    if (cwd / path).exists() or (cwd / path).is_symlink():
        return path
    if "@" in text and "/" in text:
        from trtpipe.loader.project import find_root

        folder = find_root(cwd) / BUILD_DIRECTORY / text
        if ".." not in Path(text).parts and folder.is_dir():
            return folder
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"no such file, and the cell {text!r} has not been built here",
            f"trtpipe build {text}",
        )
    raise SpecError(Code.NO_SUCH_FILE, f"no such file: {text!r}")


def _directory(subject: Subject) -> dict[str, Any]:
    folder = subject.path
    if (folder / ENGINE).exists() or (folder / MANIFEST).exists():
        _expect_no_companion(subject)
        return _engine(folder / ENGINE, subject.asked)
    if (folder / "saved_model.pb").exists():
        return _model(subject)
    raise ModelError(
        Code.NO_ENGINE,
        f"'{folder}' contains neither an engine nor a SavedModel",
        f"name a file in it, or a directory with {ENGINE} or saved_model.pb",
    )


def _engine(file: Path, asked: Asked) -> dict[str, Any]:
    from trtpipe.inspection.inspect_engine import describe_engine
    from trtpipe.toolchains.header import read_engine_header

    refuse_in_vain(replace(asked, nodes=False), "of an engine, --layers shows its layers")
    found = describe_engine(file, read_header=read_engine_header, find_manifest=manifest_in_build).to_json()
    if asked.nodes:
        from trtpipe.app.look.engine_layers import engine_layers

        found["layers"] = engine_layers(file)
    return found


def manifest_in_build(digest: Digest) -> JsonObject | None:
    """The manifest of an engine that was copied away from this project's build directory."""
    from trtpipe.inspection.engine_files import read_json
    from trtpipe.loader.project import find_root

    for path in sorted((find_root(Path.cwd()) / BUILD_DIRECTORY).glob(f"*/*/{MANIFEST}")):
        with contextlib.suppress(ModelError, Malformed):
            record = as_object(read_json(path), MANIFEST)
            if text_in(object_in(record, "engine"), "blake3") == digest.hex:
                return record
    return None


def _model(subject: Subject) -> dict[str, Any]:
    from trtpipe.app.look.models import describe_any_model

    return describe_any_model(subject.path, subject.asked, subject.companion)


def _weights(path: Path, asked: Asked) -> dict[str, Any]:
    from trtpipe.app.look.models import describe_weights

    return describe_weights(path, asked)


def describe_spec(spec: str, asked: Asked = NOTHING_MORE) -> PipelineDescription:
    """The description of the pipeline in a file; its model is imported unless the store has it.

    Raises SpecError, and ModelError with places in the spec where they are known.
    """
    from trtpipe.inspection.inspect_model import describe_graph

    workspace = open_workspace([spec])
    (pipeline,) = workspace.pipelines
    declared = pipeline.spec.model.parser == "network"
    try:
        layers = tuple(_layers(pipeline)) if declared else ()
        with readable_model(pipeline, workspace.store, workspace.state) as proto:
            # A declared network is shown by its layers; nodes are what those were lowered to.
            graph = describe_graph(proto, replace(asked, nodes=asked.nodes and not declared))
    except ModelError as error:
        raise SpecError([pipeline.locate(problem) for problem in error.problems]) from error
    workspace.state.save()
    return PipelineDescription(spec, pipeline.spec.pipeline, pipeline.spec.model.parser, graph, layers)


def _layers(pipeline: LoadedPipeline) -> Iterator[LayerLine]:
    """The declared layers, each with its outputs."""
    from trtpipe.layers.network import describe_layers, weight_files
    from trtpipe.spec.network.network import NetworkOptions

    options = pipeline.options
    assert isinstance(options, NetworkOptions), "the loader has read them"
    files = weight_files(pipeline.option_files())
    for one in describe_layers(options, files, root=pipeline.project.root):
        yield LayerLine(one.name, one.kind, one.outputs, one.parameters)
