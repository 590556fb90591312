"""Writes the text of a first, commented spec for a model, from what was found out about the model.

The caller tests the spec and states what holds for it, and decides where it is written and whether a file is replaced.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.inspection.first_draft import Draft
from trtpipe.loader.scalars import flow_yaml
from trtpipe.proofs.dim_names import describe_dims
from trtpipe.proofs.paste import yaml_profiles
from trtpipe.proofs.proposals import Hints
from trtpipe.spec.pipeline import BuilderSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import gpus_with

DEFAULT_TARGETS = ("sm86", "sm89", "sm120")
"""The GPUs of three generations that one machine without any can build for."""

UNTRIED = "Written from the model's graph, without testing anything."
"""What is claimed of a spec that was neither checked nor run."""

_MOST_NAMED_GPUS = 3
_SHARE = 4
"""So many times the largest tensor is what an engine is given to work in: operands, results, and some room."""


@dataclass(frozen=True, slots=True)
class HalfVariant:
    """The findings about the model in half precision: globs to keep in fp32, or why it is left out."""

    keep: tuple[str, ...] = ()
    refused: str = ""
    tried: str = "random inputs"
    """What told that it is refused."""


@dataclass(frozen=True, slots=True)
class ModelHead:
    """What the spec says about the origin of its model; `comment` is one line for the reader."""

    source: str | None
    parser: str = "onnx"
    options: Mapping[str, object] = field(default_factory=dict)
    comment: str = ""
    sha256: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    """The pins of a remote model and of what lies beside it."""
    hints: Hints = field(default_factory=Hints)
    """What the file tells of sizes."""


def init_spec(
    head: ModelHead,
    draft: Draft | None,
    *,
    name: str,
    targets: Sequence[str] | None = None,
    half: HalfVariant | None = None,
    claim: Sequence[str] = (UNTRIED,),
) -> str:
    """The text of a pipeline file for a model; without a draft, only the part about the origin of the model.

    `targets` are GPUs as a spec names them, `DEFAULT_TARGETS` when left out; `half` is what is known of a variant in
    fp16. `claim` are the sentences at its top: what was tested, and the results.
    """
    found = (
        [_transform(draft), _profiles(draft), _variants(draft, half or HalfVariant())]
        if draft is not None
        else [_ONLY_FLOAT]
    )
    sections = [
        _head(head, name, "\n".join(map(_comment, claim))),
        *found,
        _targets(targets or DEFAULT_TARGETS),
        _builder(draft),
        _validate(draft),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def unread_spec(head: ModelHead, *, name: str, why: str, targets: Sequence[str] | None = None) -> str:
    """A spec for a model that cannot be read here, from its file and format alone; `why` says why it is incomplete."""
    left_out = f"Profiles and transforms are left out, since the model was not read: {why}."
    sections = [
        _head(head, name, _comment(left_out)),
        _ONLY_FLOAT,
        _targets(targets or DEFAULT_TARGETS),
        _VALIDATE,
    ]
    return "\n\n".join(sections) + "\n"


def pipeline_name(text: str) -> str:
    """`text` as a pipeline's name: other characters become dashes; `model` when nothing is left."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64] or "model"


def _head(head: ModelHead, name: str, first: str) -> str:
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


def _transform(draft: Draft) -> str:
    if not (draft.bind or draft.set_shapes or draft.fixed or draft.outputs):
        return ""
    lines = ["transform:"]
    if draft.outputs:
        lines.append(
            "  "
            + _comment(f"The rest of the model must be computed by the engine's caller: {draft.cut_because}.")
        )
        lines.append(f"  outputs: {flow_yaml(list(draft.outputs))}")
    if draft.bind:
        lines.append(
            "  # These inputs become constants, because a branch or a shape depends on them. Write your own values."
        )
        lines.append(f"  bind: {flow_yaml(dict(draft.bind))}")
    if draft.set_shapes:
        lines.append(
            "  # The model declares no shape for these inputs, not even a rank: this one is a guess."
        )
    if draft.fixed:
        lines.append(
            "  # A branch depends on these sizes, which must be fixed for TensorRT. Write your own sizes."
        )
    if draft.set_shapes or draft.fixed:
        shapes = {name: list(shape) for name, shape in {**draft.set_shapes, **draft.fixed}.items()}
        lines.append(f"  set_shapes: {flow_yaml(shapes)}")
    return "\n".join(lines)


def _comment(text: str) -> str:
    """A one-line comment; characters in names that would end it or that YAML rejects are replaced."""
    return "# " + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _profiles(draft: Draft) -> str:
    if not draft.view.needs_profile:
        return ""
    open_ = [info for info in draft.view.inputs if info.name in draft.proposal.profile]
    lines = [
        "# The shapes that the engine must serve. The model accepts these guesses; write the sizes that you need."
    ]
    lines += [
        _comment(f"  '{info.name}' is {info.dtype} {describe_dims(info, draft.same)}") for info in open_
    ]
    lines += [_comment(f"This profile does not work yet: {one.fact}") for one in draft.proposal.problems]
    return "\n".join([*lines, yaml_profiles((draft.proposal.profile,))])


def _variants(draft: Draft, half: HalfVariant) -> str:
    lines = ["# One engine for each variant and target.", "variants:", "  fp32: {}"]
    if draft.has_float32 and half.refused:
        left_out = f"fp16: {{precision: fp16}} is left out. Tried on {half.tried}: {half.refused}."
        lines.append("  " + _comment(left_out))
        lines.append("  # To have it, find the nodes to keep in fp32 with data of your own.")
    elif draft.has_float32 and half.keep:
        lines += ["  fp16:", "    precision: fp16", "    keep:"]
        lines.append(
            "      fp32:  # on random inputs these compute or read values near or beyond half precision's range"
        )
        lines += [f"        - {flow_yaml(glob)}" for glob in half.keep]
    elif draft.has_float32:
        lines.append('  fp16: {precision: fp16}  # keep: {fp32: ["op:Softmax"]} would keep nodes in fp32')
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


_ONLY_FLOAT = "variants:\n  fp32: {}"


def _builder(draft: Draft | None) -> str:
    """A larger workspace for a model with large tensors: TensorRT builds no engine if it is too small."""
    if draft is None or 2 * draft.largest < BuilderSpec().workspace:
        return ""
    wanted = 1 << math.ceil(math.log2(draft.largest * _SHARE / (1 << 30)))
    size = draft.largest / (1 << 30)
    return f"""\
# In this profile the model makes a tensor of {size:.1f} GiB: smaller sizes would need less room to work in.
builder: {{workspace: {wanted}GiB}}"""


def _validate(draft: Draft | None) -> str:
    """The section `validate`; with a threshold if rounding alone makes the model miss the default one."""
    if draft is None or draft.cosine is None:
        return _VALIDATE
    return f"""\
{_RANDOM}
# The model rounds to whole numbers as it runs, where a value between two steps falls to either. What that alone does
# was tried on random inputs: outputs can be held to this much.
validate:
  random: {{seed: 0, samples: 8}}
  thresholds: [{{output: "*", metric: cosine, min: {draft.cosine:.6g}}}]"""


_RANDOM = """\
# Random inputs show that an engine's model computes what the source computes, not that it is accurate: replace them
# by a data set, `data: NAME`, described in calibration/NAME.yaml."""
_VALIDATE = f"{_RANDOM}\nvalidate: {{random: {{seed: 0, samples: 8}}}}"
