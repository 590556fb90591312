"""Describes a pipeline's model: as a build takes it in, and, where it is declared, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trtpipe.canonical.summary import Dim, ModelSummary, summarize
from trtpipe.describing.costs import Costs
from trtpipe.describing.inspect_model import at_likely_shapes, costs_and_problems
from trtpipe.proofs.model import view_model
from trtpipe.shapes import Shape

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True)
class LayerLine:
    """A declared layer: what it yields (name, data type, dims), and how many weights it holds."""

    name: str
    kind: str
    outputs: tuple[tuple[str, str, tuple[Dim, ...] | None], ...]
    parameters: int


@dataclass(frozen=True, slots=True)
class PipelineDescription:
    """A pipeline's model; everything in it can be written as JSON."""

    path: str
    pipeline: str
    parser: str
    summary: ModelSummary
    layers: tuple[LayerLine, ...]
    """The declared layers; none unless the parser is `network`."""
    dynamic: tuple[str, ...]
    """Inputs with a dimension that is not fixed."""
    at: Mapping[str, Shape]
    """The input shapes that costs were reckoned at: the declared ones, likely ones where they are dynamic."""
    costs: Costs
    problems: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """This description as plain JSON values."""
        from dataclasses import asdict

        record = asdict(self)
        record["summary"] = self.summary.to_json()
        record["at"] = {name: list(shape) for name, shape in self.at.items()}
        record["layers"] = [_layer_json(layer) for layer in self.layers]
        return {"format": "pipeline", **record}


def describe_pipeline(
    path: str, pipeline: str, parser: str, proto: onnx.ModelProto, layers: Sequence[LayerLine] = ()
) -> PipelineDescription:
    """The description of a pipeline whose model is `proto`, a skeleton."""
    view = view_model(proto)
    shapes, inferred = at_likely_shapes(view)
    costs, problems = costs_and_problems(proto, inferred)
    return PipelineDescription(
        path=path,
        pipeline=pipeline,
        parser=parser,
        summary=summarize(proto),
        layers=tuple(layers),
        dynamic=tuple(info.name for info in view.inputs if info.dynamic_axes),
        at=shapes,
        costs=costs,
        problems=problems,
    )


def _layer_json(layer: LayerLine) -> dict[str, Any]:
    outputs = [
        {"name": name, "dtype": dtype, "dims": None if dims is None else list(dims)}
        for name, dtype, dims in layer.outputs
    ]
    return {"name": layer.name, "layer": layer.kind, "outputs": outputs, "parameters": layer.parameters}
