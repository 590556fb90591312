"""Networks with one thing changed, as a parser that errs would make them; and which of them compute the same.

A mutant changes one attribute of one layer, its weights' first element, or the order of two inputs alike. `same` says
by a rule why a mutant computes what the network does; whatever it does not explain must be noticed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from trtpipe.errors import TrtpipeError
from trtpipe.networks.contents import Contents
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.lowering.subgraphs import Nesting, construct_of, outputs_of, reads_of
from trtpipe.networks.network import Layer, ParsedNetwork
from trtpipe.runners.comparison.readback import network_model
from trtpipe.runners.cpu.onnxruntime import open_runner

MEMBERS = {
    "padding_mode": ("EXPLICIT_ROUND_DOWN", "EXPLICIT_ROUND_UP", "SAME_UPPER", "SAME_LOWER"),
    "coordinate_transformation": ("ALIGN_CORNERS", "ASYMMETRIC", "HALF_PIXEL"),
    "nearest_rounding": ("HALF_UP", "HALF_DOWN", "FLOOR", "CEIL"),
    "resize_mode": ("NEAREST", "LINEAR", "CUBIC"),
    "interpolation_mode": ("NEAREST", "LINEAR", "CUBIC"),
    "sample_mode": ("CLAMP", "FILL", "REFLECT"),
    "selector_for_single_pixel": ("FORMULA", "UPPER"),
    "bounding_box_format": ("CORNER_PAIRS", "CENTER_SIZES"),
    "norm_op": ("NONE", "SOFTMAX"),
    "causal_kind": ("NONE", "UPPER_LEFT", "LOWER_RIGHT"),
    "to_type": ("float32", "float16", "int32", "int8", "bool"),
    "op0": ("NONE", "TRANSPOSE", "VECTOR"),
    "op1": ("NONE", "TRANSPOSE", "VECTOR"),
}
OF_TYPE = {
    ("SLICE", "mode"): ("STRICT_BOUNDS", "WRAP", "CLAMP", "FILL", "REFLECT"),
    ("GATHER", "mode"): ("DEFAULT", "ELEMENT", "ND"),
    ("SCATTER", "mode"): ("ELEMENT", "ND"),
    ("SCALE", "mode"): ("UNIFORM", "CHANNEL", "ELEMENTWISE"),
    ("POOLING", "type"): ("MAX", "AVERAGE", "MAX_AVERAGE_BLEND"),
    ("TOPK", "op"): ("MAX", "MIN"),
    ("REDUCE", "op"): ("SUM", "PROD", "MAX", "MIN", "AVG"),
    ("TRIP_LIMIT", "kind"): ("COUNT", "WHILE"),
    ("LOOP_OUTPUT", "kind"): ("LAST_VALUE", "CONCATENATE", "REVERSE"),
    ("ELEMENTWISE", "op"): (
        "SUM", "PROD", "MAX", "MIN", "SUB", "DIV", "POW", "FLOOR_DIV", "AND", "OR", "XOR", "EQUAL", "GREATER", "LESS",
    ),
    ("UNARY", "op"): (
        "EXP", "LOG", "SQRT", "RECIP", "ABS", "NEG", "SIN", "COS", "TAN", "SINH", "COSH", "ASIN", "ACOS", "ATAN",
        "ASINH", "ACOSH", "ATANH", "CEIL", "FLOOR", "ERF", "NOT", "SIGN", "ROUND", "ISINF", "ISNAN",
    ),
    ("ACTIVATION", "type"): (
        "RELU", "SIGMOID", "TANH", "LEAKY_RELU", "ELU", "SELU", "SOFTSIGN", "SOFTPLUS", "CLIP", "HARD_SIGMOID",
        "SCALED_TANH", "THRESHOLDED_RELU", "GELU_ERF", "GELU_TANH",
    ),
}  # fmt: skip
ALPHA = {"LEAKY_RELU", "ELU", "SELU", "SOFTPLUS", "CLIP", "HARD_SIGMOID", "SCALED_TANH", "THRESHOLDED_RELU"}
BETA = {"SELU", "SOFTPLUS", "CLIP", "HARD_SIGMOID", "SCALED_TANH"}
LARGEST = 3.4028234663852886e38
"""The largest float32."""
SAYS_NOTHING = {"message", "topk_box_limit", "decomposable", "padding_nd", "name"}
"""Attributes that do not say what is computed, or repeat another one (the pre-padding)."""


@dataclass(frozen=True)
class Mutant:
    """A network with one thing changed."""

    network: ParsedNetwork
    layer: Layer
    """As it was."""
    attribute: str
    new: object

    def __str__(self) -> str:
        old = self.layer.attributes.get(self.attribute, "")
        return f"{self.layer.type} '{self.layer.name}' {self.attribute}: {old} -> {self.new}"


def mutants(network: ParsedNetwork, layer: Layer, folder: Path) -> Iterator[Mutant]:
    """Every mutant of one layer; changed weights are written to `folder`."""
    for name, value in layer.attributes.items():
        if name in SAYS_NOTHING:
            continue
        for new in _others(layer.type, name, value):
            changed = replace(layer, attributes={**layer.attributes, name: new})
            yield Mutant(_with(network, changed), layer, name, new)
    if len(layer.inputs) > 1 and layer.type not in ("RECURRENCE", "LOOP_OUTPUT", "ATTENTION_INPUT"):
        first, second = layer.inputs[:2]
        if first and second and first != second and _alike(network, first, second):
            changed = replace(layer, inputs=(second, first, *layer.inputs[2:]))
            yield Mutant(_with(network, changed), layer, "inputs", "exchanged")
    for name, ref in layer.weights.items():
        if ref.count and ref.dtype in ("float32", "int32", "int64"):
            yield Mutant(
                _with_other_weights(network, layer, name, folder), layer, name, "another first element"
            )


def attention_mutants(network: ParsedNetwork) -> Iterator[Mutant]:
    """Every mutant of the attentions, whose attributes are not those of a layer."""
    for number, one in enumerate(network.attentions):
        (layer,) = (network.layers[index] for index in one.output_layers)
        for name in ("norm_op", "causal_kind"):
            for new in _others(layer.type, name, one.attributes[name]):
                changed = replace(one, attributes={**one.attributes, name: new})
                attentions = (*network.attentions[:number], changed, *network.attentions[number + 1 :])
                yield Mutant(replace(network, attentions=attentions), layer, name, new)
        query, key, *others = one.inputs
        turned = replace(one, inputs=(key, query, *others))
        attentions = (*network.attentions[:number], turned, *network.attentions[number + 1 :])
        yield Mutant(replace(network, attentions=attentions), layer, "inputs", "exchanged")


def _others(kind: str, name: str, value: object) -> Iterator[object]:
    members = OF_TYPE.get((kind, name), MEMBERS.get(name, ()))
    if members:
        yield from (one for one in members if one != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, float):
        yield value * 1.5 + 0.35
    elif isinstance(value, tuple):
        for index, one in enumerate(value):
            if isinstance(one, (int, float)) and not isinstance(one, bool):
                yield (*value[:index], one + 1, *value[index + 1 :])
    elif isinstance(value, str) and name == "equation":
        left, right = value.split("->")
        yield f"{left}->{right[::-1]}"


def _alike(network, first, second):
    one, other = network.tensors[first], network.tensors[second]
    return (one.dtype, one.shape) == (other.dtype, other.shape)


def _with(network: ParsedNetwork, layer: Layer) -> ParsedNetwork:
    layers = tuple(layer if one.number == layer.number else one for one in network.layers)
    return replace(network, layers=layers)


def _with_other_weights(network: ParsedNetwork, layer: Layer, name: str, folder: Path) -> ParsedNetwork:
    """The same with the first element of some weights changed; others that share their bytes keep them."""
    ref = layer.weights[name]
    data = bytearray(network.contents.raw(ref).tobytes())
    form = {"float32": "<f", "int32": "<i", "int64": "<q"}[ref.dtype]
    (old,) = struct.unpack_from(form, data)
    struct.pack_into(form, data, 0, old * 1.5 + 1.25 if form == "<f" else old + 1)
    path = folder / f"{layer.number}-{name}.weights"
    whole = network.contents.path.read_bytes()
    path.write_bytes(whole + bytes(-len(whole) % 64) + data)
    piece = replace(network.contents.pieces[ref.digest], offset=len(whole) + -len(whole) % 64)
    contents = Contents(path, {**network.contents.pieces, "changed": piece})
    changed = replace(layer, weights={**layer.weights, name: replace(ref, digest="changed")})
    return replace(_with(network, changed), contents=contents)


def same(network: ParsedNetwork, mutant: Mutant) -> str:
    """Why a mutant computes what the network does, by what TensorRT says of the attribute; empty when nothing does."""
    layer, name, new = mutant.layer, mutant.attribute, mutant.new
    if layer.number not in _reached(network):
        return "no output depends on it"
    rules = (_unused, _window, _moving, _sampling, _exchanged)
    said = next((why for rule in rules if (why := rule(network, layer, name, new))), "")
    return said or _of_sizes(network, mutant)


def _reached(network):
    """The layers that outputs depend on; of a loop its limits, and the states that something is made of."""
    nesting, found, pending = Nesting(network), set(), list(network.outputs)
    while pending:
        maker = nesting.makers.get(pending.pop())
        if maker is None or maker.number in found:
            continue
        found.add(maker.number)
        pending += reads_of(network, maker)
        construct = construct_of(maker)
        for border in nesting.borders.get(construct, ()):
            if border.type in ("TRIP_LIMIT", "CONDITION"):
                found.add(border.number)
                pending += reads_of(network, border)
    return found


def _of_sizes(network, mutant):
    """Whether the layer works on sizes and constants only, and what data meets of these is the same at all sizes."""
    known = sizes_only(network)
    if not set(mutant.layer.outputs) <= known:
        return ""
    meets = [
        name
        for layer in network.layers
        if not set(outputs_of(network, layer)) <= known or not layer.outputs
        for name in reads_of(network, layer)
        if name in known
    ]
    wanted = tuple(dict.fromkeys([*meets, *(name for name in network.outputs if name in known)]))
    dynamic = any(-1 in (network.tensors[name].shape or ()) for name in network.inputs)
    for size in (1, 2, 3, 5) if dynamic else (1,):
        if not _equal_values(*(_values(one, wanted, size) for one in (network, mutant.network))):
            return ""
    return "what data meets of sizes and constants is the same"


def sizes_only(network):
    """Tensors that depend on constants and on the sizes of inputs, not on data."""
    nesting, found, before = Nesting(network), set(), -1
    while before != len(found):
        before = len(found)
        for layer in network.layers:
            known = layer.type == "SHAPE" or set(reads_of(network, layer)) <= found
            if known and not nesting.levels[layer.number] and nesting_free(layer):
                found.update(outputs_of(network, layer))
    return found


def nesting_free(layer):
    return layer.loop is None and layer.conditional is None and layer.attention is None


def _values(network, wanted, size):
    lowered = onnx_of(replace(network, outputs=wanted))
    if lowered.cut:
        return None
    model = network_model(lowered, network.contents.path.parent)
    feed = {}
    for name in network.inputs:
        tensor = network.tensors[name]
        shape = [size if dim < 0 else dim for dim in tensor.shape or ()]
        feed[name] = np.zeros(shape, "float32" if tensor.dtype == "bfloat16" else tensor.dtype)
    try:
        with open_runner(model, threads=1) as runner:
            return runner.infer({name: feed[name] for name in runner.inputs})
    except TrtpipeError:
        return None


def _equal_values(one, other):
    if one is None or other is None:
        return one is other
    return all(
        one[name].shape == other[name].shape and np.array_equal(one[name], other[name]) for name in one
    )


def _unused(network, layer, name, new):
    """Attributes that the layer does not look at."""
    return next(
        (
            why
            for rule in (_of_function, _of_index, _of_quantizing, _of_input)
            if (why := rule(network, layer, name, new))
        ),
        "",
    )


def _of_function(network, layer, name, new):
    if layer.type != "ACTIVATION":
        return ""
    function = layer.attributes["type"]
    if name in ("alpha", "beta") and function not in {"alpha": ALPHA, "beta": BETA}[name]:
        return f"{function} takes no {name}"
    if name == "type" and function == "RELU" and not layer.attributes["alpha"]:
        return f"{new} with alpha 0 is RELU" if new in ("LEAKY_RELU", "ELU", "THRESHOLDED_RELU") else ""
    beyond = function == "CLIP" and isinstance(new, float) and abs(new) > LARGEST
    return "no number of the type is beyond the bound" if beyond else ""


def _of_index(network, layer, name, new):
    kind, named = layer.type, layer.attributes
    if kind in ("GATHER", "SCATTER") and name == "axis" and named["mode"] == "ND":
        return "mode ND has no axis"
    if kind == "GATHER" and name == "mode" and {named["mode"], new} == {"DEFAULT", "ELEMENT"}:
        ranks = {len(network.tensors[one].shape or ()) for one in layer.inputs}
        return "in one axis the two are the same" if ranks == {1} else ""
    if kind == "SCALE" and name == "channel_axis" and named["mode"] != "CHANNEL":
        return "only per-channel coefficients have an axis"
    last = kind == "LOOP_OUTPUT" and name == "axis" and named["kind"] == "LAST_VALUE"
    return "a last value is not concatenated" if last else ""


def _of_quantizing(network, layer, name, new):
    if layer.type not in ("QUANTIZE", "DEQUANTIZE"):
        return ""
    if name == "axis" and _size(network, layer.inputs[1]) == 1:
        return "a scale of one element has no axis"
    return ""


def _of_input(network, layer, name, new):
    kind, named = layer.type, layer.attributes
    given = len(layer.inputs) > 1 and layer.inputs[1] is not None
    if (kind, name) == ("TOPK", "k") and given:
        return "k is an input"
    if kind == "FILL" and name in ("alpha", "beta", "is_alpha_beta_int64") and given:
        return "start and delta are inputs"
    if kind == "ATTENTION_OUTPUT" and name == "causal_kind":
        queries, keys = (network.tensors[one].shape for one in reads_of(network, layer)[:2])
        same_kind = new != "NONE" and network.attentions[layer.attention].attributes[name] != "NONE"
        return "as many queries as keys" if same_kind and queries[2] == keys[2] else ""
    alike = (kind, name) == ("NORMALIZATION", "is_v2") and named["num_groups"] == 1
    return "without groups the versions are alike" if alike else ""


def _size(network, name):
    total = 1
    for one in network.tensors[name].shape or ():
        total *= one
    return total


def _window(network, layer, name, new):
    """Padding and strides that come to the same windows; what an average counts where nothing is padded."""
    kind, named = layer.type, layer.attributes
    if kind not in ("CONVOLUTION", "DECONVOLUTION", "POOLING"):
        return ""
    padded = any(named["pre_padding"]) or any(named["post_padding"])
    counts = kind == "POOLING" and named["type"] != "MAX" and not named["average_count_excludes_padding"]
    if kind == "POOLING":
        averages = named["type"] != "MAX"
        if name == "blend_factor" and named["type"] != "MAX_AVERAGE_BLEND":
            return "only a blend has a factor"
        if name == "average_count_excludes_padding" and not (averages and padded):
            return "no average, or no padding"
        if name == "type" and new == "MAX_AVERAGE_BLEND" and not averages and not named["blend_factor"]:
            return "a blend without a share of the average is the maximum"
    if name in ("pre_padding", "post_padding") and named["padding_mode"].startswith("SAME"):
        return "the mode takes precedence over the padding"
    if name in ("padding_mode", "pre_padding", "post_padding", "stride_nd", "dilation_nd"):
        changed = {**named, name: new}
        before, after = _windows(network, layer, named), _windows(network, layer, changed)
        whole = not counts or all(_fit(network, layer, one) for one in (named, changed))
        return "these sizes come to the same windows" if before == after and whole else ""
    return ""


def _fit(network, layer, named):
    """Whether no window reaches over the padding, so that all of it counts."""
    sizes = (network.tensors[layer.inputs[0]].shape or ())[2:]
    ends = zip(_windows(network, layer, named), sizes, strict=True)
    return all(
        before + size + named["post_padding"][axis] >= (count - 1) * steps + named["window_size_nd"][axis]
        for axis, ((count, before, steps, _), size) in enumerate(ends)
    )


def _windows(network, layer, named):
    """For each axis where the windows begin and how they step; of a transposed convolution, also the output's size."""
    window = named.get("window_size_nd") or named["kernel_size_nd"]
    found = []
    for axis, size in enumerate((network.tensors[layer.inputs[0]].shape or ())[2:]):
        dilation, stride = (named.get("dilation_nd") or (1,) * 3)[axis], named["stride_nd"][axis]
        extent, before, after = (
            dilation * (window[axis] - 1) + 1,
            named["pre_padding"][axis],
            named["post_padding"][axis],
        )
        if named["padding_mode"].startswith("SAME"):
            wanted = size * stride if layer.type == "DECONVOLUTION" else -(-size // stride)
            exact = (size - 1) * stride + extent - wanted if layer.type == "DECONVOLUTION" else 0
            total = exact if layer.type == "DECONVOLUTION" else max((wanted - 1) * stride + extent - size, 0)
            before = total // 2 if named["padding_mode"] == "SAME_UPPER" else total - total // 2
            after = total - before
        room = size + before + after - extent
        count = -(-room // stride) + 1 if named["padding_mode"] == "EXPLICIT_ROUND_UP" else room // stride + 1
        if layer.type == "DECONVOLUTION":
            count = (size - 1) * stride + extent - before - after
        steps = 0 if count == 1 and layer.type != "DECONVOLUTION" else stride
        found.append((count, before, steps, dilation if window[axis] > 1 else 0))
    return found


def _moving(network, layer, name, new):
    kind, named = layer.type, layer.attributes
    if kind == "SHUFFLE":
        rank = len(network.tensors[layer.inputs[0]].shape or ())
        made = len(network.tensors[layer.outputs[0]].shape or ())
        if name == "zero_is_placeholder" and 0 not in (named["reshape_dims"] or ()):
            return "no dim is 0"
        limit = {"first_transpose": rank, "second_transpose": made}.get(name)
        if limit is not None and tuple(new)[:limit] == tuple(named[name])[:limit]:
            return "behind the last axis"
        if name == "reshape_dims" and layer.inputs[1:] != () and layer.inputs[1]:
            return "the dims are an input"
    if kind == "SLICE":
        if (
            name == "mode"
            and (new == "STRICT_BOUNDS" or named["mode"] == "STRICT_BOUNDS")
            and _stays_inside(network, layer)
        ):
            return "it stays inside the input"
        if name == "stride" and _makes_one(network, layer, named["stride"], new):
            return "one element has no stride"
        if name == "start" and 0 in (network.tensors[layer.outputs[0]].shape or ()):
            return "nothing is taken"
    return ""


def _stays_inside(network, layer):
    """Whether no element outside the input is taken; in strict bounds that is TensorRT's word for it."""
    named = layer.attributes
    if named["mode"] == "STRICT_BOUNDS":
        return True
    parts = (
        named["start"],
        network.tensors[layer.outputs[0]].shape,
        named["stride"],
        network.tensors[layer.inputs[0]].shape,
    )
    if None in parts or -1 in parts[1] or named.get("axes"):
        return False
    ends = (
        (first, first + (count - 1) * step, size) for first, count, step, size in zip(*parts, strict=True)
    )
    return all(0 <= one < size or size < 0 for first, last, size in ends for one in (first, last))


def _makes_one(network, layer, old, new):
    shape = network.tensors[layer.outputs[0]].shape or ()
    changed = [axis for axis, (one, other) in enumerate(zip(old, new, strict=True)) if one != other]
    return all(shape[axis] == 1 for axis in changed) if not layer.attributes.get("axes") else False


def _sampling(network, layer, name, new):
    named = layer.attributes
    if layer.type == "RESIZE":
        if name == "nearest_rounding" and named["resize_mode"] != "NEAREST":
            return "only the nearest pixel is rounded"
        if name in ("cubic_coeff", "exclude_outside") and named["resize_mode"] != "CUBIC":
            return "only cubic interpolation has it"
        sizes = (network.tensors[layer.outputs[0]].shape or ())[2:]
        if name == "selector_for_single_pixel" and 1 not in sizes:
            return "no output has one pixel"
        if name == "shape" and (named.get("scales") or len(layer.inputs) > 1):
            return "scales or an input say the size"
        if named["resize_mode"] == "NEAREST" and name in ("coordinate_transformation", "nearest_rounding"):
            kept = _nearest(network, layer, named) == _nearest(network, layer, {**named, name: new})
            return "on these sizes it takes the same pixels" if kept else ""
    return ""


def _nearest(network, layer, named):
    """The pixel that each place of the output takes, on each axis."""
    sizes = zip(network.tensors[layer.inputs[0]].shape, network.tensors[layer.outputs[0]].shape, strict=True)
    found = []
    for axis, (size, made) in enumerate(sizes):
        scale = named["scales"][axis] if named.get("scales") else made / size
        for place in range(max(made, 0)):
            where = {
                "ALIGN_CORNERS": place * (size - 1) / max(made - 1, 1),
                "ASYMMETRIC": place / scale,
                "HALF_PIXEL": (place + 0.5) / scale - 0.5,
            }[named["coordinate_transformation"]]
            taken = {
                "HALF_UP": math.floor(where + 0.5), "HALF_DOWN": math.ceil(where - 0.5),
                "FLOOR": math.floor(where), "CEIL": math.ceil(where),
            }[named["nearest_rounding"]]  # fmt: skip
            found.append(min(max(taken, 0), size - 1))
    return found


def _exchanged(network, layer, name, new):
    symmetric = {"SUM", "PROD", "MAX", "MIN", "AND", "OR", "XOR", "EQUAL"}
    if name == "inputs" and layer.type == "ELEMENTWISE" and layer.attributes["op"] in symmetric:
        return "the operation is symmetric"
    return ""
