"""Converts operators that combine elements along axes: products, reductions, normalizations, NMS."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from trtpipe.layers.from_onnx.node import NodeForm
from trtpipe.layers.from_onnx.pointwise import short
from trtpipe.layers.from_onnx.shapes import axes_of

if TYPE_CHECKING:
    from trtpipe.json_values import Json

    _Part: TypeAlias = tuple[str, str, dict[str, Json], list[Json]]
    """A layer in the making: its kind, a hint for its name, its fields but for the inputs, and its inputs."""

_REDUCTIONS = {
    "ReduceSum": "sum", "ReduceProd": "prod", "ReduceMax": "max", "ReduceMin": "min", "ReduceMean": "avg",
}  # fmt: skip


def _reduce(form: NodeForm) -> None:
    axes = _axes(form)
    if form.dtype() == "bool":
        form.refuse("it reduces booleans")
    if not axes:
        form.last("identity", input=form.tensor())
        return
    form.last("reduce", input=form.tensor(), op=_REDUCTIONS[form.operator], axes=axes, keep_dims=_kept(form))


def _axes(form: NodeForm) -> list[int]:
    """The axes; if none are given, all axes, or no axis when the node is then a no-op."""
    axes = axes_of(form)
    if axes:
        return axes
    return [] if form.attribute("noop_with_empty_axes", 0) else list(range(form.rank()))


def _kept(form: NodeForm) -> bool | None:
    return True if form.attribute("keepdims", 1) else None


def _reduced(form: NodeForm) -> dict[str, Json]:
    axes = _axes(form)
    if not axes:
        form.refuse("it names no axes")
    return {"axes": axes, "keep_dims": _kept(form)}


def _l1(form: NodeForm) -> None:
    along = _reduced(form)
    form.last("reduce", input=form.step("unary", "abs", input=form.tensor(), op="abs"), op="sum", **along)


def _square(form: NodeForm) -> str:
    x = form.tensor()
    return form.elementwise("prod", x, x, "square")


def _sum_square(form: NodeForm) -> None:
    along = _reduced(form)
    form.last("reduce", input=_square(form), op="sum", **along)


def _l2(form: NodeForm) -> None:
    along = _reduced(form)
    form.last("unary", input=form.step("reduce", "sum", input=_square(form), op="sum", **along), op="sqrt")


def _log_sum(form: NodeForm) -> None:
    along = _reduced(form)
    form.last("unary", input=form.step("reduce", "sum", input=form.tensor(), op="sum", **along), op="log")


def _log_sum_exp(form: NodeForm) -> None:
    """log(sum(exp(x - m))) + m, where m is the maximum, so that nothing overflows."""
    along, x = _reduced(form), form.tensor()
    exponential = _shifted_exp(form, x, _axes(form))[1]
    total = form.step("reduce", "sum", input=exponential, op="sum", **along)
    logarithm = form.step("unary", "log", input=total, op="log")
    most = form.step("reduce", "most", input=x, op="max", **along)
    form.last("elementwise", op="sum", inputs=[logarithm, most])


def _shifted_exp(form: NodeForm, x: str, axes: list[int]) -> tuple[str, str]:
    """x minus its maximum, and the exponential of that."""
    most = form.step("reduce", "max", input=x, op="max", axes=axes, keep_dims=True)
    shifted = form.elementwise("sub", x, most, "shifted")
    return shifted, form.step("unary", "exp", input=shifted, op="exp")


def _softmax(form: NodeForm) -> None:
    form.last("softmax", input=form.tensor(), axes=[form.attribute("axis", -1)])


def _log_softmax(form: NodeForm) -> None:
    axes = [form.attribute("axis", -1)]
    shifted, exponential = _shifted_exp(form, form.tensor(), axes)
    total = form.step("reduce", "sum", input=exponential, op="sum", axes=axes, keep_dims=True)
    logarithm = form.step("unary", "log", input=total, op="log")
    form.last("elementwise", op="sub", inputs=[shifted, logarithm])


def _topk(form: NodeForm) -> None:
    op = "max" if form.attribute("largest", 1) else "min"
    axes, k = [form.attribute("axis", -1)], form.number_or_tensor(1)
    form.last("topk", 2, input=form.tensor(), op=op, k=k, axes=axes, indices_type="int64")


def _arg(form: NodeForm) -> None:
    form.only(select_last_index=0)
    op = "max" if form.operator == "ArgMax" else "min"
    axes = [form.attribute("axis", 0)]
    fields: dict[str, Json] = {
        "input": form.tensor(),
        "op": op,
        "k": 1,
        "axes": axes,
        "indices_type": "int64",
    }
    values, indices = form.model.unique(f"{form.name}/values"), form.node.output[0]
    if form.attribute("keepdims", 1):
        form.step("topk", "topk", outputs=[values, indices], **fields)
        return
    kept = form.model.unique(f"{form.name}/indices")
    form.step("topk", "topk", outputs=[values, kept], **fields)
    form.last("squeeze", input=kept, axes=axes)


def _cumulative(form: NodeForm) -> None:
    (axis,) = form.ints(1, "axis") or [0]
    flags = {name: True if form.attribute(name, 0) else None for name in ("exclusive", "reverse")}
    form.last("cumulative", input=form.tensor(), axis=axis, **flags)


def _matrix_multiply(form: NodeForm) -> None:
    vectors = {f"op{index}": "vector" if form.rank(index) == 1 else None for index in (0, 1)}
    form.last("matrix_multiply", inputs=[form.tensor(0), form.tensor(1)], **vectors)


def _gemm(form: NodeForm) -> None:
    alpha, beta = (short(form.attribute(name, 1.0)) for name in ("alpha", "beta"))
    turned = [bool(form.attribute(name, 0)) for name in ("transA", "transB")]
    if turned == [False, True] and alpha == beta == 1.0 and _fully_connects(form):
        form.last(
            "fully_connected",
            input=form.tensor(),
            num_outputs=form.constant_tensor(1, "kernel").dims[0],
            kernel=form.weight(1, "kernel"),
            bias=form.weight(2, "bias"),
        )
        return
    fields: dict[str, Json] = {f"op{index}": "transpose" if one else None for index, one in enumerate(turned)}
    parts: list[_Part] = [("matrix_multiply", "product", fields, [form.tensor(0), form.tensor(1)])]
    if alpha != 1.0:
        parts.append(("elementwise", "scaled", {"op": "prod"}, [alpha]))
    if form.has(2) and beta != 0.0:
        added = form.operand(2) if beta == 1.0 else form.elementwise("prod", form.tensor(2), beta, "bias")
        parts.append(("elementwise", "sum", {"op": "sum"}, [added]))
    _in_turn(form, parts)


def _in_turn(form: NodeForm, parts: list[_Part]) -> None:
    """A chain of layers, each reading the previous one as its first input."""
    found: list[Json] = []
    for index, (kind, hint, fields, inputs) in enumerate(parts):
        given: dict[str, Json] = {**fields, "inputs": [*found, *inputs]}
        if index == len(parts) - 1:
            form.last(kind, **given)
        else:
            found = [form.step(kind, hint, **given)]


def _fully_connects(form: NodeForm) -> bool:
    """Whether a Gemm is a fully connected layer: constant weights, one bias per output, rows not transposed."""
    if not form.is_constant(1) or form.is_constant(0) or form.rank(0) != 2:
        return False
    outputs = form.constant_tensor(1, "kernel").dims[0]
    return not form.has(2) or (form.is_constant(2) and list(form.dims(2)) == [outputs])


def _einsum(form: NodeForm) -> None:
    equation = form.attribute("equation").replace(" ", "")
    inputs = [form.tensor(index) for index in range(len(form.node.input))]
    form.last("einsum", inputs=inputs, equation=equation)


def _batch_normalization(form: NodeForm) -> None:
    form.only(training_mode=0)
    names = ("scale", "bias", "mean", "variance")
    weights = {name: form.weight(index, name) for index, name in enumerate(names, 1)}
    epsilon = short(form.attribute("epsilon", 1e-5))
    form.last("normalization", input=form.tensor(), type="batch", **weights, epsilon=epsilon)


def _instance_normalization(form: NodeForm) -> None:
    weights = {name: form.weight(index, name) for index, name in ((1, "scale"), (2, "bias"))}
    epsilon = short(form.attribute("epsilon", 1e-5))
    form.last("normalization", input=form.tensor(), type="instance", **weights, epsilon=epsilon)


def _group_normalization(form: NodeForm) -> None:
    channels = form.dims()[1]
    if list(form.constant_tensor(1, "scale").dims) != [channels]:
        form.refuse("its scale is per group, not per channel")
    weights = {name: form.weight(index, name) for index, name in ((1, "scale"), (2, "bias"))}
    groups, epsilon = form.attribute("num_groups"), short(form.attribute("epsilon", 1e-5))
    form.last(
        "normalization", input=form.tensor(), type="group", **weights, num_groups=groups, epsilon=epsilon
    )


def _layer_normalization(form: NodeForm) -> None:
    kind = "layer" if form.operator == "LayerNormalization" else "rms"
    if form.uses_output(1) or form.uses_output(2):
        form.refuse("its mean or deviation is used")
    rank = form.rank()
    axes = list(range(form.axis(-1), rank))
    normalized = list(form.dims()[axes[0] :])
    for index, what in ((1, "scale"), (2, "bias")):
        if form.has(index) and list(form.constant_tensor(index, what).dims) != normalized:
            form.refuse(f"its {what} broadcasts")
    weights = {name: form.weight(index, name) for index, name in ((1, "scale"), (2, "bias"))}
    epsilon = short(form.attribute("epsilon", 1e-5))
    form.last("normalization", input=form.tensor(), type=kind, axes=axes, **weights, epsilon=epsilon)


def _nms(form: NodeForm) -> None:
    """NMS; scores are [classes, boxes] in ONNX and [boxes, classes] in TensorRT, so they are transposed."""
    boxes = form.tensor(0)
    scores = form.step("shuffle", "scores", input=form.tensor(1), first_transpose=[0, 2, 1])
    fields: dict[str, Json] = {
        "inputs": [boxes, scores],
        "max_output_boxes_per_class": form.number_or_tensor(2) if form.has(2) else 0,
        "bounding_box_format": "center_sizes" if form.attribute("center_point_box", 0) else None,
        "indices_type": "int64",
    }
    for index, name in ((3, "iou_threshold"), (4, "score_threshold")):
        fields[name] = _threshold(form, index) if form.has(index) else None
    form.last("nms", 2, **fields)


def _threshold(form: NodeForm, index: int) -> Json:
    if not form.is_constant(index):
        return form.tensor(index)
    value = form.array(index, "threshold")
    assert value is not None
    return short(float(value.reshape(-1)[0]))


FORMS: dict[str, Callable[[NodeForm], None]] = {
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceSumSquare": _sum_square,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "TopK": _topk,
    "ArgMax": _arg,
    "ArgMin": _arg,
    "CumSum": _cumulative,
    "MatMul": _matrix_multiply,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "BatchNormalization": _batch_normalization,
    "InstanceNormalization": _instance_normalization,
    "GroupNormalization": _group_normalization,
    "LayerNormalization": _layer_normalization,
    "RMSNormalization": _layer_normalization,
    "NonMaxSuppression": _nms,
}
