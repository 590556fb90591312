"""Checks one spec against its model's graph: the transform, then the profiles on the transformed model.

Works on a skeleton's proto, canonical or as it was read, and reads no weight. Bound inputs are given to shape
inference as known values, so nothing is folded and every problem is found in one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import sort_nodes
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.names import distinguish_dims, make_values_unique, name_nodes
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.canonical.tensors import graphs_of, nodes_of
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import Infer, inference_of
from trtpipe.proofs.decided_branches import decide_branches
from trtpipe.proofs.live_nodes import cut_at, live_nodes
from trtpipe.proofs.profiles import needs_profile, prove_profiles
from trtpipe.proofs.randomness import prove_determinism
from trtpipe.proofs.transforms import inputs_after, prove_transform
from trtpipe.proofs.value_inputs import ShapeUse, shape_value_inputs
from trtpipe.shapes import Shape
from trtpipe.spec.pipeline import Profile, TransformSpec

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json


@dataclass(frozen=True)
class ModelView:
    """The transformed model, as the checks see it."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    value_inputs: Mapping[str, ShapeUse]
    infer: Infer
    proto: onnx.ModelProto
    """The model cut at the transform's outputs, without what nothing reads; bound inputs are still in it."""
    bound: frozenset[str] = frozenset()

    def live_nodes(self) -> list[onnx.NodeProto]:
        """The nodes that remain after import and transform, as far as can be determined."""
        static = {info.name: shape for info in self.inputs if (shape := _fixed(info)) is not None}
        known = self.infer(static, {}).values
        return list(live_nodes(self.proto, self.bound, known))

    @property
    def needs_profile(self) -> bool:
        """Whether TensorRT requires a profile for it."""
        return needs_profile(self.inputs, self.value_inputs)


def prove_model(
    proto: onnx.ModelProto,
    profiles: tuple[Profile, ...],
    transform: TransformSpec | None = None,
    *,
    view: ModelView | None = None,
) -> list[Problem]:
    """Everything that is wrong with a spec's transform and profiles for this model, in one pass.

    `view` is the model as the transform leaves it, if that is known.
    """
    view = view or view_model(proto, transform)
    problems = prove_transform(summarize(proto).inputs, tensors_of_model(proto), transform)
    problems += [*_unused(view), *prove_determinism(view.proto)]
    return problems + prove_profiles(
        view.inputs,
        profiles,
        infer=view.infer,
        value_inputs=view.value_inputs,
        outputs=view.outputs,
        transform=transform,
    )


def _unused(view: ModelView) -> list[Problem]:
    """Reports inputs that the engine requires but that have no effect, because a mask may have been lost."""
    read = {name for node in nodes_of(view.proto) for name in node.input}
    read |= {value.name for graph in graphs_of(view.proto) for value in graph.output}
    return [
        Problem(
            Code.UNUSED_INPUT,
            f"no node reads input '{info.name}': its values have no effect",
            "export the model without it, unless callers must go on giving it",
            path=("model", "source"),
            severity="note",
        )
        for info in view.inputs
        if info.name not in read
    ]


def view_model(proto: onnx.ModelProto, transform: TransformSpec | None = None) -> ModelView:
    """The model as its transform leaves it; `proto` is not changed. Parts of the transform that do not fit are ignored.

    Raises ModelError when nodes form a cycle.
    """
    model = type(proto)()
    model.CopyFrom(proto)
    bound = transform.bind if transform else {}
    make_values_unique(model)
    sort_nodes(model)
    name_nodes(model)
    decide_branches(model, bound)
    cut_at(model, transform.outputs if transform else ())
    distinguish_dims(model)
    summary = summarize(model)
    uses = {name: use for name, use in shape_value_inputs(model).items() if name not in bound}
    return ModelView(
        inputs_after(summary.inputs, transform),
        summary.outputs,
        uses,
        _with_bound(model, bound),
        model,
        frozenset(bound),
    )


def _fixed(info: TensorInfo) -> Shape | None:
    sizes = tuple(dim for dim in info.dims or () if isinstance(dim, int))
    return sizes if info.dims is not None and len(sizes) == len(info.dims) else None


def _with_bound(model: onnx.ModelProto, bound: Mapping[str, Json]) -> Infer:
    """Shape inference that knows the bound inputs' shapes, and the values of bound inputs of rank 0 and 1."""
    import numpy as np

    infer = inference_of(model)
    arrays = {name: np.asarray(value) for name, value in bound.items()}
    known = {name: array.shape for name, array in arrays.items()}
    numbers = {name: array.ravel().tolist() for name, array in arrays.items() if array.ndim <= 1}

    def infer_bound(shapes: Mapping[str, Shape], values: Mapping[str, Sequence[int]]) -> Inferred:
        return infer({**known, **shapes}, {**numbers, **values})

    return infer_bound


def tensors_of_model(proto: onnx.ModelProto) -> set[str]:
    """The names of the model's inputs and of its nodes' outputs."""
    produced = {name for node in proto.graph.node for name in node.output if name}
    return produced | {value.name for value in proto.graph.input}
