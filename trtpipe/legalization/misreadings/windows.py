"""Transposed convolutions and pooling whose padding the parser misreads: the padding is made explicit.

Padding that depends on sizes is computed if the sizes are fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of, integers_of
from trtpipe.legalization.misreadings.scope import Scope, changed

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class _Axis:
    """A window along one axis; `spare` is the value of `output_padding`."""

    size: int | None
    kernel: int
    stride: int
    before: int
    after: int
    spare: int


def _axes(node: onnx.NodeProto, sizes: Sequence[int | None], kernel: Sequence[int]) -> list[_Axis]:
    """The spatial axes of a node, dilation counted into the kernel."""
    count = len(kernel)
    strides, dilations = (integers_of(node, name) or [1] * count for name in ("strides", "dilations"))
    pads = integers_of(node, "pads") or [0] * (2 * count)
    spare = integers_of(node, "output_padding") or [0] * count
    wide = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True)]
    parts = zip(sizes, wide, strides, pads[:count], pads[count:], spare, strict=True)
    return [_Axis(*part) for part in parts]


def _rule(node: onnx.NodeProto) -> str:
    found = attribute_of(node, "auto_pad")
    return found.decode() if isinstance(found, bytes) else "NOTSET"


# -- transposed convolutions


def rewrite_deconvolution(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Replaces `output_shape` by pads, and `auto_pad` too if there is an `output_padding`.

    The parser puts the odd element of a padding on the wrong side, and ignores the `output_padding`.
    """
    shape, rule = integers_of(node, "output_shape"), _rule(node)
    sizes = scope.sizes(node.input[0])[2:]
    weights = [size for size in scope.sizes(node.input[1])[2:] if size is not None]
    kernel = integers_of(node, "kernel_shape") or weights
    if len(kernel) != len(sizes) or not sizes:
        return None
    axes = _axes(node, sizes, kernel)
    if shape:
        totals = [_padding(axis, size) for axis, size in zip(axes, shape[-len(axes) :], strict=True)]
    elif rule != "NOTSET" and any(axis.spare for axis in axes):
        # with SAME padding the output is as large as the input times the strides
        same = rule.startswith("SAME")
        totals = [axis.kernel + axis.spare - axis.stride if same else 0 for axis in axes]
    else:
        return None
    known = [total for total in totals if total is not None and total >= 0]
    if len(known) < len(totals):
        return None
    less, more = [total // 2 for total in known], [total - total // 2 for total in known]
    pads = [*less, *more] if rule == "SAME_UPPER" else [*more, *less]
    return [changed(node, "auto_pad", "output_shape", pads=pads, kernel_shape=kernel)]


def _padding(axis: _Axis, wanted: int) -> int | None:
    """The amount to cut off before and after, for an output of `wanted` elements."""
    return None if axis.size is None else axis.stride * (axis.size - 1) + axis.spare + axis.kernel - wanted


# -- pooling


def rewrite_pooling(node: onnx.NodeProto, scope: Scope) -> list[onnx.NodeProto] | None:
    """Replaces `ceil_mode` by padding if ONNX omits the last window, because the parser keeps it.

    If one axis loses its last window and another keeps a partial one, the latter is padded to a complete window.
    """
    sizes = scope.sizes(node.input[0])[2:]
    kernel = integers_of(node, "kernel_shape")
    if not integer_of(node, "ceil_mode") or _rule(node) != "NOTSET" or len(kernel) != len(sizes):
        return None
    missing = [_missing(axis) for axis in _axes(node, sizes, kernel)]
    if _LEFT_OUT not in missing or None in missing:
        return None
    more = [max(one or 0, 0) for one in missing]
    pads = integers_of(node, "pads") or [0] * (2 * len(kernel))
    if not any(more):
        return [changed(node, "ceil_mode")]
    longer = [*pads[: len(kernel)], *(a + b for a, b in zip(pads[len(kernel) :], more, strict=True))]
    if not integer_of(node, "count_include_pad"):
        return [changed(node, "ceil_mode", pads=longer)]
    return _padded_first(node, scope, pads, more)


_LEFT_OUT = -1


def _missing(axis: _Axis) -> int | None:
    """How much input a complete last window lacks; `_LEFT_OUT` if ONNX drops that window, None if sizes are unknown."""
    if axis.size is None:
        return None
    rest = axis.size + axis.before + axis.after - axis.kernel
    if rest < 0 or rest % axis.stride == 0:
        return 0
    starts = (rest // axis.stride + 1) * axis.stride
    return _LEFT_OUT if starts >= axis.size + axis.before else axis.stride - rest % axis.stride


def _padded_first(
    node: onnx.NodeProto, scope: Scope, pads: Sequence[int], more: Sequence[int]
) -> list[onnx.NodeProto]:
    """Makes the given padding part of the input, because an average counts only that padding."""
    import numpy as np

    half = len(more)
    around = [0, 0, *pads[:half], 0, 0, *pads[half:]]
    amount = scope.constant(f"{node.output[0]}/pads", np.asarray(around, np.int64))
    pad = scope.node("Pad", [node.input[0], amount], node.output[0])
    pool = changed(node, "ceil_mode", "count_include_pad", pads=[*[0] * half, *more])
    pool.input[0] = pad.output[0]
    return [pad, pool]
