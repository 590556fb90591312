"""Converts a net to an ONNX graph: each layer by its lowering function, with the tensor names from `wires`.

An error in a layer does not stop the conversion: all layers that do not depend on it are still tried, to find more
errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import Dim, GraphBuilder
from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.caffe_format import (
    lower_activations,
    lower_arithmetic,
    lower_convolutions,
    lower_detection,
    lower_normalizations,
    lower_pooling,
    lower_resizing,
    lower_shapes,
)
from trtpipe.frontends.caffe_format.caffemodel import Weights
from trtpipe.frontends.caffe_format.custom import Plugin, guarded, plugin_node
from trtpipe.frontends.caffe_format.layer import BehindUnknown, Layer, Lowered, Lowering, Tensor, shown
from trtpipe.frontends.caffe_format.layer_types import ALIASES
from trtpipe.frontends.caffe_format.net import MOST_PROBLEMS, NetLayer, stop_at
from trtpipe.frontends.caffe_format.params import WrongParameter
from trtpipe.frontends.caffe_format.unknown_layers import unknown_layer
from trtpipe.frontends.caffe_format.wires import Cut, WiredLayer, Wiring
from trtpipe.shapes import LARGEST_DIM

if TYPE_CHECKING:
    import onnx

LOWERINGS: dict[str, Lowering] = {
    **lower_activations.LOWERINGS,
    **lower_arithmetic.LOWERINGS,
    **lower_convolutions.LOWERINGS,
    **lower_detection.LOWERINGS,
    **lower_normalizations.LOWERINGS,
    **lower_pooling.LOWERINGS,
    **lower_resizing.LOWERINGS,
    **lower_shapes.LOWERINGS,
}
"""Layer type → how it becomes ONNX."""


def is_lowered(kind: str) -> bool:
    """Whether layers of this type are supported without rules of the project."""
    return ALIASES.get(kind, kind) in LOWERINGS


@dataclass(frozen=True)
class Custom:
    """The project's rules for custom layers: plugins by a layer's type or name, functions by its type."""

    plugins: Mapping[str, Plugin] = field(default_factory=dict)
    functions: Mapping[str, Lowering] = field(default_factory=dict)
    file: Path = Path()
    """Where the functions come from."""
    name: str = ""
    """What the file is called in messages."""


def lower_net(
    wiring: Wiring,
    input_dims: Mapping[str, Sequence[Dim]],
    weights: Weights | None,
    custom: Custom,
    builder: GraphBuilder,
) -> onnx.ModelProto:
    """The model that the net becomes; `input_dims` gives each input's dims. Raises ModelError."""
    lowerer = _Lowerer(wiring, weights, custom, builder)
    for one in wiring.inputs:
        dims = tuple(input_dims[one.name])
        lowerer.tensors[one.name] = Tensor(builder.input(one.name, "float32", dims), dims)
    for wired in wiring.layers:
        if len(lowerer.problems) >= MOST_PROBLEMS:
            break
        lowerer.lower(wired)
    lowerer.say_weightless()
    stop_at(lowerer.problems)
    lowerer.declare_outputs()
    return builder.model()


class _Lowerer:
    def __init__(
        self, wiring: Wiring, weights: Weights | None, custom: Custom, builder: GraphBuilder
    ) -> None:
        self.wiring = wiring
        self.weights = weights
        self.custom = custom
        self.builder = builder
        self.problems: list[Problem] = []
        self.tensors: dict[str, Tensor] = {}
        self.cut: Cut | None = None
        self.weightless: list[Layer] = []

    def lower(self, wired: WiredLayer) -> None:
        """Adds a layer's nodes; for one after a failed layer, only its own problems are reported."""
        inputs = [self.tensors.get(name) for name in wired.inputs]
        known = [tensor for tensor in inputs if tensor is not None]
        if len(known) < len(inputs):
            self.look_at(wired)
            return
        layer = Layer(wired, known, self.weights, self.builder, self.wiring.names)
        before = len(self.builder.graph.node)
        try:
            tops = self.tops(layer, wired)
        except ModelError as error:
            self.problems += error.problems
            return
        self.note(layer, layer.leftovers())
        self.name_tops(wired, tops, before)

    def look_at(self, wired: WiredLayer) -> None:
        """Checks a layer whose input shapes are not known: its type, its parameters, its weights."""
        inputs = [self.tensors.get(name, Tensor(name)) for name in wired.inputs]
        layer = Layer(wired, inputs, self.weights, self.builder, self.wiring.names, behind=True)
        if not self.is_known(wired.layer):
            self.problems += self.unknown(wired.layer).problems
            return
        self.note(layer, layer.without_weights())
        if self.is_custom(wired.layer):
            return
        try:
            LOWERINGS[ALIASES.get(layer.type, layer.type)](layer)
        except WrongParameter as error:
            self.problems += error.problems
        except (ModelError, BehindUnknown):
            pass  # the failure may only be due to the unknown shapes

    def note(self, layer: Layer, problems: Iterable[Problem]) -> None:
        """Keeps a layer's problems, and that it has no weights where no caffemodel is named."""
        self.problems += problems
        if layer.wanted:
            self.weightless.append(layer)

    def say_weightless(self) -> None:
        """One problem for all layers that need weights, because they have the same remedy."""
        if not self.weightless:
            return
        first, *others = self.weightless
        more = f", and {len(others)} more layers need theirs" if others else ""
        remedy = "name the caffemodel: model.options.weights: net.caffemodel"
        self.problems += first.refuse(f"it needs {first.wanted}{more}", remedy).problems

    def is_custom(self, layer: NetLayer) -> bool:
        """Whether the project defines the conversion of the layer."""
        custom = self.custom
        return layer.name in custom.plugins or layer.type in {*custom.plugins, *custom.functions}

    def is_known(self, layer: NetLayer) -> bool:
        """Whether there is any conversion of the layer."""
        return self.is_custom(layer) or is_lowered(layer.type)

    def tops(self, layer: Layer, wired: WiredLayer) -> list[Tensor]:
        """The tensor of each top, as a plugin, the project's function or Caffe's own layer makes it."""
        made = self.made(layer, wired.layer)
        tops = [made] if isinstance(made, Tensor) else list(made)
        if len(tops) != len(wired.tops):
            raise layer.refuse(f"it makes {len(tops)} tops, and {len(wired.tops)} are written")
        for top in tops:
            if any(isinstance(dim, int) and dim > LARGEST_DIM for dim in top.dims or ()):
                raise layer.refuse(f"its top would be {shown(top.dims or ())}; no size may be 2^31 or more")
        return tops

    def made(self, layer: Layer, written: NetLayer) -> Lowered:
        kind, custom = written.type, self.custom
        plugin = custom.plugins.get(written.name) or custom.plugins.get(kind)
        if plugin is not None:
            return plugin_node(layer, plugin)
        if kind in custom.functions:
            return guarded(layer, custom.functions[kind], custom.file, custom.name)
        lowering = LOWERINGS.get(ALIASES.get(kind, kind))
        if lowering is None:
            raise self.unknown(written)
        return lowering(layer)

    def unknown(self, written: NetLayer) -> ModelError:
        """The error about a layer whose type is not lowered, with the outputs that end the net before it."""
        if self.cut is None:
            self.cut = self.wiring.cut_before(lambda layer: not self.is_known(layer))
        return unknown_layer(written, self.cut.outputs, (*LOWERINGS, *ALIASES))

    def name_tops(self, wired: WiredLayer, tops: Sequence[Tensor], before: int) -> None:
        """Renames the layer's new tensors after its tops; tensors that it only passes on keep their names."""
        nodes = list(self.builder.graph.node[before:])
        own = {name for node in nodes for name in node.output}
        foreign = any(node.domain for node in nodes)
        renamed: dict[str, str] = {}
        for top, tensor in zip(wired.tops, tops, strict=True):
            if tensor.name in own:
                renamed.setdefault(tensor.name, top)
            name = renamed.get(tensor.name, tensor.name)
            self.tensors[top] = Tensor(name, tensor.dims)
            if foreign and name == top:
                self.declare(self.tensors[top])
        for node in nodes:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            node.output[:] = [renamed.get(name, name) for name in node.output]

    def declare(self, tensor: Tensor) -> None:
        """Declares the shape of a plugin's output, which cannot be inferred."""
        import onnx

        if tensor.dims is not None:
            made = onnx.helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.dims)
            self.builder.graph.value_info.append(made)

    def declare_outputs(self) -> None:
        """The outputs, called as their blobs unless an input has that name."""
        inputs = {one.name for one in self.wiring.inputs}
        for blob, name in self.wiring.outputs.items():
            tensor = self.tensors[name]
            wanted = name if blob in inputs else blob
            self.builder.output(tensor.name, wanted, dtype="float32", dims=tensor.dims)
