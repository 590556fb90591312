"""What only older versions of TensorRT-RTX reject, each tested on the versions before and after the change."""

from __future__ import annotations

from collections.abc import Iterator

from trtpipe.canonical.edits import attribute_of
from trtpipe.proofs.engine_limits.refusal import NAME, Refusal
from trtpipe.proofs.engine_limits.values import NodeView, TypedGraph
from trtpipe.targets.toolchain import parse_version

_IMAGE_RANK = 4
_QUANTIZED = (
    "TensorRT-RTX 1.4 takes int8 only from QuantizeLinear, or of an input that DequantizeLinear reads"
)
_INT8 = 3  # a TensorProto.DataType
_STASHED = "its stash_type is int8, which the builder of TensorRT-RTX before 1.7 does not compute in"
_NO_SWISH = "the parser of TensorRT-RTX 1.4 does not know it"
_NEWER = "build with TensorRT-RTX 1.5 or newer"
_WIDER = f"have it compute in float32: keep: {{fp32: [{NAME}]}} in the variant, or build with TensorRT-RTX 1.5 or newer"


def refused_by_older(graph: TypedGraph, version: str) -> Iterator[Refusal]:
    """What this version rejects and a newer one accepts."""
    release = parse_version(version)[:2]
    for node in graph.nodes():
        if release < (1, 5):
            yield from _before_1_5(node)
            if node.op == "Swish":
                yield Refusal(_NO_SWISH, _NEWER, node=node.node.name)
        if release < (1, 7) and node.op == "RMSNormalization" and node.integer("stash_type", 1) == _INT8:
            yield Refusal(_STASHED, "build with TensorRT-RTX 1.7 or newer", node=node.node.name)
        if release < (1, 6) and node.op == "GridSample" and (node.rank(0) or 0) > _IMAGE_RANK:
            why = f"it samples {node.rank(0)} dimensions, and TensorRT-RTX takes {_IMAGE_RANK} before 1.6"
            yield Refusal(why, "build with TensorRT-RTX 1.6 or newer", node=node.node.name)


def _before_1_5(node: NodeView) -> Iterator[Refusal]:
    made = [node.graph.dtype(name) for name in node.node.output]
    if node.op == "Cast" and "int8" in made:
        yield Refusal(f"it casts to int8; {_QUANTIZED}", _NEWER, node=node.node.name)
    elif node.op != "DequantizeLinear" and any(
        node.graph.dtype(name) == "int8" and name in node.graph.inputs for name in node.node.input
    ):
        yield Refusal(f"it reads an int8 input; {_QUANTIZED}", _NEWER, node=node.node.name)
    scaled = [name for name in ("alpha", "beta") if attribute_of(node.node, name) not in (None, 1.0)]
    if node.op == "Gemm" and scaled and node.dtype(0) in ("float16", "bfloat16"):
        why = (
            f"it has {scaled[0]} in {node.dtype(0)}, which the parser of TensorRT-RTX 1.4 mixes with float32"
        )
        yield Refusal(why, _WIDER, node=node.node.name)
