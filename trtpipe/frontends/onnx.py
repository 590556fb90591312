"""The `onnx` frontend: any ONNX file to canonical ONNX.

Knows where the file is and what may surprise its owner; how a model is made canonical is `canonical`'s business.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from trtpipe.frontends import LowerReport

if TYPE_CHECKING:
    from trtpipe.canonical.summary import ModelSummary


class OnnxOptions(BaseModel):
    """`model.options` of the onnx parser; `opset` is the least opset to bring the model to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opset: int | None = Field(default=None, ge=13, le=25)


class OnnxFrontend:
    """Lowers `.onnx` files, with or without external data."""

    name = "onnx"
    version = 1
    Options = OnnxOptions

    def sources(self, path: Path, root: Path | None) -> list[Path]:
        """The model file and every external data file it refers to. Raises ModelError."""
        from trtpipe.canonical.reading import read_skeleton

        return [path, *read_skeleton(path, root=root).external_files]

    def lower(self, path: Path, options: OnnxOptions, out: Path, *, root: Path | None = None) -> LowerReport:
        """Writes the canonical form of the model at `path` to `out`, large weights to `<out>.data` beside it.

        Raises ModelError when the model is not valid or lies, with its data, outside `root`.
        """
        from trtpipe.canonical.evaluation import Evaluator
        from trtpipe.canonical.legalizing import legalize
        from trtpipe.canonical.reading import read_skeleton
        from trtpipe.canonical.summary import summarize
        from trtpipe.canonical.writing import write_model

        model = read_skeleton(path, root=root).proto
        with (
            tempfile.TemporaryDirectory(prefix=".lower-", dir=out.parent) as workplace,
            Evaluator(Path(workplace)) as evaluator,
        ):
            changes = legalize(model, evaluator, opset=options.opset)
            files = write_model(model, out)
        summary = summarize(model)
        return LowerReport(tuple(files), changes.to_json(), summary.to_json(), tuple(warnings_about(summary)))

    def tools(self) -> dict[str, str]:
        """The versions of the packages that can change the canonical bytes."""
        return {name: importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime")}


frontend = OnnxFrontend()

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
"""Operators that TensorRT builds through plugins, which TensorRT-RTX has not."""


def warnings_about(summary: ModelSummary) -> list[str]:
    """What may keep TensorRT from building the canonical model, a sentence each."""
    operators = {name for name, _ in summary.operators}
    warnings = [
        f"operator {name} is not known to TensorRT's parser" for name in sorted(operators & _NO_PARSER)
    ]
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
