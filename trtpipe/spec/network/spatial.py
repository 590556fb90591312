"""Layers over spatial axes: convolution, deconvolution, pooling, padding, LRN, resize, grid sample.

N is the batch, C the channels, and DxHxW, HxW or L the spatial axes; a spatial attribute has one number for each.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, Number
from trtpipe.spec.network.fields import (
    Ints,
    ManyInputs,
    OneInput,
    PaddingMode,
    Pads,
    Sizes,
    TensorName,
    TensorOrDims,
    WeightRef,
    Window,
)


class _Windowed(OneInput):
    """A layer that slides a window over the spatial axes."""

    stride: Sizes | None = None
    """The window's step on each spatial axis; default: 1."""
    padding: Pads | None = None
    """Zeros before and after each spatial axis; pre_padding and post_padding in one."""
    pre_padding: Pads | None = None
    """Zeros before each spatial axis; default: 0."""
    post_padding: Pads | None = None
    """Zeros after each spatial axis; default: 0."""
    padding_mode: PaddingMode = "explicit_round_down"
    """How the output's size is rounded, or `same_upper`, `same_lower`: the padding that yields ceil(size / stride)."""

    @model_validator(mode="after")
    def _one_padding(self) -> _Windowed:
        given = self.pre_padding is not None or self.post_padding is not None
        if self.padding is not None and given:
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r} has padding, and pre_padding or post_padding; give one or the other",
            )
        if self.padding_mode.startswith("same") and (given or self.padding is not None):
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r} has padding_mode {self.padding_mode}, which takes precedence over padding; "
                "leave one of them out",
            )
        return self


class _Kernelled(_Windowed):
    """A layer whose window is multiplied by a kernel: weights, or a tensor."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["kernel"]}, {"required": ["kernel_tensor"]}]}
    )

    kernel_tensor: TensorName | None = None
    """Instead of `kernel`: a tensor with these dims, for example from a dequantize layer (TensorRT's second input)."""

    @model_validator(mode="after")
    def _one_kernel(self) -> _Kernelled:
        if (getattr(self, "kernel") is None) == (self.kernel_tensor is None):  # noqa: B009 - each layer has its own
            raise WrongValue(
                Code.KEY_NEEDED,
                f"layer {self.name!r} needs a kernel; give either kernel or kernel_tensor",
            )
        return self


class Convolution(_Kernelled):
    """TensorRT's add_convolution_nd, IConvolutionLayer → ONNX Conv.

    Input NxCxspatial (1-D, 2-D or 3-D) → Nxnum_output_mapsxspatial. With explicit padding a spatial size becomes
    floor((size + padding - dilation * (kernel - 1) - 1) / stride) + 1, ceil instead of floor with `explicit_round_up`
    (the end is then padded as needed).
    """

    layer: Literal["convolution"]
    """Always `convolution`."""
    num_output_maps: Annotated[int, Field(ge=1)]
    """The number of output channels."""
    kernel_size: Window
    """The kernel's size on each spatial axis."""
    kernel: WeightRef | None = None
    """Weights num_output_maps x C/num_groups x kernel_size, or flat in that order."""
    bias: WeightRef | None = None
    """Weights of num_output_maps; none when left out."""
    num_groups: Annotated[int, Field(ge=1)] = 1
    """Input and output channels are divided into this many groups, each with its own kernels."""
    dilation: Sizes | None = None
    """The step within the kernel on each spatial axis; 1 when left out."""


class Deconvolution(_Kernelled):
    """TensorRT's add_deconvolution_nd, IDeconvolutionLayer → ONNX ConvTranspose.

    Input NxCxspatial → Nxnum_output_mapsxspatial; a spatial size becomes
    (size - 1) * stride + dilation * (kernel - 1) + 1 - padding. `padding` is cut off the output. `explicit_round_up`
    has no effect here, because the size is exact; the `same` modes give size * stride.
    """

    layer: Literal["deconvolution"]
    """Always `deconvolution`."""
    num_output_maps: Annotated[int, Field(ge=1)]
    """The number of output channels."""
    kernel_size: Window
    """The kernel's size on each spatial axis."""
    kernel: WeightRef | None = None
    """Weights C x num_output_maps/num_groups x kernel_size, or flat in that order."""
    bias: WeightRef | None = None
    """Weights of num_output_maps; none when left out."""
    num_groups: Annotated[int, Field(ge=1)] = 1
    """Input and output channels are divided into this many groups, each with its own kernels."""
    dilation: Sizes | None = None
    """The step within the kernel on each spatial axis; 1 when left out."""


class Pooling(_Windowed):
    """TensorRT's add_pooling_nd, IPoolingLayer → ONNX MaxPool or AveragePool; a blend is a weighted sum of both.

    Input NxCxspatial → NxCxspatial, sizes as for a convolution without dilation; `explicit_round_up` rounds up, and a
    last window that would start in the padding is left out. A maximum ignores the padding; an average counts it
    only when `average_count_excludes_padding` is false.
    """

    layer: Literal["pooling"]
    """Always `pooling`."""
    type: Literal["max", "average", "max_average_blend"]
    """The result for a window: its maximum, its average, or (1 - blend_factor) * maximum + blend_factor * average."""
    window_size: Window
    """The window's size on each spatial axis."""
    blend_factor: Annotated[Number, Field(ge=0, le=1)] = 0.0
    """The share of the average in a `max_average_blend`."""
    average_count_excludes_padding: bool = True
    """Divide by the number of elements that are not padding, instead of all in the window."""


class FullyConnected(OneInput):
    """TensorRT's add_fully_connected, IFullyConnectedLayer (until TensorRT 8) → ONNX Gemm, with Reshape around it.

    Input NxC → Nxnum_outputs. The last three of 4 or more axes are flattened, and replaced by
    num_outputsx1x1, as in TensorRT: NxCxHxW → Nxnum_outputsx1x1.
    """

    layer: Literal["fully_connected"]
    """Always `fully_connected`."""
    num_outputs: Annotated[int, Field(ge=1)]
    """The number of output features."""
    kernel: WeightRef
    """Weights num_outputs x input features, or flat in that order."""
    bias: WeightRef | None = None
    """Weights of num_outputs; none when left out."""


class Padding(OneInput):
    """TensorRT's add_padding_nd, IPaddingLayer → ONNX Pad.

    The last axes, as many as there are numbers, are padded with zeros at both ends; a negative number crops.
    """

    layer: Literal["padding"]
    """Always `padding`."""
    pre_padding: Ints
    """Zeros at the start of each of the last axes."""
    post_padding: Ints
    """Zeros at the end of each of the last axes."""

    @model_validator(mode="after")
    def _equally_many(self) -> Padding:
        if len(self.pre_padding) != len(self.post_padding):
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r} has {len(self.pre_padding)} numbers in pre_padding and "
                f"{len(self.post_padding)} in post_padding; give as many in both",
            )
        return self


class LRN(OneInput):
    """TensorRT's add_lrn, ILRNLayer → ONNX LRN. Input NxCx…, the output has its shape.

    x / (k + alpha / window_size * sum of x² over window_size channels around x) ^ beta.
    """

    layer: Literal["lrn"]
    """Always `lrn`."""
    window_size: Annotated[int, Field(ge=1, le=15)]
    """The number of channels in a window; odd."""
    alpha: Number
    """The factor of the sum of squares."""
    beta: Annotated[Number, Field(ge=0.01, le=1e5)]
    """The exponent."""
    k: Annotated[Number, Field(ge=1e-5, le=1e10)]
    """The constant that is added to the sum."""

    @model_validator(mode="after")
    def _odd_window(self) -> LRN:
        if self.window_size % 2 == 0:
            raise WrongValue(
                Code.LAYER_KEYS,
                f"layer {self.name!r} has window_size {self.window_size}; TensorRT supports odd sizes",
            )
        return self


class Resize(OneInput):
    """TensorRT's add_resize, IResizeLayer → ONNX Resize.

    A size becomes floor(size * scale), or that in `shape`; batch and channels must keep their sizes in `linear`
    and `cubic` modes, as TensorRT resizes the last three axes at most (two in `cubic`).
    """

    layer: Literal["resize"]
    """Always `resize`."""
    shape: TensorOrDims | None = None
    """The output's dims, one for each axis; -1 keeps the input's."""
    scales: Annotated[tuple[Annotated[Number, Field(gt=0)], ...], AsTuple] | None = None
    """A factor for each axis, instead of `shape`."""
    resize_mode: Literal["nearest", "linear", "cubic"] = "nearest"
    """The interpolation."""
    coordinate_transformation: Literal["align_corners", "asymmetric", "half_pixel"] = "asymmetric"
    """How an output pixel's position in the input is computed."""
    selector_for_single_pixel: Literal["formula", "upper"] = "formula"
    """For an output of one pixel: `formula` as for others, `upper` the input's first pixel (only with half_pixel)."""
    nearest_rounding: Literal["half_up", "half_down", "floor", "ceil"] = "floor"
    """How positions are rounded to the nearest pixel."""
    cubic_coeff: Number = -0.75
    """The coefficient a of the cubic interpolation."""
    exclude_outside: bool = False
    """Give pixels outside the input no weight in the cubic interpolation."""

    @model_validator(mode="after")
    def _shape_or_scales(self) -> Resize:
        if (self.shape is None) == (self.scales is None):
            raise WrongValue(
                Code.LAYER_KEYS, f"layer {self.name!r} needs a size; give either shape or scales"
            )
        return self


class GridSample(ManyInputs):
    """TensorRT's add_grid_sample, IGridSampleLayer → ONNX GridSample.

    Inputs: NxCxHxW, and a grid NxH2xW2x2 of x, y between -1 and 1 → NxCxH2xW2.
    """

    layer: Literal["grid_sample"]
    """Always `grid_sample`."""
    interpolation_mode: Literal["linear", "nearest", "cubic"] = "linear"
    """The interpolation."""
    align_corners: bool = False
    """Whether -1 and 1 are the centres of the outermost pixels instead of their edges."""
    sample_mode: Literal["fill", "clamp", "reflect"] = "fill"
    """The values outside the input: zeros, the nearest pixel, or the mirrored input."""
