"""Finds sizes to fix where a branch that depends on sizes has outputs of another rank than its alternative.

TensorRT accepts such an If only if the condition is known at build time. Fixing the sizes that decide it lets import
resolve the branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import ModelError
from trtpipe.legalization.transforms import Transform, apply_transform
from trtpipe.proofs.corners import shapes_at
from trtpipe.proofs.model import ModelView, view_model
from trtpipe.spec.pipeline import Profile

if TYPE_CHECKING:
    import onnx

Shapes = Mapping[str, tuple[int, ...]]


def deciding_shapes(
    proto: onnx.ModelProto, view: ModelView, profile: Profile, evaluator: Evaluator
) -> Shapes:
    """New shapes for inputs, -1 where a size stays open, which leave no such branch; none when none helps or is needed.

    As few sizes as possible are fixed, at the profile's opt; first axes stay open where they can.
    """
    if not _rankless_branches(view):
        return {}
    for shapes in _choices(view.inputs, shapes_at(view.inputs, profile, "opt")):
        tried = type(proto)()
        tried.CopyFrom(proto)
        try:
            apply_transform(tried, evaluator, Transform(set_shapes=shapes))
        except ModelError:
            continue
        if not _rankless_branches(view_model(tried)):
            return shapes
    return {}


def _rankless_branches(view: ModelView) -> bool:
    """Whether an If of the main graph has an output of unknown rank."""
    ends = [name for node in view.proto.graph.node if node.op_type == "If" for name in node.output if name]
    known = view.infer({}, {}) if ends else None
    return known is not None and any(known.shape(name) is None for name in ends)


def _choices(inputs: Sequence[TensorInfo], opt: Shapes) -> Iterator[Shapes]:
    """Sizes to fix: one input's sizes after the first axis, then those of all inputs, then all sizes of all inputs."""
    behind = {
        info.name: tuple(-1 if axis == 0 and not isinstance(dim, int) else size for axis, (dim, size) in both)
        for info in inputs
        if info.dynamic_axes and info.name in opt and info.dims is not None
        for both in [list(enumerate(zip(info.dims, opt[info.name], strict=True)))]
    }
    opened = {info.name: info.dynamic_axes for info in inputs}
    useful = {name: shape for name, shape in behind.items() if set(opened[name]) != {0}}
    for name, shape in useful.items():
        yield {name: shape}
    if len(useful) > 1:
        yield useful
    yield {name: opt[name] for name in behind}
