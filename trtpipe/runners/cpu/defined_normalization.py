"""MeanVarianceNormalization as ONNX defines it, because ONNX Runtime's kernel omits the epsilon.

ONNX divides by the deviation plus 1e-9; ONNX Runtime by the deviation alone, so that values which do not vary (a batch
of one, normalized over the batch) are 0 / 0 there. The copy computes (x - m) / (sqrt(mean((x - m)^2)) + 1e-9), as
TensorRT's parser does. For values that do vary the results are the same: 1e-9 is less than the rounding of the
deviation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import integers_of, replace_nodes
from trtpipe.canonical.opsets import opset_of
from trtpipe.runners.cpu.graphs import RunnableModel

if TYPE_CHECKING:
    import onnx

_OPERATOR = "MeanVarianceNormalization"
_EPSILON = 1e-9
_AXES = [0, 2, 3]
_AXES_ARE_INPUTS_SINCE = 18


def normalizing_as_defined(model: RunnableModel) -> RunnableModel:
    """A copy that computes those in float32 in the main graph as defined; the same model when there are none."""
    import onnx

    found = [node for node in model.proto.graph.node if _is_one(node, model)]
    if not found:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    opset = opset_of(copy)
    nodes = [
        made
        for node in copy.graph.node
        for made in (_defined(node, opset) if _is_one(node, model) else [node])
    ]
    replace_nodes(copy.graph, nodes)
    return RunnableModel(copy, model.folder, model.path)


def _is_one(node: onnx.NodeProto, model: RunnableModel) -> bool:
    known = model.values.get(node.input[0]) if node.op_type == _OPERATOR and not node.domain else None
    return known is not None and known.dtype == "float32"


def _defined(node: onnx.NodeProto, opset: int) -> Iterator[onnx.NodeProto]:
    import numpy as np
    import onnx
    from onnx import helper

    value, near = node.input[0], f"{node.output[0]}/as defined"
    axes = list(integers_of(node, "axes")) or _AXES
    epsilon = onnx.numpy_helper.from_array(np.float32(_EPSILON))
    over, more = {"axes": axes}, []
    if opset >= _AXES_ARE_INPUTS_SINCE:
        over, more = {}, [f"{near}/axes"]
        yield helper.make_node("Constant", [], more, value_ints=axes)
    yield helper.make_node("ReduceMean", [value, *more], [f"{near}/mean"], **over)
    yield helper.make_node("Sub", [value, f"{near}/mean"], [f"{near}/from_mean"])
    yield helper.make_node("Mul", [f"{near}/from_mean"] * 2, [f"{near}/squares"])
    yield helper.make_node("ReduceMean", [f"{near}/squares", *more], [f"{near}/variance"], **over)
    yield helper.make_node("Sqrt", [f"{near}/variance"], [f"{near}/deviation"])
    yield helper.make_node("Constant", [], [f"{near}/epsilon"], value=epsilon)
    yield helper.make_node("Add", [f"{near}/deviation", f"{near}/epsilon"], [f"{near}/divisor"])
    yield helper.make_node("Div", [f"{near}/from_mean", f"{near}/divisor"], node.output, name=node.name)
