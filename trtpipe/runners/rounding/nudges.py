"""A copy of a model with random errors of up to one unit in the last place, to measure the effect of rounding.

Two implementations of the same model round in different places, and the effect of that depends on the model: a softmax
of large numbers amplifies it more than a sum. So a typed model is run once more with a random error on each float that
it rounds; the distance of its outputs from those of the original is the difference that rounding explains.

    t' = t (1 + u e), u uniform in [-1, 1] for each element, e = 2^-10, 2^-7 or 2^-23 for half, bfloat16 or float32
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.rounding.perturbations import EXACT

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import TensorInfo

_UNITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}
"""The distance of 1 to the next larger number (IEEE 754; bfloat16 has 7 bits of mantissa)."""
_LEAST_RANK = 2  # smaller tensors may be sizes, which are not rounded


def nudged(model: RunnableModel, seed: int) -> RunnableModel:
    """A copy with random errors on everything that it rounds; deterministic for a seed. Reads no weights."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    made = list(copy.graph.node)
    nodes = [one for index, node in enumerate(made) for one in _nudged(node, model, seed * 100_003 + index)]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return RunnableModel(copy, model.folder, model.path)


def _nudged(node: onnx.NodeProto, model: RunnableModel, seed: int) -> Iterator[onnx.NodeProto]:
    behind: list[onnx.NodeProto] = []
    for index, name in enumerate(node.output):
        info = model.values.get(name)
        if info is not None and _is_rounded(node, info):
            node.output[index] = f"{name}/exact"
            behind += _nudging(name, info.dtype, float(seed))
    yield node
    yield from behind


def _is_rounded(node: onnx.NodeProto, info: TensorInfo) -> bool:
    """Whether a node's result is rounded to its type: it is computed, or cast to a narrower type."""
    if info.dtype not in _UNITS or info.dims is None or len(info.dims) < _LEAST_RANK:
        return False
    if node.op_type == "Cast":
        return info.dtype != "float32"
    return node.op_type not in EXACT and "Quantize" not in node.op_type and node.op_type != "DequantizeLinear"


def _nudging(name: str, dtype: str, seed: float) -> Iterator[onnx.NodeProto]:
    """Nodes for t' = t (1 + u e)."""
    import onnx
    from onnx import helper

    random, factor, source = f"{name}/random", f"{name}/factor", f"{name}/exact"
    unit, floats = _UNITS[dtype], onnx.TensorProto.FLOAT
    bounds = {"low": 1.0 - unit, "high": 1.0 + unit}
    yield helper.make_node("RandomUniformLike", [source], [random], dtype=floats, seed=seed, **bounds)
    if dtype == "float32":
        factor = random
    else:
        number = onnx.TensorProto.FLOAT16 if dtype == "float16" else onnx.TensorProto.BFLOAT16
        yield helper.make_node("Cast", [random], [factor], to=number)
    yield helper.make_node("Mul", [source, factor], [name])
