"""Requests that Triton runs before it says that a model is ready: fields of `model_warmup`, and raw input files.

Where the values come from is decided elsewhere; here they are arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtpipe.packages.triton.pbtxt import Field, Message, Word
from trtpipe.packages.triton.tensors import TYPES
from trtpipe.spec.packaging import TritonBackend

FOLDER = "warmup"
"""Triton looks for the files of a model's warm-up in this folder of the model's directory."""


@dataclass(frozen=True, slots=True)
class WarmupInput:
    """One input of a request."""

    dtype: str
    dims: tuple[int, ...]
    """Without the batch; Triton repeats the data for each sample of the batch."""
    file: str = ""
    """The file with the raw values; without one the input is filled with zeros."""


@dataclass(frozen=True, slots=True)
class Warmup:
    """One request."""

    name: str
    batch: int
    inputs: Mapping[str, WarmupInput]


def warmup_message(request: Warmup, backend: TritonBackend) -> Message:
    """The fields of `model_warmup`."""
    fields: list[Field] = [("name", request.name), ("batch_size", request.batch)]
    for name, one in request.inputs.items():
        given: Field = ("input_data_file", one.file) if one.file else ("zero_data", True)
        value = Message([("data_type", Word(TYPES[backend][one.dtype])), ("dims", one.dims or (1,)), given])
        fields.append(("inputs", Message([("key", name), ("value", value)])))
    return Message(fields)


def zeros(index: int, shapes: Mapping[str, tuple[str, Sequence[int]]], *, batching: bool) -> Warmup:
    """A request of zeros with these shapes, those of a profile's `opt`: input → type and shape."""
    batch = next(iter(shapes.values()))[1][0] if batching and shapes else 1
    inputs = {
        name: WarmupInput(dtype, tuple(shape[1:] if batching else shape))
        for name, (dtype, shape) in shapes.items()
    }
    return Warmup(f"profile-{index}", batch, inputs)
