"""Uses of known operators that TensorRT refuses, by an attribute or by a value: told before a build is tried.

From TensorRT-RTX 1.7's parser and builder, tried one by one. The parser of TensorRT 10 and 11 comes of the same source.
Also what is not meant for an engine at all: nodes in training mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.canonical.opsets import opset_of
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.constant_values import ConstantValues

if TYPE_CHECKING:
    import onnx

_MOST_K = 3840
_SHOWN = 5
_COORDINATES = (
    "align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn",
)  # fmt: skip
_CUT = "cut the graph before it with transform.outputs and do this step outside the engine"


def refused_forms(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[Problem]:
    """One problem for each form among these nodes of `model` that TensorRT never builds, naming the nodes."""
    values, opset = ConstantValues(model), opset_of(model)
    forms: dict[tuple[str, str], list[str]] = {}
    training: dict[str, list[str]] = {}
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            continue
        called = f"'{node.name or node.output[0]}' ({node.op_type})"
        if why := _training(node, values, opset):
            training.setdefault(why, []).append(called)
        elif node.op_type in _FORMS:
            for form in _FORMS[node.op_type](node, values):
                forms.setdefault(form, []).append(called)
    path = ("model", "source")
    found = [
        Problem(Code.OPERATOR_NOT_BUILT, f"TensorRT does not build {_named(names)}: {why}", remedy, path=path)
        for (why, remedy), names in forms.items()
    ]
    if training:
        told = "; ".join(f"{_named(names)}, which {why}" for why, names in training.items())
        fact = f"the model is in training mode: {told}"
        found.append(Problem(Code.TRAINING_MODE, fact, _FOR_INFERENCE, path=path))
    return found


_FOR_INFERENCE = "export the model for inference: with PyTorch, call model.eval() before torch.onnx.export"


def in_training(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[Problem]:
    """Of these problems the one that no spec can cure: a model that was exported while it is trained."""
    return [one for one in refused_forms(model, nodes) if one.code == Code.TRAINING_MODE]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"node{'s' if len(names) > 1 else ''} {', '.join(names[:_SHOWN])}{more}"


def _training(node: onnx.NodeProto, values: ConstantValues, opset: int) -> str:
    """Why the node computes as in training; empty when it does not."""
    if node.op_type == "BatchNormalization":
        asked = integer_of(node, "training_mode") if opset >= 14 else opset >= 7 and any(node.output[1:])
        return "would normalize by the batch and not by what was learned" if asked else ""
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        drops = values.number(node.input[2]) and values.number(node.input[1]) != 0
        return "would drop values by chance" if drops else ""
    return ""


_Refusals = Iterator[tuple[str, str]]


def _top_k(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    k = values.number(node.input[1]) if len(node.input) > 1 else integer_of(node, "k")
    if k is not None and k > _MOST_K:
        yield f"k is {k:.0f}, and TensorRT's builder takes {_MOST_K} at most", f"lower k, or {_CUT}"


def _resize(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    if integer_of(node, "antialias"):
        remedy = f"export it without antialias, or {_CUT}"
        yield "antialias is 1, and TensorRT's parser takes 0 only", remedy
    policy = _text(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        remedy = f"export it with the sizes that come of it, or {_CUT}"
        yield f"keep_aspect_ratio_policy is {policy}, and TensorRT's parser takes stretch only", remedy
    coordinates = _text(node, "coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        known = ", ".join(_COORDINATES)
        remedy = f"export it with one of those, or {_CUT}"
        yield f"coordinate_transformation_mode is {coordinates}; TensorRT's parser takes {known}", remedy


def _scatter_nd(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    reduction = _text(node, "reduction", "none")
    if reduction != "none":
        remedy = f"write it without duplicate indices and with reduction none, or {_CUT}"
        yield f"reduction is {reduction}, and TensorRT's parser takes none only", remedy


def _text(node: onnx.NodeProto, name: str, default: str) -> str:
    value = attribute_of(node, name)
    return value.decode(errors="replace") if isinstance(value, bytes) else default


_FORMS: Mapping[str, Callable[[onnx.NodeProto, ConstantValues], _Refusals]] = {
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
}
