"""Inputs and outputs as Triton describes them: their types, and their dims without the batch.

Pure functions of plain data. Which batches a model takes is decided in `batches`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.errors import Problem
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.pbtxt import Field, Message, Word
from trtpipe.problem_codes import Code
from trtpipe.spec.packaging import TritonBackend

_NAMES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
}
_OF_TENSORRT = frozenset({"bool", "uint8", "int8", "int32", "int64", "float16", "float32", "bfloat16"})
TYPES: Mapping[TritonBackend, Mapping[str, str]] = {
    "tensorrt": {name: word for name, word in _NAMES.items() if name in _OF_TENSORRT},
    "onnxruntime": {name: word for name, word in _NAMES.items() if name != "bfloat16"},
}
"""The types that each of Triton's backends takes, by the names that manifests have: the table in Triton's
documentation of model configurations. Text is left out on purpose: no engine has it."""


def refuse_unfit(
    model: str, backend: TritonBackend, tensors: Sequence[Tensor], *, batching: bool
) -> list[Problem]:
    """The tensors that Triton has no way to describe, by name."""
    return [
        Problem(Code.NOT_SERVABLE, f"Triton cannot serve {model}: {reason}")
        for one in tensors
        if (reason := _unfit(backend, one, batching=batching))
    ]


def _unfit(backend: TritonBackend, tensor: Tensor, *, batching: bool) -> str:
    if tensor.dtype == "string":
        return f"'{tensor.name}' is text, which no engine takes or gives"
    if tensor.dtype not in TYPES[backend]:
        return f"'{tensor.name}' is {tensor.dtype}, which its {backend} backend does not know"
    if not tensor.shape and not batching:
        return f"'{tensor.name}' is a scalar, and Triton knows none; give it the shape 1 with a graft"
    if 0 in tensor.shape:
        return f"'{tensor.name}' is empty: it has a dimension of 0"
    if tensor.shape_tensor and -1 in tensor.shape:
        return f"'{tensor.name}' is a shape tensor of unknown length"
    return ""


def tensor_message(tensor: Tensor, backend: TritonBackend, *, batching: bool, labels: str = "") -> Message:
    """The fields of `input` and `output`.

    With batching the first dimension is left out. Triton allows no empty dims, so that a tensor which is nothing but
    the batch is told as one element each, and reshaped.
    """
    dims = dims_of(tensor, batching=batching)
    fields: list[Field] = [
        ("name", tensor.name),
        ("data_type", Word(TYPES[backend][tensor.dtype])),
        ("dims", dims or (1,)),
    ]
    if not dims:
        fields.append(("reshape", Message([("shape", ())])))
    if tensor.shape_tensor:
        fields.append(("is_shape_tensor", True))
    if labels:
        fields.append(("label_filename", labels))
    return Message(fields)


def dims_of(tensor: Tensor, *, batching: bool) -> tuple[int, ...]:
    """The dims without the batch."""
    return tensor.shape[1:] if batching else tensor.shape
