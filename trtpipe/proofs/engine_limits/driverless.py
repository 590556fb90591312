"""Models that older versions of TensorRT-RTX cannot build without an NVIDIA driver, and newer ones can.

Tried on a machine without one, for every GPU that the versions know (`tests/conformance/quantized_builds.json`): 1.4
builds nothing that is quantized, and 1.5 and 1.6 no convolution of two operands in int8. Their behaviour with a driver
was not tested, so no statement is made about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integer_of
from trtpipe.proofs.engine_limits.refusal import Refusal
from trtpipe.proofs.engine_limits.values import NodeView, TypedGraph
from trtpipe.targets.toolchain import parse_version

if TYPE_CHECKING:
    import onnx

_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantize")
_MOVES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_NOTHING = "it quantizes, and TensorRT-RTX 1.4 builds nothing that does on a machine without an NVIDIA driver"
_NO_INT8 = "it is an int8 convolution, which TensorRT-RTX before 1.7 does not build without an NVIDIA driver"
_FOR_ALL = "build with TensorRT-RTX 1.7 or newer"
_OR_FP8 = f"{_FOR_ALL}, or have a variant of precision fp16, or of fp8 for sm89 and newer"


def refused_without_driver(graph: TypedGraph, version: str) -> Iterator[Refusal]:
    """What this version cannot build on a machine without an NVIDIA driver."""
    release = parse_version(version)[:2]
    if release >= (1, 7):
        return
    makers = {name: node.node for node in graph.nodes() for name in node.node.output if name}
    for node in graph.nodes():
        if release < (1, 5) and node.op.endswith(_QUANTIZERS):
            yield Refusal(_NOTHING, _FOR_ALL, node=node.node.name)
        elif release >= (1, 5) and _is_int8_convolution(node, makers):
            yield Refusal(_NO_INT8, _OR_FP8, node=node.node.name)


def _is_int8_convolution(node: NodeView, makers: Mapping[str, onnx.NodeProto]) -> bool:
    """Whether both operands are int8. Grouped transposed convolutions can be built, because they are not fused."""
    apart = node.op == "ConvTranspose" and integer_of(node.node, "group", 1) != 1
    if node.op not in ("Conv", "ConvTranspose") or apart:
        return False
    return all(_comes_of_int8(node, name, makers) for name in node.node.input[:2])


def _comes_of_int8(node: NodeView, name: str, makers: Mapping[str, onnx.NodeProto]) -> bool:
    maker = makers.get(name)
    while maker is not None and maker.op_type in _MOVES:
        maker = makers.get(maker.input[0])
    return (
        maker is not None
        and maker.op_type == "DequantizeLinear"
        and node.graph.dtype(maker.input[0]) == "int8"
    )
