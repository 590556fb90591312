"""The precision audit: was an engine built in the precision that its variant asked for?

It combines two independent sources: the typed ONNX model that TensorRT was given (`typed.typed_audit`), and the layers
of the network that TensorRT's parser made of it. For a floating-point precision all layers count, for a quantized one
only the convolutions and matrix products (`products`). With the flavour tensorrt, the layers from an engine inspector
can be passed as well. Works on plain data: this module imports neither onnx nor TensorRT.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trtpipe.errors import Problem
from trtpipe.precisions.audit.layers import Layer, Output, layers_in, layers_of
from trtpipe.precisions.audit.products import product_types
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.json_values import Json, JsonObject

_NAMES = {
    "float": "float32", "fp32": "float32", "float32": "float32", "half": "float16", "fp16": "float16",
    "float16": "float16", "bf16": "bfloat16", "bfloat16": "bfloat16", "int8": "int8", "fp8": "float8", "int4": "int4",
    "fp4": "float4", "int32": "int32", "int64": "int64", "bool": "bool", "uint8": "uint8", "e8m0": "float8e8m0",
}  # fmt: skip
_LOW = {"fp16": "float16", "bf16": "bfloat16"}
_QUANTIZED = {
    "int8": ("int8", ""), "fp8": ("float8e4m3fn", ""), "mxfp8": ("float8e4m3fn", ""), "nvfp4": ("float4e2m1", ""),
    "int4": ("int4", " weights"), "fp4": ("float4e2m1", " weights"),
}  # fmt: skip
"""Precision → the type of its weights, and what products on it are called beyond that."""
_WIDE = frozenset({"float32", "tf32"})
_FLOATS = _WIDE | {"float16", "bfloat16", "float64"}
_SHOWN_TYPE = re.compile(r"\((\w+)\[")  # a fused layer's tensors in TensorRT's log: `logits (Half[-1,10])`
_COUNTS_NOTHING = frozenset({"CAST", "CONSTANT", "SHAPE", "ASSERTION"})


@dataclass(frozen=True, slots=True)
class Audit:
    """What an engine computes in. Shares are between 0 and 1, or None when there is nothing to count."""

    asked: str
    layers: dict[str, int]
    """Floating-point layers of TensorRT's network per type of their first output."""
    engine_layers: dict[str, int]
    """The same for the engine's own layers; empty without an inspector."""
    products: dict[str, int]
    """Convolutions and matrix products per type of their operands."""
    typed: JsonObject
    low_layer_share: float | None
    low_weight_share: float | None
    problems: tuple[Problem, ...]

    def as_json(self) -> dict[str, Json]:
        """Plain data for a manifest."""
        return {
            "asked": self.asked,
            "layers": self.layers,
            "engine_layers": self.engine_layers,
            "products": self.products,
            "typed": self.typed,
            "low_layer_share": self.low_layer_share,
            "low_weight_share": self.low_weight_share,
            "problems": [problem.fact for problem in self.problems],
        }


def audit_engine(
    network: JsonObject,
    layers: Sequence[JsonObject] | None,
    typed: JsonObject,
    asked: str,
    min_share: float,
    why_not: Mapping[str, str] | None = None,
) -> Audit:
    """The audit of one engine, with an error when less than `min_share` of it is in the low precision `asked`.

    `network["layers"]` (and `layers`, from an engine inspector) are records with `name`, `type` and `outputs`, each
    output with a `dtype` (or, for fused layers, text such as `y (Half[1,10])`); `typed` is the result of `typed_audit`;
    `why_not` maps nodes that stayed wide to the reason.
    """
    in_parsed = layers_in(network)
    in_network, products = _per_type(in_parsed), product_types(in_parsed)
    shares = _shares(asked, in_network, products, _counts(typed.get("weight_elements")))
    problems: tuple[Problem, ...] = ()
    if asked in _QUANTIZED:
        problems = _problems(asked, min_share, shares, "products", products, why_not or {})
    elif asked in _LOW:
        problems = _problems(asked, min_share, shares, "layers", in_network, why_not or {})
    return Audit(
        asked=asked,
        layers=in_network,
        engine_layers=_per_type(layers_of(layers or ())),
        products=dict(sorted(products.items())),
        typed=dict(typed),
        low_layer_share=shares[0],
        low_weight_share=shares[1],
        problems=problems,
    )


def low_shares(asked: str, nodes: Mapping[str, int], weights: Mapping[str, int]) -> list[float]:
    """The shares of a typed model's nodes and weights in a floating precision, as an engine's audit counts them."""
    return [share for share in _shares(asked, nodes, {}, weights) if share is not None]


def _shares(
    asked: str, layers: Mapping[str, int], products: Mapping[str, int], weights: Mapping[str, int]
) -> tuple[float | None, float | None]:
    """The shares of layers (or of products) and of weights in the requested precision; None when there are none."""
    if asked not in _QUANTIZED:
        low = _LOW.get(asked, "")
        return _share(layers, low, _WIDE), _share(weights, low, _WIDE)
    dtype, beyond = _QUANTIZED[asked]
    return _share(products, dtype + beyond, frozenset(products)), _share(weights, dtype, _FLOATS)


def _counts(found: Json) -> dict[str, int]:
    items = found.items() if isinstance(found, Mapping) else ()
    return {name: count for name, count in items if isinstance(count, int)}


def _per_type(layers: Sequence[Layer]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for layer in layers:
        if layer.kind in _COUNTS_NOTHING or not layer.outputs:
            continue
        dtype = _dtype_of(layer.outputs[0])
        if dtype.startswith(("float", "bfloat")) or dtype in ("int8", "int4", "tf32"):
            counts[dtype] += 1
    return dict(sorted(counts.items()))


def _dtype_of(output: Output) -> str:
    shown = _SHOWN_TYPE.search(output.dtype)
    name = (shown[1] if shown else output.dtype).lower().rsplit(".", 1)[-1]
    return _NAMES.get(name, name)


def _share(counts: Mapping[str, int], low: str, others: frozenset[str]) -> float | None:
    in_low = counts.get(low, 0)
    total = in_low + sum(count for name, count in counts.items() if name in others and name != low)
    return in_low / total if total else None


def _problems(
    asked: str,
    least: float,
    shares: tuple[float | None, float | None],
    what: str,
    counts: Mapping[str, int],
    why_not: Mapping[str, str],
) -> tuple[Problem, ...]:
    found = []
    for name, share in zip((what, "weights"), shares, strict=True):
        if share is not None and share < least:
            found.append(f"{share:.1%} of its {name}")
    if shares == (None, None) and least > 0:
        found.append(f"nothing (it has no floating-point {what} and no floating-point weights)")
    if not found:
        return ()
    fact = f"precision '{asked}' was asked for, but the engine has only {' and '.join(found)} in it"
    return (
        Problem(
            Code.NOT_IN_PRECISION, f"{fact} (at least {least:.1%} must be)", _remedy(what, counts, why_not)
        ),
    )


def _remedy(what: str, counts: Mapping[str, int], why_not: Mapping[str, str]) -> str:
    counted = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"
    lines = [f"{what}: {counted}"]
    reasons = Counter(why_not.values())
    for reason, count in reasons.most_common(5):
        names = [name for name, why in why_not.items() if why == reason]
        shown = ", ".join(f"'{name}'" for name in names[:3]) + (", …" if count > 3 else "")
        nodes = "1 node" if count == 1 else f"{count} nodes"
        lines.append(f"{nodes} stayed wider because {reason}: {shown}")
    lines.append("keep fewer nodes, or lower min_low_precision if this is meant")
    return "\n".join(lines)
