"""Writes function operators out in simpler ones: those of the model itself, and standard ones that parsers lack.

ONNX gives many operators a body made of others. TensorRT's parser knows some of them natively, and those are
left alone, for it runs them best; the table says which ones it lacks, or lacks in some forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import graphs_of, nodes_of, number_of_dtype
from trtpipe.errors import ModelError

if TYPE_CHECKING:
    import onnx

Types = Mapping[str, TensorInfo]
_ASIDE = "trtpipe.aside"
"""The domain that nodes wait in while others of their operator are expanded: onnx's inliner takes all or none."""

_FLOATS = frozenset({"float32", "float16", "bfloat16"})
_CLIPPED = _FLOATS | {"int32", "int64"}


def inline_functions(model: onnx.ModelProto) -> int:
    """Replaces calls of the model's own functions by their bodies; how many functions there were.

    TensorRT ignores a function's domain, and one named like a built-in operator. Raises ModelError when functions
    call each other in a circle or do not fit their calls.
    """
    import onnx.inliner

    count = len(model.functions)
    if not count:
        return 0
    _refuse_recursion(model)
    try:
        inlined = onnx.inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"the model's functions cannot be inlined: {' '.join(str(error).split())}"
        ) from error
    del inlined.functions[:]
    model.CopyFrom(inlined)
    return count


def _refuse_recursion(model: onnx.ModelProto) -> None:
    calls = {(f.domain, f.name): {(node.domain, node.op_type) for node in f.node} for f in model.functions}
    open_: list[tuple[str, str]] = []
    done: set[tuple[str, str]] = set()

    def visit(function: tuple[str, str]) -> None:
        if function in open_:
            raise ModelError(f"function '{function[0]}::{function[1]}' calls itself")
        if function in done:
            return
        open_.append(function)
        for callee in sorted(calls[function] & calls.keys()):
            visit(callee)
        done.add(open_.pop())

    for function in sorted(calls):
        visit(function)


def expand_operators(model: onnx.ModelProto) -> dict[str, int]:
    """Expands the standard operators that the table below picks; how many nodes of each, by operator."""
    expanded: dict[str, int] = {}
    for _ in range(_DEEPEST):
        types = infer_values(model)
        chosen = [node for node in nodes_of(model) if _picked(node, types)]
        if not chosen:
            break
        counts = {
            op: sum(node.op_type == op for node in chosen) for op in sorted({n.op_type for n in chosen})
        }
        if not _expand(model, chosen):
            break
        for op, count in counts.items():
            expanded[op] = expanded.get(op, 0) + count
    return expanded


_DEEPEST = 8  # bodies hold function operators themselves, no deeper than three today


def _picked(node: onnx.NodeProto, types: Types) -> bool:
    needed = _TABLE.get(node.op_type)
    return needed is not None and node.domain in ("", "ai.onnx.preview") and needed(node, types)


def _expand(model: onnx.ModelProto, chosen: list[onnx.NodeProto]) -> bool:
    import onnx.inliner

    ids = sorted({(node.domain, node.op_type) for node in chosen})
    marked = {id(node) for node in chosen}
    aside = [
        node for node in nodes_of(model) if (node.domain, node.op_type) in ids and id(node) not in marked
    ]
    before = sum(1 for _ in nodes_of(model))
    typed = onnx.ModelProto()
    _set_aside(aside)
    typed.CopyFrom(model)
    _bring_back(model)
    try:
        result = onnx.inliner.inline_selected_functions(
            typed, ids, exclude=False, inline_schema_functions=True
        )
    except (RuntimeError, ValueError):
        return False
    _bring_back(result)
    if sum(1 for _ in nodes_of(result)) == before:
        return False
    _keep_opset(result, model)
    model.CopyFrom(result)
    return True


def _set_aside(nodes: list[onnx.NodeProto]) -> None:
    for node in nodes:
        node.op_type, node.domain = f"{node.domain}/{node.op_type}", _ASIDE


def _bring_back(model: onnx.ModelProto) -> None:
    for node in nodes_of(model):
        if node.domain == _ASIDE:
            node.domain, _, node.op_type = node.op_type.rpartition("/")


def _keep_opset(result: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """Bodies may import a domain that the model did not; what it did import stays."""
    known = {item.domain for item in result.opset_import}
    result.opset_import.extend(item for item in model.opset_import if item.domain not in known)


def _always(node: onnx.NodeProto, types: Types) -> bool:
    return True


def _dtype(name: str, types: Types) -> str:
    return types[name].dtype if name in types else "undefined"


def _several_outputs(node: onnx.NodeProto, types: Types) -> bool:
    return any(node.output[1:])


def _odd_clip(node: onnx.NodeProto, types: Types) -> bool:
    return _dtype(node.input[0], types) not in _CLIPPED | {"undefined"}


def _odd_celu(node: onnx.NodeProto, types: Types) -> bool:
    return _dtype(node.input[0], types) in ("float16", "bfloat16")


def _odd_attention(node: onnx.NodeProto, types: Types) -> bool:
    """TensorRT's Attention has one output, no softcap, no precision for the softmax, and as many heads for K as V."""
    simple = not any(node.output[1:]) and not any(node.input[3:])
    return not simple or any(attribute_of(node, name) for name in ("softcap", "softmax_precision"))


_TABLE: dict[str, Callable[[onnx.NodeProto, Types], bool]] = {
    "AffineGrid": _always,
    "Attention": _odd_attention,
    "CausalConvWithState": _always,
    "Celu": _odd_celu,
    "CenterCropPad": _always,
    "Clip": _odd_clip,
    "FlexAttention": _always,
    "LayerNormalization": _several_outputs,
    "LinearAttention": _always,
    "NegativeLogLikelihoodLoss": _always,
    "SequenceMap": _always,
    "SoftmaxCrossEntropyLoss": _always,
    "SwiGLU": _always,
}


def replace_castlike(model: onnx.ModelProto) -> int:
    """CastLike to a type that is known becomes Cast; how many. Bodies of function operators are full of them."""
    import onnx

    types = infer_values(model)
    replaced = 0
    for graph in graphs_of(model):
        for node in graph.node:
            dtype = (
                _dtype(node.input[1], types)
                if node.op_type == "CastLike" and not node.domain
                else "undefined"
            )
            number = number_of_dtype(dtype)
            if not number:
                continue
            kept = [attribute for attribute in node.attribute if attribute.name in ("saturate", "round_mode")]
            made = onnx.NodeProto(name=node.name, op_type="Cast", input=node.input[:1], output=node.output)
            made.attribute.extend([onnx.helper.make_attribute("to", number), *kept])
            node.CopyFrom(made)
            replaced += 1
    return replaced
