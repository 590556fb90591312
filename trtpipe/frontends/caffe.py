"""The `caffe` frontend: a deploy prototxt with the weights of its caffemodel.

It reads both files itself; neither Caffe nor its protobuf schema is needed. Their contents are handled in
`caffe_format`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trtpipe.errors import ModelError, Problem
from trtpipe.frontends import ModelFiles, Proposal
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM
from trtpipe.spec.fields import AsTuple, DynamicShape, ProjectFile, SpecModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.canonical.builder import Dim
    from trtpipe.frontends.caffe_format.lowering import Custom
    from trtpipe.frontends.caffe_format.net import Net, NetInput
    from trtpipe.frontends.caffe_format.wires import Wiring

FieldValue = (
    bool
    | int
    | float
    | str
    | Annotated[tuple[int, ...], AsTuple]
    | Annotated[tuple[float, ...], AsTuple]
    | Annotated[tuple[str, ...], AsTuple]
)


class CaffePlugin(SpecModel):
    """The TensorRT plugin that a layer becomes; the layer's blobs follow its bottoms as constant inputs."""

    name: str
    """The plugin's name, as its creator registers it."""
    version: str = "1"
    """The plugin's version."""
    namespace: str = ""
    """The plugin's namespace."""
    fields: dict[str, FieldValue] = Field(default_factory=dict)
    """The plugin's fields by name: numbers, text, or lists of them."""
    outputs: Annotated[tuple[DynamicShape, ...], AsTuple] = ()
    """The shape of each output, -1 where dynamic; needed when a layer that must know its bottom's shape follows."""


class CaffeLayer(SpecModel):
    """What a custom layer becomes."""

    plugin: CaffePlugin
    """A TensorRT plugin."""


class CaffeOptions(SpecModel):
    """`model.options` of the caffe parser; the source is the prototxt."""

    weights: ProjectFile | None = None
    """The caffemodel; its layers are matched by name."""
    batch: Literal["dynamic"] | Annotated[int, Field(ge=1, le=LARGEST_DIM)] | None = None
    """The first dimension of every input: a size, or `dynamic`; as in the prototxt when left out."""
    inputs: dict[str, DynamicShape] = Field(default_factory=dict)
    """Shapes of inputs in place of those in the prototxt; -1 is dynamic. They may name blobs of data layers."""
    outputs: Annotated[tuple[str, ...], AsTuple] = ()
    """Blobs that become outputs; when left out, those that no layer reads."""
    level: int = 0
    """The level that include and exclude rules are held against; the phase is always TEST."""
    stages: Annotated[tuple[str, ...], AsTuple] = ()
    """The stages that include and exclude rules are held against, `deploy` for example."""
    layers: dict[str, CaffeLayer] = Field(default_factory=dict)
    """Plugins for custom layers, by the layer's type, or by its name, which comes first."""
    lowering: ProjectFile | None = None
    """A Python file of the project, run while the model is imported, whose LAYERS maps layer types to functions."""


class CaffeFrontend:
    """Reads a `.prototxt` and its `.caffemodel`."""

    name = "caffe"
    version = 1
    Options = CaffeOptions
    needs_source = True
    takes_directory = False
    companion = "weights"
    packages: tuple[str, ...] = ()
    extra = ""

    def belonging(self, files: ModelFiles, options: CaffeOptions) -> list[Path]:
        """No further files, because the options name all of them."""
        return []

    def read(self, files: ModelFiles, options: CaffeOptions, workplace: Path) -> onnx.ModelProto:
        """The net as ONNX. Raises ModelError with every problem, each at its line of the prototxt or the spec."""
        from trtpipe.canonical.builder import GraphBuilder
        from trtpipe.frontends.caffe_format.caffemodel import read_weights
        from trtpipe.frontends.caffe_format.lowering import lower_net
        from trtpipe.frontends.caffe_format.net import NetState, read_net
        from trtpipe.frontends.caffe_format.prototext import read_prototext
        from trtpipe.frontends.caffe_format.wires import wire_net

        document = read_prototext(files.model, _name(files))
        net = read_net(document, NetState(options.level, frozenset(options.stages)))
        _refuse_unknown_inputs(net, options)
        wiring = wire_net(net, options.outputs)
        dims = _input_dims(wiring, options)
        weights = None
        if options.weights is not None:
            weights = read_weights(files.named["weights"], options.weights)
        builder = GraphBuilder(net.name, workplace)
        return lower_net(wiring, dims, weights, _custom(files, options), builder)

    def propose(self, path: Path) -> Proposal | None:
        """A prototxt with the caffemodel beside it. Raises ModelError for a caffemodel without its prototxt."""
        from trtpipe.frontends.caffe_format.proposals import cut_of, pair_of
        from trtpipe.frontends.caffe_format.unknown_layers import shown_cut

        pair = pair_of(path)
        if pair is None:
            return None
        prototxt, weights = pair
        options: dict[str, object] = {"weights": weights} if weights else {}
        cut = cut_of(prototxt)
        if cut is not None:
            comment = f"the net ends before {shown_cut(cut.layers)}, which the engine's caller must compute"
            return Proposal(prototxt, {**options, "outputs": cut.outputs}, comment)
        comment = (
            "options.batch: dynamic makes the batch dynamic; see also options.inputs and options.outputs"
        )
        return Proposal(prototxt, options, comment)


def _name(files: ModelFiles) -> str:
    """The prototxt's name for messages: relative to the project if it is inside."""
    found = files.model.resolve()
    root = files.root.resolve() if files.root is not None else found.parent
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else files.model.name


def _refuse_unknown_inputs(net: Net, options: CaffeOptions) -> None:
    from trtpipe.loader.grammar import choose_from

    problems = [
        Problem(
            Code.UNKNOWN_INPUT,
            f"the net has no input {name!r}",
            choose_from(name, sorted(net.inputs), "inputs"),
            path=("model", "options", "inputs", name),
        )
        for name in options.inputs
        if name not in net.inputs
    ]
    if problems:
        raise ModelError(problems)


def _input_dims(wiring: Wiring, options: CaffeOptions) -> Mapping[str, list[Dim]]:
    """Dims of every input: dynamic ones are called `batch`, or after the input and their axis."""
    found: dict[str, list[Dim]] = {}
    problems = []
    for one in wiring.inputs:
        shape = options.inputs.get(one.name, one.dims)
        if shape is None:
            problems.append(_shapeless(one))
            continue
        sizes = list(shape)
        if options.batch is not None and sizes and one.name not in options.inputs:
            sizes[0] = -1 if options.batch == "dynamic" else options.batch
        found[one.name] = [
            size if size >= 0 else f"{one.name}_{axis}" if axis else "batch"
            for axis, size in enumerate(sizes)
        ]
    if problems:
        raise ModelError(problems)
    return found


def _shapeless(one: NetInput) -> Problem:
    of = f", which {one.maker} makes in training" if one.maker else ""
    remedy = f"model.options.inputs: {{{one.name}: [1, 3, 224, 224]}}, for example"
    return Problem(
        Code.INPUT_SHAPE_UNKNOWN, f"the shape of input {one.name!r}{of} is unknown", remedy, one.where
    )


def _custom(files: ModelFiles, options: CaffeOptions) -> Custom:
    from trtpipe.frontends.caffe_format.custom import Plugin, load_lowerings
    from trtpipe.frontends.caffe_format.lowering import Custom

    plugins: dict[str, Plugin] = {}
    for name, layer in options.layers.items():
        plugin = layer.plugin
        plugins[name] = Plugin(plugin.name, plugin.version, plugin.namespace, plugin.fields, plugin.outputs)
    if options.lowering is None:
        return Custom(plugins)
    file, name = files.named["lowering"], options.lowering
    return Custom(plugins, load_lowerings(file, name), file, name)


frontend = CaffeFrontend()
