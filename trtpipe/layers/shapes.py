"""Lowers layers that move elements: shuffle, squeeze, concatenation, gather, scatter, constants and the like."""

from __future__ import annotations

from collections import Counter

from trtpipe.canonical.tensors import number_of_dtype
from trtpipe.layers.scope import Scope
from trtpipe.layers.values import INTEGERS, Value, dtype_of, may_equal, shape_text
from trtpipe.spec.network.shape_layers import (
    Concatenation,
    Constant,
    Fill,
    Flatten,
    Gather,
    NonZero,
    OneHot,
    ReverseSequence,
    Scatter,
    Shape,
    Shuffle,
    Squeeze,
    Unsqueeze,
)

_MOST_STEPS = 1 << 24
_INT64, _INT32 = number_of_dtype("int64"), number_of_dtype("int32")


def shuffle(layer: Shuffle, at: Scope) -> list[str]:
    """Transpose, Reshape, Transpose."""
    x = at.input
    made, dims = x.name, at.dims(x)
    if layer.first_transpose is not None:
        made = at.emit("Transpose", made, perm=_permutation(at, "first_transpose", len(dims)))
        dims = tuple(dims[axis] for axis in layer.first_transpose)
    rank: int | None = len(dims)
    if layer.reshape_dims is not None:
        shape, rank = _reshape_dims(layer, at, Value(x.name, x.dtype, dims))
        made = at.emit("Reshape", made, shape, allowzero=None if layer.zero_is_placeholder else 1)
    if layer.second_transpose is not None:
        if rank is None:
            rank = len(layer.second_transpose)
        made = at.emit("Transpose", made, perm=_permutation(at, "second_transpose", rank))
    if rank is not None:
        at.ranks[made] = rank
    return [made]


def _permutation(at: Scope, name: str, rank: int) -> list[int]:
    given = list(getattr(at.layer, name))
    if sorted(given) != list(range(rank)):
        at.refuse(f"has {name} {given}, but there are {rank} axes", f"use each of 0 to {rank - 1} once", name)
    return given


def _reshape_dims(layer: Shuffle, at: Scope, x: Value) -> tuple[str, int | None]:
    """The new dims as a tensor, and how many they are."""
    if isinstance(layer.reshape_dims, str):
        given = at.reads[("reshape_dims",)]
        rank = given.dims[0] if given.dims else None
        return as_int64(at, given), rank if isinstance(rank, int) else None
    shape = list(layer.reshape_dims or ())
    if shape.count(-1) > 1 or min(shape, default=0) < -1:
        at.refuse(f"has reshape_dims {shape}", "use -1 at most once, and no smaller number", "reshape_dims")
    dims = at.dims(x)
    if layer.zero_is_placeholder and any(not size and axis >= len(dims) for axis, size in enumerate(shape)):
        at.refuse(
            f"copies a dim that '{x.name}' {x.text} does not have: reshape_dims {shape}", "", "reshape_dims"
        )
    _check_volume(layer, at, x, shape)
    return at.constant(shape, "reshape_dims"), len(shape)


def _check_volume(layer: Shuffle, at: Scope, x: Value, shape: list[int]) -> None:
    """Rejects new dims with another number of elements, as far as the sizes are known.

    Dims that are copied, and dynamic ones, cancel out.
    """
    old = Counter(at.dims(x))
    new = Counter(
        at.dims(x)[axis] if size == 0 and layer.zero_is_placeholder else size
        for axis, size in enumerate(shape)
    )
    before, after = old - new, new - old
    if any(not isinstance(dim, int) for dim in (*before, *after)):
        return
    had, has = _product(before), _product(after - Counter([-1]))
    if (-1 in after and (has == 0 or had % has)) or (-1 not in after and had != has):
        at.refuse(
            f"makes {shape} of '{x.name}' {shape_text(x.dims)}, which has another number of elements",
            "-1 is inferred", "reshape_dims",
        )  # fmt: skip


def _product(dims: Counter[int | str | None]) -> int:
    total = 1
    for dim in dims.elements():
        assert isinstance(dim, int)
        total *= dim
    return total


def as_int64(at: Scope, value: Value) -> str:
    """A tensor of whole numbers as int64, which ONNX requires for dims and some indices."""
    if value.dtype not in INTEGERS:
        at.refuse(
            f"reads '{value.name}' as whole numbers, but it is {value.dtype}", "insert a cast layer before it"
        )
    return value.name if value.dtype == "int64" else at.emit("Cast", value.name, to=_INT64)


def squeeze(layer: Squeeze, at: Scope) -> list[str]:
    """Squeeze."""
    x = at.input
    axes = at.axes(layer.axes, at.rank(x))
    for index, axis in enumerate(axes):
        if not may_equal(at.dims(x)[axis], 1):
            at.refuse(f"removes axis {axis} of '{x.name}' {x.text}, which is not 1", "", "axes", index)
    return [at.emit("Squeeze", x.name, at.constant(axes, "axes"))]


def unsqueeze(layer: Unsqueeze, at: Scope) -> list[str]:
    """Unsqueeze."""
    axes = at.axes(layer.axes, at.rank(at.input) + len(layer.axes))
    return [at.emit("Unsqueeze", at.input.name, at.constant(axes, "axes"))]


def flatten(layer: Flatten, at: Scope) -> list[str]:
    """Flatten."""
    rank = at.rank(at.input)
    if not -rank <= layer.axis <= rank:
        at.refuse(f"has axis {layer.axis}, but there are {rank} axes", f"give {-rank} to {rank}", "axis")
    return [at.emit("Flatten", at.input.name, axis=layer.axis)]


def concatenation(layer: Concatenation, at: Scope) -> list[str]:
    """Concat."""
    values = at.inputs
    first = values[0]
    rank = at.rank(first)
    axis = at.axis(layer.axis, rank, "axis")
    for index, other in enumerate(values[1:], 1):
        alike = at.rank(other) == rank and all(
            may_equal(one, two)
            for place, (one, two) in enumerate(zip(at.dims(first), at.dims(other), strict=True))
            if place != axis
        )
        if not alike:
            at.refuse(
                f"puts '{other.name}' {other.text} behind '{first.name}' {first.text} on axis {axis}",
                "all other axes must be equal", "inputs", index,
            )  # fmt: skip
    return [at.emit("Concat", *(value.name for value in values), axis=axis)]


def gather(layer: Gather, at: Scope) -> list[str]:
    """Gather, GatherElements or GatherND."""
    data, indices = _indexed(at, "data", "indices")
    if layer.mode == "nd":
        if layer.num_elementwise_dims >= min(at.rank(data), at.rank(indices)):
            at.refuse(
                f"has num_elementwise_dims {layer.num_elementwise_dims} for '{data.name}' {data.text} and "
                f"'{indices.name}' {indices.text}", "it must be less than both ranks", "num_elementwise_dims",
            )  # fmt: skip
        return [
            at.emit(
                "GatherND", data.name, as_int64(at, indices), batch_dims=layer.num_elementwise_dims or None
            )
        ]
    if layer.num_elementwise_dims:
        at.refuse(
            f"has num_elementwise_dims with mode {layer.mode}, which has no ONNX form", "use mode: nd",
            "num_elementwise_dims",
        )  # fmt: skip
    axis = at.axis(layer.axis, at.rank(data), "axis")
    if layer.mode == "default":
        return [at.emit("Gather", data.name, indices.name, axis=axis)]
    if at.rank(indices) != at.rank(data):
        at.refuse(
            f"reads '{data.name}' {data.text} and indices {indices.text} of another rank", "", "inputs", 1
        )
    return [at.emit("GatherElements", data.name, indices.name, axis=axis)]


def _indexed(at: Scope, *names: str) -> tuple[Value, ...]:
    """The inputs. The second holds indices, so inline ones are integers whatever the type of the first input."""
    written = getattr(at.layer, "inputs")  # noqa: B009  layers of several inputs only
    if len(written) != len(names):
        at.refuse(f"has {len(written)} inputs instead of {len(names)}", f"give {', '.join(names)}", "inputs")
    tensors = [at.reads[("inputs", i)] for i, one in enumerate(written) if isinstance(one, str) and i != 1]
    like = tensors[0].dtype if tensors else None
    return tuple(
        at.reads[("inputs", index)]
        if isinstance(one, str)
        else at.inline(one, f"input{index}", "int64" if index == 1 else like)
        for index, one in enumerate(written)
    )


def scatter(layer: Scatter, at: Scope) -> list[str]:
    """ScatterElements or ScatterND."""
    data, indices, updates = _indexed(at, "data", "indices", "updates")
    if layer.mode == "nd":
        return [at.emit("ScatterND", data.name, as_int64(at, indices), updates.name)]
    axis = at.axis(layer.axis, at.rank(data), "axis")
    return [at.emit("ScatterElements", data.name, indices.name, updates.name, axis=axis)]


def reverse_sequence(layer: ReverseSequence, at: Scope) -> list[str]:
    """ReverseSequence."""
    data, lengths = _indexed(at, "data", "lengths")
    if {layer.batch_axis, layer.sequence_axis} != {0, 1}:
        at.refuse(
            f"has batch_axis {layer.batch_axis} and sequence_axis {layer.sequence_axis}",
            "one of them must be 0 and the other 1 in ONNX", "batch_axis",
        )  # fmt: skip
    made = at.emit(
        "ReverseSequence", data.name, as_int64(at, lengths), batch_axis=layer.batch_axis,
        time_axis=layer.sequence_axis,
    )  # fmt: skip
    return [made]


def one_hot(layer: OneHot, at: Scope) -> list[str]:
    """OneHot."""
    depth = whole_number(at, "depth", scalar=True)
    values = at.tensor("values") or at.inline(layer.values, "values", None)
    axis = layer.axis
    if not -at.rank(at.input) - 1 <= axis <= at.rank(at.input):
        at.refuse(f"has axis {axis} for '{at.input.name}' {at.input.text}", "", "axis")
    indices = as_int64(at, at.input)  # ONNX Runtime requires indices and depth to have the same type
    return [at.emit("OneHot", indices, depth, values.name, axis=axis)]


def whole_number(at: Scope, name: str, *, scalar: bool) -> str:
    """The number that a field holds or names, as a tensor of int64: rank 0, or one element."""
    tensor = at.tensor(name)
    if tensor is None:
        value = getattr(at.layer, name)
        return at.constant(value if scalar else [value], name)
    shape = at.constant([] if scalar else [1], f"{name}_shape")
    return at.emit("Reshape", as_int64(at, tensor), shape)


def indices_of(at: Scope, tensor: str, indices_type: str) -> str:
    """Converts ONNX's int64 indices to the requested type."""
    return tensor if indices_type == "int64" else at.emit("Cast", tensor, to=_INT32)


def non_zero(layer: NonZero, at: Scope) -> list[str]:
    """NonZero."""
    return [indices_of(at, at.emit("NonZero", at.input.name), layer.indices_type)]


def shape(layer: Shape, at: Scope) -> list[str]:
    """Shape."""
    return [at.emit("Shape", at.input.name)]


def constant(layer: Constant, at: Scope) -> list[str]:
    """An initializer."""
    own = at.dims_of_weights(layer.weights, "weights")
    dims = own if layer.shape is None else layer.shape
    if any(dim < 0 for dim in dims):
        at.refuse(f"has shape {list(dims)}; the dims of a constant must be known", "", "shape")
    if layer.dtype is not None:
        dtype = dtype_of(layer.dtype)
    elif isinstance(layer.weights, str):
        dtype = at.parameters.dtype(layer.weights)
    else:
        kind = at.array(layer.weights, "weights").dtype.kind
        dtype = {"f": "float32", "b": "bool"}.get(kind, "int64")
    name = at.weights("weights", dims, "float32" if dtype == "float64" else dtype)
    assert name is not None
    return [name]


def fill(layer: Fill, at: Scope) -> list[str]:
    """Expand of one value; steps as a constant, or as Range when their number is a tensor."""
    if layer.to_type != "float32" and not (layer.alpha.is_integer() and layer.beta.is_integer()):
        at.refuse(f"has fractions in alpha or beta and to_type {layer.to_type}", "", "to_type")
    given = at.tensor("shape")
    if layer.beta == 0:
        first = at.constant(layer.alpha, "alpha", layer.to_type)
        dims = as_int64(at, given) if given else at.constant(layer.shape, "shape")
        made = at.emit("Expand", first, dims)
        if given is not None and given.dims and isinstance(given.dims[0], int):
            at.ranks[made] = given.dims[0]
        return [made]
    if (given is None and len(layer.shape) != 1) or (given and given.dims not in ((1,), None)):
        at.refuse(
            "steps along more than one axis, which has no ONNX form", "give one dim, or beta: 0", "shape"
        )
    if given is None:
        return [_known_steps(layer, at)]
    count = at.emit("Reshape", as_int64(at, given), at.constant([], "scalar"))
    steps = at.emit("Range", at.constant(0, "zero"), count, at.constant(1, "one"))
    if layer.to_type != "int64":
        steps = at.emit("Cast", steps, to=number_of_dtype(layer.to_type))
    scaled = at.emit("Mul", steps, at.constant(layer.beta, "beta", layer.to_type))
    return [at.emit("Add", scaled, at.constant(layer.alpha, "alpha", layer.to_type))]


def _known_steps(layer: Fill, at: Scope) -> str:
    """The steps as a constant. Range is avoided, because ONNX's inference would compute all its elements."""
    import numpy as np

    if not 0 <= layer.shape[0] <= _MOST_STEPS:
        at.refuse(
            f"makes {layer.shape[0]} steps", f"use at most {_MOST_STEPS}, or read them from weights", "shape"
        )
    return at.constant(layer.alpha + layer.beta * np.arange(layer.shape[0]), "steps", layer.to_type)
