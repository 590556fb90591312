"""Attributes of supported operators that TensorRT-RTX's parser or builder rejects.

Each was found in ONNX's backend suite or in mutants of it, and tested on TensorRT-RTX 1.7. A rule reports something
only if all its inputs are known; otherwise the decision is left to the parser.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from trtpipe.canonical.edits import attribute_of, integers_of, subgraphs, values_read
from trtpipe.proofs.engine_limits.refusal import CUT, NAME
from trtpipe.proofs.engine_limits.values import NodeView

Said = Iterator[tuple[str, str]]
"""Why, and the remedy."""

_FLOATS = frozenset({"float32", "float16", "bfloat16", "float64"})
_MOST_K = 3840
_COORDINATES = (
    "align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn",
)  # fmt: skip
_FOR_NEAREST = "tf_half_pixel_for_nn"
_SAME_PIXELS = "write half_pixel with nearest_mode round_prefer_ceil instead, which picks the same pixels"
_FOUR_BITS = frozenset({"int4", "uint4", "float4_e2m1fn"})
_CACHE_RANK = 4
_FLOAT32 = 1
_ENDLESS = float(2**31 - 1)
_LIMITED = "export the loop with the most rounds that it may take, fewer than 2147483647"
_ONE_PADDING = "export it with one of them"
_FOR_INFERENCE = "export the model for inference, without that input"


def refused_form(node: NodeView) -> Said:
    """Why this use of its operator is rejected; nothing if it may be accepted."""
    rule = _RULES.get(node.op)
    if rule is not None:
        yield from rule(node)


def _padded(node: NodeView) -> Said:
    auto = node.text("auto_pad", "NOTSET")
    if auto.startswith("SAME") and attribute_of(node.node, "pads") is not None:
        yield f"it has pads beside auto_pad {auto}, which TensorRT's parser does not take", _ONE_PADDING


def _attention(node: NodeView) -> Said:
    if attribute_of(node.node, "softmax_precision") is not None:
        yield "it sets softmax_precision, which TensorRT's parser does not take", "export it without"
    if attribute_of(node.node, "softcap"):
        yield "it sets softcap, which TensorRT's parser does not take", CUT


def _stft(node: NodeView) -> Said:
    onesided = node.integer("onesided", 1)
    if onesided not in (0, 1):
        yield f"onesided is {onesided}, and TensorRT's parser accepts 0 and 1", CUT


def _pooling(node: NodeView) -> Said:
    yield from _padded(node)
    dilations = integers_of(node.node, "dilations")
    if any(one != 1 for one in dilations):
        yield f"dilations are {dilations}, and TensorRT's parser accepts 1 only", CUT


def _lp_pool(node: NodeView) -> Said:
    yield from _pooling(node)
    p = node.integer("p", 2)
    if p not in (1, 2):
        yield f"p is {p}, and TensorRT's parser accepts 1 and 2", CUT


def _mod(node: NodeView) -> Said:
    if not node.integer("fmod") and node.dtype(0) in _FLOATS:
        yield "fmod is 0, and TensorRT's parser accepts that of whole numbers only", CUT


def _resize(node: NodeView) -> Said:
    if node.integer("antialias"):
        yield "antialias is 1, and TensorRT's parser accepts 0 only", CUT
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        yield f"keep_aspect_ratio_policy is {policy}, and TensorRT's parser accepts stretch only", CUT
    mode = node.text("coordinate_transformation_mode", "half_pixel")
    if mode not in _COORDINATES:
        known = ", ".join(_COORDINATES)
        yield f"coordinate_transformation_mode is {mode}; TensorRT's parser takes {known}", CUT
    nearest = node.text("nearest_mode", "round_prefer_floor")
    if mode == _FOR_NEAREST and nearest != "round_prefer_floor":
        yield (
            f"nearest_mode is {nearest} beside {mode}, and TensorRT's parser accepts round_prefer_floor there",
            _SAME_PIXELS,
        )


def _scatter(node: NodeView) -> Said:
    reduction = node.text("reduction", "none")
    if reduction != "none":
        yield f"reduction is {reduction}, and TensorRT's parser accepts only none", CUT


def _tensor_scatter(node: NodeView) -> Said:
    mode = node.text("mode", "linear")
    if mode != "linear":
        yield f"mode is {mode}, and TensorRT's parser accepts linear only", CUT
    rank = node.rank(0)
    if rank is not None and rank != _CACHE_RANK:
        yield f"its cache has {rank} dimensions, and TensorRT's parser accepts {_CACHE_RANK}", CUT


def _top_k(node: NodeView) -> Said:
    k = node.graph.constants.number(node.node.input[1]) if node.has(1) else node.integer("k")
    if k is not None and k > _MOST_K:
        yield f"k is {k:.0f}, and TensorRT's builder takes {_MOST_K} at most", f"lower k, or {CUT}"


def _p_relu(node: NodeView) -> Said:
    tensor, slope = node.dims(0), node.dims(1)
    if tensor is None or slope is None or len(slope) > len(tensor):
        return
    pairs = zip(reversed(tensor), reversed(slope), strict=False)
    known = ((one, other) for one, other in pairs if isinstance(one, int) and isinstance(other, int))
    if any(other not in (1, one) for one, other in known):
        yield "its slope does not broadcast to its input", CUT


def _like(node: NodeView) -> Said:
    if attribute_of(node.node, "dtype") is None and node.dtype(0) == "float16":
        why = "it has no dtype and its input is float16, and TensorRT's parser makes float32 of that"
        yield why, f"have it compute in float32: keep: {{fp32: [{NAME}]}} in the variant"


def _quantize(node: NodeView) -> Said:
    rank, axis = node.rank(0), node.integer("axis", 1)
    if node.integer("block_size") and rank is not None and axis % rank < rank - 2:
        yield (
            f"its blocks run along axis {axis} of {rank}, and TensorRT's parser accepts the last two axes",
            "quantize it by tensor or by channel, or give the float model",
        )


def _dequantize(node: NodeView) -> Said:
    yield from _quantize(node)
    if node.dtype(0) not in _FOUR_BITS:
        return
    count = 1
    for dim in node.dims(0) or (None,):
        if not isinstance(dim, int):
            return
        count *= dim
    if count % 2:
        yield (
            f"it reads {count} elements of {node.dtype(0)}, and TensorRT's parser accepts an even number",
            CUT,
        )


def _dropout(node: NodeView) -> Said:
    if node.varies(2):
        yield "its training_mode is computed, and TensorRT's parser accepts only a constant", _FOR_INFERENCE
    elif node.has(2) and node.graph.constants.number(node.node.input[2]):
        yield "training_mode is true, which TensorRT's parser does not take", _FOR_INFERENCE


def _batch_normalization(node: NodeView) -> Said:
    if node.integer("training_mode"):
        yield "training_mode is 1, which TensorRT's parser does not take", _FOR_INFERENCE


def _window(node: NodeView) -> Said:
    if node.integer("output_datatype", _FLOAT32) != _FLOAT32:
        yield "output_datatype is not float32, and TensorRT's parser makes that only", CUT


def _loop(node: NodeView) -> Said:
    limit = node.graph.constants.number(node.node.input[0]) if node.has(0) else _ENDLESS
    if limit is None or limit < _ENDLESS or not node.has(1):
        return
    for body in subgraphs(node.node):
        if body.input and any(body.input[0].name in values_read(inner) for inner in body.node):
            yield (
                "its rounds are counted and not limited, and TensorRT's parser counts limited ones only",
                _LIMITED,
            )


_RULES: Mapping[str, Callable[[NodeView], Said]] = {
    "Attention": _attention,
    "AveragePool": _pooling,
    "BatchNormalization": _batch_normalization,
    "BlackmanWindow": _window,
    "Conv": _padded,
    "ConvTranspose": _padded,
    "DequantizeLinear": _dequantize,
    "Dropout": _dropout,
    "HammingWindow": _window,
    "HannWindow": _window,
    "Loop": _loop,
    "LpPool": _lp_pool,
    "MaxPool": _pooling,
    "Mod": _mod,
    "PRelu": _p_relu,
    "QuantizeLinear": _quantize,
    "RandomNormalLike": _like,
    "RandomUniformLike": _like,
    "Resize": _resize,
    "STFT": _stft,
    "ScatterElements": _scatter,
    "ScatterND": _scatter,
    "TensorScatter": _tensor_scatter,
    "TopK": _top_k,
}
