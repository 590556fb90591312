"""Layers that combine elements and have no declared equivalent: einsum, cumulative, normalization, NMS."""

from __future__ import annotations

import math

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.layers.values import Value
from trtpipe.networks.lowering.scope import LayerScope, dtype_of

_WIDE = "float32"


def einsum(at: LayerScope) -> list[str]:
    """Einsum; TensorRT's equation is NumPy's, without ellipses and diagonals."""
    names = [at.read(index).name for index in range(len(at.tensors))]
    return [at.emit("Einsum", *names, equation=at.text("equation"))]


def cumulative(at: LayerScope) -> list[str]:
    """CumSum; the axis is a tensor."""
    op = at.member("op")
    if op != "sum":
        at.refuse(f"has op {op}, which has no ONNX form")
    flags = {name: int(at.flag(name)) or None for name in ("exclusive", "reverse")}
    return [at.emit("CumSum", at.read(0).name, at.int64(at.read(1)), **flags)]


def normalization(at: LayerScope) -> list[str]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, over the axes of the mask, in float32."""
    x, scale, bias = (at.read(index) for index in range(3))
    axes, groups = at.axes_in("axes"), at.whole("num_groups")
    wide = at.cast(x.name, x.dtype, _WIDE)
    if groups > 1:
        return [_grouped(at, wide, groups)]
    scaled = at.emit("Mul", _normal(at, wide, axes), at.cast(scale.name, scale.dtype, _WIDE))
    return [_narrow(at, at.emit("Add", scaled, at.cast(bias.name, bias.dtype, _WIDE)))]


def _normal(at: LayerScope, wide: str, axes: list[int]) -> str:
    along = at.constant(axes, "axes")
    centred = at.emit("Sub", wide, at.emit("ReduceMean", wide, along, keepdims=1))
    variance = at.emit("ReduceMean", at.emit("Mul", centred, centred), along, keepdims=1)
    raised = at.emit("Add", variance, at.constant(at.number("epsilon"), "epsilon", _WIDE))
    return at.emit("Div", centred, at.emit("Sqrt", raised))


def _grouped(at: LayerScope, wide: str, groups: int) -> str:
    """Group normalization: the channels of a group and all following axes are normalized together.

    Scale and bias have a number for each group (the first version of the layer) or for each channel.
    """
    x, scale, bias = (at.read(index) for index in range(3))
    rank = at.rank(x)
    if at.axes_in("axes") != list(range(2, rank)):
        at.refuse(f"has {groups} groups and axes {at.axes_in('axes')} of {rank}, which has no ONNX form")
    factor, shift = (at.cast(one.name, one.dtype, _WIDE) for one in (scale, bias))
    grouped = at.emit("Reshape", wide, at.constant([0, groups, -1], "groups"))
    normal = _normal(at, grouped, [2])
    of_groups = not at.flag("is_v2") if "is_v2" in at.parsed.attributes else False
    if of_groups:
        one_each = at.constant([1, groups, 1], "one_each")
        factor, shift = (at.emit("Reshape", one, one_each) for one in (factor, shift))
        normal = at.emit("Add", at.emit("Mul", normal, factor), shift)
        return _narrow(at, at.emit("Reshape", normal, at.emit("Shape", x.name)))
    back = at.emit("Reshape", normal, at.emit("Shape", x.name))
    return _narrow(at, at.emit("Add", at.emit("Mul", back, factor), shift))


def _narrow(at: LayerScope, wide: str) -> str:
    """Casts a result computed in float32 to the output's type."""
    if at.dtype_made == _WIDE:
        return wide
    return at.emit("Cast", wide, to=number_of_dtype(at.dtype_made))


def nms(at: LayerScope) -> list[str]:
    """NonMaxSuppression, its boxes in TensorRT's order, and their count."""
    boxes, scores = at.read(0), at.read(1)
    if at.rank(boxes) != 3:
        at.refuse(f"reads boxes by class '{boxes.name}' {boxes.text}, which has no ONNX form")
    _say_limit(at, boxes)
    by_class = at.emit("Transpose", at.cast(scores.name, scores.dtype, _WIDE), perm=[0, 2, 1])
    one = at.constant([1], "one")
    most = at.emit("Reshape", at.int64(at.read(2)), one)
    thresholds = [_threshold(at, index, one) for index in (3, 4)]
    centers = 1 if at.member("bounding_box_format") == "center_sizes" else None
    corners = at.cast(boxes.name, boxes.dtype, _WIDE)
    found = at.emit("NonMaxSuppression", corners, by_class, most, *thresholds, center_point_box=centers)
    found = _by_score(at, found, by_class)
    count = at.emit("Squeeze", at.emit("Shape", found, start=0, end=1), at.constant([0], "axes"))
    number = at.emit("Cast", count, to=number_of_dtype("int32"))
    return [at.cast(found, "int64", dtype_of(at.made[0].dtype)), number]


def _threshold(at: LayerScope, index: int, one: str) -> str:
    """A threshold as a tensor of one element; 0 when there is none."""
    given = at.maybe(index)
    if given is None:
        return at.constant([0.0], f"threshold_{index}", _WIDE)
    return at.emit("Reshape", at.cast(given.name, given.dtype, _WIDE), one)


def _say_limit(at: LayerScope, boxes: Value) -> None:
    limit, count = at.whole("topk_box_limit"), at.dims(boxes)[1]
    if not isinstance(count, int) or count > limit:
        at.notes.append(at.about(f"considers at most {limit} boxes; all are considered here"))


def _by_score(at: LayerScope, found: str, by_class: str) -> str:
    """Sorts boxes by batch, then by descending score: two sorts, the second of which is stable."""
    scores = at.emit("GatherND", by_class, found)
    count = at.emit("Shape", found, start=0, end=1)
    _, order = at.emit_many("TopK", (scores, count), 2, axis=0, largest=1)
    sorted_ = at.emit("Gather", found, order, axis=0)
    batches = at.emit("Gather", sorted_, at.constant(0, "first"), axis=1)
    _, order = at.emit_many("TopK", (batches, count), 2, axis=0, largest=0)
    return at.emit("Gather", sorted_, order, axis=0)


def ragged_softmax(at: LayerScope) -> list[str]:
    """Softmax over the first elements of each row, whose number the second input gives; the rest is zero."""
    x, bounds = at.read(0), at.read(1)
    length = at.emit("Squeeze", at.emit("Shape", x.name, start=-1), at.constant([0], "axes"))
    places = at.emit("Range", at.constant(0, "zero"), length, at.constant(1, "one"))
    inside = at.emit("Less", places, at.int64(bounds))
    least, nothing = at.constant(-math.inf, "least", x.dtype), at.constant(0, "nothing", x.dtype)
    soft = at.emit("Softmax", at.emit("Where", inside, x.name, least), axis=-1)
    return [at.emit("Where", inside, soft, nothing)]
