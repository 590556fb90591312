"""Converts Slice, Split and Pad to declared layers.

ONNX says where a slice ends; a slice layer says how many elements it has. Where a dim is dynamic, extra layers compute
that number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import Dim
from trtpipe.layers.from_onnx.node import NodeForm
from trtpipe.layers.from_onnx.shapes import axes_of

if TYPE_CHECKING:
    pass

_FILLS = {"constant": "fill", "edge": "clamp", "reflect": "reflect", "wrap": "wrap"}


def _slice(form: NodeForm) -> None:
    starts, ends = (form.ints(index, what) for index, what in ((1, "start"), (2, "end")))
    assert starts is not None and ends is not None, "the checker has taken the node"
    axes = [axis % form.rank() for axis in axes_of(form, 3) or range(len(starts))]
    steps = form.ints(4, "step") or [1] * len(starts)
    dims = form.dims()
    if all(isinstance(dims[axis], int) for axis in axes):
        ranges = [
            range(dims[axis])[begin:end:step]  # type: ignore[arg-type]  # all are numbers, it was asked
            for axis, begin, end, step in zip(axes, starts, ends, steps, strict=True)
        ]
        _sliced(form, axes, ranges)
        return
    if any(step != 1 for step in steps):
        form.refuse_dynamic("it takes steps along a dynamic axis")
    start, count = _dynamic(form, axes, starts, ends)
    form.last("slice", input=form.tensor(), axes=axes, start=start, shape=count)


def _sliced(form: NodeForm, axes: Sequence[int], ranges: Sequence[range]) -> None:
    steps = [one.step for one in ranges]
    form.last(
        "slice",
        input=form.tensor(),
        axes=list(axes),
        start=[one.start for one in ranges],
        shape=[len(one) for one in ranges],
        stride=steps if any(step != 1 for step in steps) else None,
    )


def _dynamic(
    form: NodeForm, axes: Sequence[int], starts: Sequence[int], ends: Sequence[int]
) -> tuple[str, str]:
    """Start and length of a slice with step 1, computed at run time from the dims."""
    shape = form.step("shape", "shape", input=form.tensor())
    indices = form.constant("axes", list(axes))
    sizes = form.step("gather", "sizes", inputs=[shape, indices])
    begin = _place(form, sizes, starts, "start")
    count = form.elementwise("sub", _place(form, sizes, ends, "end"), begin, "length")
    return begin, form.elementwise("max", count, form.constant("zero", [0]), "count")


def _place(form: NodeForm, sizes: str, places: Sequence[int], what: str) -> str:
    """`places` clamped to the sizes, negative ones counted from the end."""
    limit = 2**31 - 1  # ONNX's "to the end" is INT64_MAX, which is beyond TensorRT's sizes
    offsets = form.constant(what, [max(-limit, min(one, limit)) for one in places])
    if any(one < 0 for one in places):
        negative = form.constant(f"{what}_counts", [int(one < 0) for one in places])
        counted = form.elementwise("prod", sizes, negative, f"{what}_from")
        offsets = form.elementwise("sum", offsets, counted, f"{what}_place")
        offsets = form.elementwise("max", offsets, form.constant(f"{what}_least", [0]), f"{what}_inside")
    return form.elementwise("min", offsets, sizes, f"{what}_bounded")


def _split(form: NodeForm) -> None:
    axis = form.axis(0)
    sizes = form.ints(1, "split") if form.has(1) else form.attribute("split")
    if sizes is None:
        dim = form.dims()[axis]
        if not isinstance(dim, int):
            form.refuse_dynamic("it splits a dynamic axis evenly")
        count = len(form.node.output)
        each = -(-dim // count)
        sizes = [max(0, min(each, dim - each * index)) for index in range(count)]
    x, begin = form.tensor(), 0
    for index, size in enumerate(sizes):
        form.yields(index, "slice", input=x, axes=[axis], start=[begin], shape=[size])
        begin += size


def _pad(form: NodeForm) -> None:
    mode = form.attribute("mode", "constant")
    given = form.ints(1, "padding") if form.has(1) else form.attribute("pads")
    rank = form.rank()
    axes = [axis % rank for axis in axes_of(form, 3) or range(rank)]
    assert given is not None and len(given) == 2 * len(axes), "the checker has taken the node"
    before, after = [0] * rank, [0] * rank
    for index, axis in enumerate(axes):
        before[axis], after[axis] = given[index], given[index + len(axes)]
    value = form.array(2, "value") if mode == "constant" else None
    number = 0 if value is None else value.reshape(-1)[0].item()
    padded = [axis for axis in range(rank) if before[axis] or after[axis]]
    if not padded:
        form.last("identity", input=form.tensor())
    elif mode == "constant" and number == 0:
        first = padded[0]
        form.last("padding", input=form.tensor(), pre_padding=before[first:], post_padding=after[first:])
    else:
        _padded(form, padded, before, after, mode, number)


def _padded(
    form: NodeForm, axes: list[int], before: list[int], after: list[int], mode: str, number: float
) -> None:
    dims = form.dims()
    shape = [_grown(form, dims[axis], before[axis] + after[axis]) for axis in axes]
    if not math.isfinite(number):
        form.refuse(f"it pads with {number}")
    form.last(
        "slice",
        input=form.tensor(),
        axes=axes,
        start=[-before[axis] for axis in axes],
        shape=shape,
        mode=_FILLS[mode],
        fill=number if mode == "constant" else None,
    )


def _grown(form: NodeForm, dim: Dim, more: int) -> int:
    if not isinstance(dim, int):
        form.refuse_dynamic("it pads a dynamic axis with values other than zero")
    return dim + more


FORMS: dict[str, Callable[[NodeForm], None]] = {"Slice": _slice, "Split": _split, "Pad": _pad}
