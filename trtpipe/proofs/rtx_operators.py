"""Operators that TensorRT-RTX cannot build, found before its parser runs, because some of them crash it.

From the OnnxParser of TensorRT-RTX 1.7 itself (`supports_operator` over every operator of ONNX 1.23 and every name in
the library) and from builds; for a newer version they are only warnings. The parser looks at the operator's name and
ignores its domain, and the plugin registry of RTX is empty. Operators that import expands into simpler ones are not
listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import ONNX_DOMAINS
from trtpipe.errors import Problem, Severity
from trtpipe.problem_codes import Code
from trtpipe.targets.toolchain import parse_version

if TYPE_CHECKING:
    import onnx

_NEWEST_TRIED = (1, 7)
_SHOWN = 5

_UNKNOWN_TO_PARSER = frozenset({
    "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "CumProd", "DFT", "DeformConv",
    "Det", "DynamicQuantizeLinear", "ImageDecoder", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix",
    "Multinomial", "Optional", "OptionalGetElement", "OptionalHasElement",
    "QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap",
    "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer", "Unique",
})  # fmt: skip
"""Standard operators without an importer."""

_IN_TENSORRT = frozenset({"DeformConv", "NonMaxSuppression", "NonZero", "RoiAlign", "ScatterElements"})
"""What RTX refuses and the flavour tensorrt documents; elsewhere its parser comes of the same source."""

_ON_INTEGERS = frozenset({
    "ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulInteger",
    "MatMulIntegerToFloat", "QAttention", "QEmbedLayerNormalization", "QGemm", "QLinearAdd", "QLinearAveragePool",
    "QLinearConcat", "QLinearConv", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMatMul", "QLinearMul",
    "QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere",
})  # fmt: skip
"""What ONNX Runtime's quantizer writes for its CPU kernels, in forms that importing does not write out."""

_NEVER_BUILT = {
    "NonZero": "its parser needs a plugin, and TensorRT-RTX has none",
    "NonMaxSuppression": "no kernel implements it",
    "RoiAlign": "its plugin ends the process",
    "MatMulNBits": "its parser needs a plugin, and TensorRT-RTX has none",
}
"""What the parser says it takes, and no engine ever came of."""

_RUNTIME = "com.microsoft"
"""ONNX Runtime's domain: what importing takes of it, it writes out, and what is left is not an operator of ONNX's."""

_LIKE_ONNX = frozenset({"GatherND", "Gelu", "GridSample", "Pad", "Range", "Trilu"})
"""Those of its operators that are what ONNX has by that name, so that the parser's mistake does no harm."""

_LAID_OUT = frozenset({"com.microsoft.nchwc", "com.ms.internal.nhwc"})
"""Where ONNX Runtime puts operators whose weights it has laid out for one kind of processor."""

_BEYOND_ONNX = frozenset({
    "GroupQueryAttention", "ImageScaler", "MultiHeadAttention", "ParametricSoftplus", "QMoE", "ScaledTanh",
    "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "TRT_Attention", "TRT_AveragePool",
    "TRT_BlockDequantize", "TRT_BlockQuantize", "TRT_Conv", "TRT_Deconv", "TRT_DynamicQuantize",
    "TRT_FP4DynamicQuantize", "TRT_FP8DequantizeLinear", "TRT_FP8QuantizeLinear", "TRT_FloorDiv", "TRT_Gather",
    "TRT_INT4DequantizeLinear", "TRT_INT4QuantizeLinear", "TRT_KVCacheUpdate", "TRT_MXFP8DequantizeLinear",
    "TRT_MXFP8DynamicQuantize", "TRT_MXFP8QuantizeLinear", "TRT_MatMul", "TRT_MaxAverageBlendPool", "TRT_MaxPool",
    "TRT_MoE", "TRT_QuantizedAttention", "TRT_RaggedSoftmax", "TRT_Resize", "TRT_Scale", "TRT_Shuffle", "TRT_Slice",
    "TRT_TopK_Min",
})  # fmt: skip
"""Importers for names that are not ONNX's."""


def operator_refusals(nodes: Iterable[onnx.NodeProto], version: str) -> list[Problem]:
    """One problem for each operator that TensorRT-RTX `version` does not build, naming nodes; [] when it supports all.

    The problems are warnings when the version is newer than the tested ones.
    """
    severity: Severity = "warning" if parse_version(version)[:2] > _NEWEST_TRIED else "error"
    refused: dict[tuple[str, str, str], list[str]] = {}
    for node in nodes:
        why = _why_not(node)
        if why:
            refused.setdefault((node.op_type, why, _remedy(node)), []).append(node.name or node.output[0])
    return [
        Problem(
            Code.OPERATOR_NOT_BUILT,
            f"TensorRT-RTX does not build {op}: {why} ({_named(names)})",
            remedy,
            severity=severity,
        )
        for (op, why, remedy), names in sorted(refused.items())
    ]


def _remedy(node: onnx.NodeProto) -> str:
    """The tested remedy. The flavour tensorrt does not help, because its parser has the same source and gaps."""
    op = str(node.op_type)
    if node.domain in _LAID_OUT:
        return "save it with optimizations up to ORT_ENABLE_EXTENDED, or give the model that it was made of"
    if op in _ON_INTEGERS:
        return (
            "give the float model, and have a variant of precision int8 quantize it, or one with Q/DQ in int8"
        )
    cut = "cut the graph before it with transform.outputs and do this step outside the engine"
    if op in _IN_TENSORRT:
        return f"{cut}, or use the flavour tensorrt"
    import onnx

    lacking = op in _UNKNOWN_TO_PARSER or op in _NEVER_BUILT or node.domain == _RUNTIME or onnx.defs.has(op)
    return cut if lacking else f"{cut}, or use the flavour tensorrt with a plugin for it"


def _why_not(node: onnx.NodeProto) -> str:
    import onnx

    op = str(node.op_type)
    if node.domain in _LAID_OUT:
        return "ONNX Runtime saved the model in the layout of the processor that it ran on"
    known = _BEYOND_ONNX | _ON_INTEGERS | _LIKE_ONNX
    if node.domain == _RUNTIME and op not in known and op not in _NEVER_BUILT:
        return "it is ONNX Runtime's own, in a form that has no equal in ONNX or whose types are not known"
    if op in _NEVER_BUILT:
        return _NEVER_BUILT[op]
    if op in _UNKNOWN_TO_PARSER:
        return "its parser does not know it"
    if op in _BEYOND_ONNX or onnx.defs.has(op) or onnx.defs.has(op, "ai.onnx.preview"):
        return ""
    domain = (
        "" if node.domain in ONNX_DOMAINS and node.domain != "ai.onnx.ml" else f" of domain '{node.domain}'"
    )
    return f"a custom operator{domain}, and it takes no plugins"


def _named(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(f"'{name}'" for name in listed[:_SHOWN]) + more


def custom_operators(nodes: Iterable[onnx.NodeProto]) -> Iterator[str]:
    """The operator names that are neither ONNX's nor the parser's own, sorted: a plugin must bring them."""
    import onnx

    names = {str(node.op_type) for node in nodes} - _BEYOND_ONNX
    yield from sorted(name for name in names if not onnx.defs.has(name))
