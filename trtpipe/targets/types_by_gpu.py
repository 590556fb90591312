"""Which numeric types and float32 operators TensorRT rejects for a GPU. Pure rules over names; reads no model.

Types have either the spec's names (`bf16`, `fp8`, `int4`, `fp4`, `mxfp8`) or ONNX's names (`bfloat16`,
`float8_e4m3fn`, `float4_e2m1fn`, `float8_e8m0fnu`: the scales of mxfp8). Measured with builds on TensorRT-RTX 1.4 to
1.7 for every capability it has: a type that the hardware lacks fails the whole build, and 1.7 refuses float32 matrix
products and 3-D convolutions for Turing, which 1.4, 1.5 and 1.6 still built. The rules for the flavour tensorrt are
from NVIDIA's support matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trtpipe.errors import Problem
from trtpipe.problem_codes import Code
from trtpipe.targets.compute_capability import ADA, AMPERE, TURING, ComputeCapability
from trtpipe.targets.toolchain import TITLES, Flavour, parse_version

_DATACENTRE_BLACKWELL = ComputeCapability(10, 0)
_BLACKWELL = ComputeCapability(12, 0)

_FIRST: dict[Flavour, dict[str, ComputeCapability]] = {
    "tensorrt_rtx": {
        "bf16": AMPERE,
        "int4": AMPERE,
        "fp8": ADA,
        "mxfp8": ADA,
        "fp4": _BLACKWELL,
    },
    "tensorrt": {
        "bf16": AMPERE,
        "int4": AMPERE,
        "fp8": ADA,
        "mxfp8": _DATACENTRE_BLACKWELL,
        "fp4": _DATACENTRE_BLACKWELL,
    },
}
"""The first capability with each type; what is not listed works everywhere."""

_WORDS = {
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e8m0fnu": "mxfp8",
    "float4_e2m1fn": "fp4",
    "nvfp4": "fp4",
    "float": "float32",
    "fp32": "float32",
}
"""ONNX's and others' names of types → the words used here."""

_INSTEAD = {
    "bf16": ("fp16",),
    "int4": ("int8", "fp16"),
    "fp8": ("int8", "fp16"),
    "mxfp8": ("fp8", "int8", "fp16"),
    "fp4": ("fp8", "int4", "int8", "fp16"),
}
"""What comes nearest to a type, best first; the last works on every GPU."""

_BLOCKS: dict[Flavour, dict[str, tuple[int, ...]]] = {"tensorrt": {"int4": (64, 128), "fp4": (16,)}}
"""The sizes of blocks that a flavour takes of weights that are quantized alone; from NVIDIA's documentation."""

_PRODUCTS = frozenset({"MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention"})
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})
_TURING_LOST_FLOAT32 = (1, 7)
_QUANTIZED = frozenset({"int8", "int4", "fp8", "fp4", "mxfp8"})
_SHOWN = 5
_IMAGE_RANK = 4


class TypedNode(NamedTuple):
    """The facts about a node that rules need: name, operator, input types and the rank of its first input (None:
    unknown).
    """

    name: str
    op_type: str
    dtypes: tuple[str, ...]
    rank: int | None = None


def missing_types(
    flavour: Flavour, capabilities: Iterable[ComputeCapability], dtypes: Iterable[str]
) -> list[Problem]:
    """A problem for each used type that some capability lacks, with the types that all of them support instead.

    An engine for several GPUs needs its types on every one of them, so the least capable GPU decides.
    """
    wanted = sorted(set(capabilities))
    problems = []
    for dtype in sorted({_WORDS.get(one, one) for one in dtypes}):
        without = [one.sm for one in wanted if not supports_type(flavour, one, dtype)]
        if without:
            fact = f"{TITLES[flavour]} has no {dtype} for {', '.join(without)}"
            remedy = f"{dtype} needs {_FIRST[flavour][dtype].sm} or newer; use {_nearest(flavour, wanted[0], dtype)}"
            problems.append(Problem(Code.TYPE_NOT_ON_GPU, fact, remedy))
    return problems


def supports_type(flavour: Flavour, capability: ComputeCapability, dtype: str) -> bool:
    """Whether engines for a capability may hold tensors of a type."""
    first = _FIRST[flavour].get(_WORDS.get(dtype, dtype))
    return first is None or capability >= first


def _nearest(flavour: Flavour, weakest: ComputeCapability, dtype: str) -> str:
    return " or ".join([one for one in _INSTEAD[dtype] if supports_type(flavour, weakest, one)][:2])


def block_refusals(flavour: Flavour, dtypes: Iterable[str], block: int) -> list[Problem]:
    """Why TensorRT does not support weights in blocks of this size (0: no blocks); TensorRT-RTX supports 16 to 128."""
    sizes = _BLOCKS.get(flavour, {})
    refused = [
        one
        for one in sorted({_WORDS.get(one, one) for one in dtypes})
        if block not in sizes.get(one, (block,))
    ]
    return [
        Problem(
            Code.BLOCK_SIZE,
            f"{TITLES[flavour]} has no {one} in blocks of {block}",
            f"write `block_size: {sizes[one][0]}`" + "".join(f" or {size}" for size in sizes[one][1:]),
        )
        for one in refused
        if block
    ]


def gemm_refusals(
    flavour: Flavour,
    version: str,
    capabilities: Iterable[ComputeCapability],
    nodes: Iterable[TypedNode | tuple[str, str, tuple[str, ...]]],
) -> list[Problem]:
    """The float32 nodes that TensorRT-RTX cannot build for Turing from 1.7 on, one problem per kind, with names.

    A node is its name, operator and inputs' types; the rank of its first input is needed to find 3-D convolutions.
    Matrix products (MatMul, Gemm, an Einsum of two inputs, recurrent and attention operators) and convolutions over
    three spatial axes. Quantised ones count as float32 if they dequantise to it.
    """
    refuses = flavour == "tensorrt_rtx" and parse_version(version) >= _TURING_LOST_FLOAT32
    if not refuses or TURING not in set(capabilities):
        return []
    found: dict[str, list[TypedNode]] = {}
    for one in nodes:
        node = TypedNode(*one)
        kind = _refused_kind(node)
        if kind:
            found.setdefault(kind, []).append(node)
    return [_turing_problem(version, kind, refused) for kind, refused in found.items()]


def _refused_kind(node: TypedNode) -> str:
    if not node.dtypes or _WORDS.get(node.dtypes[0], node.dtypes[0]) != "float32":
        return ""
    if node.op_type in _CONVOLUTIONS:
        return "3-D convolution" if node.rank is not None and node.rank > _IMAGE_RANK else ""
    if node.op_type == "Einsum" and len(node.dtypes) == 1:
        return ""  # an Einsum of one operand is a transpose, a sum or a diagonal, not a product
    return "matrix product" if node.op_type in _PRODUCTS else ""


def _turing_problem(version: str, kind: str, nodes: Sequence[TypedNode]) -> Problem:
    shown = ", ".join(f"{node.name!r} ({node.op_type})" for node in nodes[:_SHOWN])
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    fact = f"TensorRT-RTX {version} has no float32 {kind} for {TURING.sm} (Turing): {shown}{more}"
    quantized = any(_WORDS.get(one, one) in _QUANTIZED for node in nodes for one in node.dtypes)
    instead = "`base: fp16`" if quantized else "`precision: fp16`"
    remedy = f"a variant with {instead} builds for {TURING.sm}, and so does TensorRT-RTX 1.6 in float32"
    return Problem(Code.TYPE_NOT_ON_GPU, fact, f"{remedy}; or leave {TURING.sm} out")
