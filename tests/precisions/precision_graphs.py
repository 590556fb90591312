"""Small ONNX models for tests of precisions, written as ONNX text."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.rewrite import RewriteReport


def model_of(text: str, opset: int = 17, **weights: Any) -> ir.Model:
    """`text` is an ONNX graph, `agraph (float[N] x) => (float[N] y) {{ … }}`; weights are added as initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    for index, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return ir.from_proto(proto)


def rewritten(
    model: ir.Model, precision: str = "fp16", **keep: list[str]
) -> tuple[onnx.ModelProto, RewriteReport]:
    """The typed model, checked and its types inferred strictly, and the report of the rewrite."""
    found = find_precision(precision)
    assert found is not None
    report = found.rewrite(model, found.plan_types(model, keep))
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
    return proto, report


def ops(proto: onnx.ModelProto) -> list[str]:
    """The operators in graph order; casts with their target type."""
    return [
        f"Cast:{onnx.TensorProto.DataType.Name(node.attribute[0].i)}"
        if node.op_type == "Cast"
        else node.op_type
        for node in proto.graph.node
    ]


def weight_types(proto: onnx.ModelProto) -> dict[str, str]:
    """Initializer → its type."""
    return {t.name: onnx.TensorProto.DataType.Name(t.data_type) for t in proto.graph.initializer}
