"""Rewrites a canonical model file into a typed one. Memory use is the graph plus one piece of one weight.

Cast weights are written to a scratch file beside the result first, because a graph that holds all of them in memory
would be as large as they are.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from trtpipe.canonical.reader import ir_model, read_skeleton
from trtpipe.canonical.writer import write_model
from trtpipe.errors import ModelError, SpecError
from trtpipe.precisions import Choices, Precision
from trtpipe.precisions.audit.typed import TypedAudit, typed_audit
from trtpipe.precisions.casts.constants import CastTensor, shape_of
from trtpipe.precisions.casts.element_types import graphs_of
from trtpipe.precisions.casts.rewrite import RewriteReport
from trtpipe.precisions.casts.signatures import tensor_in
from trtpipe.precisions.quantization.weights import QuantizedTensor
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

    from trtpipe.json_values import Json

_LARGE = 1024  # smaller weights stay in the graph


@dataclass(frozen=True)
class TypedModel:
    """A model in other types, and what was changed; its weights are cast when it is written."""

    model: ir.Model
    report: RewriteReport
    audit: TypedAudit
    opset: str
    """How its opset was raised; empty when it was not."""

    def to_json(self) -> dict[str, Json]:
        """The summary of a `quantize` step."""
        plan = self.report.plan
        summary: dict[str, Json] = {
            "audit": self.audit.to_json(),
            "planned": plan.counts(),
            "quantized": len(plan.quantized),
            "casts": len(self.report.casts),
            "weights_cast": self.report.weights_cast,
            "why_not": plan.why_not(),
            "wide": {
                "overflow": {name: one.as_json() for name, one in plan.overflows.items()},
                "unmeasured": plan.unmeasured,
                "overflow_io": dict(plan.unconverted),
                "by_default": dict(sorted(Counter(plan.by_default.values()).items())),
            },
            "warnings": [problem.fact for problem in self.report.warnings],
        }
        return summary | ({"opset": self.opset} if self.opset else {})

    def write(self, out: Path, graft: Callable[[onnx.ModelProto], None] | None = None) -> None:
        """Writes the model to `out` (and `out`.data when large); to be called once. `graft` changes it last.

        Raises ModelError.
        """
        try:
            with tempfile.TemporaryDirectory(prefix=".typed-", dir=out.parent) as folder:
                scratch = Path(folder) / "weights"
                # the scratch file must be closed, and so flushed, before it is read
                with scratch.open("wb") as file:
                    _spill(self.model, scratch.resolve(), file)
                typed = ir.to_proto(self.model)
                if graft is not None:
                    graft(typed)
                write_model(typed, out)
        except OSError as error:
            raise ModelError(Code.CANNOT_WRITE, f"cannot write '{out}': {error.strerror}") from error


def typed_model(
    precision: Precision,
    source: Path,
    *,
    keep: Mapping[str, Sequence[str]] | None = None,
    choices: Choices | None = None,
) -> TypedModel:
    """The model of `source` in a precision.

    A quantized precision needs the magnitudes of activations (`choices.amax`). Raises SpecError when a glob of `keep`
    matches nothing or `choices` refuse an overflow, ModelError when the file cannot be read.
    """
    choices = choices or Choices()
    skeleton = read_skeleton(source)
    raised = precision.prepare(skeleton.proto, choices.base)
    model = ir_model(skeleton)
    assert choices.amax is not None or not precision.needs_calibration, "scales come before quantizing"
    plan = precision.plan_types(model, keep, ("keep",), choices=choices)
    if plan.problems:
        raise SpecError(plan.problems)
    report = precision.rewrite(model, plan)
    return TypedModel(model, report, typed_audit(model), raised)


def rewrite_file(
    precision: Precision,
    source: Path,
    out: Path,
    *,
    keep: Mapping[str, Sequence[str]] | None = None,
    choices: Choices | None = None,
) -> TypedModel:
    """Writes the typed model of `source` to `out`: `typed_model`, then `TypedModel.write`."""
    typed = typed_model(precision, source, keep=keep, choices=choices)
    typed.write(out)
    return typed


def _spill(model: ir.Model, path: Path, file: IO[bytes]) -> None:
    """Computes the cast weights one by one, writes them to the scratch file and refers to them there."""
    for graph in graphs_of(model):
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = _spilled(value.const_value, path, file)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[name] = ir.AttrTensor(name, _spilled(tensor_in(attribute), path, file))


def _spilled(tensor: ir.TensorProtocol, path: Path, file: IO[bytes]) -> ir.TensorProtocol:
    if not isinstance(tensor, (CastTensor, QuantizedTensor)) or tensor.nbytes < _LARGE:
        return tensor
    offset = file.tell()
    for piece in tensor.pieces():
        file.write(piece.reshape(-1).view(np.uint8).data)  # not a copy
    return ir.ExternalTensor(
        str(path), offset, tensor.nbytes, tensor.dtype, shape=shape_of(tensor), name=tensor.name or ""
    )
