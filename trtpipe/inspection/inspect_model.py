"""Describes a model: inputs and outputs, contents, approximate cost, and which TensorRT versions can build it.

Reads no weight unless statistics are asked for; of external data only the size is read. Independent of toolchains and
specs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import subgraphs
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.reader import Skeleton, read_skeleton
from trtpipe.canonical.summary import ModelSummary, TensorInfo, summarize
from trtpipe.canonical.tensors import nodes_of
from trtpipe.errors import Problem, SpecError
from trtpipe.inspection.costs import Costs, costs_of
from trtpipe.inspection.dynamic_dims import DynamicDim, dynamic_dims
from trtpipe.inspection.node_table import NodeLine, node_lines
from trtpipe.inspection.operations import COUNTED
from trtpipe.inspection.target_support import Support, support_of
from trtpipe.inspection.weight_table import WeightLine, nonfinite_of, weight_lines
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import nbytes_of_info, shapes_at, values_at
from trtpipe.proofs.model import ModelView, view_model
from trtpipe.proofs.proposals import Hints, propose_profile
from trtpipe.proofs.rtx_operators import custom_operators
from trtpipe.proofs.typed_nodes import typed_model
from trtpipe.shapes import Shape, format_shape
from trtpipe.spec.pipeline import ProfileInput
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.weights.pieces import streams_of_model

if TYPE_CHECKING:
    import onnx

FLOAT_TYPES = ("float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn")


@dataclass(frozen=True, slots=True)
class Asked:
    """The optional parts of a description."""

    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Input shapes to reckon costs at."""
    capabilities: Collection[ComputeCapability] = ()
    """GPU generations; all when none is named."""
    nodes: bool = False
    """A line for every node."""
    weights: bool = False
    """Statistics of every weight, which are read for it."""


NOTHING_MORE = Asked()


@dataclass(frozen=True, slots=True)
class ExternalFile:
    """A data file beside the model, named relative to its folder."""

    name: str
    nbytes: int


@dataclass(frozen=True, slots=True)
class GraphDescription:
    """The contents of a model's graph; everything in it can be written as JSON."""

    summary: ModelSummary
    dynamic: tuple[str, ...]
    """Inputs with a dimension that is not fixed."""
    dynamic_dims: tuple[DynamicDim, ...]
    """Every dimension without a fixed size, and where it comes from."""
    shape_tensors: tuple[str, ...]
    """Inputs whose values set a shape."""
    float_types: tuple[tuple[str, int], ...]
    """How many values (weights not counted) have each floating-point type, widest first."""
    quantized: int
    """How many QuantizeLinear and DequantizeLinear nodes."""
    nested_graphs: int
    """Bodies of If, Loop and Scan."""
    custom_operators: tuple[str, ...]
    """Operators that neither ONNX nor TensorRT's parser knows."""
    at: Mapping[str, Shape]
    """The input shapes that costs were reckoned at: those asked for, declared ones, likely ones where dynamic."""
    costs: Costs
    io_bytes: int | None
    """Of inputs and outputs at these shapes."""
    support: tuple[Support, ...]
    problems: tuple[str, ...]
    """What shape inference says against the model at these shapes."""
    nodes: tuple[NodeLine, ...] | None = None
    weights: tuple[WeightLine, ...] | None = None

    def to_json(self) -> dict[str, Json]:
        """This description as plain JSON values."""
        record = asdict(self)
        record["summary"] = self.summary.to_json()
        record["at"] = {name: list(shape) for name, shape in self.at.items()}
        if self.weights is not None:
            record["nonfinite_weights"] = list(nonfinite_of(self.weights))
        return {name: value for name, value in record.items() if value is not None or name == "io_bytes"}


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model's files and its graph."""

    path: str
    format: str
    """`onnx`, or the parser that read it."""
    nbytes: int
    """Of the model file itself."""
    external: tuple[ExternalFile, ...]
    graph: GraphDescription

    def to_json(self) -> dict[str, Json]:
        """This description as plain JSON values."""
        external = [asdict(one) for one in self.external]
        own: dict[str, Json] = {"path": self.path, "nbytes": self.nbytes, "external": external}
        return {"kind": "model", "format": self.format, **own, **self.graph.to_json()}


def describe_model(path: Path, asked: Asked = NOTHING_MORE, *, root: Path | None = None) -> ModelDescription:
    """The description of the ONNX model at `path`, inside `root` when given. Raises ModelError and SpecError."""
    skeleton = read_skeleton(path, root=root)
    graph = describe_graph(skeleton.proto, asked)
    return ModelDescription(str(path), "onnx", path.stat().st_size, _external_files(skeleton), graph)


def describe_graph(proto: onnx.ModelProto, asked: Asked = NOTHING_MORE) -> GraphDescription:
    """The description of a model or skeleton. Raises ModelError, and SpecError for shapes that do not fit."""
    view = view_model(proto)
    refuse_foreign_shapes(view.inputs, asked.shapes)
    shapes, inferred = at_likely_shapes(view, asked.shapes)
    operators = Counter(node.op_type for node in nodes_of(proto))
    live = view.live_nodes()
    return GraphDescription(
        summary=summarize(proto),
        dynamic=tuple(info.name for info in view.inputs if info.dynamic_axes),
        dynamic_dims=dynamic_dims(view),
        shape_tensors=tuple(view.value_inputs),
        float_types=_float_types(inferred),
        quantized=operators["QuantizeLinear"] + operators["DequantizeLinear"],
        nested_graphs=sum(1 for node in nodes_of(proto) for _ in subgraphs(node)),
        custom_operators=tuple(custom_operators(nodes_of(proto))),
        at=shapes,
        costs=costs_of(view.proto, inferred, COUNTED),
        io_bytes=_io_bytes(view, inferred),
        support=support_of(live, typed_model(view.proto, inferred), asked.capabilities),
        problems=tuple(problem.fact for problem in inferred.problems),
        nodes=node_lines(view.proto, inferred) if asked.nodes else None,
        weights=weight_lines(streams_of_model(proto), statistics=True) if asked.weights else None,
    )


def refuse_foreign_shapes(inputs: Sequence[TensorInfo], shapes: Mapping[str, Shape]) -> None:
    """Raises SpecError, with every problem, for shapes of unknown inputs, or of another rank or fixed size."""
    known = {info.name: info for info in inputs}
    names = ", ".join(f"'{name}'" for name in known) or "none"
    problems = []
    for name, shape in shapes.items():
        info = known.get(name)
        if info is None:
            problems.append(
                Problem(Code.UNKNOWN_INPUT, f"the model has no input {name!r}", f"its inputs are {names}")
            )
        elif info.dims is not None and not _fits(info.dims, shape):
            declared = "x".join("?" if not isinstance(dim, int) else str(dim) for dim in info.dims)
            fact = f"input {name!r} is {declared or 'a scalar'}, which {format_shape(shape)} does not fit"
            problems.append(
                Problem(Code.INPUT_MISFIT, fact, "give a size for each '?', and the others unchanged")
            )
    if problems:
        raise SpecError(problems)


def _fits(dims: Sequence[object], shape: Shape) -> bool:
    return len(dims) == len(shape) and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(dims, shape, strict=True)
    )


def _external_files(skeleton: Skeleton) -> tuple[ExternalFile, ...]:
    home = skeleton.path.parent.resolve()
    return tuple(
        ExternalFile(file.relative_to(home).as_posix(), file.stat().st_size)
        for file in skeleton.external_files
    )


def at_likely_shapes(
    view: ModelView, given: Mapping[str, Shape] | None = None
) -> tuple[Mapping[str, Shape], Inferred]:
    """Shape inference with every dynamic dimension set to the given size, or to a likely one."""
    given = given or {}
    if any(info.dims is None and info.name not in given for info in view.inputs):
        return {}, Inferred({})
    fixed = {name: ProfileInput(min=shape, opt=shape, max=shape) for name, shape in given.items()}
    proposal = propose_profile(
        view.inputs,
        infer=view.infer,
        value_inputs=view.value_inputs,
        outputs=view.outputs,
        hints=Hints(given=fixed),
    )
    profile = {**proposal.profile, **fixed}
    shapes = shapes_at(view.inputs, profile, "opt")
    return shapes, view.infer(shapes, values_at(proposal.profile, "opt"))


def _io_bytes(view: ModelView, inferred: Inferred) -> int | None:
    names = [value.name for value in (*view.inputs, *view.outputs)]
    sizes = [nbytes_of_info(inferred.values.get(name)) for name in names]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _float_types(inferred: Inferred) -> tuple[tuple[str, int], ...]:
    counts = Counter(info.dtype for info in inferred.values.values())
    return tuple((dtype, counts[dtype]) for dtype in FLOAT_TYPES if counts[dtype])
