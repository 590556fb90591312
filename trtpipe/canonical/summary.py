"""Summarises a model for a report: inputs, outputs, operators, weights.

Reads a skeleton's proto and never a weight. Whether a toolchain can build these operators is decided elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import dtype_name, nbytes_of, nodes_of, tensors_of
from trtpipe.json_values import Malformed, integer_in, list_in, objects_in, text_in, texts_in

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json, JsonObject

Dim = int | str | None
"""A fixed size, the name of a symbolic one, or None where the model says nothing."""

ONNX_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training"})
"""Domains whose operators the ONNX standard defines."""

DATA_DEPENDENT = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "StringSplit"})
"""Standard operators whose output shape depends on values, not shapes alone (ONNX operator schemas)."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One input or output; `dims` is None when not even the rank is known."""

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None

    @property
    def dynamic_axes(self) -> tuple[int, ...]:
        """The axes without a fixed size."""
        return tuple(axis for axis, dim in enumerate(self.dims or ()) if not isinstance(dim, int))


@dataclass(frozen=True, slots=True)
class Weights:
    """The number of elements and bytes of one dtype in initializers and constants."""

    dtype: str
    elements: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A summary of a model; counts are sorted by name, as are domains and functions."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opsets: tuple[tuple[str, int], ...]
    ir_version: int
    producer: str
    operators: tuple[tuple[str, int], ...]
    weights: tuple[Weights, ...]
    functions: tuple[str, ...]
    custom_domains: tuple[str, ...]
    data_dependent: tuple[str, ...]

    @property
    def opset(self) -> int | None:
        """The version of the standard operators; None when the model imports none."""
        return dict(self.opsets).get("")

    @property
    def weight_bytes(self) -> int:
        """The bytes of all weights."""
        return sum(item.nbytes for item in self.weights)

    @property
    def parameters(self) -> int:
        """The elements of all weights."""
        return sum(item.elements for item in self.weights)

    def to_json(self) -> dict[str, Json]:
        """This summary as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: JsonObject) -> ModelSummary:
        """The summary that `to_json` wrote, lists turned back into tuples. Raises Malformed."""
        return cls(
            inputs=tuple(_info_of(item) for item in objects_in(record, "inputs")),
            outputs=tuple(_info_of(item) for item in objects_in(record, "outputs")),
            opsets=_counted(record, "opsets"),
            ir_version=integer_in(record, "ir_version"),
            producer=text_in(record, "producer"),
            operators=_counted(record, "operators"),
            weights=tuple(_weights_of(item) for item in objects_in(record, "weights")),
            functions=tuple(texts_in(record, "functions")),
            custom_domains=tuple(texts_in(record, "custom_domains")),
            data_dependent=tuple(texts_in(record, "data_dependent")),
        )


def summarize(proto: onnx.ModelProto) -> ModelSummary:
    """The facts of a model or skeleton; inputs that are also initializers (IR 3) are left out."""
    given = {tensor.name for tensor in proto.graph.initializer}
    operators = Counter(_operator(node) for node in nodes_of(proto))
    local = {function.domain for function in proto.functions}
    domains = {node.domain for node in nodes_of(proto)} - ONNX_DOMAINS - local
    return ModelSummary(
        inputs=tuple(tensor_info(value) for value in proto.graph.input if value.name not in given),
        outputs=tuple(tensor_info(value) for value in proto.graph.output),
        opsets=tuple(sorted((_domain(item.domain), item.version) for item in proto.opset_import)),
        ir_version=proto.ir_version,
        producer=" ".join(filter(None, map(_text, (proto.producer_name, proto.producer_version)))),
        operators=tuple(sorted(operators.items())),
        weights=_weights(proto),
        functions=tuple(sorted(f"{function.domain}::{function.name}" for function in proto.functions)),
        custom_domains=tuple(sorted(domains)),
        data_dependent=tuple(sorted(DATA_DEPENDENT & operators.keys())),
    )


def _text(said: str | bytes) -> str:
    """Text that protobuf returned as bytes because it is not UTF-8; nothing depends on it."""
    return said if isinstance(said, str) else said.decode(errors="replace")


def tensor_info(value: onnx.ValueInfoProto) -> TensorInfo:
    """A value's name, dtype and dims; a negative size means that the exporter did not know."""
    kind = value.type.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return TensorInfo(value.name, (kind or "undefined").removesuffix("_type"), None)
    tensor = getattr(value.type, kind)
    dims = tuple(_dim(dim) for dim in tensor.shape.dim) if tensor.HasField("shape") else None
    return TensorInfo(value.name, dtype_name(tensor.elem_type), dims)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None
    return dim.dim_param or None


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _operator(node: onnx.NodeProto) -> str:
    domain = _domain(node.domain)
    return f"{domain}::{node.op_type}" if domain else str(node.op_type)


def _weights(proto: onnx.ModelProto) -> tuple[Weights, ...]:
    elements: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    for tensor in tensors_of(proto):
        dtype = dtype_name(tensor.data_type)
        elements[dtype] += math.prod(tensor.dims)
        nbytes[dtype] += nbytes_of(tensor) if dtype not in ("string", "undefined") else 0
    return tuple(Weights(dtype, elements[dtype], nbytes[dtype]) for dtype in sorted(elements))


def _info_of(record: JsonObject) -> TensorInfo:
    dims: list[Dim] = []
    known = record.get("dims") is not None
    for dim in list_in(record, "dims") if known else ():
        if not isinstance(dim, (int, str, type(None))):
            raise Malformed("a dim is neither a size nor a name")
        dims.append(dim)
    return TensorInfo(text_in(record, "name"), text_in(record, "dtype"), tuple(dims) if known else None)


def _weights_of(record: JsonObject) -> Weights:
    counts = integer_in(record, "elements"), integer_in(record, "nbytes")
    return Weights(text_in(record, "dtype"), *counts)


def _counted(record: JsonObject, name: str) -> tuple[tuple[str, int], ...]:
    """Pairs of a text and a number, as JSON has them: lists of two."""
    found: list[tuple[str, int]] = []
    for pair in list_in(record, name):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise Malformed(f"an entry of {name} is not a pair")
        what, count = pair
        if not isinstance(what, str) or not isinstance(count, int):
            raise Malformed(f"an entry of {name} is not a pair of a name and a number")
        found.append((what, count))
    return tuple(found)
