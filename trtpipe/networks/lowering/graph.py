"""The graph under construction: layers that were read become ONNX nodes, in the main graph, a body or a branch.

Constants are in the main graph, wherever they are read. Tensors outside loops and conditionals keep their names in the
network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.canonical.tensors import nbytes_of, number_of_dtype, set_external
from trtpipe.layers.scope import Node
from trtpipe.networks.lowering.scope import OPSET, LayerScope, dtype_of

if TYPE_CHECKING:
    import onnx

    from trtpipe.layers.parameters import Parameter
    from trtpipe.networks.network import Tensor

_IR_VERSION = 11


@dataclass(frozen=True, slots=True)
class Piece:
    """The result of reading a layer: nodes, constants, and which tensors are its outputs."""

    label: str
    nodes: Sequence[Node]
    held: Mapping[str, Parameter]
    results: Sequence[str]
    outputs: Sequence[str]
    notes: Sequence[str] = ()


def piece_of(at: LayerScope, results: Sequence[str], outputs: Sequence[str]) -> Piece:
    """The piece that a scope holds once its layer has been read."""
    return Piece(at.layer.name, tuple(at.nodes), dict(at.held), results, outputs, tuple(at.notes))


@dataclass
class MainGraph:
    """The model under construction."""

    name: str
    kept: frozenset[str]
    """Outputs of the network, which must be made by a node."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(
        self,
        piece: Piece,
        into: list[onnx.NodeProto],
        names: Mapping[str, str] | None = None,
        prefix: str = "",
    ) -> None:
        """Puts a piece into a graph; tensors that it reads are renamed as `names` says."""
        import onnx

        renamed = dict(names or {})
        behind = []
        made = {one for node in piece.nodes for one in node.outputs}
        for result, output in zip(piece.results, piece.outputs, strict=False):
            final = f"{prefix}{output}"
            if result in made and result not in renamed:
                renamed[result] = final
            elif result in piece.held and output not in self.kept and not prefix:
                renamed[result] = output
            else:
                behind.append((result, final))
        for name, parameter in piece.held.items():
            self.hold(renamed.get(name, name), parameter)
        inner = {one: f"{prefix}{one}" for one in made} | renamed
        for index, node in enumerate(piece.nodes):
            called = f"{prefix}{piece.label}" + (f"/{index}" if index < len(piece.nodes) - 1 else "")
            inputs = [inner.get(one, one) for one in node.inputs]
            outputs = [inner.get(one, one) for one in node.outputs]
            into.append(
                onnx.helper.make_node(
                    node.operator, inputs, outputs, name=called, domain=node.domain, **node.attributes
                )
            )
        into += [same(inner.get(result, result), final) for result, final in behind]

    def hold(self, name: str, parameter: Parameter) -> None:
        """Adds a constant, once, however often it is requested."""
        import onnx

        if name in self.constants:
            return
        if parameter.location is not None:
            tensor = onnx.TensorProto(
                name=name, data_type=number_of_dtype(parameter.dtype), dims=parameter.dims
            )
            file, offset = parameter.location
            set_external(tensor, file.resolve(), offset, nbytes_of(tensor))
        else:
            assert parameter.array is not None, "a parameter has values where it has no place"
            tensor = onnx.numpy_helper.from_array(parameter.array.reshape(parameter.dims), name)
        self.constants[name] = tensor

    def model(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], known: Sequence[Tensor]
    ) -> onnx.ModelProto:
        """The model. Outputs have a type and no shape, because shapes are compared later."""
        import onnx

        graph = onnx.helper.make_graph(
            self.nodes,
            self.name or "network",
            [value_info(one, shaped=True) for one in inputs],
            [value_info(one) for one in outputs],
            list(self.constants.values()),
            value_info=[value_info(one) for one in known],
        )
        domains = sorted({node.domain for node in self.nodes if node.domain})
        opsets = [
            onnx.helper.make_opsetid("", OPSET),
            *(onnx.helper.make_opsetid(one, 1) for one in domains),
        ]
        made: onnx.ModelProto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        return made


def same(source: str, target: str) -> onnx.NodeProto:
    """Adds an Identity that gives a tensor another name."""
    import onnx

    made: onnx.NodeProto = onnx.helper.make_node("Identity", [source], [target], name=f"{target}/same")
    return made


def value_info(tensor: Tensor, name: str | None = None, *, shaped: bool = False) -> onnx.ValueInfoProto:
    """A tensor's type, and its shape on request; dynamic sizes have the model's names."""
    import onnx

    dims: list[int | str | None] | None = None
    if shaped and tensor.shape is not None:
        dims = [None if size < 0 else size for size in tensor.shape]
        for axis, called in enumerate(tensor.dimension_names[: len(dims)]):
            if dims[axis] is None:
                dims[axis] = called
    made: onnx.ValueInfoProto = onnx.helper.make_tensor_value_info(
        name or tensor.name, number_of_dtype(dtype_of(tensor.dtype)), dims
    )
    return made
