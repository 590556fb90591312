"""Operations that slide a window over spatial axes: Conv, ConvTranspose, Pool.

TensorFlow's SAME padding puts the odd element at the end; if sizes are known the padding is computed, so that dilation
makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trtpipe.frontends.uff_format.net import Dims, Misfit, Tensor
from trtpipe.frontends.uff_format.operation import Operation, Rule
from trtpipe.frontends.uff_format.orders import Permutation, inverse

if TYPE_CHECKING:
    from trtpipe.canonical.builder import Attribute

_MOST_SPATIAL = 3


def _spatial(op: Operation, rank: int) -> int:
    """How many spatial axes tensors of this rank have."""
    if not 1 <= rank - 2 <= _MOST_SPATIAL:
        raise Misfit(f"its tensors have {rank} dimensions, and must have 3, 4 or 5")
    return rank - 2


def _input(op: Operation, rank: int) -> tuple[Permutation, Dims]:
    """The order and the canonical dimensions of the first input."""
    dims = op.dims()
    if len(dims) != rank:
        raise Misfit(f"its input '{op.inputs[0].id}' has {len(dims)} dimensions, and must have {rank}")
    order = op.order(0, rank)
    return order, tuple(dims[axis] for axis in inverse(order))


def _same(op: Operation) -> bool:
    """Whether the padding is SAME; a field without a value means valid."""
    found = op.fields.datum("implicit_padding")
    mode = found.value if found is not None else "valid"
    if mode not in ("same", "valid", ""):
        raise op.fields.wrong("implicit_padding", f"is {mode!r}", "it must be same or valid")
    if mode == "same" and any(op.fields.whole_list("padding", ())):
        raise op.fields.wrong("padding", "is given together with an implicit padding")
    return bool(mode == "same")


def _padding(
    op: Operation, dims: Dims, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> dict[str, Attribute]:
    """ONNX's attributes for the padding of a window over canonical `dims`."""
    explicit = op.fields.sizes("padding", len(kernel), 0, 0)
    if not _same(op):
        return {"pads": [*explicit, *explicit]}
    begins, ends = [], []
    for size, window, stride, spread in zip(dims[2:], kernel, strides, dilation, strict=True):
        reach = spread * (window - 1) + 1
        if stride == 1:
            total = reach - 1
        elif isinstance(size, int):
            total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        elif all(one == 1 for one in dilation):
            return {"auto_pad": "SAME_UPPER"}
        else:
            raise Misfit(
                "it has strides, dilation and implicit padding over a size that is open",
                f"fix the sizes of the inputs with inputs: {{NAME: …}}; '{op.inputs[0].id}' is {list(dims)}",
            )
        begins.append(total // 2)
        ends.append(total - total // 2)
    return {"pads": [*begins, *ends]}


def _conv(op: Operation) -> Tensor:
    rank = len(op.dims(1))
    spatial = _spatial(op, rank)
    order, dims = _input(op, rank)
    kernel_order = op.order(1, rank)
    kernel = [_size(op, one) for one in (op.dims(1)[axis] for axis in inverse(kernel_order))]
    groups = op.fields.whole("number_groups", 1)
    strides, dilation = (op.fields.sizes(name, spatial, 1, 1) for name in ("strides", "dilation"))
    padding = _padding(op, dims, kernel[2:], strides, dilation)
    weights = _kernel(op, kernel, kernel_order, groups, dims[1])
    inputs: list[str | None] = [op.net.in_order(op.inputs[0], order), weights]
    return op.canonical(
        "Conv",
        inputs,
        order,
        kernel_shape=kernel[2:],
        strides=strides,
        dilations=dilation,
        group=groups,
        **padding,
    )


def _size(op: Operation, size: int | str | None) -> int:
    if not isinstance(size, int) or size < 1:
        raise Misfit(f"a dimension of its kernel '{op.inputs[1].id}' is {size or 'unknown'}")
    return size


def _kernel(
    op: Operation, kernel: Sequence[int], order: Permutation, groups: int, channels: int | str | None
) -> str:
    """The kernel as ONNX wants it: [outputs, inputs of a group, …].

    A depthwise kernel is stored as [multiplier, channels, …]: output c · multiplier + m is the m-th of channel c.
    """
    outputs, inputs = kernel[:2]
    if groups < 1:
        raise op.fields.wrong("number_groups", f"is {groups}")
    if groups > 1 and inputs == groups and channels in (inputs, None):
        array = op.net.array(op.constant(1, "kernel")).transpose(inverse(order))
        shape = (outputs * inputs, 1, *kernel[2:])
        return op.net.weights(array.swapaxes(0, 1).reshape(shape), f"{op.inputs[1].id}/depthwise")
    if isinstance(channels, int) and inputs * groups != channels:
        by = f" in {groups} groups" if groups > 1 else ""
        raise Misfit(f"its input has {channels} channels, but its kernel reads {inputs}{by}")
    if outputs % groups:
        raise Misfit(f"{outputs} outputs cannot be split into {groups} groups")
    return op.net.in_order(op.inputs[1], order)


def _conv_transpose(op: Operation) -> Tensor:
    rank = len(op.dims(1))
    spatial = _spatial(op, rank)
    order, dims = _input(op, rank)
    kernel_order = op.order(1, rank)
    kernel = [_size(op, one) for one in (op.dims(1)[axis] for axis in inverse(kernel_order))]
    if op.fields.whole("number_groups", 1) != 1:
        raise op.fields.wrong(
            "number_groups", "is not 1", "grouped transposed convolutions are not supported"
        )
    if isinstance(dims[1], int) and dims[1] != kernel[1]:
        raise Misfit(f"its input has {dims[1]} channels, but its kernel reads {kernel[1]}")
    strides, dilation = (op.fields.sizes(name, spatial, 1, 1) for name in ("strides", "dilation"))
    padding = _transposed_padding(op, _output_sizes(op, order), dims, kernel[2:], strides, dilation)
    array = op.net.array(op.constant(1, "kernel")).transpose(inverse(kernel_order))
    weights = op.net.weights(array.swapaxes(0, 1), f"{op.inputs[1].id}/transposed")
    inputs: list[str | None] = [op.net.in_order(op.inputs[0], order), weights]
    return op.canonical(
        "ConvTranspose",
        inputs,
        order,
        kernel_shape=kernel[2:],
        strides=strides,
        dilations=dilation,
        **padding,
    )


def _output_sizes(op: Operation, order: Permutation) -> list[int]:
    """The spatial sizes of the result, from the third input: the whole shape, or only the spatial sizes."""
    rank, ints = len(order), op.inputs[2].ints
    if ints is not None and len(ints) == rank:
        sizes = tuple(ints[axis] for axis in inverse(order))[2:]
    else:
        sizes = ints if ints is not None and len(ints) == rank - 2 else (None,)
    found = [size for size in sizes if size is not None]
    if len(found) < len(sizes) or any(size < 1 for size in found):
        raise Misfit(
            f"the sizes of its result, '{op.inputs[2].id}', are not known",
            "fix the sizes of the inputs with inputs: {NAME: …}; the batch may stay open",
        )
    return found


def _transposed_padding(
    op: Operation, sizes: Sequence[int], dims: Dims, kernel: Sequence[int], strides: Sequence[int],
    dilation: Sequence[int],
) -> dict[str, Attribute]:  # fmt: skip
    """The padding of the convolution that maps `sizes` to `dims`, which a transposed one reverses."""
    explicit = op.fields.sizes("padding", len(kernel), 0, 0)
    same = _same(op)
    begins, ends, more = [], [], []
    for axis, size in enumerate(sizes):
        stride, reach, given = strides[axis], dilation[axis] * (kernel[axis] - 1) + 1, explicit[axis]
        small = -(-size // stride) if same else (size + 2 * given - reach) // stride + 1
        if small < 1 or (isinstance(dims[2 + axis], int) and dims[2 + axis] != small):
            raise Misfit(f"its result cannot have the sizes {list(sizes)}: its input is {list(dims)}")
        full = (small - 1) * stride + reach
        total = max(full - size, 0) if same else 2 * given
        begins.append(total // 2)
        ends.append(total - total // 2)
        more.append(size - (full - total))
    return {"pads": [*begins, *ends], "output_padding": more}


def _pool(op: Operation) -> Tensor:
    func = op.fields.text("func")
    if func not in ("max", "avg"):
        raise op.fields.wrong("func", f"is '{func}'", "it must be max or avg")
    kernel = op.fields.sizes("kernel", None, 1, 1)
    spatial = _spatial(op, len(kernel) + 2)
    order, dims = _input(op, len(kernel) + 2)
    strides = op.fields.sizes("strides", spatial, 1, 1)
    padding = _padding(op, dims, kernel, strides, (1,) * spatial)
    operator = {"max": "MaxPool", "avg": "AveragePool"}[func]
    inputs: list[str | None] = [op.net.in_order(op.inputs[0], order)]
    return op.canonical(operator, inputs, order, kernel_shape=kernel, strides=strides, **padding)


RULES = {
    "Conv": Rule(_conv, inputs=2),
    "ConvTranspose": Rule(_conv_transpose, inputs=3),
    "Pool": Rule(_pool),
}
