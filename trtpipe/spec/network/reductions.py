"""Layers that combine elements along axes: reductions, products, normalizations, attention, NMS."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import Number
from trtpipe.spec.network.fields import (
    Axes,
    IndexType,
    Ints,
    ManyInputs,
    OneAxis,
    OneInput,
    Operand,
    TensorName,
    TensorOrInt,
    WeightRef,
)


class Reduce(OneInput):
    """TensorRT's add_reduce, IReduceLayer → ONNX ReduceSum, ReduceProd, ReduceMax, ReduceMin or ReduceMean."""

    layer: Literal["reduce"]
    """Always `reduce`."""
    op: Literal["sum", "prod", "max", "min", "avg", "none"]
    """The operation; `none` leaves the input as it is."""
    axes: Axes
    """The axes (TensorRT has them as a bit mask); negative ones count from the end."""
    keep_dims: bool = False
    """Keep the reduced axes with length 1."""


class SoftMax(OneInput):
    """TensorRT's add_softmax, ISoftMaxLayer → ONNX Softmax; keeps the shape."""

    layer: Literal["softmax"]
    """Always `softmax`."""
    axes: OneAxis
    """The axis, in a list with one entry (TensorRT has it as a bit mask)."""


class TopK(OneInput):
    """TensorRT's add_topk, ITopKLayer → ONNX TopK. Two outputs, values and indices, with k on the axis."""

    output_count: ClassVar[int] = 2

    layer: Literal["topk"]
    """Always `topk`."""
    op: Literal["max", "min"]
    """Whether the largest or the smallest elements are selected."""
    k: TensorOrInt
    """The number of elements: up to 3840."""
    axes: OneAxis
    """The axis, in a list with one entry (TensorRT has it as a bit mask)."""
    indices_type: IndexType = "int32"
    """The data type of the indices."""


class Cumulative(OneInput):
    """TensorRT's add_cumulative, ICumulativeLayer → ONNX CumSum; keeps the shape."""

    layer: Literal["cumulative"]
    """Always `cumulative`."""
    op: Literal["sum"] = "sum"
    """The operation."""
    axis: int
    """The axis along which it runs."""
    exclusive: bool = False
    """Exclude the element itself."""
    reverse: bool = False
    """Accumulate from the end."""


class MatrixMultiply(ManyInputs):
    """TensorRT's add_matrix_multiply, IMatrixMultiplyLayer → ONNX MatMul, with Transpose before it.

    Two inputs …xMxK and …xKxN → …xMxN; the leading axes broadcast. With `vector` an input is …xK, and its matrix axis
    is left out of the output.
    """

    layer: Literal["matrix_multiply"]
    """Always `matrix_multiply`."""
    op0: Literal["none", "transpose", "vector"] = "none"
    """How the first input is used: unchanged, with its last two axes exchanged, or as vectors."""
    op1: Literal["none", "transpose", "vector"] = "none"
    """How the second input is used."""


class Einsum(ManyInputs):
    """TensorRT's add_einsum, IEinsumLayer → ONNX Einsum."""

    layer: Literal["einsum"]
    """Always `einsum`."""
    equation: Annotated[str, Field(min_length=1)]
    """A letter for each axis of each input, `ij,jk->ik`; TensorRT does not support `...` or a letter twice in one
    input."""


class Normalization(OneInput):
    """TensorRT's add_normalization_v2, INormalizationLayer; (x - mean) / sqrt(variance + epsilon) * scale + bias.

    Input NxCx…, whose shape it keeps. ONNX: batch → BatchNormalization with the given mean and variance (TensorRT's
    parsers make a scale layer of it), layer → LayerNormalization over the last axes, group → GroupNormalization,
    instance → InstanceNormalization, rms → RMSNormalization over the last axes, with neither mean nor bias.
    """

    layer: Literal["normalization"]
    """Always `normalization`."""
    type: Literal["batch", "layer", "group", "instance", "rms"]
    """The elements over which mean and variance are computed."""
    scale: WeightRef | None = None
    """The factor: C weights, or the dims of `axes` for layer and rms; default: 1."""
    bias: WeightRef | None = None
    """The bias: C weights, or the dims of `axes` for layer; default: 0."""
    mean: WeightRef | None = None
    """Batch only: C means."""
    variance: WeightRef | None = None
    """Batch only: C variances."""
    axes: Ints | None = None
    """Layer and rms only: the last axes of the input; default: the last axis."""
    num_groups: Annotated[int, Field(ge=1)] = 1
    """Group only: the number of groups of channels."""
    epsilon: Annotated[Number, Field(gt=0)] = 1e-5
    """The number that is added to the variance."""

    @model_validator(mode="after")
    def _what_its_type_takes(self) -> Normalization:
        given = {name for name in ("mean", "variance") if getattr(self, name) is not None}
        if self.type == "batch" and len(given) < 2:
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} is a batch normalization; give mean and variance"
            )
        if self.type != "batch" and given:
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} computes mean and variance; they belong to type: batch"
            )
        if self.type not in ("layer", "rms") and self.axes is not None:
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} has axes; they belong to type: layer and rms"
            )
        if self.type != "group" and self.num_groups != 1:
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} has num_groups; they belong to type: group"
            )
        if self.type == "rms" and self.bias is not None:
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} has a bias; add it with an elementwise layer"
            )
        return self


class Attention(ManyInputs):
    """TensorRT's add_attention_v2, IAttention → ONNX Attention (opset 23), written out as MatMul and Softmax.

    Inputs: query NxheadsxSxsize, key NxheadsxTxsize, value NxheadsxTxsize2 → NxheadsxSxsize2. The heads of key and
    value may be fewer, when those of the query are a multiple of them.
    """

    layer: Literal["attention"]
    """Always `attention`."""
    norm_op: Literal["softmax", "none"] = "softmax"
    """The normalization of the products of queries and keys."""
    causal_kind: Literal["none", "upper_left", "lower_right"] = "none"
    """Whether a query sees only the keys up to its own position, aligned with the first or with the last key."""
    mask: TensorName | None = None
    """A tensor that broadcasts to NxheadsxSxT: booleans (true: visible), or numbers to add."""
    scale: Annotated[Number, Field(gt=0)] = 1.0
    """The factor of the products; IAttention has none, so write it here: 0.125 for a head size of 64."""

    @model_validator(mode="after")
    def _one_mask(self) -> Attention:
        if self.mask is not None and self.causal_kind != "none":
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r} has a mask and a causal_kind; TensorRT supports only one of them",
            )
        return self


class NMS(ManyInputs):
    """TensorRT's add_nms, INMSLayer → ONNX NonMaxSuppression.

    Inputs: boxes NxBx4, scores NxBxclasses. Two outputs: countx3 indices (batch, class, box), and the count.
    """

    output_count: ClassVar[int] = 2

    layer: Literal["nms"]
    """Always `nms`."""
    max_output_boxes_per_class: TensorOrInt
    """The maximum number of boxes kept for each class and batch item."""
    iou_threshold: Operand = 0.0
    """Boxes that overlap a better one by more than this intersection over union (0 to 1) are dropped."""
    score_threshold: Operand = 0.0
    """Boxes need a score above this."""
    bounding_box_format: Literal["corner_pairs", "center_sizes"] = "corner_pairs"
    """Two opposite corners, or centre and sizes."""
    indices_type: IndexType = "int32"
    """The data type of the indices."""
