"""The number of arithmetic operations of a node, by operator, at known shapes. Reads no weight.

A multiplication and an addition are two operations; biases, scales, masks and softmax are left out, as is everything
elementwise. With ONNX's names of operands:

    Conv, ConvInteger, QLinearConv, DeformConv   2 · elements(y) · C_in/group · Π kernel
    ConvTranspose                                2 · elements(x) · C_out/group · Π kernel
    Gemm, MatMul, MatMulInteger, QLinearMatMul   2 · elements(y) · K
    Einsum of two operands                       2 · Π sizes of all indices
    RNN, GRU, LSTM                               2 · S · B · (elements(W) + elements(R)), whose gates stand in W and R
    Attention                                    2 · B · heads · S · L · (D_qk + D_v): Q·K and the sum over V

The first two formulas are from He and Sun, "Convolutional Neural Networks at Constrained Time Cost" (2015), times two;
products are Golub and Van Loan's "Matrix Computations", 1.1; recurrent and attention operators are the products that
the ONNX operator schemas define them by.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of
from trtpipe.canonical.inference import Inferred
from trtpipe.shapes import Shape

if TYPE_CHECKING:
    import onnx


class Shapes:
    """The shapes of a graph's values and weights where every dim is known."""

    def __init__(self, graph: onnx.GraphProto, inferred: Inferred) -> None:
        self.weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.inferred = inferred

    def of(self, name: str) -> Shape | None:
        """A value's shape when every dim is known."""
        if name in self.weights:
            return self.weights[name]
        dims = self.inferred.shape(name)
        sizes = tuple(dim for dim in dims or () if isinstance(dim, int))
        return sizes if dims is not None and len(sizes) == len(dims) else None

    def operand(self, node: onnx.NodeProto, index: int) -> Shape | None:
        """The shape of one of a node's inputs; None when the input is absent or its shape unknown."""
        return self.of(node.input[index]) if index < len(node.input) and node.input[index] else None


Count = Callable[["onnx.NodeProto", Shapes], "int | None"]


def _convolution(weight: int) -> Count:
    def count(node: onnx.NodeProto, shapes: Shapes) -> int | None:
        y, w = shapes.of(node.output[0]), shapes.operand(node, weight)
        return None if y is None or w is None else 2 * math.prod(y) * math.prod(w[1:])

    return count


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    x, w = shapes.operand(node, 0), shapes.operand(node, 1)
    return None if x is None or w is None else 2 * math.prod(x) * math.prod(w[1:])


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    y, a = shapes.of(node.output[0]), shapes.operand(node, 0)
    return None if y is None or not a else 2 * math.prod(y) * a[-1]


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    y, a = shapes.of(node.output[0]), shapes.operand(node, 0)
    if y is None or a is None or len(a) != 2:
        return None
    return 2 * math.prod(y) * a[0 if integer_of(node, "transA") else 1]


_TERM = re.compile(r"[A-Za-z]*")


def _einsum(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """None for an ellipsis (unnamed indices), and for more than two operands (unknown order of evaluation)."""
    equation = attribute_of(node, "equation") or b""
    text = (equation.decode(errors="replace") if isinstance(equation, bytes) else str(equation)).replace(
        " ", ""
    )
    terms = text.partition("->")[0].split(",")
    if len(terms) == 1:
        return 0  # one operand: a transpose, a sum or a diagonal needs no products
    found = [shapes.operand(node, index) for index in range(len(terms))]
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, found, strict=True):
        if shape is None or not _TERM.fullmatch(term) or len(term) != len(shape):
            return None
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 0))
    return 2 * math.prod(sizes.values()) if len(terms) == 2 else None


def _recurrent(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    x, w, r = (shapes.operand(node, index) for index in range(3))
    if x is None or w is None or r is None or len(x) != 3:
        return None
    return 2 * x[0] * x[1] * (math.prod(w) + math.prod(r))


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    """Q is [B, heads, S, D], or [B, S, heads · D]; K and V likewise; a past key lengthens L."""
    q, k, v, past = (shapes.operand(node, index) for index in (0, 1, 2, 4))
    if q is None or k is None or v is None or not len(q) == len(k) == len(v):
        return None
    length = k[-2] + (past[2] if past is not None and len(past) == 4 else 0)
    if len(q) == 4:
        return 2 * q[0] * q[1] * q[2] * length * (q[3] + v[3])
    heads = integer_of(node, "q_num_heads"), integer_of(node, "kv_num_heads")
    if len(q) != 3 or min(heads) <= 0:
        return None
    return 2 * q[0] * q[1] * length * (q[2] + heads[0] * v[2] // heads[1])


PRODUCTS: Mapping[str, Count] = {
    "Conv": _convolution(1),
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
"""What searches and thread counts go by: what it holds enters what they yield, so it grows with their versions only."""

COUNTED: Mapping[str, Count] = {
    **PRODUCTS,
    "ConvInteger": _convolution(1),
    "DeformConv": _convolution(1),
    "QLinearConv": _convolution(3),
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Attention": _attention,
}
"""Every operator that is counted."""
