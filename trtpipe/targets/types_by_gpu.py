"""Which numeric types and float32 operators a GPU's TensorRT refuses, as pure rules over names. Knows no ONNX file.

Types have ONNX's names in lower case (`float16`, `bfloat16`, `float8e4m3fn`, `int4`, `float4e2m1`; `float8e8m0` are the
scales of mxfp8). Measured with builds on TensorRT-RTX 1.4 to 1.7 for every capability it has: a type that the hardware
lacks fails the whole build, and Turing has no float32 kernels for matrix products and 3-D convolutions. For the flavour
tensorrt from NVIDIA's support matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trtpipe.errors import Problem
from trtpipe.targets.compute_capability import ADA, AMPERE, TURING, ComputeCapability
from trtpipe.targets.toolchain import TITLES, Flavour

_DATACENTRE_BLACKWELL = ComputeCapability(10, 0)
_BLACKWELL = ComputeCapability(12, 0)

_FIRST: dict[Flavour, dict[str, ComputeCapability]] = {
    "tensorrt_rtx": {
        "bfloat16": AMPERE,
        "int4": AMPERE,
        "float8e4m3fn": ADA,
        "float8e8m0": ADA,
        "float4e2m1": _BLACKWELL,
    },
    "tensorrt": {
        "bfloat16": AMPERE,
        "int4": AMPERE,
        "float8e4m3fn": ADA,
        "float8e8m0": _DATACENTRE_BLACKWELL,
        "float4e2m1": _DATACENTRE_BLACKWELL,
    },
}
"""The first capability with each type; what is not listed works everywhere."""

_PRODUCTS = frozenset(
    (
        "MatMul",
        "Gemm",
        "Einsum",
        "LSTM",
        "GRU",
        "RNN",
        "Attention",
        "MultiHeadAttention",
        "GroupQueryAttention",
    )
)
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_SHOWN = 5
_IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class TypedNode:
    """What a rule must know of a node: its name, operator, inputs' types and its first input's rank (None: unknown)."""

    name: str
    op_type: str
    dtypes: tuple[str, ...]
    rank: int | None = None


def type_refusals(
    flavour: Flavour, capabilities: Iterable[ComputeCapability], dtypes: Iterable[str]
) -> list[Problem]:
    """A problem for each type in use that some capability lacks; one engine for several GPUs needs it on all."""
    wanted = sorted(set(capabilities))
    problems = []
    for dtype in sorted(set(dtypes)):
        first = _FIRST[flavour].get(dtype)
        without = [one.sm for one in wanted if first is not None and one < first]
        if first is not None and without:
            fact = f"{TITLES[flavour]} has no {dtype} for {', '.join(without)}"
            problems.append(Problem(fact, f"{dtype} needs {first.sm} or newer; float16 works on all"))
    return problems


def supports_type(flavour: Flavour, capability: ComputeCapability, dtype: str) -> bool:
    """Whether engines for a capability may hold tensors of a type."""
    return not type_refusals(flavour, (capability,), (dtype,))


def gemm_refusals(
    flavour: Flavour, capabilities: Iterable[ComputeCapability], nodes: Iterable[TypedNode]
) -> list[Problem]:
    """The float32 nodes that TensorRT-RTX cannot build for Turing, one problem a kind, naming them.

    Matrix products (MatMul, Gemm, an Einsum of two inputs, recurrent and attention operators) and convolutions over
    three spatial axes. Quantised ones are float32 too when what they dequantise to is.
    """
    if flavour != "tensorrt_rtx" or TURING not in set(capabilities):
        return []
    found: dict[str, list[TypedNode]] = {}
    for node in nodes:
        kind = _refused_kind(node)
        if kind:
            found.setdefault(kind, []).append(node)
    return [_turing_problem(kind, refused) for kind, refused in found.items()]


def _refused_kind(node: TypedNode) -> str:
    if not node.dtypes or node.dtypes[0] != "float32":
        return ""
    if node.op_type in _CONVOLUTIONS:
        return "3-D convolution" if node.rank is not None and node.rank > _IMAGE_RANK else ""
    if node.op_type == "Einsum" and len(node.dtypes) == 1:
        return ""  # a transpose, a sum or a diagonal: no product
    return "matrix product" if node.op_type in _PRODUCTS else ""


def _turing_problem(kind: str, nodes: Sequence[TypedNode]) -> Problem:
    shown = ", ".join(f"{node.name!r} ({node.op_type})" for node in nodes[:_SHOWN])
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    fact = f"TensorRT-RTX has no float32 {kind} for {TURING.sm} (Turing): {shown}{more}"
    return Problem(fact, f"a variant with `precision: fp16` builds for {TURING.sm}; or leave {TURING.sm} out")
