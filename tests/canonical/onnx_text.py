"""Makes small models from ONNX's text form, lowers them, and runs them, for the tests beside it."""

from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import onnxruntime as ort

from trtpipe.canonical.evaluation import Evaluator
from trtpipe.legalization.legalize import Changes, legalize


def parse(text: str, *, opset: int = 17, functions: str = "") -> onnx.ModelProto:
    """The model with graph `text`; custom domains `d` and `local` are imported."""
    header = f'<ir_version: 8, opset_import: ["" : {opset}, "local" : 1, "d" : 1]>'
    return onnx.parser.parse_model(f"{header}\n{text}\n{functions}")


def canonical(
    model: onnx.ModelProto, workplace: Path | Evaluator, **options: Any
) -> tuple[onnx.ModelProto, Changes]:
    """The canonical form of a model in memory, and what changed; many models may share an evaluator."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if isinstance(workplace, Evaluator):
        return copy, legalize(copy, workplace, **options)
    with Evaluator(workplace) as evaluator:
        changes = legalize(copy, evaluator, **options)
    return copy, changes


def operators(model: onnx.ModelProto) -> list[str]:
    """The operators of the main graph, in order."""
    return [node.op_type for node in model.graph.node]


def run(model: onnx.ModelProto | Path, inputs: dict[str, Any]) -> list[Any]:
    """The model's outputs in ONNX Runtime."""
    encoded = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    results: list[Any] = ort.InferenceSession(encoded, options, providers=["CPUExecutionProvider"]).run(
        None, inputs
    )
    return results
