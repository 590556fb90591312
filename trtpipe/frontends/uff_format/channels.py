"""Operations with a channel axis: FullyConnected, BatchNorm, LRN, Softmax."""

from __future__ import annotations

from trtpipe.frontends.uff_format.net import Misfit, Tensor
from trtpipe.frontends.uff_format.operation import Operation, Rule
from trtpipe.frontends.uff_format.orders import inverse, is_identity

_LARGEST_RADIUS = 1 << 20


def _fully_connected(op: Operation) -> Tensor:
    """x [N, C] and weights [K, C] (or turned, as the orders say) to [N, K]."""
    for index, tensor in enumerate(op.inputs):
        if len(op.dims(index)) != 2:
            raise Misfit(f"its input '{tensor.id}' has {len(op.dims(index))} dimensions, and must have 2")
    op.alike()
    turned, as_onnx = (not is_identity(op.order(index, 2)) for index in (0, 1))
    x, weights = op.plain(0), op.plain(1)
    return op.emit("Gemm", [x, weights], transA=int(turned), transB=int(not as_onnx))


def _batch_norm(op: Operation) -> Tensor:
    rank = len(op.dims())
    order = op.order(0, rank)
    op.alike()
    for index in range(1, 5):
        if len(op.dims(index)) != 1:
            raise Misfit(
                f"its input '{op.inputs[index].id}' has {len(op.dims(index))} dimensions, and must have 1"
            )
    x = op.net.in_order(op.inputs[0], order)
    inputs: list[str | None] = [x, *(op.plain(index) for index in range(1, 5))]
    return op.canonical("BatchNormalization", inputs, order, epsilon=op.fields.number("epsilon"))


def _lrn(op: Operation) -> Tensor:
    """TensorFlow's: x / (k + alpha · sum of squares)^beta over window_size channels on either side.

    ONNX divides alpha by the whole window.
    """
    rank = len(op.dims())
    order = op.order(0, rank)
    radius = op.fields.whole("window_size")
    if not 0 <= radius <= _LARGEST_RADIUS or rank < 3:
        raise Misfit(f"its window is {radius} and its input has {rank} dimensions")
    size = 2 * radius + 1
    return op.canonical(
        "LRN",
        [op.net.in_order(op.inputs[0], order)],
        order,
        size=size,
        alpha=op.fields.number("alpha") * size,
        beta=op.fields.number("beta"),
        bias=op.fields.number("k"),
    )


def _softmax(op: Operation) -> Tensor:
    """Axis 0 is the channel axis, because UFF does not count the batch here; any other is one of the file's layout."""
    rank = len(op.dims())
    if rank == 0:
        raise Misfit("its input has no dimensions")
    order, given = op.order(0, rank), op.fields.whole("axis", 0)
    channel = inverse(order)[1] if rank > 1 else 0
    axis = op.axis(given, rank) if given else channel
    layout = op.layout()
    (x,) = op.in_layout(layout)
    return op.canonical("Softmax", [x], layout, axis=layout[axis] if layout else axis)


RULES = {
    "FullyConnected": Rule(_fully_connected, inputs=2),
    "BatchNorm": Rule(_batch_norm, inputs=5),
    "LRN": Rule(_lrn),
    "Softmax": Rule(_softmax),
}
