"""A network of declared layers, and a graft: declared layers before or after a parsed model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, get_args

from pydantic import BeforeValidator, Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic_core import CoreSchema

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, ProjectFile, SpecModel
from trtpipe.spec.network.fields import DType, between
from trtpipe.spec.network.plugin import Plugin
from trtpipe.spec.network.pointwise import (
    Activation,
    Cast,
    ElementWise,
    Identity,
    ParametricReLU,
    Scale,
    Select,
    Unary,
)
from trtpipe.spec.network.quantization import Dequantize, Quantize
from trtpipe.spec.network.recurrent import GRU, LSTM, RNN
from trtpipe.spec.network.reductions import (
    NMS,
    Attention,
    Cumulative,
    Einsum,
    MatrixMultiply,
    Normalization,
    Reduce,
    SoftMax,
    TopK,
)
from trtpipe.spec.network.shape_layers import (
    Concatenation,
    Constant,
    Fill,
    Flatten,
    Gather,
    NonZero,
    OneHot,
    ReverseSequence,
    Scatter,
    Shape,
    Shuffle,
    Slice,
    Squeeze,
    Unsqueeze,
)
from trtpipe.spec.network.shapes import DeclaredShape
from trtpipe.spec.network.spatial import (
    LRN,
    Convolution,
    Deconvolution,
    FullyConnected,
    GridSample,
    Padding,
    Pooling,
    Resize,
)

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue


class _ByKind:
    """Writes the choice among the layers into the JSON Schema as conditions, which editors evaluate one by one."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        mapping = handler(schema)["discriminator"]["mapping"]
        return {
            "type": "object",
            "properties": {"layer": {"enum": list(mapping), "description": "The kind of layer."}},
            "required": ["layer"],
            "allOf": [
                {
                    "if": {"properties": {"layer": {"const": kind}}, "required": ["layer"]},
                    "then": {"$ref": ref},
                }
                for kind, ref in mapping.items()
            ],
        }


AnyLayer = (
    Activation | Attention | Cast | Concatenation | Constant | Convolution | Cumulative | Deconvolution
    | Dequantize | Einsum | ElementWise | Fill | Flatten | FullyConnected | Gather | GridSample | GRU
    | Identity | LRN | LSTM | MatrixMultiply | NMS | NonZero | Normalization | OneHot | Padding
    | ParametricReLU | Plugin | Pooling | Quantize | Reduce | Resize | ReverseSequence | RNN | Scale
    | Scatter | Select | Shape | Shuffle | Slice | SoftMax | Squeeze | TopK | Unary | Unsqueeze
)  # fmt: skip
"""Any declared layer."""

LayerEntry = Annotated[AnyLayer, Field(discriminator="layer"), _ByKind()]
"""A layer in a list, identified by its key `layer`."""

Layers = Annotated[tuple[LayerEntry, ...], AsTuple]

SomeLayers = Annotated[tuple[LayerEntry, ...], AsTuple, between(1)]


def layer_models() -> dict[str, type[AnyLayer]]:
    """Every kind of layer and its model."""
    return {get_args(model.model_fields["layer"].annotation)[0]: model for model in get_args(AnyLayer)}


class NetworkInput(SpecModel):
    """An input of the network."""

    dtype: DType = "float32"
    """Its data type."""
    shape: DeclaredShape
    """Its shape: -1 is dynamic, a name is a dynamic dimension of that name."""


def _kind_of_files(value: object) -> str:
    return "mapping" if isinstance(value, dict) else "list" if isinstance(value, (list, tuple)) else "file"


WeightFiles = Annotated[
    Annotated[ProjectFile, Tag("file")]
    | Annotated[tuple[ProjectFile, ...], AsTuple, Tag("list")]
    | Annotated[dict[str, ProjectFile], Tag("mapping")],
    Discriminator(_kind_of_files),
]
"""A file, a list of files, or files by name."""


def _by_name(value: object) -> object:
    return {one: one for one in value} if isinstance(value, (list, tuple)) else value


class _OrList:
    """Says in the JSON Schema that a list of tensors' names may stand where a mapping of them does."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"type": "array", "items": {"type": "string"}}, handler(schema)]}


Outputs = Annotated[dict[str, str], BeforeValidator(_by_name), _OrList()]
"""Tensors' names, or `{OUTPUT: TENSOR}` for outputs with another name."""


SomeOutputs = Annotated[dict[str, str], Field(min_length=1), BeforeValidator(_by_name), _OrList()]
"""The same, at least one."""


class NetworkOptions(SpecModel):
    """`model.options` of the network parser: layers declared in YAML, with TensorRT's names."""

    weights: WeightFiles | None = None
    """Weights files: `.npz`, `.npy`, `.safetensors`, `.wts` (tensorrtx) or `.onnx`; one file, a list, or a mapping
    from names to files, whose tensors then have names like `NAME:tensor`."""
    ignore_weights: Annotated[tuple[str, ...], AsTuple] = ()
    """Globs of weights that no layer needs: `["*.num_batches_tracked"]`."""
    inputs: Annotated[dict[Annotated[str, Field(min_length=1)], NetworkInput], Field(min_length=1)]
    """The network's inputs by name."""
    layers: SomeLayers
    """The layers, each after those whose outputs it reads."""
    outputs: SomeOutputs
    """The tensors that are the network's outputs, or `{OUTPUT: TENSOR}`."""


class Prepended(NetworkInput):
    """Layers in front of an input of the model."""

    name: Annotated[str, Field(min_length=1)] | None = None
    """The new input's name; default: the old input's name."""
    layers: SomeLayers
    """The layers; the first one reads the new input by default, and the model reads the last one's output."""


class GraftSpec(SpecModel):
    """Declared layers before or after the model's own, which refer to its tensors by name."""

    weights: WeightFiles | None = None
    """Weights files, as for `parser: network`."""
    ignore_weights: Annotated[tuple[str, ...], AsTuple] = ()
    """Globs of weights that no layer needs."""
    prepend: dict[str, Prepended] = Field(default_factory=dict)
    """For each input of the model: the input that replaces it, and the layers between the two."""
    append: Layers = ()
    """Layers that read the model's tensors."""
    outputs: Outputs = Field(default_factory=dict)
    """The new outputs: tensors' names, or `{OUTPUT: TENSOR}`; default: the model's own."""

    @model_validator(mode="after")
    def _does_something(self) -> GraftSpec:
        if not self.prepend and not self.append:
            raise WrongValue(Code.KEY_NEEDED, "a graft without layers; give prepend or append")
        if self.append and not self.outputs:
            raise WrongValue(
                Code.KEY_NEEDED,
                "layers are appended, but none of their tensors is an output; name the outputs: outputs: [best]",
            )
        return self
