"""Copies of a model prepared for ONNX Runtime: weights left in their files, tensors exposed, float16 rounded.

Half precision: where the CPU has no float16 kernel, ONNX Runtime computes in float32 and removes every cast back to
float16 between two such nodes, even with all optimizations off. A chain of nodes then keeps values that overflow in
real half precision. Two consecutive Identity nodes after each float16 tensor prevent that: they run in float16
themselves, so the value is rounded where TensorRT would round it. `half_is_rounded` tests this for the installed
version.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import sort_nodes, values_read
from trtpipe.canonical.folding import infer_values
from trtpipe.canonical.names import name_nodes
from trtpipe.canonical.reader import read_skeleton
from trtpipe.canonical.tensors import external_entries, is_external, nbytes_of, tensors_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.summary import TensorInfo

_HALF = "float16"
_FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})
_ROUNDED = "/as float16"


@dataclass(frozen=True)
class RunnableModel:
    """A serialized model whose weights are in files of one folder; its graph must not change afterwards."""

    proto: onnx.ModelProto
    folder: Path
    path: Path
    known: Mapping[str, TensorInfo] | None = None
    """What shape inference found, if it was run on an equivalent model."""

    @cached_property
    def values(self) -> Mapping[str, TensorInfo]:
        """Every tensor of the main graph with its type and shape, as far as ONNX's inference tells."""
        return infer_values(self.proto) if self.known is None else self.known

    def external_bytes(self) -> int:
        """The size of the weights that lie in files."""
        return sum(nbytes_of(tensor) for tensor in tensors_of(self.proto) if is_external(tensor))

    def outputs(self) -> list[str]:
        """The names of its outputs."""
        return [value.name for value in self.proto.graph.output]

    def tensors(self) -> set[str]:
        """Every tensor of the main graph that can be exposed."""
        return {name for node in self.proto.graph.node for name in node.output if name}

    def with_free_shapes(self, inputs: Iterable[str]) -> RunnableModel:
        """A copy whose named inputs accept any shape, without the shapes that depend on them."""
        import onnx

        free = set(inputs)
        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        if not free:
            return RunnableModel(copy, self.folder, self.path)
        del copy.graph.value_info[:]
        for value in (*copy.graph.output, *(one for one in copy.graph.input if one.name in free)):
            value.type.tensor_type.ClearField("shape")
        return RunnableModel(copy, self.folder, self.path)

    def only_outputs(self, names: Sequence[str]) -> RunnableModel:
        """A copy with these tensors as its only outputs."""
        import onnx

        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        del copy.graph.output[:]
        copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
        return RunnableModel(copy, self.folder, self.path)

    def upto(self, names: Sequence[str]) -> RunnableModel:
        """A copy with these tensors as its only outputs, without the nodes that they do not depend on."""
        import onnx

        nodes = list(self.proto.graph.node)
        makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
        needed: set[int] = set()
        pending = [makers[name] for name in names if name in makers]
        while pending:
            index = pending.pop()
            if index not in needed:
                needed.add(index)
                pending += [makers[name] for name in values_read(nodes[index]) if name in makers]
        kept = [onnx.NodeProto.FromString(nodes[index].SerializeToString()) for index in sorted(needed)]
        copy = self.only_outputs(names)
        del copy.proto.graph.node[:]
        copy.proto.graph.node.extend(kept)
        return copy

    def floats(self) -> list[tuple[str, str]]:
        """The floating-point tensors that nodes of the main graph make, in graph order, with the node's operator."""
        known = self.values
        return [
            (name, node.op_type)
            for node in self.proto.graph.node
            for name in node.output
            if name in known and known[name].dtype in _FLOATS and not name.endswith(_ROUNDED)
        ]

    def halves(self) -> bool:
        """Whether a node of the main graph makes float16."""
        known = self.values
        made = (name for node in self.proto.graph.node for name in node.output)
        return any(name in known and known[name].dtype == _HALF for name in made)


def runnable_model(path: Path) -> RunnableModel:
    """The model at `path`, no weight read. Raises ModelError."""
    skeleton = read_skeleton(path)
    folder = path.resolve().parent
    for tensor in tensors_of(skeleton.proto):
        if is_external(tensor):
            location = external_entries(tensor)["location"]
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = os.path.relpath(location, folder)
    sort_nodes(skeleton.proto)
    name_nodes(skeleton.proto)  # ONNX Runtime requires distinct names, and uses them in messages
    return RunnableModel(skeleton.proto, folder, path)


def rounding_halves(model: RunnableModel) -> RunnableModel:
    """A copy in which each float16 tensor is rounded to float16 before anything reads it; the same if there is none."""
    import onnx

    known = model.values
    halves = {name for name, info in known.items() if info.dtype == _HALF}
    if not any(name in halves for node in model.proto.graph.node for name in node.output):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model.proto)
    nodes = [made for node in copy.graph.node for made in _rounded(node, halves)]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return RunnableModel(copy, model.folder, model.path)


def _rounded(node: onnx.NodeProto, halves: set[str]) -> Iterator[onnx.NodeProto]:
    import onnx

    behind = []
    for index, name in enumerate(node.output):
        if name in halves:
            first, second = f"{name}/made{_ROUNDED}", f"{name}/kept{_ROUNDED}"
            node.output[index] = first
            behind += [
                onnx.helper.make_node("Identity", [first], [second], name=f"{name}/round"),
                onnx.helper.make_node("Identity", [second], [name], name=f"{name}/keep"),
            ]
    yield node
    yield from behind


def overflowing_model() -> onnx.ModelProto:
    """`x * 1e4 * 1e-4` in float16: infinite for x = 10 if rounded correctly, otherwise 10."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    half = TensorProto.FLOAT16
    nodes = [helper.make_node("Mul", ["x", "up"], ["t"]), helper.make_node("Mul", ["t", "down"], ["y"])]
    weights = [numpy_helper.from_array(np.array(v, np.float16), n) for n, v in (("up", 1e4), ("down", 1e-4))]
    graph = helper.make_graph(
        nodes,
        "overflow",
        [helper.make_tensor_value_info("x", half, [1])],
        [helper.make_tensor_value_info("y", half, [1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
