"""Exports a pipeline's model as a pipeline of declared layers and a weights file, to be edited by hand from then on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.building.canonical_models import transformed_model
from trtpipe.errors import SpecError
from trtpipe.files import write_whole
from trtpipe.inspection.network_spec import DeclaredModel, network_spec
from trtpipe.loader.project import find_project
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.problem_codes import Code
from trtpipe.workspace.workspace import Workspace

if TYPE_CHECKING:
    from trtpipe.layers.from_onnx.model import Declaration

_SUFFIX = "-network"
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class ExportedNetwork:
    """What was written: the spec, its weights (None for a network without any), and how many layers of each kind."""

    spec: Path
    weights: Path | None
    counts: Mapping[str, int]


def export_network(workspace: Workspace, directory: Path | None, *, force: bool = False) -> ExportedNetwork:
    """Writes `NAME-network.yaml` and `NAME-network.safetensors`, beside the spec or into `directory`.

    The model is exported as it is after import and transform. Raises SpecError when a file is there already and not
    `force`, and ModelError that names every node without a declared layer; nothing is written then.
    """
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.layers.from_onnx.model import counted, declare

    (pipeline,) = workspace.pipelines
    name = pipeline.spec.pipeline[: _LONGEST_NAME - len(_SUFFIX)] + _SUFFIX
    folder = pipeline.path.parent if directory is None else directory
    spec, weights = folder / f"{name}.yaml", folder / f"{name}.safetensors"
    refuse_existing([spec, weights], force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as workplace:
            model = transformed_model(pipeline, workspace.store, workspace.state, Path(workplace))
            declaration = declare(read_skeleton(model).proto)
            given = _written(declaration, spec, weights, Path(workplace), pipeline, name)
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write to {folder}: {(error.strerror or str(error)).lower()}"
        ) from error
    workspace.state.save()
    return ExportedNetwork(spec, given, counted(declaration))


def refuse_existing(paths: list[Path], force: bool) -> None:
    """Raises SpecError when a file exists and must not be replaced."""
    there = [path for path in paths if path.exists()]
    if there and not force:
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"{there[0]} exists already",
            "write elsewhere with --output, or replace it with --force",
        )


def _written(
    declaration: Declaration,
    spec: Path,
    weights: Path,
    workplace: Path,
    pipeline: LoadedPipeline,
    name: str,
) -> Path | None:
    """Writes both files once the declared network has been lowered; the weights, if there are any."""
    from trtpipe.weights.safetensors import write_safetensors

    made = workplace / weights.name
    if declaration.weights:
        write_safetensors(made, declaration.weights)
    _prove(declaration, made, workplace)
    file = named_in_project(weights) if declaration.weights else None
    model = DeclaredModel(declaration.inputs, declaration.layers, declaration.outputs, file)
    text = network_spec(pipeline.document, name, model)
    if declaration.weights:
        made.replace(weights)
    write_whole(spec, text.encode())
    return weights if declaration.weights else None


def _prove(declaration: Declaration, weights: Path, workplace: Path) -> None:
    """Lowers the declared network, as a build of it would. Raises ModelError with its problems."""
    from trtpipe.layers.network import lower_network
    from trtpipe.spec.network.network import NetworkOptions

    options = NetworkOptions.model_validate(
        {
            "weights": weights.name if declaration.weights else None,
            "inputs": declaration.inputs,
            "layers": list(declaration.layers),
            "outputs": list(declaration.outputs),
        }
    )
    files = {"": weights} if declaration.weights else {}
    with tempfile.TemporaryDirectory(dir=workplace) as place:
        lower_network(options, files, root=workplace, workplace=Path(place))


def named_in_project(path: Path) -> str:
    """A file's name for a spec beside it: relative to the root of the spec's project, if it is inside."""
    root = find_project(path.parent).root.resolve()
    found = Path(os.path.abspath(path)).resolve()  # noqa: PTH100 - it need not exist
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else found.as_posix()
