"""Custom layers that Caffe does not have: converted to a TensorRT plugin's node, or by functions of the project.

The functions are in a file of the project, which is code like a conftest.py: it runs, with all permissions of the user,
in the process that imports the model. It defines `LAYERS`, a mapping from a layer's type to a function that takes a
`Layer` and returns a `Tensor`, or one for each top:

    def mish(layer):
        x = layer.inputs[0]
        gate = layer.node("Tanh", [layer.node("Softplus", [x], "softplus")], "gate")
        return layer.node("Mul", [x, gate]).shaped(x.dims)

    LAYERS = {"Mish": mish}

`layer.name`, `.type`, `.inputs` (tensors with `name` and `dims`), `.tops`, `.parameters` (what is written in the
prototxt, as plain values) and `.arrays()` (the weights as NumPy arrays) can be read; `.node`, `.nodes` and `.constant`
add to the graph, in opset 17; `.refuse` makes the error to raise. Only this file is part of the key, not the modules
that it imports.
"""

from __future__ import annotations

import runpy
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.builder import PLUGIN_DOMAIN
from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.caffe_format.layer import Layer, Lowered, Lowering, Tensor
from trtpipe.loader.scalars import shortened
from trtpipe.permissions import code_of, require
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.canonical.builder import Attribute


@dataclass(frozen=True, slots=True)
class Plugin:
    """A TensorRT plugin that replaces a layer; `outputs` are shapes, -1 where dynamic, or none at all."""

    name: str
    version: str
    namespace: str
    fields: Mapping[str, Attribute]
    outputs: Sequence[Sequence[int]]


def plugin_node(layer: Layer, plugin: Plugin) -> list[Tensor]:
    """The plugin's node; the layer's blobs follow its bottoms as constants."""
    if plugin.outputs and len(plugin.outputs) != len(layer.tops):
        raise layer.refuse(f"its plugin has {len(plugin.outputs)} outputs, and it has {len(layer.tops)} tops")
    weights = [layer.constant(value, f"blob_{index}") for index, value in enumerate(layer.arrays())]
    fields = {
        name: list(value) if isinstance(value, tuple) else value for name, value in plugin.fields.items()
    }
    names = [layer.free(f"{layer.name}:{number}") for number in range(len(layer.tops))]
    inputs = [*(tensor.name for tensor in layer.inputs), *weights]
    identity = {"plugin_version": plugin.version, "plugin_namespace": plugin.namespace}
    made = layer.builder.node(
        plugin.name, inputs, names, name=layer.name, domain=PLUGIN_DOMAIN, attributes={**fields, **identity}
    )
    if not plugin.outputs:
        return [Tensor(name) for name in made]
    return [
        Tensor(name, tuple(None if dim < 0 else dim for dim in shape))
        for name, shape in zip(made, plugin.outputs, strict=True)
    ]


def load_lowerings(file: Path, name: str) -> dict[str, Lowering]:
    """`LAYERS` of a project's file, which is run. Raises ModelError with its own error and line."""
    path = ("model", "options", "lowering")
    require(code_of("code", name, [file.read_bytes()]), path)
    try:
        found = runpy.run_path(str(file)).get("LAYERS")
    except (Exception, SystemExit) as error:  # whatever the project's code raises
        raise ModelError(
            Problem(Code.CAFFE_CODE, f"{name} cannot be run: {raised(error, file)}", path=path)
        ) from error
    if not isinstance(found, dict) or not all(isinstance(key, str) and callable(found[key]) for key in found):
        fact = f"{name} has no LAYERS that maps layer types to functions"
        raise ModelError(Problem(Code.CAFFE_CODE, fact, 'add LAYERS = {"MyType": my_function}', path=path))
    return found


def guarded(layer: Layer, lowering: Lowering, file: Path, name: str) -> Lowered:
    """The result of a project's function for a layer; its errors are reported with the layer's line and its own."""
    try:
        made = lowering(layer)
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # whatever the project's code raises
        raise layer.refuse(f"its lowering in {name} failed: {raised(error, file)}") from error
    if not _is_lowered(made):
        fact = f"its lowering in {name} gave {shortened(repr(made))}"
        raise layer.refuse(fact, "return the Tensor of its top, or a list with one for each top")
    return made


def _is_lowered(made: object) -> bool:
    several = isinstance(made, (list, tuple)) and all(isinstance(one, Tensor) for one in made)
    return isinstance(made, Tensor) or several


def raised(error: BaseException, file: Path) -> str:
    """An exception in one line, with the last line of the file that led to it."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)
    ]
    line = lines[-1] if lines else getattr(error, "lineno", None)
    return f"{type(error).__name__}: {error}" + (f" (line {line})" if line else "")
