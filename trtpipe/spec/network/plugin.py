"""The plugin layer: a custom operation that TensorRT looks up by name in its plugin registry."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, SpecModel
from trtpipe.spec.network.fields import Declared, DType, Operands, between
from trtpipe.spec.network.shapes import DeclaredShape

FieldType = Literal["float32", "float64", "float16", "int8", "int16", "int32", "int64", "char", "dims"]


def _field_value(value: object) -> object:
    items = value if isinstance(value, (list, tuple)) else [value]
    if isinstance(value, str):
        return value
    if any(not isinstance(item, (bool, int, float)) for item in items):
        raise WrongValue(Code.WRONG_FORM, "not a field's value; write a number, a list of numbers, or text")
    return tuple(value) if isinstance(value, list) else value


class PluginField(SpecModel):
    """A field of a plugin, TensorRT's PluginField."""

    type: FieldType
    """The PluginFieldType; `char` is text."""
    value: Annotated[
        Any,
        BeforeValidator(_field_value),
        WithJsonSchema({"type": ["number", "boolean", "string", "array"], "items": {"type": "number"}}),
    ]
    """A number, a list of numbers, or text for `char`."""

    @model_validator(mode="after")
    def _text_for_char(self) -> PluginField:
        if (self.type == "char") != isinstance(self.value, str):
            raise WrongValue(
                Code.LAYER_KEYS,
                f"a field of type {self.type} with the value {self.value!r}; only char is text",
            )
        fractions = [item for item in self.values() if isinstance(item, float) and not item.is_integer()]
        if fractions and not self.type.startswith("float"):
            raise WrongValue(
                Code.LAYER_KEYS,
                f"a field of type {self.type} with the value {fractions[0]}; write whole numbers",
            )
        return self

    def values(self) -> tuple[bool | int | float | str, ...]:
        """The numbers, or the text, as a tuple."""
        return self.value if isinstance(self.value, tuple) else (self.value,)


class PluginOutput(SpecModel):
    """An output of a plugin."""

    name: Annotated[str, Field(min_length=1)]
    """The tensor's name."""
    dtype: DType = "float32"
    """Its data type."""
    shape: DeclaredShape
    """Its shape: -1 is dynamic, a name is a dynamic dimension of that name."""


class Plugin(Declared):
    """TensorRT's add_plugin_v2 and add_plugin_v3 → an ONNX node of the domain `trt.plugins`, named after the plugin.

    TensorRT's ONNX parser looks it up in the plugin registry by name, version and namespace; ONNX Runtime cannot run
    it, so such a model is not validated on a CPU. Dims and types of its outputs must be declared.
    """

    layer: Literal["plugin"]
    """Always `plugin`."""
    plugin: Annotated[str, Field(min_length=1)]
    """The plugin's name in the registry, such as `EfficientNMS_TRT`."""
    version: str = "1"
    """The plugin's version."""
    namespace: str = ""
    """The plugin's namespace."""
    inputs: Operands
    """The inputs: tensors' names or inline constants."""
    fields: dict[str, PluginField] = Field(default_factory=dict)
    """The plugin's fields by name: `{score_threshold: {type: float32, value: 0.25}}`."""
    outputs: Annotated[tuple[PluginOutput, ...], AsTuple, between(1)]
    """The outputs."""

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the tensors that the plugin yields."""
        return tuple(output.name for output in self.outputs)
