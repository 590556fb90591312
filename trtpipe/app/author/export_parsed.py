"""Exports the network that a cell's TensorRT makes of its typed model, as a pipeline of declared layers and weights.

The result is verified before it is written: the text is read back, built into a typed model as a build would do it, and
compared with the network in ONNX Runtime on random inputs. If the two differ, nothing is written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.app.author.declared_types import Retyped, retype
from trtpipe.app.author.export import ExportedNetwork, named_in_project, refuse_existing
from trtpipe.checks.cell_steps import CellSteps
from trtpipe.checks.parsed_networks import parse_cell
from trtpipe.errors import ModelError, SpecError
from trtpipe.files import write_whole
from trtpipe.inspection.network_spec import DeclaredModel, network_spec
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.networks.reader import read_network_files
from trtpipe.problem_codes import Code
from trtpipe.spec.network.network import NetworkOptions

if TYPE_CHECKING:
    from trtpipe.layers.from_onnx.model import Declaration
    from trtpipe.networks.network import ParsedNetwork
    from trtpipe.networks.raised.network import RaisedNetwork
    from trtpipe.runners.comparison.readback import Readback

_SUFFIX = "-parsed"
_LONGEST_NAME = 64
_SEED = 0


@dataclass(frozen=True, slots=True)
class ExportedParsed(ExportedNetwork):
    """What was written, and how it was proved."""

    left_out: Mapping[str, int]
    """Layers of the network by type that no output needs."""
    difference: float
    """The largest difference of an output from the network's, relative to the output's size."""
    bound: float
    """What rounding may make of it."""


def export_parsed(steps: CellSteps, directory: Path | None, *, force: bool = False) -> ExportedParsed:
    """Writes `PIPELINE-VARIANT-parsed.yaml` and its weights, beside the cell's spec or into `directory`.

    Raises NotParsedHere as `parse_cell` does; SpecError when a file is there already and not `force`; ModelError that
    names every layer without a declared one, or says why the rest could not be proved; and what the steps raise.
    """
    pipeline = _pipeline_of(steps)
    name = f"{pipeline.spec.pipeline}-{steps.cell.variant}"[: _LONGEST_NAME - len(_SUFFIX)] + _SUFFIX
    folder = pipeline.path.parent if directory is None else directory
    spec, weights = folder / f"{name}.yaml", folder / f"{name}.safetensors"
    refuse_existing([spec, weights], force)
    network = _network_of(steps)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as workplace:
            export = _Export(
                network, pipeline, steps.cell.name, steps.cell.variant, Path(workplace).resolve()
            )
            return export.write(name, spec, weights)
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write to {folder}: {(error.strerror or str(error)).lower()}"
        ) from error


def _pipeline_of(steps: CellSteps) -> LoadedPipeline:
    """The cell's pipeline. Raises SpecError when it validates against a variant that will not be in the export."""
    pipelines = steps.planned.workspace.pipelines
    pipeline = next(one for one in pipelines if one.spec.pipeline == steps.cell.pipeline)
    validated = pipeline.spec.validate_
    other = validated.reference_of(steps.cell.variant) if validated else None
    if other is not None:
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"{steps.cell.name} is validated against the variant '{other}', which the exported spec would not have",
            "leave validate.reference out while you export, or record outputs with `trtpipe golden`",
        )
    return pipeline


def _network_of(steps: CellSteps) -> ParsedNetwork:
    files = parse_cell(steps)
    return read_network_files(files.network, files.weights)


@dataclass(frozen=True)
class _Export:
    """The state of one export."""

    network: ParsedNetwork
    pipeline: LoadedPipeline
    cell: str
    variant: str
    workplace: Path

    def write(self, name: str, spec: Path, weights: Path) -> ExportedParsed:
        from trtpipe.layers.from_onnx.model import counted
        from trtpipe.networks.raised.network import raise_network
        from trtpipe.weights.safetensors import write_safetensors

        raised = raise_network(self.network)
        declaration = raised.declaration
        made = self.workplace / weights.name if declaration.weights else None
        if made is not None:
            write_safetensors(made, declaration.weights)
        typed = self._retyped(raised, made)
        named = named_in_project(weights) if made is not None else None
        text = self._text(name, declaration, named, typed)
        self._check_text(text, declaration, named)
        proof = self._proved(typed)
        if made is not None:
            made.replace(weights)
        write_whole(spec, text.encode())
        difference = max((one.error for one in proof.outputs), default=0.0)
        bound = max((one.bound for one in proof.outputs), default=0.0)
        given = None if made is None else weights
        return ExportedParsed(spec, given, counted(declaration), raised.left_out, difference, bound)

    def _retyped(self, raised: RaisedNetwork, weights: Path | None) -> Retyped:
        options = _options(raised.declaration, None if weights is None else weights.name)
        try:
            return retype(options, weights, self.network, self.workplace)
        except ModelError as error:
            raise raised.with_origins(error) from error

    def _text(self, name: str, declaration: Declaration, weights: str | None, typed: Retyped) -> str:
        origin = f"what {self.network.flavour} {self.network.version} parsed of {self.cell}"
        given = declaration.inputs, declaration.layers, declaration.outputs, weights, origin
        variants = {self.variant: typed.variant}
        return network_spec(self.pipeline.document, name, DeclaredModel(*given), variants)

    def _check_text(self, text: str, declaration: Declaration, weights: str | None) -> None:
        """Reads the text back and checks that it is exactly what was verified, to the last digit."""
        from trtpipe.loader.yaml_reader import read_document

        place = self.workplace / "spec.yaml"
        place.write_text(text, encoding="utf-8")
        model = read_document(place).data["model"]
        assert isinstance(model, dict), "it was written as one"
        if NetworkOptions.model_validate(model["options"]) != _options(declaration, weights):
            raise ModelError(
                Code.NOT_DECLARABLE, "reading the spec's text back does not give the declared network"
            )

    def _proved(self, typed: Retyped) -> Readback:
        """The comparison of the typed model with the network. Raises ModelError when they differ."""
        from trtpipe.networks.lowering.network import onnx_of
        from trtpipe.runners.comparison.readback import compare_lowered
        from trtpipe.runners.cpu.graphs import runnable_model
        from trtpipe.runners.feeds.chance import random_feed
        from trtpipe.runners.feeds.signature import signature_of_model

        taken = signature_of_model(typed.model, self.pipeline.spec.profiles)
        feed = random_feed(taken, taken.shapes(0), taken.values(0), _SEED)
        lowered, folder = onnx_of(self.network), self.network.contents.path.parent
        found = compare_lowered(runnable_model(typed.model), lowered, folder, [feed.arrays], locate=True)
        why = _difference(found, self.network)
        if why:
            raise ModelError(Code.NOT_DECLARABLE, f"the declared layers could not be proved: {why}")
        return found


def _options(declaration: Declaration, weights: str | None) -> NetworkOptions:
    return NetworkOptions.model_validate(
        {
            "weights": weights,
            "inputs": declaration.inputs,
            "layers": list(declaration.layers),
            "outputs": list(declaration.outputs),
        }
    )


def _difference(found: Readback, network: ParsedNetwork) -> str:
    """How the model and the network differ, as text; empty when they are equal."""
    for name, why in found.not_compared.items():
        return f"output '{name}' was not compared: {why}"
    for contradiction in found.contradictions:
        return f"the network was not read as TensorRT built it: {contradiction}"
    for one in found.outputs:
        if one.departs:
            what = one.misfit or f"differs by {one.error:.2g}, where rounding makes {one.bound:.2g}"
            first = found.first
            maker = None if first is None else network.producers.get(first.tensor)
            where = f"; the first to differ is '{first.tensor}'" if first is not None else ""
            return f"output '{one.tensor}' {what}{where}" + (
                f", of layer '{maker.name}' ({maker.type})" if maker else ""
            )
    return ""
