"""Determines what a first spec should say about a canonical model: constants, cuts, shapes, and a working profile.

Everything is tested with shape inference before it is proposed. The spec's text is written in `init_spec`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.inference import Inferred
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.errors import ModelError
from trtpipe.files import temporary_folder
from trtpipe.inspection.branch_inputs import Number, branch_inputs
from trtpipe.inspection.cuts import refused_tail
from trtpipe.inspection.sized_branches import deciding_shapes
from trtpipe.legalization.transforms import Transform, apply_transform
from trtpipe.proofs.corners import Infer, shapes_at, values_at
from trtpipe.proofs.foreign_types import foreign_values
from trtpipe.proofs.model import ModelView, view_model
from trtpipe.proofs.profile_values import values_length
from trtpipe.proofs.proposals import Hints, Proposal, propose_profile
from trtpipe.proofs.refused_forms import in_training
from trtpipe.proofs.windows import too_small, windows_of
from trtpipe.shapes import Shape

if TYPE_CHECKING:
    import onnx

_RANKLESS: tuple[tuple[int, ...], ...] = ((1, 3, 224, 224), (1, 8, 8), (8, 8), (8,), (1, 8, 8, 8))
"""Shapes to try for inputs that declare none: all alike, likely ones first."""

Value: TypeAlias = Number | list[Number]
"""What an input is bound to."""


@dataclass(frozen=True)
class Draft:
    """The findings about a model, and the proposals for it."""

    bind: Mapping[str, Value]
    outputs: tuple[str, ...]
    """What to cut at, where the rest needs types or operators that TensorRT has not; and why."""
    cut_because: str
    set_shapes: Mapping[str, tuple[int, ...]]
    fixed: Mapping[str, tuple[int, ...]]
    """Sizes that decide a branch which TensorRT cannot leave open."""
    view: ModelView
    proposal: Proposal
    has_float32: bool
    same: Mapping[str, str]
    """Dimension → the name that the author gave it and another one of the same input."""
    cosine: float | None = None
    """What outputs can be held to where the model's own rounding leaves less than the usual."""
    largest: int = 0
    """Bytes of the largest tensor that the model makes in the profile, if that is known."""


def find_out(
    proto: onnx.ModelProto,
    *,
    hints: Hints | None = None,
    narrow: bool = False,
) -> Draft:
    """Collects the findings about a canonical model, which is changed by the proposals.

    A `narrow` profile is for a model that failed at
    other shapes when it ran. Raises ModelError when no part of the model can be used.
    """
    with (
        temporary_folder("init") as folder,
        Evaluator(Path(folder)) as evaluator,
    ):
        view = view_model(proto)  # inferred once, and again only after a change
        outputs, why = _foreign_values_cut(view)
        if outputs:
            view = _changed(proto, evaluator, outputs=outputs)
        set_shapes = _shapes_for_rankless(view)
        bind = {**branch_inputs(proto), **_constants(view)}
        if bind or set_shapes:
            view = _changed(proto, evaluator, bind=bind, set_shapes=set_shapes)
        tail = refused_tail(view) if not outputs else None
        if tail is not None:
            outputs, why = tail[0], tail[1].fact
            view = _changed(proto, evaluator, outputs=outputs)
        proposal = _profile_of(view, hints, narrow=narrow)
        fixed = {} if proposal.problems else deciding_shapes(proto, view, proposal.profile, evaluator)
        if fixed:
            view = _changed(proto, evaluator, set_shapes=fixed)
            proposal = _profile_of(view, hints, narrow=narrow)
        has_float32 = _has_float32(proto, view, proposal)
        same = (hints or Hints()).same
        return Draft(bind, outputs, why, set_shapes, fixed, view, proposal, has_float32, same)


def _profile_of(view: ModelView, hints: Hints | None, *, narrow: bool) -> Proposal:
    """A profile at which every window is complete; if there is none, one that the model accepts."""
    propose = partial(
        propose_profile,
        view.inputs,
        value_inputs=view.value_inputs,
        outputs=view.outputs,
        narrow=narrow,
        hints=hints,
    )
    strict = _with_whole_windows(view)
    proposal = propose(infer=strict or view.infer)
    return propose(infer=view.infer) if strict is not None and proposal.problems else proposal


def _with_whole_windows(view: ModelView) -> Infer | None:
    """Inference that also rejects poolings with incomplete windows; None if there are no such poolings."""
    windows = windows_of(view.proto)
    if not any(any(window.lacking) for window in windows):
        return None

    def infer(shapes: Mapping[str, Shape], values: Mapping[str, Sequence[int]]) -> Inferred:
        found = view.infer(shapes, values)
        return found if found.problems else replace(found, problems=(*too_small(windows, found, whole=True),))

    return infer


def refuse_training(proto: onnx.ModelProto) -> None:
    """Raises ModelError for a model in training mode; `proto` is as read, because importing removes the signs."""
    view = view_model(proto)
    problems = in_training(view.proto, view.live_nodes())
    if problems:
        raise ModelError(problems)


def _changed(
    proto: onnx.ModelProto,
    evaluator: Evaluator,
    *,
    bind: Mapping[str, Value] | None = None,
    outputs: tuple[str, ...] | None = None,
    set_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> ModelView:
    """The view of the model after a change."""
    asked = Transform(bind=bind or {}, outputs=outputs or (), set_shapes=set_shapes or {})
    apply_transform(proto, evaluator, asked)
    return view_model(proto)


def _foreign_values_cut(view: ModelView) -> tuple[tuple[str, ...], str]:
    """Where to cut the model before strings and the like, and why. Raises ModelError if nothing is left."""
    found = foreign_values(view)
    if found is None:
        return (), ""
    if not found.usable:
        raise ModelError([found.problem])
    return found.usable, found.problem.fact


def _shapes_for_rankless(view: ModelView) -> dict[str, tuple[int, ...]]:
    """The first of some shapes that fits every input without a rank; the first of all when none does."""
    names = [info.name for info in view.inputs if info.dims is None]
    if not names:
        return {}
    choices = (dict.fromkeys(names, shape) for shape in _RANKLESS)
    return next(
        (shapes for shapes in choices if not view.infer(shapes, {}).problems), dict.fromkeys(names, (1,))
    )


def _constants(view: ModelView) -> dict[str, Value]:
    """Values for the inputs that TensorRT takes only as constants: the first axes, or ones."""
    return {
        info.name: _constant(info, view.infer)
        for info in view.inputs
        if info.name in view.value_inputs and view.value_inputs[info.name].only_constant
    }


def _constant(info: TensorInfo, infer: Infer) -> Value:
    length = values_length(info) or 1
    one = 1.0 if "float" in info.dtype else 1
    choices: list[list[Any]] = [[one] * length, [one * 2] * length]
    if isinstance(one, int):
        choices = [list(range(start, start + length)) for start in (0, 1, -length)] + choices
    fits = (choice for choice in choices if not infer({}, {info.name: choice}).problems)
    chosen: list[Number] = next(fits, choices[0])
    return chosen if info.dims else chosen[0]


def _has_float32(proto: onnx.ModelProto, view: ModelView, proposal: Proposal) -> bool:
    inferred = view.infer(shapes_at(view.inputs, proposal.profile, "opt"), values_at(proposal.profile, "opt"))
    types = {info.dtype for info in (*view.inputs, *view.outputs, *inferred.values.values())}
    return "float32" in types | {weights.dtype for weights in summarize(proto).weights}
