"""Reasons why TensorRT may be unable to build a canonical model, derived from its summary alone."""

from __future__ import annotations

from trtpipe.canonical.summary import ModelSummary

_NO_PARSER = frozenset(
    """AffineGrid Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor CenterCropPad Col2Im Compress
    ConvInteger CumProd DFT DeformConv Det DynamicQuantizeLinear ImageDecoder MatMulInteger MaxRoiPool MaxUnpool
    MelWeightMatrix Multinomial NegativeLogLikelihoodLoss Optional OptionalGetElement OptionalHasElement QLinearConv
    QLinearMatMul RegexFullMatch SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength
    SplitToSequence ConcatFromSequence SoftmaxCrossEntropyLoss StringConcat StringNormalizer StringSplit SwiGLU
    TfIdfVectorizer Unique""".split()  # noqa: SIM905
)
"""Standard operators that TensorRT's ONNX parser does not know."""

_NEEDS_PLUGIN = frozenset({"NonZero", "NonMaxSuppression", "RoiAlign", "MatMulNBits"})
"""Operators that TensorRT builds through plugins, which TensorRT-RTX does not have."""


def warnings_about(summary: ModelSummary) -> list[str]:
    """Possible reasons why TensorRT cannot build the canonical model, one sentence each."""
    operators = {name for name, _ in summary.operators}
    warnings = [f"operator {name} is unknown to TensorRT's parser" for name in sorted(operators & _NO_PARSER)]
    warnings += [
        f"operator {name} needs a plugin: TensorRT-RTX cannot build it"
        for name in sorted(operators & _NEEDS_PLUGIN)
    ]
    for domain in summary.custom_domains:
        custom = ", ".join(sorted(name for name in operators if name.startswith(f"{domain}::")))
        warnings.append(f"custom operators {custom} need a plugin: TensorRT-RTX cannot build them")
    for item in summary.inputs:
        if item.dtype == "float64":
            warnings.append(f"input '{item.name}' is float64: TensorRT computes in float32")
        if item.dims is None:
            warnings.append(f"input '{item.name}' has no shape: give it one with transform.set_shapes")
        elif 0 in item.dims:
            warnings.append(
                f"input '{item.name}' has a dimension of size 0: make it -1 with transform.set_shapes"
            )
    return warnings
