"""A layer of each type that is raised, put together by hand, and the line of a spec that it becomes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import ml_dtypes
import numpy as np
import onnxruntime

from tests.networks.networks_by_hand import Network
from trtpipe.layers.network import lower_network
from trtpipe.loader.scalars import flow_yaml
from trtpipe.networks.raised.network import raise_network
from trtpipe.spec.network.network import NetworkOptions
from trtpipe.weights.safetensors import write_safetensors

RNG = np.random.default_rng(3)
PLAIN = {"first_transpose": (0, 1, 2, 3, 4, 5, 6, 7), "second_transpose": (0, 1, 2, 3, 4, 5, 6, 7)}
WINDOW = {
    "stride_nd": (1, 1), "padding_mode": "EXPLICIT_ROUND_DOWN", "pre_padding": (0, 0), "post_padding": (0, 0),
}  # fmt: skip


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X = floats(2, 4, 6, 5)
ROWS = floats(3, 8)


@dataclass(frozen=True)
class Case:
    """A network whose last layer is of the type, and that layer's line in the spec."""

    network: Network
    line: str
    outputs: tuple[str, ...] = ("y",)


def one(
    kind, feed, dims, line, dtype="float32", /, *, inputs=None, constants=None, weights=None, **attributes
):
    """A case of one layer that makes `y` out of the feed and of constants."""
    made = Network(feed)
    for name, array in (constants or {}).items():
        made.constant(name, array)
    made.add(kind, inputs or " ".join([*feed, *(constants or {})]), "y", dims, dtype, **attributes)
    if weights:
        made.weigh(**weights)
    return Case(made, line)


def convolution(kind, kernel, line, dims, **changes):
    about = {
        "num_output_maps": 6,
        "num_groups": 2,
        "kernel_size_nd": (3, 3),
        "dilation_nd": (1, 1),
        **WINDOW,
        **changes,
    }
    return one(kind, {"x": X}, dims, line, weights={"kernel": kernel, "bias": floats(6)}, **about)


def topk():
    made = Network({"x": ROWS})
    made.constant("k", np.array(2, np.int32))
    made.add("TOPK", "x k", "y", (3, 2), op="MIN", k=0, axes=2)
    made.tensor("i", (3, 2), "int32")
    made.layers[-1] = replace(made.layers[-1], outputs=("y", "i"))
    line = "{layer: topk, name: TOPK 1, outputs: [y, i], input: x, op: min, k: 2, axes: [1]}"
    return Case(made, line, ("y", "i"))


def nms():
    made = Network(
        {"b": np.array([[[0, 0, 1, 1], [0, 0, 1, 0.9], [2, 2, 3, 3]]], np.float32), "s": floats(1, 3, 1)}
    )
    made.constant("most", np.array(2, np.int32))
    made.constant("iou", np.array(0.5, np.float32))
    made.add(
        "NMS", "b s most iou", "y", (-1, 3), "int32", bounding_box_format="CORNER_PAIRS", topk_box_limit=5000
    )
    made.tensor("n", (), "int32")
    made.layers[-1] = replace(made.layers[-1], outputs=("y", "n"))
    line = (
        "{layer: nms, name: NMS 2, outputs: [y, n], inputs: [b, s], max_output_boxes_per_class: 2, "
        "iou_threshold: 0.5}"
    )
    return Case(made, line, ("y", "n"))


def dequantize(name, stored, scale, line, **attributes):
    made = Network({"x": floats(4, 32)})
    made.constant("q", stored)
    made.constant("s", scale)
    made.add("DEQUANTIZE", "q s", "w", stored.shape, to_type="float32", **attributes)
    made.add("ELEMENTWISE", "x w", "y", (4, 32), op="SUM")
    return Case(made, line)


def quantized():
    made = Network({"x": X})
    made.constant("s", np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    made.constant("z", np.zeros(4, np.float32))
    made.add("QUANTIZE", "x s z", "q", X.shape, "int8", axis=1, to_type="int8", block_shape=None)
    made.constant("t", np.array(0.05, np.float32))
    made.add("DEQUANTIZE", "q t", "y", X.shape, axis=1, to_type="float32", block_shape=None)
    line = "{layer: quantize, name: QUANTIZE 2, outputs: [q], input: x, scale: [0.1, 0.2, 0.3, 0.4], axis: 1}"
    return Case(made, line)


def by_broadcast(kind, line, shape, axes, groups=1):
    """A normalization whose scale and bias come through a shuffle, as the parser puts one there."""
    made = Network({"x": X})
    for name in ("s", "b"):
        made.constant(name, floats(*[size for size in shape if size > 1]))
        made.add(
            "SHUFFLE", name, f"{name}_wide", shape, reshape_dims=shape, zero_is_placeholder=False, **PLAIN
        )
    made.add(kind, "x s_wide b_wide", "y", X.shape, axes=axes, num_groups=groups, epsilon=1e-3, is_v2=True)
    return Case(made, line)


SLICED = {"start": None, "shape": None, "stride": None, "axes": None}
RESIZED = {
    "resize_mode": "LINEAR", "coordinate_transformation": "HALF_PIXEL", "nearest_rounding": "FLOOR",
    "cubic_coeff": -0.75, "exclude_outside": False, "selector_for_single_pixel": "FORMULA",
}  # fmt: skip
INT4 = RNG.integers(-8, 8, (4, 32)).astype(np.int8)


def packed(values):
    bits = values.reshape(-1).astype(np.uint8) & 15
    return bits[0::2] | (bits[1::2] << 4)


def of_half_a_byte():
    made = Network({"x": floats(4, 32)})
    made.add("CONSTANT", "", "q", (4, 32), "int4", shape=(4, 32))
    ref = made.held(packed(INT4))
    made.layers[-1] = replace(made.layers[-1], weights={"weights": replace(ref, dtype="int4", count=128)})
    made.constant("s", floats(4, 2) ** 2 + 0.1)
    made.add("DEQUANTIZE", "q s", "w", (4, 32), to_type="float32", axis=1, block_shape=None)
    made.add("ELEMENTWISE", "x w", "y", (4, 32), op="SUM")
    line = "{layer: constant, name: CONSTANT 0, outputs: [q], weights: CONSTANT 0, dtype: int4}"
    return Case(made, line)


CASES = {
    "CONVOLUTION": convolution(
        "CONVOLUTION", floats(6, 2, 3, 3),
        "{layer: convolution, name: CONVOLUTION 0, outputs: [y], input: x, kernel_size: [3, 3], stride: [2, 1], "
        "padding: [1, 2], num_output_maps: 6, kernel: CONVOLUTION 0.kernel, bias: [BIAS], num_groups: 2}",
        (2, 6, 3, 7), stride_nd=(2, 1), pre_padding=(1, 2), post_padding=(1, 2),
    ),
    "CONVOLUTION of a tensor": one(
        "CONVOLUTION", {"x": X, "k": floats(3, 4, 2, 2)}, (2, 3, 5, 4),
        "{layer: convolution, name: CONVOLUTION 0, outputs: [y], input: x, kernel_size: [2, 2], num_output_maps: 3, "
        "kernel_tensor: k}",
        num_output_maps=3, num_groups=1, kernel_size_nd=(2, 2), dilation_nd=(1, 1), **WINDOW,
    ),
    "DECONVOLUTION": convolution(
        "DECONVOLUTION", floats(4, 3, 3, 3),
        "{layer: deconvolution, name: DECONVOLUTION 0, outputs: [y], input: x, kernel_size: [3, 3], "
        "pre_padding: [1, 0], post_padding: [0, 1], num_output_maps: 6, kernel: DECONVOLUTION 0.kernel, bias: [BIAS], "
        "num_groups: 2, dilation: [1, 2]}",
        (2, 6, 7, 8), pre_padding=(1, 0), post_padding=(0, 1), dilation_nd=(1, 2),
    ),
    "POOLING": one(
        "POOLING", {"x": X}, (2, 4, 3, 2),
        "{layer: pooling, name: POOLING 0, outputs: [y], input: x, window_size: [2, 2], stride: [2, 2], type: average}",
        type="AVERAGE", window_size_nd=(2, 2), blend_factor=0.0, average_count_excludes_padding=True,
        **{**WINDOW, "stride_nd": (2, 2)},
    ),
    "PADDING": one(
        "PADDING", {"x": X}, (2, 4, 8, 4),
        "{layer: padding, name: PADDING 0, outputs: [y], input: x, pre_padding: [1, 0], post_padding: [1, -1]}",
        pre_padding_nd=(1, 0), post_padding_nd=(1, -1),
    ),
    "LRN": one(
        "LRN", {"x": X}, X.shape,
        "{layer: lrn, name: LRN 0, outputs: [y], input: x, window_size: 3, alpha: 0.1, beta: 0.75, k: 2.0}",
        window_size=3, alpha=0.1, beta=0.75, k=2.0,
    ),
    "RESIZE": one(
        "RESIZE", {"x": X}, (2, 4, 9, 10),
        "{layer: resize, name: RESIZE 0, outputs: [y], input: x, resize_mode: linear, "
        "coordinate_transformation: half_pixel, scales: [1.0, 1.0, 1.5, 2.0]}",
        scales=(1.0, 1.0, 1.5, 2.0), shape=None, **RESIZED,
    ),
    "RESIZE to dims": one(
        "RESIZE", {"x": X}, (2, 4, 9, 10),
        "{layer: resize, name: RESIZE 1, outputs: [y], input: x, resize_mode: linear, "
        "coordinate_transformation: half_pixel, shape: [2, 4, 9, 10]}",
        constants={"d": np.array([2, 4, 9, 10])}, scales=None, shape=None, **RESIZED,
    ),
    "GRID_SAMPLE": one(
        "GRID_SAMPLE", {"x": X, "g": floats(2, 3, 2, 2)}, (2, 4, 3, 2),
        "{layer: grid_sample, name: GRID_SAMPLE 0, outputs: [y], inputs: [x, g], align_corners: true, "
        "sample_mode: clamp}",
        interpolation_mode="LINEAR", align_corners=True, sample_mode="CLAMP",
    ),
    "ACTIVATION": one(
        "ACTIVATION", {"x": X}, X.shape,
        "{layer: activation, name: ACTIVATION 0, outputs: [y], input: x, type: leaky_relu, alpha: 0.1}",
        type="LEAKY_RELU", alpha=float(np.float32(0.1)), beta=0.0,
    ),
    "ELEMENTWISE": one(
        "ELEMENTWISE", {"x": ROWS, "z": floats(1, 8)}, ROWS.shape,
        "{layer: elementwise, name: ELEMENTWISE 0, outputs: [y], inputs: [x, z], op: max}", op="MAX",
    ),
    "UNARY": one(
        "UNARY", {"x": ROWS}, ROWS.shape, "{layer: unary, name: UNARY 0, outputs: [y], input: x, op: erf}", op="ERF"
    ),
    "SCALE": one(
        "SCALE", {"x": X}, X.shape,
        "{layer: scale, name: SCALE 0, outputs: [y], input: x, mode: channel, scale: [1.0, 2.0, 3.0, 4.0], "
        "shift: [0.5, 0.5, 0.5, 0.5]}",
        mode="CHANNEL", channel_axis=1,
        weights={"scale": np.arange(1, 5, dtype=np.float32), "shift": np.full(4, 0.5, np.float32)},
    ),
    "SHUFFLE": one(
        "SHUFFLE", {"x": X}, (5, 2, 24),
        "{layer: shuffle, name: SHUFFLE 0, outputs: [y], input: x, zero_is_placeholder: false, "
        "reshape_dims: [2, 24, 5], second_transpose: [2, 0, 1]}",
        reshape_dims=(2, 24, 5), zero_is_placeholder=False,
        first_transpose=PLAIN["first_transpose"], second_transpose=(2, 0, 1, 0, 0, 0, 0, 0),
    ),
    "CONCATENATION": one(
        "CONCATENATION", {"x": ROWS, "z": floats(2, 8)}, (5, 8),
        "{layer: concatenation, name: CONCATENATION 0, outputs: [y], inputs: [x, z], axis: 0}", axis=0,
    ),
    "GATHER": one(
        "GATHER", {"x": ROWS}, (3, 2),
        "{layer: gather, name: GATHER 1, outputs: [y], inputs: [x, i], axis: 1}",
        constants={"i": np.array([7, 0])}, mode="DEFAULT", axis=1, num_elementwise_dims=0,
    ),
    "SCATTER": one(
        "SCATTER", {"x": ROWS, "i": np.array([[0, 1]]), "u": floats(1, 2)}, ROWS.shape,
        "{layer: scatter, name: SCATTER 0, outputs: [y], inputs: [x, i, u], mode: element, axis: 1}",
        mode="ELEMENT", axis=1,
    ),
    "NON_ZERO": one(
        "NON_ZERO", {"x": np.array([[0, 2], [3, 0]], np.float32)}, (2, -1),
        "{layer: non_zero, name: NON_ZERO 0, outputs: [y], input: x, indices_type: int64}", "int64",
    ),
    "SHAPE": one(
        "SHAPE", {"x": X}, (4,), "{layer: shape, name: SHAPE 0, outputs: [y], input: x}", "int64",
    ),
    "CONSTANT": one(
        "ELEMENTWISE", {"x": ROWS}, ROWS.shape,
        "{layer: constant, name: CONSTANT 0, outputs: [c], weights: [[0.5]], dtype: float32}",
        constants={"c": np.array([[0.5]], np.float32)}, op="SUM",
    ),
    "CONSTANT of many": one(
        "ELEMENTWISE", {"x": ROWS}, ROWS.shape,
        "{layer: constant, name: CONSTANT 0, outputs: [c], weights: CONSTANT 0}",
        constants={"c": floats(3, 8)}, op="SUM",
    ),
    "CONSTANT of int4": of_half_a_byte(),
    "REDUCE": one(
        "REDUCE", {"x": X}, (2, 6),
        "{layer: reduce, name: REDUCE 0, outputs: [y], input: x, op: avg, axes: [1, 3]}",
        op="AVG", axes=10, keep_dims=False,
    ),
    "SOFTMAX": one(
        "SOFTMAX", {"x": X}, X.shape, "{layer: softmax, name: SOFTMAX 0, outputs: [y], input: x, axes: [1]}", axes=2
    ),
    "TOPK": topk(),
    "MATRIX_MULTIPLY": one(
        "MATRIX_MULTIPLY", {"x": ROWS, "z": floats(5, 8)}, (3, 5),
        "{layer: matrix_multiply, name: MATRIX_MULTIPLY 0, outputs: [y], inputs: [x, z], op1: transpose}",
        op0="NONE", op1="TRANSPOSE",
    ),
    "IDENTITY": one(
        "IDENTITY", {"x": ROWS}, ROWS.shape, "{layer: identity, name: IDENTITY 0, outputs: [y], input: x}"
    ),
    "IDENTITY that casts": one(
        "IDENTITY", {"x": ROWS}, ROWS.shape,
        "{layer: cast, name: IDENTITY 0, outputs: [y], input: x, to_type: float16}", "float16",
    ),
    "CAST": one(
        "CAST", {"x": ROWS}, ROWS.shape, "{layer: cast, name: CAST 0, outputs: [y], input: x, to_type: int32}", "int32",
        to_type="int32",
    ),
    "SELECT": one(
        "SELECT", {"c": ROWS > 0, "x": ROWS, "z": floats(1, 8)}, ROWS.shape,
        "{layer: select, name: SELECT 0, outputs: [y], inputs: [c, x, z]}",
    ),
    "PARAMETRIC_RELU": one(
        "PARAMETRIC_RELU", {"x": X}, X.shape,
        "{layer: parametric_relu, name: PARAMETRIC_RELU 1, outputs: [y], input: x, "
        "slopes: [[[[0.1]], [[0.2]], [[0.3]], [[0.4]]]]}",
        constants={"s": np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(1, 4, 1, 1)},
    ),
    "SQUEEZE": one(
        "SQUEEZE", {"x": floats(1, 3, 1)}, (1, 3),
        "{layer: squeeze, name: SQUEEZE 1, outputs: [y], input: x, axes: [2]}", constants={"a": np.array([2])},
    ),
    "SQUEEZE of all": one(
        "SQUEEZE", {"x": floats(1, 3, 1)}, (3,),
        "{layer: squeeze, name: SQUEEZE 0, outputs: [y], input: x, axes: [0, 2]}"
    ),
    "UNSQUEEZE": one(
        "UNSQUEEZE", {"x": ROWS}, (1, 3, 8),
        "{layer: unsqueeze, name: UNSQUEEZE 1, outputs: [y], input: x, axes: [0]}", constants={"a": np.array([0])},
    ),
    "ONE_HOT": one(
        "ONE_HOT", {"x": np.array([0, 2], np.int32)}, (2, 3),
        "{layer: one_hot, name: ONE_HOT 2, outputs: [y], input: x, values: v, depth: 3}",
        constants={"v": np.array([0.5, 2], np.float32), "d": np.array(3, np.int32)}, axis=-1,
    ),
    "REVERSE_SEQUENCE": one(
        "REVERSE_SEQUENCE", {"x": ROWS, "n": np.array([3, 8, 1], np.int32)}, ROWS.shape,
        "{layer: reverse_sequence, name: REVERSE_SEQUENCE 0, outputs: [y], inputs: [x, n], batch_axis: 0, "
        "sequence_axis: 1}",
        batch_axis=0, sequence_axis=1,
    ),
    "FILL": one(
        "FILL", {"d": np.array([5])}, (-1,),
        "{layer: fill, name: FILL 2, outputs: [y], shape: d, alpha: 3.0, beta: 2.0, to_type: int64}", "int64",
        constants={"a": np.array(3), "b": np.array([2])}, operation="LINSPACE", alpha=-1.0, beta=-1.0,
        to_type="int64", shape=None,
    ),
    "EINSUM": one(
        "EINSUM", {"x": ROWS, "z": floats(8, 2)}, (3, 2),
        "{layer: einsum, name: EINSUM 0, outputs: [y], inputs: [x, z], equation: ij,jk->ik}", equation="ij,jk->ik",
    ),
    "CUMULATIVE": one(
        "CUMULATIVE", {"x": ROWS}, ROWS.shape,
        "{layer: cumulative, name: CUMULATIVE 1, outputs: [y], input: x, axis: 1, reverse: true}",
        constants={"a": np.array(1)}, op="SUM", exclusive=False, reverse=True,
    ),
    "NMS": nms(),
    "SLICE": one(
        "SLICE", {"x": X}, (2, 2, 6, 5),
        "{layer: slice, name: SLICE 0, outputs: [y], input: x, start: [1], shape: [2], stride: [2], axes: [1]}",
        **{**SLICED, "start": (1,), "shape": (2,), "stride": (2,), "axes": (1,)}, mode="STRICT_BOUNDS",
    ),
    "SLICE by tensors": one(
        "SLICE", {"x": ROWS, "b": np.array([1, 3])}, (2, 4),
        "{layer: slice, name: SLICE 1, outputs: [y], input: x, start: b, shape: [2, 4]}",
        constants={"n": np.array([2, 4])}, **{**SLICED, "stride": (1, 1)}, mode="STRICT_BOUNDS",
    ),
    "SLICE that expands": one(
        "SLICE", {"x": floats(3, 1), "n": np.array([3, 7])}, (-1, -1),
        "{layer: slice, name: SLICE 0, outputs: [y], input: x, start: [0, 0], shape: n, stride: [1, 0]}",
        inputs="x - n", **{**SLICED, "start": (0, 0), "stride": (1, 0)}, mode="STRICT_BOUNDS",
    ),
    "SLICE that fills": one(
        "SLICE", {"x": ROWS}, (5, 8),
        "{layer: slice, name: SLICE 1, outputs: [y], input: x, start: [-1, 0], shape: [5, 8], fill: 7.0, mode: fill}",
        inputs="x - - - v", constants={"v": np.array(7, np.float32)},
        **{**SLICED, "start": (-1, 0), "shape": (5, 8), "stride": (1, 1)}, mode="FILL",
    ),
    "QUANTIZE": quantized(),
    "DEQUANTIZE": dequantize(
        "fp8", floats(4, 32).astype(ml_dtypes.float8_e4m3fn), np.array([0.5], np.float32),
        "{layer: dequantize, name: DEQUANTIZE 2, outputs: [w], input: q, scale: 0.5}", axis=0, block_shape=None,
    ),
    "DEQUANTIZE in blocks": dequantize(
        "blocks", RNG.integers(-9, 9, (4, 32)).astype(np.int8), np.full((4, 2), 0.25, np.float32),
        "{layer: dequantize, name: DEQUANTIZE 2, outputs: [w], input: q, "
        "scale: [[0.25, 0.25], [0.25, 0.25], [0.25, 0.25], [0.25, 0.25]], block_shape: [1, 16]}",
        axis=0, block_shape=None,
    ),
    "NORMALIZATION of layers": by_broadcast(
        "NORMALIZATION",
        "{layer: normalization, name: NORMALIZATION 4, outputs: [y], input: x, epsilon: 0.001, type: layer, "
        "axes: [2, 3], scale: NORMALIZATION 4.scale, bias: NORMALIZATION 4.bias}",
        (1, 1, 6, 5), 12,
    ),
    "NORMALIZATION of instances": by_broadcast(
        "NORMALIZATION",
        "{layer: normalization, name: NORMALIZATION 4, outputs: [y], input: x, epsilon: 0.001, type: instance, "
        "scale: [SCALE], bias: [BIAS]}",
        (1, 4, 1, 1), 12,
    ),
    "NORMALIZATION of groups": by_broadcast(
        "NORMALIZATION",
        "{layer: normalization, name: NORMALIZATION 4, outputs: [y], input: x, epsilon: 0.001, type: group, "
        "num_groups: 2, scale: [SCALE], bias: [BIAS]}",
        (1, 4, 1, 1), 12, 2,
    ),
}  # fmt: skip


def shown(raised):
    """The lines of a raised network, random numbers of weights and quotation marks aside."""
    lines = [flow_yaml(one).replace('"', "") for one in raised.declaration.layers]
    return [
        re.sub(
            r"(scale|bias): \[-?\d+\.\d{4,}(, -?\d+\.\d{4,})+\]", lambda m: f"{m[1]}: [{m[1].upper()}]", line
        )
        for line in lines
    ]


def run_declared(declaration, folder: Path, feed):
    """What a declared network gives in ONNX Runtime."""
    weights = folder / "net.safetensors"
    if declaration.weights:
        write_safetensors(weights, declaration.weights)
    options = NetworkOptions.model_validate(
        {
            "weights": weights.name if declaration.weights else None,
            "inputs": declaration.inputs,
            "layers": list(declaration.layers),
            "outputs": list(declaration.outputs),
        }
    )
    workplace = folder / "lowered"
    workplace.mkdir()
    files = {"": weights} if declaration.weights else {}
    from trtpipe.canonical.writer import write_model

    write_model(lower_network(options, files, root=folder, workplace=workplace).model, folder / "net.onnx")
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    given = {one.name: feed[one.name] for one in session.get_inputs()}
    return session.run(list(declaration.outputs), given)


def raised(case, folder):
    case.network.folder = folder
    return raise_network(case.network.parsed(*case.outputs))
