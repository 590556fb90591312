"""Layers that move elements: shuffle, flatten, concatenation, slice, gather, scatter, constants and the like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import Number
from trtpipe.spec.network.fields import (
    Axes,
    DType,
    IndexType,
    Ints,
    Layer,
    ManyInputs,
    OneInput,
    Operand,
    TensorOrDims,
    TensorOrInt,
    WeightRef,
)


class Shuffle(OneInput):
    """TensorRT's add_shuffle, IShuffleLayer → ONNX Transpose, Reshape, Transpose; each only if given."""

    layer: Literal["shuffle"]
    """Always `shuffle`."""
    first_transpose: Ints | None = None
    """The order of the input's axes before reshaping: axis i of the result is the input's axis first_transpose[i]."""
    reshape_dims: TensorOrDims | None = None
    """The new dims: at most one may be -1 and is inferred, and 0 copies the dim (see zero_is_placeholder)."""
    second_transpose: Ints | None = None
    """The order of the axes after reshaping."""
    zero_is_placeholder: bool = True
    """Whether 0 in reshape_dims copies the input's dim, or is a dimension of length 0."""


class Squeeze(OneInput):
    """TensorRT's add_squeeze, ISqueezeLayer → ONNX Squeeze; the axes must be of length 1."""

    layer: Literal["squeeze"]
    """Always `squeeze`."""
    axes: Axes
    """The axes to remove; negative ones count from the end."""


class Unsqueeze(OneInput):
    """TensorRT's add_unsqueeze, IUnsqueezeLayer → ONNX Unsqueeze."""

    layer: Literal["unsqueeze"]
    """Always `unsqueeze`."""
    axes: Axes
    """The positions of the new axes of length 1 in the output; negative ones count from its end."""


class Flatten(OneInput):
    """IShuffleLayer, as TensorRT's own parsers flatten → ONNX Flatten.

    Two axes remain: those before `axis`, and those from it on.
    """

    layer: Literal["flatten"]
    """Always `flatten`."""
    axis: int = 1
    """The first axis of the second part."""


class Concatenation(ManyInputs):
    """TensorRT's add_concatenation, IConcatenationLayer → ONNX Concat. Sizes are equal except on one axis."""

    layer: Literal["concatenation"]
    """Always `concatenation`."""
    axis: int
    """The axis along which they are concatenated; negative ones count from the end."""


class Slice(OneInput):
    """TensorRT's add_slice, ISliceLayer → ONNX Slice, with Pad before it for elements outside, Expand after it where
    the stride is 0; a Gather per axis for other modes, and for backward steps if dims are tensors.

    Element i of the output is the input's element start + i * stride, on each axis.
    """

    layer: Literal["slice"]
    """Always `slice`."""
    start: TensorOrDims
    """The first element, one number for each axis (or each of `axes`)."""
    shape: TensorOrDims
    """The output's dims, one for each axis (or each of `axes`)."""
    stride: TensorOrDims | None = None
    """The step, one number for each axis (or each of `axes`); default: 1. 0 repeats one element."""
    axes: Ints | None = None
    """The axes that are sliced; default: all."""
    mode: Literal["strict_bounds", "wrap", "clamp", "fill", "reflect"] = "strict_bounds"
    """The values outside the input: an error, the input repeated, its edge, `fill`, or the mirrored input."""
    fill: Number | None = None
    """The value outside the input in mode `fill` (TensorRT's fifth input); default: 0."""

    @model_validator(mode="after")
    def _fill_for_fill(self) -> Slice:
        if self.fill is not None and self.mode != "fill":
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} has a value to fill with; write mode: fill"
            )
        return self


class Gather(ManyInputs):
    """TensorRT's add_gather_v2, IGatherLayer → ONNX Gather, GatherElements or GatherND. Inputs: data, indices.

    default: the indices' shape replaces `axis`. element: indices of the data's rank; the output has their
    shape. nd: the indices' last axis addresses the data's axes after num_elementwise_dims.
    """

    layer: Literal["gather"]
    """Always `gather`."""
    mode: Literal["default", "element", "nd"] = "default"
    """What an index refers to."""
    axis: int = 0
    """The data's axis; not for mode nd."""
    num_elementwise_dims: Annotated[int, Field(ge=0)] = 0
    """The number of leading batch axes of data and indices; only in mode nd, because ONNX has no such Gather."""


class Scatter(ManyInputs):
    """TensorRT's add_scatter, IScatterLayer → ONNX ScatterElements or ScatterND. Inputs: data, indices, updates."""

    layer: Literal["scatter"]
    """Always `scatter`."""
    mode: Literal["element", "nd"]
    """What an index refers to: a position on `axis`, or positions on the leading axes."""
    axis: int = 0
    """The data's axis, in mode element."""


class ReverseSequence(ManyInputs):
    """TensorRT's add_reverse_sequence, IReverseSequenceLayer → ONNX ReverseSequence. Inputs: data, lengths (N).

    The first length[i] elements of each sequence are reversed, the rest is unchanged.
    """

    layer: Literal["reverse_sequence"]
    """Always `reverse_sequence`."""
    batch_axis: int = 1
    """The axis of the sequences: 0 or 1."""
    sequence_axis: int = 0
    """The axis along which they run: 1 or 0."""


class OneHot(OneInput):
    """TensorRT's add_one_hot, IOneHotLayer → ONNX OneHot. Indices (integers) → one more axis of length `depth`."""

    layer: Literal["one_hot"]
    """Always `one_hot`."""
    values: Operand = (0.0, 1.0)
    """The values of the off and on positions; the output has their data type."""
    depth: TensorOrInt
    """The number of classes."""
    axis: int = -1
    """The position of the new axis in the output."""


class NonZero(OneInput):
    """TensorRT's add_non_zero, INonZeroLayer → ONNX NonZero. The output is rank x count, row-major."""

    layer: Literal["non_zero"]
    """Always `non_zero`."""
    indices_type: IndexType = "int32"
    """The output's data type."""


class Shape(OneInput):
    """TensorRT's add_shape, IShapeLayer → ONNX Shape. The output is a 1-D int64 tensor of the input's dims."""

    layer: Literal["shape"]
    """Always `shape`."""


class Constant(Layer):
    """TensorRT's add_constant, IConstantLayer → an ONNX initializer."""

    layer: Literal["constant"]
    """Always `constant`."""
    weights: WeightRef
    """The values: weights by name, or inline."""
    shape: Ints | None = None
    """The dims; default: the weights' own (a `.wts` file has none)."""
    dtype: DType | None = None
    """The data type; default: the weights' own, float32 for inline fractions, int64 for inline integers."""


class Fill(Layer):
    """TensorRT's add_fill, IFillLayer → ONNX Expand; with steps, an initializer or Range.

    Element i is alpha + i * beta.
    """

    layer: Literal["fill"]
    """Always `fill`."""
    shape: TensorOrDims
    """The output's dims; one only, unless `beta` is 0."""
    operation: Literal["linspace", "random_uniform", "random_normal"] = "linspace"
    """linspace; random numbers are rejected, because ONNX has no form with reproducible outputs."""
    alpha: Number = 0.0
    """The first value."""
    beta: Number = 0.0
    """The step."""
    to_type: Literal["float32", "int32", "int64"] = "float32"
    """The output's data type."""

    @model_validator(mode="after")
    def _not_random(self) -> Fill:
        if self.operation != "linspace":
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r}: {self.operation} yields different outputs each time; "
                "generate the numbers once and read them from a weights file",
            )
        return self
