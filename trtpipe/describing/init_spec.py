"""Writes a first spec for a model: commented, and such that it builds as it is.

Everything proposed is proved on the canonical model, the one that a build would make: branches decided, shapes tried
by inference at every corner. Gives text; who writes it, and whether over another file, is the caller's question.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from trtpipe.canonical.evaluation import Evaluator
from trtpipe.canonical.legalizing import legalize
from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.canonical.transforming import apply_transform
from trtpipe.describing.branch_inputs import Number, branch_inputs
from trtpipe.errors import ModelError
from trtpipe.loading.scalars import flow_yaml
from trtpipe.proofs.corners import Infer, shapes_at, values_at
from trtpipe.proofs.dim_names import describe_dims
from trtpipe.proofs.foreign_types import foreign_values
from trtpipe.proofs.model import ModelView, view_model
from trtpipe.proofs.pasting import yaml_profiles
from trtpipe.proofs.profile_values import values_length
from trtpipe.proofs.proposals import Proposal, propose_profile
from trtpipe.proofs.refused_forms import in_training
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import gpus_with

if TYPE_CHECKING:
    import onnx

DEFAULT_TARGETS = ("sm86", "sm89", "sm120")
"""The GPUs of three generations that one machine without any can build for."""

_RANKLESS: tuple[tuple[int, ...], ...] = ((1, 3, 224, 224), (1, 8, 8), (8, 8), (8,), (1, 8, 8, 8))
"""Shapes to try for inputs that declare none: all alike, likely ones first."""

_MOST_NAMED_GPUS = 3

Value: TypeAlias = Number | list[Number]
"""What an input is bound to."""


@dataclass(frozen=True)
class _Draft:
    """What was found out about a model, and what is proposed for it."""

    bind: Mapping[str, Value]
    outputs: tuple[str, ...]
    """What to cut at, where the rest needs types that TensorRT has not; and why."""
    cut_because: str
    set_shapes: Mapping[str, tuple[int, ...]]
    view: ModelView
    proposal: Proposal
    has_float32: bool


@dataclass(frozen=True, slots=True)
class HalfVariant:
    """What was found out about the model in half precision: globs to keep in fp32, or why it is left out."""

    keep: tuple[str, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class ModelHead:
    """What the spec says of where its model comes from; `comment` is one line for its reader."""

    source: str | None
    parser: str = "onnx"
    options: Mapping[str, object] = field(default_factory=dict)
    comment: str = ""
    sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """The pins of a remote model and of what lies beside it."""


def init_spec(
    head: ModelHead,
    proto: onnx.ModelProto,
    *,
    name: str,
    targets: Sequence[str] | None = None,
    half: HalfVariant | None = None,
    narrow: bool = False,
) -> str:
    """The text of a pipeline file for a model; `proto` is what its frontend read, and is made canonical.

    A `narrow` profile is for a model that was seen to fail at other shapes, which inference could not tell.

    `targets` are GPUs as a spec names them, `DEFAULT_TARGETS` when left out; `half` is what is known of a variant in
    fp16. Raises ModelError when the model cannot be taken in.
    """
    draft = _draft(proto, narrow=narrow)
    sections = [
        _head(head, name),
        _transform(draft),
        _profiles(draft),
        _variants(draft, half or HalfVariant()),
        _targets(targets or DEFAULT_TARGETS),
        _VALIDATE,
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def unread_spec(head: ModelHead, *, name: str, why: str, targets: Sequence[str] | None = None) -> str:
    """A spec for a model that cannot be read here: what its file and format say, and `why` it is not more."""
    left_out = f"Profiles and transforms are left out, since the model was not read: {why}."
    sections = [
        _head(head, name, _comment(left_out)),
        "variants:\n  fp32: {}",
        _targets(targets or DEFAULT_TARGETS),
        _VALIDATE,
    ]
    return "\n\n".join(sections) + "\n"


def pipeline_name(text: str) -> str:
    """`text` as a pipeline's name: other characters become dashes; `model` when nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64] or "model"


def _draft(proto: onnx.ModelProto, *, narrow: bool) -> _Draft:
    with (
        tempfile.TemporaryDirectory(prefix="trtpipe-init-") as folder,
        Evaluator(Path(folder)) as evaluator,
    ):
        _refuse_training(proto)
        legalize(proto, evaluator)
        outputs, why = _without_foreign_values(proto, evaluator)
        set_shapes = _shapes_for_rankless(view_model(proto))
        bind = {**branch_inputs(proto), **_constants(view_model(proto))}
        if bind or set_shapes:
            apply_transform(proto, evaluator, bind=bind, set_shapes=set_shapes)
        view = view_model(proto)
        proposal = propose_profile(
            view.inputs,
            infer=view.infer,
            value_inputs=view.value_inputs,
            outputs=view.outputs,
            narrow=narrow,
        )
        return _Draft(bind, outputs, why, set_shapes, view, proposal, _has_float32(proto, view, proposal))


def _refuse_training(proto: onnx.ModelProto) -> None:
    view = view_model(proto)
    problems = in_training(view.proto, view.live_nodes())
    if problems:
        raise ModelError(problems)


def _without_foreign_values(proto: onnx.ModelProto, evaluator: Evaluator) -> tuple[tuple[str, ...], str]:
    """Cuts the model before strings and the like; at which outputs, and why. Raises ModelError if nothing is left."""
    found = foreign_values(view_model(proto))
    if found is None:
        return (), ""
    if not found.usable:
        raise ModelError([found.problem])
    apply_transform(proto, evaluator, outputs=found.usable)
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


_BUILDS = "# Builds as it is; lines with a comment are those that you may want to change."


def _head(head: ModelHead, name: str, first: str = _BUILDS) -> str:
    said: dict[str, object] = {"source": head.source} if head.source is not None else {}
    if head.sha256:
        said["sha256"] = head.sha256
    if head.files:
        said["files"] = dict(head.files)
    if head.parser != "onnx":
        said["parser"] = head.parser
    if head.options:
        said["options"] = dict(head.options)
    comment = f"\n{_comment(head.comment)}" if head.comment else ""
    return f"""\
{first}
schema: 1
pipeline: {flow_yaml(pipeline_name(name))}{comment}
model: {flow_yaml(said)}"""


def _transform(draft: _Draft) -> str:
    if not draft.bind and not draft.set_shapes and not draft.outputs:
        return ""
    lines = ["transform:"]
    if draft.outputs:
        lines.append(
            "  " + _comment(f"The rest of the model is left to the engine's caller: {draft.cut_because}.")
        )
        lines.append(f"  outputs: {flow_yaml(list(draft.outputs))}")
    if draft.bind:
        lines.append(
            "  # These inputs become constants: a branch or a shape depends on their values. Give your own."
        )
        lines.append(f"  bind: {flow_yaml(dict(draft.bind))}")
    if draft.set_shapes:
        lines.append(
            "  # The model declares no shape for these inputs, not even a rank: this one is a guess."
        )
        shapes = {name: list(shape) for name, shape in draft.set_shapes.items()}
        lines.append(f"  set_shapes: {flow_yaml(shapes)}")
    return "\n".join(lines)


def _comment(text: str) -> str:
    """A comment of one line, whatever the names in it hold: a line feed would end it, other things YAML refuses."""
    return "# " + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _profiles(draft: _Draft) -> str:
    if not draft.view.needs_profile:
        return ""
    open_ = [info for info in draft.view.inputs if info.name in draft.proposal.profile]
    lines = [
        "# The shapes that the engine must serve. The model accepts these guesses; write the sizes you need."
    ]
    lines += [_comment(f"  '{info.name}' is {info.dtype} {describe_dims(info)}") for info in open_]
    lines += [_comment(f"This profile does not work yet: {one.fact}") for one in draft.proposal.problems]
    return "\n".join([*lines, yaml_profiles((draft.proposal.profile,))])


def _variants(draft: _Draft, half: HalfVariant) -> str:
    lines = ["# One engine for each variant and target.", "variants:", "  fp32: {}"]
    if draft.has_float32 and half.refused:
        left_out = f"fp16: {{precision: fp16}} is left out. Tried on random inputs: {half.refused}."
        lines.append("  " + _comment(left_out))
        lines.append("  # To have it, find the nodes to keep in fp32 with data of your own.")
    elif draft.has_float32 and half.keep:
        lines += ["  fp16:", "    precision: fp16", "    keep:"]
        lines.append(
            "      fp32:  # on random inputs these make or read values near or beyond what half can hold"
        )
        lines += [f"        - {flow_yaml(glob)}" for glob in half.keep]
    elif draft.has_float32:
        lines.append('  fp16: {precision: fp16}  # keep: {fp32: ["op:Softmax"]} would hold nodes in fp32')
    return "\n".join(lines)


def _targets(gpus: Sequence[str]) -> str:
    lines = [
        "# A GPU's name (rtx4090), its compute capability (sm89), or a list: one engine for them all.",
        "targets:",
    ]
    named = {pipeline_name(gpu): gpu for gpu in gpus}
    return "\n".join([*lines, *(_target(name, gpu) for name, gpu in named.items())])


def _target(name: str, gpu: str) -> str:
    line = f"  {flow_yaml(name)}: {{gpu: {flow_yaml(gpu)}}}"
    try:
        known = gpus_with(ComputeCapability.parse(gpu))
    except ValueError:
        return line
    more = ", …" if len(known) > _MOST_NAMED_GPUS else ""
    return f"{line}  # {', '.join(known[:_MOST_NAMED_GPUS])}{more}" if known else line


_VALIDATE = """\
# Random inputs show that an engine's model computes what the source computes, not that it is accurate: replace them
# by a data set, `data: NAME`, described in calibration/NAME.yaml.
validate: {random: {seed: 0, samples: 8}}"""
