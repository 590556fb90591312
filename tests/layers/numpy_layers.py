"""What TensorRT's layers compute, in plain NumPy: the other side of the comparison. Slow, and meant to be read."""

from __future__ import annotations

import itertools
import math

import numpy as np


def windows(x, kernel, stride, pads, dilation, fill, ceil=False):
    """Yields each output place and the window that it reads, N x C x kernel, over a padded input."""
    axes = len(kernel)
    before, after = pads[:axes], pads[axes:]
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    sizes = x.shape[2:]
    extra = [0] * axes
    counts = []
    for axis in range(axes):
        room = sizes[axis] + before[axis] + after[axis] - extents[axis]
        count = (math.ceil if ceil else math.floor)(room / stride[axis]) + 1
        counts.append(count)
        extra[axis] = max(0, (count - 1) * stride[axis] - room)
    width = [(0, 0), (0, 0), *((b, a + e) for b, a, e in zip(before, after, extra, strict=True))]
    padded = np.pad(x, width, constant_values=fill)
    for place in itertools.product(*map(range, counts)):
        cut = tuple(
            slice(p * s, p * s + e, d) for p, s, e, d in zip(place, stride, extents, dilation, strict=True)
        )
        yield place, tuple(counts), padded[(slice(None), slice(None), *cut)]


def convolution(x, kernel, bias=None, stride=None, pads=None, dilation=None, groups=1, ceil=False):
    axes = x.ndim - 2
    stride, dilation, pads = stride or [1] * axes, dilation or [1] * axes, pads or [0] * (2 * axes)
    maps, per_group = kernel.shape[0], x.shape[1] // groups
    out = None
    for place, counts, window in windows(x, kernel.shape[2:], stride, pads, dilation, 0, ceil):
        if out is None:
            out = np.zeros((x.shape[0], maps, *counts))
        for m in range(maps):
            group = m // (maps // groups)
            part = window[:, group * per_group : (group + 1) * per_group]
            out[(slice(None), m, *place)] = (part * kernel[m]).sum(axis=tuple(range(1, part.ndim)))
    if bias is not None:
        out += bias.reshape(-1, *[1] * axes)
    return out


def deconvolution(x, kernel, bias=None, stride=None, pads=None, dilation=None, groups=1, more=None):
    axes = x.ndim - 2
    stride, dilation, pads = stride or [1] * axes, dilation or [1] * axes, pads or [0] * (2 * axes)
    more = more or [0] * axes
    maps = kernel.shape[1] * groups
    full = [
        (n - 1) * s + d * (k - 1) + 1 + m
        for n, s, d, k, m in zip(x.shape[2:], stride, dilation, kernel.shape[2:], more, strict=True)
    ]
    out = np.zeros((x.shape[0], maps, *full))
    per_group = x.shape[1] // groups
    for c in range(x.shape[1]):
        group = c // per_group
        for place in itertools.product(*map(range, x.shape[2:])):
            for tap in itertools.product(*map(range, kernel.shape[2:])):
                at = tuple(p * s + t * d for p, s, t, d in zip(place, stride, tap, dilation, strict=True))
                for m in range(kernel.shape[1]):
                    out[(slice(None), group * kernel.shape[1] + m, *at)] += (
                        x[(slice(None), c, *place)] * kernel[(c, m, *tap)]
                    )
    cut = tuple(slice(pads[a], full[a] - pads[axes + a]) for a in range(axes))
    out = out[(slice(None), slice(None), *cut)]
    if bias is not None:
        out = out + bias.reshape(-1, *[1] * axes)
    return out


def pooling(x, kind, window, stride=None, pads=None, excludes=True, ceil=False):
    axes = x.ndim - 2
    stride, pads = stride or [1] * axes, pads or [0] * (2 * axes)
    out = None
    ones = np.pad(np.ones_like(x), [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:], strict=True)],
                  constant_values=0 if excludes else 1)  # fmt: skip
    none = [0] * (2 * axes)
    counted = windows(ones, window, stride, none, [1] * axes, 0, ceil)
    fill = -np.inf if kind == "max" else 0
    for (place, counts, part), (_, _, weight) in zip(
        windows(x, window, stride, pads, [1] * axes, fill, ceil), counted, strict=True
    ):
        if out is None:
            out = np.zeros((*x.shape[:2], *counts))
        inner = tuple(range(2, part.ndim))
        value = part.max(axis=inner) if kind == "max" else part.sum(axis=inner) / weight.sum(axis=inner)
        out[(slice(None), slice(None), *place)] = value
    return out


def lrn(x, size, alpha, beta, k):
    out = np.empty_like(x)
    half = size // 2
    for c in range(x.shape[1]):
        part = x[:, max(0, c - half) : c + half + 1]
        out[:, c] = x[:, c] / (k + alpha / size * (part**2).sum(axis=1)) ** beta
    return out


def resize_2d(x, size, mode, transformation, rounding="floor"):
    """Nearest or linear over the last two axes."""
    out = x
    for axis, target in zip((x.ndim - 2, x.ndim - 1), size, strict=True):
        length = x.shape[axis]
        scale = target / length
        places = []
        for i in range(target):
            if transformation == "align_corners":
                places.append(i * (length - 1) / (target - 1) if target > 1 else 0.0)
            elif transformation == "half_pixel":
                places.append((i + 0.5) / scale - 0.5)
            else:
                places.append(i / scale)
        columns = []
        for place in places:
            if mode == "nearest":
                pick = {
                    "floor": math.floor,
                    "ceil": math.ceil,
                    "half_down": lambda p: math.ceil(p - 0.5),
                    "half_up": lambda p: math.floor(p + 0.5),
                }[rounding](place)
                columns.append(np.take(out, min(max(pick, 0), length - 1), axis=axis))
            else:
                inside = min(max(place, 0), length - 1)
                low = math.floor(inside)
                high = min(low + 1, length - 1)
                share = inside - low
                columns.append(
                    np.take(out, low, axis=axis) * (1 - share) + np.take(out, high, axis=axis) * share
                )
        out = np.stack(columns, axis=axis)
    return out


def softmax(x, axis):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def attention(q, k, v, scale, mask=None, causal=False):
    repeat = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeat, axis=1), np.repeat(v, repeat, axis=1)
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.tril(np.ones(scores.shape[-2:], bool)), scores, -np.inf)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    return softmax(scores, -1) @ v


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(x, w, r, wb, rb, h, c, order):
    """One direction, batch x steps x features; `order` says where each gate lies."""
    size = r.shape[1]
    outs = []
    for step in range(x.shape[1]):
        z = x[:, step] @ w.T + wb + h @ r.T + rb
        gate = {name: z[:, i * size : (i + 1) * size] for i, name in enumerate(order)}
        i, o, f = (sigmoid(gate[name]) for name in ("input", "output", "forget"))
        c = f * c + i * np.tanh(gate["cell"])
        h = o * np.tanh(c)
        outs.append(h)
    return np.stack(outs, axis=1), h, c


def gru(x, w, r, wb, rb, h, order, linear=True):
    size = r.shape[1]

    def part(matrix, name):
        at = order.index(name)
        return matrix[..., at * size : (at + 1) * size]

    outs = []
    for step in range(x.shape[1]):
        a, b = x[:, step] @ w.T + wb, h @ r.T + rb
        update, reset = (sigmoid(part(a, name) + part(b, name)) for name in ("update", "reset"))
        if linear:
            hidden = np.tanh(part(a, "hidden") + reset * part(b, "hidden"))
        else:
            at = order.index("hidden")
            rows = slice(at * size, (at + 1) * size)
            hidden = np.tanh(part(a, "hidden") + (reset * h) @ r[rows].T + rb[rows])
        h = (1 - update) * hidden + update * h
        outs.append(h)
    return np.stack(outs, axis=1), h


def rnn(x, w, r, wb, rb, h, op=np.tanh):
    outs = []
    for step in range(x.shape[1]):
        h = op(x[:, step] @ w.T + wb + h @ r.T + rb)
        outs.append(h)
    return np.stack(outs, axis=1), h


def non_max_suppression(boxes, scores, most, iou, least):
    """Boxes as two corners; rows of batch, class, box."""
    rows = []
    for n in range(boxes.shape[0]):
        for c in range(scores.shape[2]):
            kept = []
            for b in np.argsort(-scores[n, :, c], kind="stable"):
                if scores[n, b, c] <= least or len(kept) == most:
                    continue
                if all(overlap(boxes[n, b], boxes[n, other]) <= iou for other in kept):
                    kept.append(b)
            rows += [[n, c, b] for b in kept]
    return np.array(rows).reshape(-1, 3)


def overlap(one, two):
    lows, highs = np.maximum(one[:2], two[:2]), np.minimum(one[2:], two[2:])
    inner = np.prod(np.maximum(highs - lows, 0))
    areas = [np.prod(box[2:] - box[:2]) for box in (one, two)]
    return inner / (sum(areas) - inner)
