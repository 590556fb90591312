"""Describes an ONNX model from its file: what goes in and out, what it is made of, and roughly what it costs.

Reads no weight; external data are only measured. Knows no toolchain and no spec.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.canonical.edits import subgraphs
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.reading import read_skeleton
from trtpipe.canonical.summary import ModelSummary, summarize
from trtpipe.canonical.tensors import nodes_of
from trtpipe.describing.costs import Costs, costs_of
from trtpipe.proofs.corners import shapes_at, values_at
from trtpipe.proofs.model import ModelView, view_model
from trtpipe.proofs.proposals import propose_profile
from trtpipe.shapes import Shape

if TYPE_CHECKING:
    import onnx

FLOAT_TYPES = ("float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A data file beside the model, named relative to its folder."""

    name: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """An ONNX model; everything in it can be written as JSON."""

    path: str
    nbytes: int
    """Of the model file itself."""
    external: tuple[ExternalFile, ...]
    summary: ModelSummary
    dynamic: tuple[str, ...]
    """Inputs with a dimension that is not fixed."""
    shape_tensors: tuple[str, ...]
    """Inputs whose values set a shape."""
    float_types: tuple[tuple[str, int], ...]
    """How many values (weights not counted) have each floating-point type, widest first."""
    quantized: int
    """How many QuantizeLinear and DequantizeLinear nodes."""
    nested_graphs: int
    """Bodies of If, Loop and Scan."""
    at: Mapping[str, Shape]
    """The input shapes that costs were reckoned at: the declared ones, likely ones where they are dynamic."""
    costs: Costs
    problems: tuple[str, ...]
    """What shape inference says against the model at these shapes."""

    def to_json(self) -> dict[str, Any]:
        """This description as plain JSON values."""
        record = asdict(self)
        record["summary"] = self.summary.to_json()
        record["at"] = {name: list(shape) for name, shape in self.at.items()}
        return {"format": "onnx", **record}


def describe_model(path: Path, *, root: Path | None = None) -> ModelDescription:
    """The description of the ONNX model at `path`, inside `root` when given. Raises ModelError."""
    skeleton = read_skeleton(path, root=root)
    proto = skeleton.proto
    view = view_model(proto)
    shapes, inferred = at_likely_shapes(view)
    costs, problems = costs_and_problems(proto, inferred)
    operators = Counter(node.op_type for node in nodes_of(proto))
    return ModelDescription(
        path=str(path),
        nbytes=path.stat().st_size,
        external=tuple(_external(file, path) for file in skeleton.external_files),
        summary=summarize(proto),
        dynamic=tuple(info.name for info in view.inputs if info.dynamic_axes),
        shape_tensors=tuple(view.value_inputs),
        float_types=_float_types(inferred),
        quantized=operators["QuantizeLinear"] + operators["DequantizeLinear"],
        nested_graphs=sum(1 for node in nodes_of(proto) for _ in subgraphs(node)),
        at=shapes,
        costs=costs,
        problems=problems,
    )


def _external(file: Path, model: Path) -> ExternalFile:
    return ExternalFile(file.relative_to(model.parent.resolve()).as_posix(), file.stat().st_size)


def costs_and_problems(proto: onnx.ModelProto, inferred: Inferred) -> tuple[Costs, tuple[str, ...]]:
    """What a model costs at some shapes, and what speaks against it there."""
    return costs_of(proto, inferred), tuple(problem.fact for problem in inferred.problems)


def at_likely_shapes(view: ModelView) -> tuple[Mapping[str, Shape], Inferred]:
    """Shape inference where every dynamic dimension has a likely size."""
    if any(info.dims is None for info in view.inputs):
        return {}, Inferred({})
    proposal = propose_profile(
        view.inputs, infer=view.infer, value_inputs=view.value_inputs, outputs=view.outputs
    )
    shapes = shapes_at(view.inputs, proposal.profile, "opt")
    return shapes, view.infer(shapes, values_at(proposal.profile, "opt"))


def _float_types(inferred: Inferred) -> tuple[tuple[str, int], ...]:
    counts = Counter(info.dtype for info in inferred.values.values())
    return tuple((dtype, counts[dtype]) for dtype in FLOAT_TYPES if counts[dtype])
