"""Declares the shapes that ONNX's inference can find, for rules that depend on the rank of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.tensors import number_of_dtype

if TYPE_CHECKING:
    import onnx


def declare_shapes(proto: onnx.ModelProto) -> None:
    """Declares every tensor of the main graph whose type and rank can be inferred, in place."""
    import onnx

    known = infer_values(proto)
    declared = {value.name for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output)}
    for node in proto.graph.node:
        for name in node.output:
            info = known.get(name)
            if info is None or info.dims is None or name in declared or info.dtype == "undefined":
                continue
            number = number_of_dtype(info.dtype)
            proto.graph.value_info.append(onnx.helper.make_tensor_value_info(name, number, list(info.dims)))
