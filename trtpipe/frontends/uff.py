"""The `uff` frontend: files of TensorRT's former TensorFlow converter, which TensorRT itself no longer reads.

Handles the options and finds the file; it is read in `uff_format`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from trtpipe.frontends import ModelFiles, Proposal
from trtpipe.spec.fields import AsTuple, DynamicShape, Number, SpecModel

if TYPE_CHECKING:
    import onnx

    from trtpipe.frontends.uff_format.plugins import Plugin


class UffPluginOutput(SpecModel):
    """One output tensor of a plugin."""

    dtype: Literal["float32", "float16", "int32", "int64", "int8", "bool"] = "float32"
    """Its data type."""
    shape: DynamicShape | None = None
    """Its shape, -1 where it is open; needed when something reads it that must know its rank."""


_Int = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
PluginField = (
    bool
    | _Int
    | Number
    | str
    | Annotated[tuple[_Int, ...], AsTuple]
    | Annotated[tuple[Number, ...], AsTuple]
    | Annotated[tuple[str, ...], AsTuple]
)


class UffPlugin(SpecModel):
    """The TensorRT plugin that a custom operation is converted to."""

    name: str
    """The name of the plugin's creator."""
    version: str = "1"
    """Its version."""
    namespace: str = ""
    """Its namespace."""
    fields: dict[str, PluginField] = Field(default_factory=dict)
    """Fields beside those that the node has in the file, or in place of them."""
    outputs: Annotated[tuple[UffPluginOutput, ...], AsTuple, Field(min_length=1, max_length=64)] = (
        UffPluginOutput(),
    )
    """What it makes. The first tensor is called as the node, the others NODE_1, NODE_2, …"""


class UffOptions(SpecModel):
    """`model.options` of the uff parser."""

    inputs: dict[str, DynamicShape] = Field(default_factory=dict)
    """Other shapes for inputs, the batch first and -1 where it is open; what the file says holds for the others."""
    outputs: Annotated[tuple[str, ...], AsTuple] = ()
    """These tensors are the outputs, in place of those that the file marks; what only the others need is left out."""
    plugins: dict[str, UffPlugin] = Field(default_factory=dict)
    """The plugin of each custom operation (`_NMS_TRT`)."""


class UffFrontend:
    """Reads `.uff` files."""

    name = "uff"
    version = 1
    Options = UffOptions
    needs_source = True
    takes_directory = False
    companion = ""
    packages: tuple[str, ...] = ()
    extra = ""

    def belonging(self, files: ModelFiles, options: UffOptions) -> list[Path]:
        """No further files, because a UFF file contains everything."""
        return []

    def read(self, files: ModelFiles, options: UffOptions, workplace: Path) -> onnx.ModelProto:
        """The graph `main`, every tensor in the layout that the file has it in. Raises ModelError."""
        from trtpipe.frontends.uff_format.lowering import Request, lower
        from trtpipe.frontends.uff_format.source import read_uff

        plugins = {name: _plugin(plugin) for name, plugin in options.plugins.items()}
        request = Request(options.inputs, options.outputs, plugins)
        return lower(read_uff(files.model, files.root), files.model, request, workplace)

    def propose(self, path: Path) -> Proposal | None:
        """The file itself, with outputs before its custom operations; None when it is not UFF.

        If that would leave out operations with weights, a plugin is proposed for each custom operation instead.
        """
        from trtpipe.frontends.uff_format.source import custom_operations, is_uff

        if not is_uff(path):
            return None
        custom, cut = custom_operations(path)
        if cut:
            left = ", ".join(custom)
            comment = f"the graph ends before its custom operations ({left}), which the engine's caller must compute"
            return Proposal(path, {"outputs": cut}, comment)
        options: dict[str, object] = (
            {"plugins": {name: {"name": name.lstrip("_")} for name in custom}} if custom else {}
        )
        comment = "its custom operations need plugins, which TensorRT-RTX does not support" if custom else ""
        return Proposal(path, options, comment)


def _plugin(plugin: UffPlugin) -> Plugin:
    from trtpipe.frontends.uff_format.plugins import Output, Plugin

    outputs = tuple(Output(one.dtype, one.shape) for one in plugin.outputs)
    return Plugin(plugin.name, plugin.version, plugin.namespace, plugin.fields, outputs)


frontend = UffFrontend()
