"""Uses of supported operators that TensorRT rejects because of an attribute or a value, found before a build.

Each was tested with TensorRT-RTX 1.7's parser and builder. The parser of TensorRT 10 and 11 has the same source. Also
covers nodes in training mode, which are not meant for an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.canonical.legacy_operators import BROADCASTING_SINCE
from trtpipe.canonical.opsets import opset_of
from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.proofs.constant_values import ConstantValues
from trtpipe.proofs.written_out import written_out

if TYPE_CHECKING:
    import onnx

_MOST_K = 3840
_SHOWN = 5
_COORDINATES = (
    "align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn",
)  # fmt: skip
_CUT = "cut the graph before it with transform.outputs and do this step outside the engine"


def refused_forms(
    model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], inputs: Sequence[TensorInfo] = ()
) -> list[Problem]:
    """One problem for each form among these nodes of `model` that TensorRT never builds, naming the nodes.

    Forms that importing rewrites, for inputs of these shapes, are not reported.
    """
    nodes = list(nodes)
    return Forms(model, nodes, inputs).among(nodes)


class Forms:
    """The unsupported forms among `nodes` of `model`.

    Facts about the whole model are computed once and shared by all nodes.
    """

    def __init__(
        self, model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto], inputs: Sequence[TensorInfo] = ()
    ) -> None:
        self._values, self._opset = ConstantValues(model), opset_of(model)
        self._cured = written_out(model, inputs, [node for node in nodes if _curable(node)])
        self._of_model = [_too_old(self._opset, model)] if 0 < self._opset < BROADCASTING_SINCE else []

    def among(self, nodes: Iterable[onnx.NodeProto]) -> list[Problem]:
        """Like `refused_forms`, for some of the nodes."""
        forms: dict[tuple[str, str], list[str]] = {}
        training: dict[str, list[str]] = {}
        for node in nodes:
            if node.domain not in ("", "ai.onnx") or (node.output and node.output[0] in self._cured):
                continue
            called = f"'{node.name or node.output[0]}' ({node.op_type})"
            if why := _training(node, self._values, self._opset):
                training.setdefault(why, []).append(called)
            elif node.op_type in _FORMS:
                for form in _FORMS[node.op_type](node, self._values):
                    forms.setdefault(form, []).append(called)
        return [*_refused(forms), *self._of_model, *_trained(training)]


def _refused(forms: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[Problem]:
    for (why, remedy), names in forms.items():
        fact = f"TensorRT does not build {_named(names)}: {why}"
        yield Problem(Code.OPERATOR_NOT_BUILT, fact, remedy, path=("model", "source"))


def _trained(training: Mapping[str, Sequence[str]]) -> Iterator[Problem]:
    if training:
        told = "; ".join(f"{_named(names)}, which {why}" for why, names in training.items())
        fact = f"the model is in training mode: {told}"
        yield Problem(Code.TRAINING_MODE, fact, _FOR_INFERENCE, path=("model", "source"))


def _too_old(opset: int, model: onnx.ModelProto) -> Problem:
    """Forms of old opsets in a model that could not be converted; only broadcasting by `axis` is always rejected."""
    fact = (
        f"the model is of opset {opset} and cannot be converted to a later one; TensorRT's parser takes 7 on"
    )
    certain = any(integer_of(node, "broadcast") for node in model.graph.node)
    return Problem(
        Code.OPERATOR_NOT_BUILT,
        fact,
        "export it again with opset 13 or later",
        path=("model", "source"),
        severity="error" if certain else "warning",
    )


_FOR_INFERENCE = "export the model for inference: with PyTorch, call model.eval() before torch.onnx.export"


def in_training(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> list[Problem]:
    """The problem that no spec can fix: the model was exported in training mode."""
    return [one for one in refused_forms(model, nodes) if one.code == Code.TRAINING_MODE]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"node{'s' if len(names) > 1 else ''} {', '.join(names[:_SHOWN])}{more}"


def _training(node: onnx.NodeProto, values: ConstantValues, opset: int) -> str:
    """Why the node computes in training mode; empty if it does not."""
    if node.op_type == "BatchNormalization":
        asked = integer_of(node, "training_mode") if opset >= 14 else opset >= 7 and any(node.output[1:])
        return "would normalize by the batch and not by what was learned" if asked else ""
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        drops = values.number(node.input[2]) and values.number(node.input[1]) != 0
        return "would drop values at random" if drops else ""
    return ""


def _curable(node: onnx.NodeProto) -> bool:
    """Whether import may be able to rewrite this form."""
    if node.op_type == "Resize":
        symmetric = _text(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel_symmetric"
        return bool(integer_of(node, "antialias")) or symmetric
    if node.op_type == "LpPool":
        return integer_of(node, "p", 2) not in (1, 2)
    return node.op_type.startswith("Scatter") and _text(node, "reduction", "none") != "none"


_Refusals = Iterator[tuple[str, str]]


def _top_k(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    k = values.number(node.input[1]) if len(node.input) > 1 else integer_of(node, "k")
    if k is not None and k > _MOST_K:
        yield f"k is {k:.0f}, and TensorRT's builder takes {_MOST_K} at most", f"lower k, or {_CUT}"


def _resize(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    if integer_of(node, "antialias"):
        remedy = f"fix the sizes with transform.set_shapes, export it without antialias, or {_CUT}"
        why = "antialias is 1, which is written out where sizes are fixed only; TensorRT's parser takes 0"
        yield why, remedy
    policy = _text(node, "keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        remedy = f"export it with the sizes that come of it, or {_CUT}"
        yield f"keep_aspect_ratio_policy is {policy}, and TensorRT's parser accepts stretch only", remedy
    coordinates = _text(node, "coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        known = ", ".join(_COORDINATES)
        remedy = f"export it with one of those, or {_CUT}"
        yield f"coordinate_transformation_mode is {coordinates}; TensorRT's parser takes {known}", remedy


def _scatter(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    reduction = _text(node, "reduction", "none")
    if reduction != "none":
        remedy = f"fix the sizes with transform.set_shapes, or {_CUT}"
        yield (
            f"reduction is {reduction}, which is written out for constant indices or a small fixed size only; "
            "TensorRT's parser takes none",
            remedy,
        )


def _norm_pool(node: onnx.NodeProto, values: ConstantValues) -> _Refusals:
    power = integer_of(node, "p", 2)
    if power not in (1, 2):
        yield (
            f"p is {power}, which is written out without dilations and ceil_mode only; TensorRT's parser takes 1 and 2",
            f"export it with pads in place of ceil_mode, or {_CUT}",
        )


def _text(node: onnx.NodeProto, name: str, default: str) -> str:
    value = attribute_of(node, name)
    return value.decode(errors="replace") if isinstance(value, bytes) else default


_FORMS: Mapping[str, Callable[[onnx.NodeProto, ConstantValues], _Refusals]] = {
    "LpPool": _norm_pool,
    "Resize": _resize,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "TopK": _top_k,
}
