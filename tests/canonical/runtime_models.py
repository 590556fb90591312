"""Models of ONNX Runtime's own operators, for the tests beside it: each a node in many forms, with inputs for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
FLOAT, HALF, INT32, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def w(*shape: int, seed: int = 0) -> np.ndarray:
    return (rng(seed).normal(size=shape) * 0.4).astype(np.float32)


@dataclass
class Form:
    """A node: its inputs by name, those that are constants, its attributes, and what stands before it."""

    operator: str
    read: list[str]
    inputs: dict[str, list[Any]]
    constants: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[str, ...] = ("y",)
    opset: int = 17
    domain: str = MICROSOFT
    types: dict[str, int] = field(default_factory=dict)
    before: list[onnx.NodeProto] = field(default_factory=list)
    values: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = field(default_factory=dict)

    def model(self) -> onnx.ModelProto:
        node = helper.make_node(
            self.operator, self.read, list(self.outputs), "own", domain=self.domain, **self.attributes
        )
        graph = helper.make_graph(
            [*self.before, node],
            "g",
            [value(name, self.types.get(name, FLOAT), dims) for name, dims in self.inputs.items()],
            [value(name, self.types.get(name, FLOAT), None) for name in self.outputs if name],
            [numpy_helper.from_array(np.asarray(held), name) for name, held in self.constants.items()],
        )
        imports = [helper.make_opsetid("", self.opset), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def feed(self, **sizes: int) -> dict[str, np.ndarray]:
        """Inputs whose symbolic sizes are these."""
        made = {}
        for number, (name, dims) in enumerate(self.inputs.items()):
            shape = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in dims)
            dtype = helper.tensor_dtype_to_np_dtype(self.types.get(name, FLOAT))
            if name in self.values:
                made[name] = self.values[name](shape).astype(dtype)
            elif np.dtype(dtype).kind == "f":
                made[name] = rng(number).normal(size=shape).astype(dtype)
            else:
                made[name] = rng(number).integers(0, 2, shape).astype(dtype)
        return made


def value(name: str, kind: int, dims: list[Any] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def keys_seen(shape: tuple[int, ...]) -> np.ndarray:
    """A mask that hides some keys, but never the first."""
    made = rng(9).integers(0, 2, shape)
    made[..., 0] = 1
    return made


def lengths(shape: tuple[int, ...]) -> np.ndarray:
    return rng(9).integers(1, 5, shape)


_X = {"x": ["n", 4, 8]}
_LINE = {"g": w(8), "b": w(8, seed=1), "o": w(8, seed=2)}
_SKIP = {"x": ["n", 4, 8], "s": ["n", 4, 8]}
_SUMMED = ("y", "", "", "sum")
_SQUARE = {"a": ["n", 3, 4, 4], "b": ["n", 3, 4, 4]}
_CONV = {"w": w(4, 3, 3, 3), "b": w(4)}
_IDS = {"i": ["n", "s"], "t": ["n", "s"], "m": ["n", "s"]}
_TABLES = {"w": w(20, 8), "p": w(16, 8, seed=1), "q": w(2, 8, seed=2), "g": w(8), "b": w(8, seed=1)}


def _activated(name: str, *values: float) -> dict[str, Any]:
    given = {"activation_params": list(values)} if values else {}
    return {"activation": name, "pads": [1] * 4, **given}


FORMS: dict[str, Form] = {
    **{f"Gelu, opset {opset}": Form("Gelu", ["x"], _X, opset=opset) for opset in (11, 13, 21)},
    **{f"FastGelu, opset {opset}": Form("FastGelu", ["x", "b"], _X, _LINE, opset=opset) for opset in (13, 21)},
    "FastGelu, no bias": Form("FastGelu", ["x"], _X),
    "BiasGelu": Form("BiasGelu", ["x", "b"], _X, _LINE),
    "QuickGelu": Form("QuickGelu", ["x"], _X),
    "QuickGelu, alpha": Form("QuickGelu", ["x"], _X, {}, {"alpha": 1.0}),
    "Gelu of halves": Form("Gelu", ["x"], _X, types={"x": HALF, "y": HALF}),
    "LayerNormalization, opset 13": Form(
        "LayerNormalization", ["x", "g", "b"], _X, _LINE, {"axis": -1, "epsilon": 1e-3}, domain="", opset=13
    ),
    **{
        f"SkipLayerNormalization, opset {opset}": Form(
            "SkipLayerNormalization", ["x", "s", "g", "b", "o"], _SKIP, _LINE, outputs=_SUMMED, opset=opset
        )
        for opset in (13, 18)
    },
    "SkipLayerNormalization, mean and deviation": Form(
        "SkipLayerNormalization", ["x", "s", "g", "b"], _SKIP, _LINE, outputs=("y", "mean", "inverse", "sum")
    ),
    "SkipSimplifiedLayerNormalization, deviation": Form(
        "SkipSimplifiedLayerNormalization", ["x", "s", "g"], _SKIP, _LINE, outputs=("y", "", "inverse", "sum")
    ),
    "SimplifiedLayerNormalization, deviation": Form(
        "SimplifiedLayerNormalization", ["x", "g"], _X, _LINE, outputs=("y", "inverse"), domain=""
    ),
    "SkipLayerNormalization, plain": Form("SkipLayerNormalization", ["x", "s", "g"], _SKIP, _LINE),
    "SkipSimplifiedLayerNormalization": Form(
        "SkipSimplifiedLayerNormalization", ["x", "s", "g", "o"], _SKIP, _LINE, outputs=_SUMMED
    ),
    **{
        f"SimplifiedLayerNormalization, opset {opset}": Form(
            "SimplifiedLayerNormalization", ["x", "g"], _X, _LINE, {"epsilon": 1e-3}, domain="", opset=opset
        )
        for opset in (13, 18)
    },
    "EmbedLayerNormalization": Form(
        "EmbedLayerNormalization", ["i", "t", "w", "p", "q", "g", "b", "m"], _IDS, _TABLES,
        outputs=("y", "c"), types={"i": INT32, "t": INT32, "m": INT32, "c": INT32},
    ),
    "EmbedLayerNormalization, plain": Form(
        "EmbedLayerNormalization", ["i", "", "w", "p", "", "g", "b"], {"i": ["n", "s"]}, _TABLES,
        {"epsilon": 1e-4}, outputs=("y", "", "sum"), types={"i": INT32},
    ),
    "EmbedLayerNormalization, positions": Form(
        "EmbedLayerNormalization", ["i", "", "w", "p", "", "g", "b", "", "m"], {"i": ["n", "s"], "m": ["n", "s"]},
        _TABLES, outputs=("y", "c"), types={"i": INT32, "m": INT32, "c": INT32},
    ),
    **{
        f"FusedMatMul, {attributes}": Form("FusedMatMul", ["a", "b"], _SQUARE, {}, attributes)
        for attributes in ({"transB": 1}, {"transA": 1, "alpha": 0.25}, {"alpha": 2.0}, {"transA": 1, "transB": 1})
    },
    "FusedMatMul, weight": Form("FusedMatMul", ["a", "w"], {"a": ["n", 4, 4]}, {"w": w(4, 4)}, {"transB": 1}),
    "FusedMatMul, batches": Form(
        "FusedMatMul", ["a", "b"], {"a": [2, 3, 4, 5], "b": [2, 3, 4, 5]}, {},
        {"transBatchA": 1, "transBatchB": 1, "transB": 1},
    ),
    "TransposeMatMul": Form("TransposeMatMul", ["a", "b"], _SQUARE, {}, {"transA": 1, "alpha": 0.5}),
    **{
        f"FusedConv, {name}": Form(
            "FusedConv", ["x", "w", "b"], {"x": ["n", 3, 6, 6]}, _CONV, _activated(name, *values)
        )
        for name, values in {
            "Relu": (), "Tanh": (), "Sigmoid": (), "LeakyRelu": (0.2,), "Clip": (-0.1, 0.3), "HardSigmoid": (0.3, 0.4),
        }.items()
    },
    "FusedConv, an addend": Form(
        "FusedConv", ["x", "w", "", "z"], {"x": ["n", 3, 6, 6], "z": ["n", 4, 6, 6]}, _CONV, _activated("Relu")
    ),
    **{
        f"FusedGemm, {name}": Form(
            "FusedGemm", ["x", "w", "b"], {"x": ["n", 8]}, {"w": w(4, 8), "b": w(4)},
            {"activation": name, "transB": 1, "alpha": 0.5, **values},
        )
        for name, values in {
            "Relu": {}, "Tanh": {}, "Softplus": {}, "LeakyRelu": {"activation_alpha": 0.2},
            "HardSigmoid": {"activation_alpha": 0.3, "activation_beta": 0.4},
            "Selu": {"activation_alpha": 1.2, "activation_gamma": 1.1},
        }.items()
    },
    "NhwcMaxPool": Form(
        "NhwcMaxPool", ["x"], {"x": ["n", 6, 6, 3]}, {}, {"kernel_shape": [2, 2], "strides": [2, 2]},
        types={"x": TensorProto.INT8, "y": TensorProto.INT8},
    ),
    "ExpandDims": Form("ExpandDims", ["x", "a"], _X, {"a": np.int32(-1)}),
    "Trilu": Form("Trilu", ["x", "k"], {"x": ["n", 6, 6]}, {"k": np.int64(1)}),
    "GatherND": Form("GatherND", ["x", "k"], {"x": [4, 6, 6]}, {"k": np.int64([[1, 1], [2, 2]])}),
    "Pad": Form("Pad", ["x", "k", "v"], {"x": ["n", 6]}, {"k": np.int64([0, 1, 0, 2]), "v": np.float32([3])}),
    "Affine": Form("Affine", ["x"], {"x": ["n", 6]}, {}, {"alpha": 2.0, "beta": 3.0}, domain="", opset=9),
    "ScaledTanh": Form("ScaledTanh", ["x"], {"x": ["n", 6]}, {}, {"alpha": 2.0, "beta": 3.0}, domain="", opset=9),
}  # fmt: skip
"""Of single operators; sizes are `n`, and `s` for positions."""


def attention(
    mask: list[Any] | None = None, *, past: bool = False, bias: bool = False, **attributes: Any
) -> Form:
    """Attention of 2 heads of 4 elements; its mask, if any, has these dims."""
    sizes = attributes.get("qkv_hidden_sizes", [8, 8, 8])
    inputs: dict[str, list[Any]] = {"x": ["n", "s", 6]}
    read = ["x", "w", "b", "", "", ""]
    if mask is not None:
        inputs["m"], read[3] = mask, "m"
    if past:
        inputs["p"], read[4] = [2, "n", 2, "k", 4], "p"
    if bias:
        inputs["a"], read[5] = ["n", 2, "s", "t"], "a"
    constants = {"w": w(6, sum(sizes)), "b": w(sum(sizes), seed=1)}
    values = {"m": lengths if mask is not None and len(mask) == 1 else keys_seen}
    outputs = ("y", "present") if past else ("y",)
    kinds = {"m": INT32}
    given = {"num_heads": 2, **attributes}
    return Form("Attention", read, inputs, constants, given, outputs, types=kinds, values=values)


def heads(
    read: list[str], *, bias: bool = False, outputs: tuple[str, ...] = ("y",), **attributes: Any
) -> Form:
    """MultiHeadAttention of 2 heads of 4 elements."""
    dims: dict[str, list[Any]] = {
        "q": ["n", "s", 8], "k": ["n", "t", 8], "v": ["n", "t", 8], "a": ["n", 2, "s", "t"], "m": ["n", "t"],
        "l": ["n"], "pk": ["n", 2, "k", 4], "pv": ["n", 2, "k", 4], "hk": ["n", 2, "t", 4], "hv": ["n", 2, "t", 4],
    }  # fmt: skip
    inputs = {name: dims[name] for name in read if name in dims}
    constants = {"b": w(24)} if bias else {}
    kinds = {"m": INT32, "l": INT32}
    values = {"m": keys_seen, "l": lengths}
    given = {"num_heads": 2, **attributes}
    return Form("MultiHeadAttention", read, inputs, constants, given, outputs, types=kinds, values=values)


SEEN = {"n": 2, "s": 4, "t": 4, "k": 3}
"""Sizes of most attentions: as many keys as queries."""
ATTENTIONS: dict[str, tuple[Form, dict[str, int]]] = {
    "plain": (attention(), SEEN),
    "keys": (attention(["n", "t"]), SEEN),
    "lengths": (attention(["n"]), SEEN),
    "pairs": (attention(["n", "s", "t"]), SEEN),
    "causal": (attention(unidirectional=1), SEEN),
    "causal, keys": (attention(["n", "t"], unidirectional=1), SEEN),
    "past, causal, keys": (attention(["n", "t"], past=True, unidirectional=1), {**SEEN, "t": 7}),
    "bias, scale": (attention(bias=True, scale=0.7), SEEN),
    "filter": (attention(["n", "t"], mask_filter_value=-3.0), SEEN),
    "sizes": (attention(qkv_hidden_sizes=[8, 8, 12]), SEEN),
    "heads": (heads(["q", "k", "v", "b"], bias=True), {**SEEN, "s": 3}),
    "heads, keys": (heads(["q", "k", "v", "", "m"]), {**SEEN, "s": 3}),
    "heads, lengths": (heads(["q", "k", "v", "", "l"]), {**SEEN, "s": 3}),
    "heads, bias": (heads(["q", "k", "v", "", "", "a"]), {**SEEN, "s": 3}),
    "heads, past": (
        heads(["q", "k", "v", "b", "", "", "pk", "pv"], bias=True, outputs=("y", "ok", "ov"), unidirectional=1), SEEN,
    ),
    "heads, kept keys": (heads(["q", "hk", "hv", "b"], bias=True), {**SEEN, "s": 3}),
}  # fmt: skip


def rotary(dims: list[Any], places: list[Any], **attributes: Any) -> Form:
    angles = np.arange(32).reshape(16, 2) * 0.1
    tables = {"c": np.cos(angles).astype(np.float32), "d": np.sin(angles).astype(np.float32)}
    values = {"p": lambda shape: rng(3).integers(0, 8, shape)}
    kinds = {"p": INT64}
    read = ["x", "p", "c", "d"]
    return Form(
        "RotaryEmbedding", read, {"x": dims, "p": places}, tables, attributes, types=kinds, values=values
    )


ROTARIES = {
    f"{len(whole)} axes, {len(places)}, {attributes}": rotary(
        part if "num_heads" in attributes else whole, places, **attributes
    )
    for whole, part in ((["n", "s", 8], ["n", "s", 12]), (["n", 2, "s", 4], ["n", 2, "s", 6]))
    for places in (["n", "s"], [1])
    for attributes in (
        {"interleaved": 0},
        {"interleaved": 1},
        {"interleaved": 1, "num_heads": 2, "rotary_embedding_dim": 4},
    )
}


def packed(bits: int, depth: int, block: int, zero: str) -> Form:
    """MatMulNBits of 12 columns."""
    blocks = -(-depth // block)
    constants: dict[str, Any] = {
        "w": rng().integers(0, 256, (12, blocks, block * bits // 8)).astype(np.uint8),
        "s": rng(1).uniform(0.01, 0.1, 12 * blocks).astype(np.float32),
    }
    read = ["x", "w", "s"]
    if zero == "packed":
        constants["z"] = rng(2).integers(0, 256, 12 * (-(-blocks * bits // 8))).astype(np.uint8)
    if zero == "float":
        constants["z"] = rng(2).uniform(3, 9, 12 * blocks).astype(np.float32)
    read += ["z"] if zero else []
    given = {"N": 12, "K": depth, "bits": bits, "block_size": block}
    return Form("MatMulNBits", read, {"x": ["n", 3, depth]}, constants, given)
