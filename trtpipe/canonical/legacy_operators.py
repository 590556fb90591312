"""Rewrites operators of old opsets into forms that ONNX's version converter can handle when sizes are unknown.

Before opset 7 a second operand was aligned at an `axis`, and only on request; PRelu had a slope for each channel; and
some attributes were for training. Before opset 13 Softmax took all axes from one on together. For the first (`axis`)
and the last (Softmax) the converter requires every size to be known; it does not handle the second (PRelu).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import attribute_of, integer_of, replace_nodes, sort_nodes
from trtpipe.canonical.names import FreshNames
from trtpipe.canonical.node_types import NodeTypes
from trtpipe.canonical.tensors import array_of, graphs_of, nodes_of

if TYPE_CHECKING:
    import onnx

_Rule = Callable[["onnx.NodeProto", NodeTypes, FreshNames], "list[onnx.NodeProto]"]

BROADCASTING_SINCE = 7
"""The opset from which operands are aligned at their last axis."""
_TRAINING = ("consumed_inputs", "is_test", "output_sequence")
_PAIRED = frozenset("Add And Div Equal Greater Less Mul Or Pow Sub Xor".split())  # noqa: SIM905


def modernize(model: onnx.ModelProto, opset: int) -> bool:
    """Prepares a model of this old opset for the converter, in place; False when the old forms are ambiguous.

    A model of opset 6 is one of opset 7 afterwards, because these are all the changes in opset 7.
    """
    sort_nodes(model)
    taken = {name for node in nodes_of(model) for name in (*node.input, *node.output)}
    names = FreshNames(taken | {tensor.name for graph in graphs_of(model) for tensor in graph.initializer})
    types = NodeTypes({"": max(opset, BROADCASTING_SINCE)})
    rules = {**(_BEFORE_7 if opset < BROADCASTING_SINCE else {}), **_BEFORE_13}
    for graph in graphs_of(model):
        types.enter(graph)
        made: list[onnx.NodeProto] = []
        for node in graph.node:
            for one in _modern(node, types, names, rules):
                types.learn(one)
                made.append(one)
            _learn_plainly(node, types)
        replace_nodes(graph, made)
        break  # nested graphs are not rewritten, because exporters of that time wrote none
    if opset >= BROADCASTING_SINCE:
        return True
    if any(_untold(node, types) for node in model.graph.node):
        return False
    for item in model.opset_import:
        if item.domain in ("", "ai.onnx"):
            item.version = BROADCASTING_SINCE
    return True


def keep_places(model: onnx.ModelProto) -> None:
    """Sets every Resize of a model converted from an opset before 11 to the sampling positions of that opset.

    The converter leaves the attributes out, and the later defaults shift the result by half a pixel. Old opsets sampled
    asymmetrically and rounded down, or up when the result is smaller.
    """
    import onnx

    constants = {tensor.name: tensor for graph in graphs_of(model) for tensor in graph.initializer}
    for node in nodes_of(model):
        if node.op_type == "Resize" and attribute_of(node, "coordinate_transformation_mode") is None:
            given = {"coordinate_transformation_mode": "asymmetric"}
            if attribute_of(node, "mode") in (None, b"nearest"):
                scales = constants.get(node.input[2]) if len(node.input) > 2 else None
                factors = array_of(scales).tolist() if scales is not None else []
                given["nearest_mode"] = "ceil" if factors and min(factors) < 1 else "floor"
            node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in given.items())


RESIZED_SINCE = 11
"""The opset from which Resize says where its elements lie."""


def drop_marks(model: onnx.ModelProto) -> None:
    """Removes attributes that were only needed for training."""
    for node in nodes_of(model):
        if node.domain in ("", "ai.onnx"):
            _drop(node, *_TRAINING)


def _untold(node: onnx.NodeProto, types: NodeTypes) -> bool:
    """Whether the node still has a form of opset 6 with another meaning in opset 7."""
    if node.op_type in _PAIRED:
        return attribute_of(node, "broadcast") is not None
    if node.op_type != "PRelu" or len(node.input) < 2:
        return False
    return types.rank(node.input[0]) is None and types.size(node.input[1], 0) != 1


def _modern(
    node: onnx.NodeProto, types: NodeTypes, names: FreshNames, rules: Mapping[str, _Rule]
) -> list[onnx.NodeProto]:
    if node.domain not in ("", "ai.onnx"):
        return [node]
    if "Add" in rules:
        _drop(node, *_TRAINING)
    rule = rules.get(node.op_type)
    whole = len(node.output) > 0 and len(node.input) > (node.op_type in (*_PAIRED, "PRelu"))
    return rule(node, types, names) if rule and whole else [node]


def _learn_plainly(node: onnx.NodeProto, types: NodeTypes) -> None:
    """Gives the result the first operand's shape when the second one is broadcast; older schemas do not infer that."""
    if node.op_type in (*_PAIRED, "PRelu", "Dropout", "BatchNormalization") and node.input and node.output:
        types.take_over(node.input[0], node.output[0], truth=node.op_type in ("Equal", "Greater", "Less"))


def _drop(node: onnx.NodeProto, *names: str) -> None:
    kept = [one for one in node.attribute if one.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _paired(node: onnx.NodeProto, types: NodeTypes, names: FreshNames) -> list[onnx.NodeProto]:
    """Appends axes to the second operand, so that it is aligned as `axis` says."""
    axis = attribute_of(node, "axis")
    if not integer_of(node, "broadcast"):
        _drop(node, "broadcast", "axis")
        return [node]
    if not isinstance(axis, int):
        _drop(node, "broadcast", "axis")
        return [node]
    left, right = (types.rank(name) for name in node.input[:2])
    if left is None or right is None:
        return [node]
    more = left - (axis % left if left else 0) - right
    _drop(node, "broadcast", "axis")
    return _widened(node, 1, range(right, right + more), types, names) if more > 0 else [node]


def _slope(node: onnx.NodeProto, types: NodeTypes, names: FreshNames) -> list[onnx.NodeProto]:
    """Reshapes a slope of several elements to one per channel, the second axis."""
    rank, count = types.rank(node.input[0]), types.size(node.input[1], 0)
    if rank is None or rank < 3 or types.rank(node.input[1]) != 1 or count in (None, 1):
        return [node]
    return _widened(node, 1, range(1, rank - 1), types, names)


def _product(node: onnx.NodeProto, types: NodeTypes, names: FreshNames) -> list[onnx.NodeProto]:
    _drop(node, "broadcast")
    return [node]


def _widened(
    node: onnx.NodeProto, index: int, axes: range, types: NodeTypes, names: FreshNames
) -> list[onnx.NodeProto]:
    """Inserts an Unsqueeze that adds axes of size 1 to one input of a node."""
    import onnx

    name = names(f"{node.input[index]}_aligned")
    called = f"{node.name}/Unsqueeze" if node.name else ""
    wide = onnx.helper.make_node("Unsqueeze", [node.input[index]], [name], name=called, axes=list(axes))
    node.input[index] = name
    return [wide, node]


def _together(node: onnx.NodeProto, types: NodeTypes, names: FreshNames) -> list[onnx.NodeProto]:
    """Writes a Softmax over all axes from one on as the Softmax of a matrix with the axes before it as rows."""
    import onnx

    axis, rank = integer_of(node, "axis", 1), types.rank(node.input[0])
    if rank == 0 or (rank is not None and axis % rank == rank - 1):
        return [node]
    value, near = node.input[0], node.name
    made = {what: names(f"{node.output[0]}_{what}") for what in ("shape", "flat", "rows")}

    def make(operator: str, inputs: list[str], output: str, **given: int) -> onnx.NodeProto:
        called = f"{near}/{operator}" if near else ""
        one: onnx.NodeProto = onnx.helper.make_node(operator, inputs, [output], name=called, **given)
        return one

    result = node.output[0]
    shape = make("Shape", [value], made["shape"])
    flat = make("Flatten", [value], made["flat"], axis=axis)
    back = make("Reshape", [made["rows"], made["shape"]], result)
    node.input[0], node.output[0] = made["flat"], made["rows"]
    _drop(node, "axis")
    node.attribute.append(onnx.helper.make_attribute("axis", 1))
    return [shape, flat, node, back]


def _scaled(node: onnx.NodeProto, types: NodeTypes, names: FreshNames) -> list[onnx.NodeProto]:
    """Converts an Upsample with scales for height and width to opset 7, which has one for each axis."""
    import onnx

    pair = [attribute_of(node, f"{which}_scale") for which in ("height", "width")]
    if all(isinstance(one, float) for one in pair):
        _drop(node, "height_scale", "width_scale")
        node.attribute.append(onnx.helper.make_attribute("scales", [1.0, 1.0, *pair]))
    return [node]


_BEFORE_7: Mapping[str, _Rule] = {
    **dict.fromkeys(_PAIRED, _paired),
    "Gemm": _product,
    "PRelu": _slope,
    "Upsample": _scaled,
}
_BEFORE_13: Mapping[str, _Rule] = dict.fromkeys(("Hardmax", "LogSoftmax", "Softmax"), _together)
