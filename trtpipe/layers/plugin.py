"""Lowers a plugin layer to a node that TensorRT's ONNX parser looks up in the plugin registry.

The parser uses the operator's name as the plugin's, reads `plugin_version` and `plugin_namespace` from attributes
of those names, and each field of the plugin from the attribute of the field's name; it ignores the domain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.canonical.builder import PLUGIN_DOMAIN
from trtpipe.layers.scope import Scope
from trtpipe.layers.values import declared_dims, dtype_of
from trtpipe.spec.network.plugin import Plugin, PluginField

if TYPE_CHECKING:
    from trtpipe.canonical.builder import Attribute

_OWN = ("plugin_version", "plugin_namespace")


def plugin(layer: Plugin, at: Scope) -> list[str]:
    """A node whose operator is the plugin's name."""
    for name in layer.fields:
        if name in _OWN:
            at.refuse(
                f"has a field '{name}'", f"write {name.removeprefix('plugin_')}: in the layer", "fields", name
            )
    attributes: dict[str, Attribute] = {name: _attribute(one) for name, one in sorted(layer.fields.items())}
    attributes |= {"plugin_version": layer.version, "plugin_namespace": layer.namespace}
    inputs = [value.name for value in at.inputs]
    made = at.emit_node(layer.plugin, inputs, len(layer.outputs), PLUGIN_DOMAIN, attributes)
    for tensor, one in zip(made, layer.outputs, strict=True):
        at.declare(tensor, dtype_of(one.dtype), declared_dims(one.name, one.shape))
    return list(made)


def _attribute(field: PluginField) -> Attribute:
    """A field as ONNX attribute (floats, integers or text); TensorRT narrows it to the field's type."""
    if isinstance(field.value, str):
        return field.value
    kind = float if field.type.startswith("float") else int
    numbers = [kind(item) for item in field.values()]
    return numbers if isinstance(field.value, tuple) else numbers[0]
