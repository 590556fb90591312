"""Converts operators that move elements: shuffle, concatenation, gather, scatter, constants, one-hot."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import array_of
from trtpipe.layers.from_onnx.node import NodeForm
from trtpipe.layers.from_onnx.pointwise import declared_type

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_MOST_REPEATS = 64


def _reshape(form: NodeForm) -> None:
    kept = None if not form.attribute("allowzero", 0) else False
    form.last(
        "shuffle", input=form.tensor(), reshape_dims=form.integers_or_tensor(1), zero_is_placeholder=kept
    )


def _transpose(form: NodeForm) -> None:
    order = form.attribute("perm") or list(reversed(range(form.rank())))
    form.last("shuffle", input=form.tensor(), first_transpose=order)


def _flatten(form: NodeForm) -> None:
    form.last("flatten", input=form.tensor(), axis=form.attribute("axis", 1))


def axes_of(form: NodeForm, index: int = 1) -> list[int] | None:
    """The axes, an input or (before opset 13) an attribute; None when they are left out."""
    return form.ints(index, "axes") if form.has(index) else form.attribute("axes")


def _squeeze(form: NodeForm) -> None:
    axes = axes_of(form)
    if axes is None:
        if any(not isinstance(dim, int) for dim in form.dims()):
            form.refuse_dynamic("it names no axes, and a dim is dynamic")
        axes = [axis for axis, dim in enumerate(form.dims()) if dim == 1]
    if axes:
        form.last("squeeze", input=form.tensor(), axes=axes)
    else:
        form.last("identity", input=form.tensor())


def _unsqueeze(form: NodeForm) -> None:
    axes = axes_of(form)
    if axes:
        form.last("unsqueeze", input=form.tensor(), axes=axes)
    else:
        form.last("identity", input=form.tensor())


def _concatenation(form: NodeForm) -> None:
    inputs = [form.tensor(index) for index in range(len(form.node.input))]
    form.last("concatenation", inputs=inputs, axis=form.attribute("axis"))


def _gather(form: NodeForm) -> None:
    mode = {"Gather": None, "GatherElements": "element"}[form.operator]
    form.last(
        "gather", inputs=[form.tensor(0), form.tensor(1)], mode=mode, axis=form.attribute("axis", 0) or None
    )


def _gather_nd(form: NodeForm) -> None:
    together = form.attribute("batch_dims", 0) or None
    form.last("gather", inputs=[form.tensor(0), form.tensor(1)], mode="nd", num_elementwise_dims=together)


def _scatter(form: NodeForm) -> None:
    form.only(reduction="none")
    inputs = [form.tensor(index) for index in range(3)]
    if form.operator == "ScatterND":
        form.last("scatter", inputs=inputs, mode="nd")
    else:
        form.last("scatter", inputs=inputs, mode="element", axis=form.attribute("axis", 0) or None)


def _reverse_sequence(form: NodeForm) -> None:
    form.last(
        "reverse_sequence",
        inputs=[form.tensor(0), form.tensor(1)],
        batch_axis=form.attribute("batch_axis", 1),
        sequence_axis=form.attribute("time_axis", 0),
    )


def _one_hot(form: NodeForm) -> None:
    if "int" not in form.dtype():
        form.refuse(f"its indices are {form.dtype()}")
    form.last(
        "one_hot",
        input=form.tensor(),
        depth=form.number_or_tensor(1),
        values=form.tensor(2),
        axis=form.attribute("axis", -1),
    )


def _non_zero(form: NodeForm) -> None:
    form.last("non_zero", input=form.tensor(), indices_type="int64")


def _shape(form: NodeForm) -> None:
    begin, end = form.attribute("start", 0), form.attribute("end")
    if begin == 0 and end is None:
        form.last("shape", input=form.tensor())
        return
    rank = form.rank()
    begin, stop, _ = slice(begin, end).indices(rank)
    whole = form.step("shape", "shape", input=form.tensor())
    form.last("slice", input=whole, start=[begin], shape=[max(0, stop - begin)])


def _size(form: NodeForm) -> None:
    shape = form.step("shape", "shape", input=form.tensor())
    form.last("reduce", input=shape, op="prod", axes=[0])


def _fill(form: NodeForm) -> None:
    value = form.attribute("value")
    array = None if value is None else array_of(value)
    number = 0.0 if array is None else array.reshape(-1)[0].item()
    dtype = "float32" if array is None else str(array.dtype.name)
    if not math.isfinite(number):
        form.refuse(f"it fills with {number}")
    _filled(form, form.integers_or_tensor(0), number, dtype)


_FILLED = ("float32", "int32", "int64")


def _filled(form: NodeForm, shape: Json, number: float, dtype: str) -> None:
    alpha = float(number)
    if dtype in _FILLED:
        form.last("fill", shape=shape, alpha=alpha, to_type=dtype)
        return
    filled = form.step("fill", "fill", shape=shape, alpha=alpha)
    form.last("cast", input=filled, to_type=declared_type(form, dtype))


def _expand(form: NodeForm) -> None:
    """Multiplies x by ones of the shape, which broadcasts like Expand; for booleans, a logical or with false."""
    dtype, shape = form.dtype(), form.integers_or_tensor(1)
    x = form.tensor()
    ones = _ones(form, shape, dtype)
    form.last("elementwise", op="and" if dtype == "bool" else "prod", inputs=[x, ones])


def _ones(form: NodeForm, shape: Json, dtype: str) -> str:
    kind = dtype if dtype in _FILLED else "float32"
    ones = form.step("fill", "ones", shape=shape, alpha=1.0, to_type=kind)
    if dtype == kind:
        return ones
    return form.step("cast", "ones_cast", input=ones, to_type=declared_type(form, dtype))


def _tile(form: NodeForm) -> None:
    """Concatenates the input with itself, axis by axis."""
    repeats = form.ints(1, "repeats") or []
    if any(not 1 <= one <= _MOST_REPEATS for one in repeats):
        form.refuse(f"it repeats by {repeats}, and only 1 to {_MOST_REPEATS} are supported")
    x = form.tensor()
    repeated = [(axis, times) for axis, times in enumerate(repeats) if times > 1]
    for axis, times in repeated[:-1]:
        x = form.step("concatenation", f"axis_{axis}", inputs=[x] * times, axis=axis)
    if not repeated:
        form.last("identity", input=x)
    for axis, times in repeated[-1:]:
        form.last("concatenation", inputs=[x] * times, axis=axis)


def _constant(form: NodeForm) -> None:
    value = form.attribute("value")
    if value is None:
        form.refuse("it contains something other than a tensor")
    form.last("constant", weights=form.model.derived(form.node.output[0] + ".value", array_of(value)))


FORMS: dict[str, Callable[[NodeForm], None]] = {
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Concat": _concatenation,
    "Gather": _gather,
    "GatherElements": _gather,
    "GatherND": _gather_nd,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "ReverseSequence": _reverse_sequence,
    "OneHot": _one_hot,
    "NonZero": _non_zero,
    "Shape": _shape,
    "Size": _size,
    "ConstantOfShape": _fill,
    "Expand": _expand,
    "Tile": _tile,
    "Constant": _constant,
}
