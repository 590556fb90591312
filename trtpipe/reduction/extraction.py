"""Extracts some nodes of a model as a model of their own; what they read from other nodes becomes inputs.

Tensors that cannot be inputs (shapes, indices, masks, quantized values: any type other than plain floats) are extracted
together with the nodes that compute them. Weights come with the nodes that read them. Unread values become outputs.
Independent of operators and of the purpose of a part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.canonical.edits import remove_unused, rename_reads, values_read
from trtpipe.canonical.summary import TensorInfo
from trtpipe.canonical.tensors import number_of_dtype

if TYPE_CHECKING:
    import onnx

_HOPS = 4
FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})


class NotAModel(Exception):
    """The nodes cannot be a model of their own: the type or shape of a tensor that would be an input is unknown."""


@dataclass
class Parts:
    """A model to extract parts from; `known` holds the types and shapes of its tensors."""

    model: onnx.ModelProto
    known: Mapping[str, TensorInfo]
    may_be_inputs: Collection[str] | None = None
    """Tensors that may become inputs; every plain float when None."""
    maker: dict[str, int] = field(init=False)
    """Tensor → the index of the node that makes it."""
    reads: list[list[str]] = field(init=False)
    """What each node reads that is not its own, in order."""
    readers: dict[str, set[int]] = field(init=False)

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.maker = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
        outside = {*self.maker, *(one.name for one in (*graph.input, *graph.initializer))}
        self.reads = [list(dict.fromkeys(n for n in values_read(one) if n in outside)) for one in graph.node]
        self.readers = {}
        for index, names in enumerate(self.reads):
            for name in names:
                self.readers.setdefault(name, set()).add(index)

    def with_needed(self, nodes: Collection[int]) -> list[int]:
        """The nodes, and those that make what cannot be an input, in graph order."""
        found, pending = set(nodes), list(nodes)
        while pending:
            for name in self.reads[pending.pop()]:
                made_by = self.maker.get(name)
                if made_by is not None and made_by not in found and not self._may_be_input(name):
                    found.add(made_by)
                    pending.append(made_by)
        return sorted(found)

    def _may_be_input(self, name: str) -> bool:
        if self.may_be_inputs is not None and name not in self.may_be_inputs:
            return False
        info = self.known.get(name)
        return info is not None and info.dtype in FLOATS

    def cut(self, nodes: Sequence[int]) -> list[str]:
        """The tensors that would become inputs, in the order in which they are read first."""
        within = set(nodes)
        read = dict.fromkeys(name for index in nodes for name in self.reads[index])
        return [name for name in read if name in self.maker and self.maker[name] not in within]

    def take(self, nodes: Sequence[int], keep: Collection[str] = ()) -> onnx.ModelProto:
        """The model of these nodes. `keep` names outputs of the whole that stay its only outputs.

        Raises NotAModel.
        """
        import onnx

        graph = self.model.graph
        read = {name for index in nodes for name in self.reads[index]}
        part = onnx.ModelProto()
        part.CopyFrom(onnx.ModelProto(ir_version=self.model.ir_version, functions=self.model.functions))
        part.opset_import.extend(self.model.opset_import)
        part.graph.name = graph.name or "part"
        part.graph.node.extend(graph.node[index] for index in nodes)
        part.graph.initializer.extend(one for one in graph.initializer if one.name in read)
        held = {one.name for one in part.graph.initializer}
        part.graph.input.extend(one for one in graph.input if one.name in read and one.name not in held)
        part.graph.input.extend(self._value(name) for name in self.cut(nodes))
        part.graph.output.extend(self._outputs(nodes, keep))
        made = {name for index in nodes for name in graph.node[index].output}
        part.graph.value_info.extend(one for one in graph.value_info if one.name in made)
        return part

    def without(self, index: int, keep: Collection[str] = ()) -> Iterator[onnx.ModelProto]:
        """Models without a node: its readers read an earlier tensor of the same type and shape, the nearest first.

        Nodes between the two that nothing else reads are removed as well.
        """
        node = self.model.graph.node[index]
        fixed = {*keep, *(one.name for one in self.model.graph.output)}
        if len(node.output) != 1 or node.output[0] in fixed:
            return
        before = node
        for _ in range(_HOPS):
            if not before.input or not before.input[0]:
                return
            name = before.input[0]
            if self._alike(name, node.output[0]):
                yield self._joined(node.output[0], name)
            if name not in self.maker:
                return
            before = self.model.graph.node[self.maker[name]]

    def _joined(self, made: str, instead: str) -> onnx.ModelProto:
        """A copy in which `instead` replaces `made`, without nodes that are then unread."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        rename_reads(model, {made: instead})
        remove_unused(model)
        read = {name for one in model.graph.node for name in values_read(one)}
        for place in reversed(range(len(model.graph.input))):
            if model.graph.input[place].name not in read:
                del model.graph.input[place]
        return model

    def _alike(self, one: str, other: str) -> bool:
        first, second = self.known.get(one), self.known.get(other)
        if first is None or second is None or first.dims is None:
            return False
        return first.dtype == second.dtype and first.dims == second.dims and not first.dims.count(None)

    def _outputs(self, nodes: Sequence[int], keep: Collection[str]) -> list[onnx.ValueInfoProto]:
        import onnx

        declared = {one.name: one for one in self.model.graph.output}
        made = [name for index in nodes for name in self.model.graph.node[index].output if name]
        within = set(nodes)
        if keep:
            names = [name for name in made if name in keep]
        else:
            ends = [name for name in made if not self.readers.get(name, set()) & within]
            names = [name for name in ends if name in declared or name in self.readers] or ends[:1]
            names += [name for name in made if name in declared and name not in names]
        if not names:
            raise NotAModel("it has no outputs")
        known = [name for name in names if name in self.known or name in declared]
        return [declared[n] if n in declared else self._value(n) for n in known] or [
            onnx.ValueInfoProto(name=names[0])
        ]

    def _value(self, name: str) -> onnx.ValueInfoProto:
        import onnx

        info = self.known.get(name)
        if info is None or not number_of_dtype(info.dtype):
            raise NotAModel(f"the type of '{name}' is not known")
        dims = None
        if info.dims is not None:
            dims = [f"{name}_{i}" if dim is None else dim for i, dim in enumerate(info.dims)]
        made: onnx.ValueInfoProto = onnx.helper.make_tensor_value_info(
            name, number_of_dtype(info.dtype), dims
        )
        return made
