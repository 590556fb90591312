"""Lowers layers that combine elements along axes: reductions, products, normalizations, attention, NMS."""

from __future__ import annotations

import re

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.layers.pointwise import broadcastable
from trtpipe.layers.scope import Scope
from trtpipe.layers.shapes import indices_of, whole_number
from trtpipe.layers.values import Value, may_broadcast, may_equal
from trtpipe.spec.network.reductions import (
    NMS,
    Attention,
    Cumulative,
    Einsum,
    MatrixMultiply,
    Normalization,
    Reduce,
    SoftMax,
    TopK,
)

_REDUCTIONS = {
    "sum": "ReduceSum", "prod": "ReduceProd", "max": "ReduceMax", "min": "ReduceMin", "avg": "ReduceMean",
}  # fmt: skip
_MOST_OF_TOPK = 3840


def reduce(layer: Reduce, at: Scope) -> list[str]:
    """The reduction of that name; axes are an input from opset 18 on, for a sum already before that."""
    x = at.input
    axes = sorted(at.axes(layer.axes, at.rank(x)))
    if layer.op == "none":
        return [x.name]
    keep = int(layer.keep_dims)
    if at.opset >= 18 or layer.op == "sum":
        return [at.emit(_REDUCTIONS[layer.op], x.name, at.constant(axes, "axes"), keepdims=keep)]
    return [at.emit(_REDUCTIONS[layer.op], x.name, axes=axes, keepdims=keep)]


def softmax(layer: SoftMax, at: Scope) -> list[str]:
    """Softmax."""
    return [at.emit("Softmax", at.input.name, axis=at.axes(layer.axes, at.rank(at.input))[0])]


def topk(layer: TopK, at: Scope) -> list[str]:
    """TopK, sorted."""
    x = at.input
    axis = at.axes(layer.axes, at.rank(x))[0]
    if isinstance(layer.k, int):
        size = at.dims(x)[axis]
        most = min(size, _MOST_OF_TOPK) if isinstance(size, int) else _MOST_OF_TOPK
        if not 1 <= layer.k <= most:
            at.refuse(
                f"takes the first {layer.k} of axis {axis} of '{x.name}' {x.text}", f"take 1 to {most}", "k"
            )
    values, indices = at.emit_many(
        "TopK", (x.name, whole_number(at, "k", scalar=False)), 2, axis=axis, largest=int(layer.op == "max")
    )
    return [values, indices_of(at, indices, layer.indices_type)]


def cumulative(layer: Cumulative, at: Scope) -> list[str]:
    """CumSum."""
    axis = at.axis(layer.axis, at.rank(at.input), "axis")
    made = at.emit(
        "CumSum", at.input.name, at.constant(axis, "axis"), exclusive=int(layer.exclusive) or None,
        reverse=int(layer.reverse) or None,
    )  # fmt: skip
    return [made]


def matrix_multiply(layer: MatrixMultiply, at: Scope) -> list[str]:
    """MatMul, after transposing its inputs or turning vectors into matrices."""
    first, second = at.expect_inputs("first", "second")
    left, right = list(at.dims(first)), list(at.dims(second))
    for index, (value, op) in enumerate(((first, layer.op0), (second, layer.op1))):
        least = 1 if op == "vector" else 2
        if at.rank(value) < least:
            at.refuse(
                f"takes '{value.name}' {value.text} as {op}, which needs {least} axes", "", "inputs", index
            )
    left = [*left[:-1], 1, left[-1]] if layer.op0 == "vector" else left
    right = [*right, 1] if layer.op1 == "vector" else right
    left = [*left[:-2], left[-1], left[-2]] if layer.op0 == "transpose" else left
    right = [*right[:-2], right[-1], right[-2]] if layer.op1 == "transpose" else right
    if not may_equal(left[-1], right[-2]) or not may_broadcast(left[:-2], right[:-2]):
        at.refuse(
            f"multiplies '{first.name}' {first.text} ({layer.op0}) by '{second.name}' {second.text} ({layer.op1})",
            "the last axis of the first must equal the last but one of the second, and the axes before must broadcast",
            "inputs",
        )
    made = at.emit("MatMul", _operand(at, first, layer.op0, -2), _operand(at, second, layer.op1, -1))
    gone = [axis for axis, op in ((-2, layer.op0), (-1, layer.op1)) if op == "vector"]
    return [at.emit("Squeeze", made, at.constant(gone, "axes")) if gone else made]


def _operand(at: Scope, value: Value, op: str, axis: int) -> str:
    if op == "none":
        return value.name
    if op == "vector":
        return at.emit("Unsqueeze", value.name, at.constant([axis], f"axis{-axis}"))
    axes = list(range(at.rank(value)))
    return at.emit("Transpose", value.name, perm=[*axes[:-2], axes[-1], axes[-2]])


def einsum(layer: Einsum, at: Scope) -> list[str]:
    """Einsum; letters are checked against the inputs' dims."""
    equation = layer.equation.replace(" ", "")
    match = re.fullmatch(r"(?P<inputs>[a-z]*(,[a-z]*)*)(->(?P<output>[a-z]*))?", equation)
    if match is None:
        at.refuse(
            f"has the equation '{layer.equation}'", "write it like ij,jk->ik, in lower case", "equation"
        )
    terms = match["inputs"].split(",")
    values = at.inputs
    if len(terms) != len(values):
        at.refuse(f"has {len(values)} inputs and {len(terms)} terms in '{equation}'", "", "equation")
    seen: dict[str, tuple[Value, object]] = {}
    for term, value in zip(terms, values, strict=True):
        if len(term) != at.rank(value) or len(set(term)) != len(term):
            at.refuse(
                f"has '{term}' for '{value.name}' {value.text} in its equation",
                "use a different letter for each axis", "equation",
            )  # fmt: skip
        for letter, dim in zip(term, at.dims(value), strict=True):
            other, known = seen.setdefault(letter, (value, dim))
            if isinstance(dim, int) and isinstance(known, int) and dim != known and 1 not in (dim, known):
                at.refuse(
                    f"has '{letter}' for {known} in '{other.name}' {other.text} and for {dim} in '{value.name}' "
                    f"{value.text}", "equal letters must have equal lengths", "equation",
                )  # fmt: skip
    return [at.emit("Einsum", *(value.name for value in values), equation=equation)]


def normalization(layer: Normalization, at: Scope) -> list[str]:
    """The normalization of that name."""
    if layer.type in ("layer", "rms"):
        return [_over_last_axes(layer, at)]
    x = at.input
    if at.rank(x) < 2:
        at.refuse(f"reads '{x.name}' {x.text}, which has no channels", "", "input")
    channels = at.size(x, 1, "the channels")
    scale = at.weights("scale", (channels,)) or at.constant([1.0] * channels, "scale", x.dtype)
    bias = at.weights("bias", (channels,)) or at.constant([0.0] * channels, "bias", x.dtype)
    if layer.type == "batch":
        moments = [at.weights(name, (channels,)) for name in ("mean", "variance")]
        return [at.emit("BatchNormalization", x.name, scale, bias, *moments, epsilon=layer.epsilon)]
    if layer.type == "instance":
        return [at.emit("InstanceNormalization", x.name, scale, bias, epsilon=layer.epsilon)]
    if channels % layer.num_groups:
        at.refuse(
            f"has {layer.num_groups} groups, but '{x.name}' {x.text} has {channels} channels",
            "",
            "num_groups",
        )
    made = at.emit(
        "GroupNormalization", x.name, scale, bias, epsilon=layer.epsilon, num_groups=layer.num_groups
    )
    at.declare(made, x.dtype, x.dims)  # ONNX has no shape inference for this operator
    return [made]


def _over_last_axes(layer: Normalization, at: Scope) -> str:
    x = at.input
    rank = at.rank(x)
    axes = sorted(at.axes(layer.axes or (-1,), rank))
    if axes != list(range(axes[0], rank)):
        at.refuse(f"has axes {axes} of {rank}", f"give the last ones, for example [{rank - 1}]", "axes")
    dims = [at.size(x, axis, f"axis {axis}") for axis in axes]
    scale = at.weights("scale", dims)
    if scale is None:
        import numpy as np

        scale = at.constant(np.ones(dims), "scale", x.dtype)
    if layer.type == "rms":
        return at.emit("RMSNormalization", x.name, scale, axis=axes[0], epsilon=layer.epsilon)
    bias = at.weights("bias", dims)
    return at.emit("LayerNormalization", x.name, scale, bias, axis=axes[0], epsilon=layer.epsilon)


def attention(layer: Attention, at: Scope) -> list[str]:
    """Attention; without a normalization, two matrix products."""
    query, key, value = at.expect_inputs("query", "key", "value")
    if any(at.rank(one) != 4 for one in (query, key, value)):
        shown = ", ".join(f"'{one.name}' {one.text}" for one in (query, key, value))
        at.refuse(f"reads {shown}", "each must be batch x heads x length x size", "inputs")
    _check_attention(at, query, key, value)
    mask = at.tensor("mask")
    if layer.norm_op == "none":
        if mask is not None or layer.causal_kind != "none":
            at.refuse("has a mask without a softmax, which has no ONNX form", "leave the mask out", "norm_op")
        scaled = at.emit("Mul", query.name, at.constant(layer.scale, "scale", query.dtype))
        products = at.emit("MatMul", scaled, at.emit("Transpose", key.name, perm=[0, 1, 3, 2]))
        return [at.emit("MatMul", products, value.name)]
    steps = at.dims(query)[2], at.dims(key)[2]
    if layer.causal_kind == "lower_right" and (steps[0] != steps[1] or steps[0] is None):
        at.refuse(
            f"is causal from the lower right, for {steps[0]} queries and {steps[1]} keys, which has no ONNX form",
            "use upper_left, or a mask", "causal_kind",
        )  # fmt: skip
    made = at.emit(
        "Attention", query.name, key.name, value.name, mask.name if mask else None, scale=layer.scale,
        is_causal=1 if layer.causal_kind != "none" else None,
    )  # fmt: skip
    return [made]


def _check_attention(at: Scope, query: Value, key: Value, value: Value) -> None:
    q, k, v = at.dims(query), at.dims(key), at.dims(value)
    heads = not isinstance(q[1], int) or not isinstance(k[1], int) or q[1] % k[1] == 0
    fits = heads and may_equal(q[3], k[3]) and may_equal(k[2], v[2]) and may_equal(k[1], v[1])
    if not fits or not (may_equal(q[0], k[0]) and may_equal(k[0], v[0])):
        at.refuse(
            f"reads query {query.text}, key {key.text} and value {value.text}",
            "batches must be equal, query and key of one size, key and value of one length and as many heads, "
            "of which the query's are a multiple", "inputs",
        )  # fmt: skip


def nms(layer: NMS, at: Scope) -> list[str]:
    """NonMaxSuppression on transposed scores (classes before boxes), and the number of selected boxes."""
    boxes, scores = at.expect_inputs("boxes", "scores")
    if at.rank(boxes) != 3 or at.rank(scores) != 3 or not may_equal(at.dims(boxes)[2], 4):
        at.refuse(
            f"reads boxes {boxes.text} and scores {scores.text}",
            "give batch x boxes x 4, and batch x boxes x classes (boxes by class have no ONNX form)", "inputs",
        )  # fmt: skip
    broadcastable(at, Value(boxes.name, "", at.dims(boxes)[:2]), Value(scores.name, "", at.dims(scores)[:2]))
    by_class = at.emit("Transpose", scores.name, perm=[0, 2, 1])
    thresholds = [
        given.name if (given := at.tensor(name)) else at.constant([getattr(layer, name)], name, "float32")
        for name in ("iou_threshold", "score_threshold")
    ]
    most = whole_number(at, "max_output_boxes_per_class", scalar=False)
    centers = 1 if layer.bounding_box_format == "center_sizes" else None
    found = at.emit("NonMaxSuppression", boxes.name, by_class, most, *thresholds, center_point_box=centers)
    count = at.emit("Squeeze", at.emit("Shape", found, start=0, end=1), at.constant([0], "axes"))
    number = at.emit("Cast", count, to=number_of_dtype("int32"))
    return [indices_of(at, found, layer.indices_type), number]
