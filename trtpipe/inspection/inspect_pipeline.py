"""Describes a pipeline's model as a build reads it and, if it is declared, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.canonical.summary import Dim
from trtpipe.inspection.inspect_model import GraphDescription
from trtpipe.json_values import Json


@dataclass(frozen=True, slots=True)
class LayerLine:
    """A declared layer: its outputs (name, data type, dims), and its number of weights."""

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
    graph: GraphDescription
    layers: Sequence[LayerLine] = ()
    """The declared layers; none unless the parser is `network`."""

    def to_json(self) -> dict[str, Json]:
        """This description as plain JSON values."""
        own: dict[str, Json] = {"path": self.path, "pipeline": self.pipeline, "parser": self.parser}
        layers: list[Json] = [_layer_json(layer) for layer in self.layers]
        return {"kind": "pipeline", "format": "pipeline", **own, "layers": layers, **self.graph.to_json()}


def _layer_json(layer: LayerLine) -> dict[str, Json]:
    outputs: list[Json] = [
        {"name": name, "dtype": dtype, "dims": None if dims is None else list(dims)}
        for name, dtype, dims in layer.outputs
    ]
    return {"name": layer.name, "layer": layer.kind, "outputs": outputs, "parameters": layer.parameters}
