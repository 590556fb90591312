"""A conditional as ONNX's If: nodes that only one branch needs are placed in that branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.networks.lowering.graph import same, value_info
from trtpipe.networks.lowering.subgraphs import Construct, Level

if TYPE_CHECKING:
    import onnx

    from trtpipe.networks.lowering.emission import Emission
    from trtpipe.networks.network import Layer


def unreadable_if(emission: Emission, construct: Construct) -> tuple[Layer, str] | None:
    """A boundary layer of a conditional that has no ONNX form, and the reason."""
    borders = emission.nesting.borders[construct]
    if sum(one.type == "CONDITION" for one in borders) != 1:
        return borders[0], "its conditional has no condition"
    for layer in borders:
        if layer.type == "CONDITIONAL_OUTPUT" and (len(layer.inputs) != 2 or None in layer.inputs):
            return layer, "it has no tensor for each branch"
    return None


def add_conditional(
    emission: Emission, construct: Construct, level: Level, into: list[onnx.NodeProto]
) -> None:
    """Adds a conditional to the graph that contains it, after its inputs."""
    import onnx

    borders = emission.nesting.borders[construct]
    condition = next(one.inputs[0] for one in borders if one.type == "CONDITION")
    outputs = [one for one in borders if one.type == "CONDITIONAL_OUTPUT"]
    then, other = (_branch(emission, construct, level, outputs, branch) for branch in (0, 1))
    made = [one.outputs[0] for one in outputs]
    label = f"conditional {construct.number}"
    into.append(
        onnx.helper.make_node("If", [condition], made, name=label, then_branch=then, else_branch=other)
    )


def _branch(
    emission: Emission, construct: Construct, level: Level, outputs: list[Layer], branch: int
) -> onnx.GraphProto:
    import onnx

    inner = level | {construct}
    results = [name for one in outputs if (name := one.inputs[branch]) is not None]
    needed = emission.nesting.needed(results, construct)
    nodes: list[onnx.NodeProto] = []
    for layer in emission.nesting.borders[construct]:
        if layer.type == "CONDITIONAL_INPUT" and layer.number in needed:
            assert layer.inputs[0] is not None, "an input of a conditional reads a tensor"
            nodes.append(same(layer.inputs[0], layer.outputs[0]))
    emission.add_items(inner, nodes, needed)
    label = f"conditional {construct.number}/{branch}"
    values = []
    for index, name in enumerate(results):
        nodes.append(same(name, f"{label}/{index}"))
        values.append(value_info(emission.network.tensors[name], f"{label}/{index}"))
    return onnx.helper.make_graph(nodes, label, [], values)
