"""Writes Caffe's files for tests: caffemodels of both generations, and the frontend run on a net in two strings."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from trtpipe.canonical.wire import varint
from trtpipe.frontends import LowerReport, ModelFiles, lower_model
from trtpipe.frontends.caffe import CaffeOptions, frontend

Blobs = Mapping[str, Sequence[np.ndarray]]


def delimited(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3) + varint(value)


def blob(array: np.ndarray, how: str = "packed") -> bytes:
    """A BlobProto: `packed`, `unpacked`, `double`, `half` (NVCaffe's raw data) or `legacy` (four axes)."""
    array = np.asarray(array)
    flat = array.astype("<f4").ravel()
    shape = delimited(7, delimited(1, b"".join(varint(dim) for dim in array.shape)))
    if how == "legacy":
        dims = (1,) * (4 - array.ndim) + array.shape
        shape = b"".join(number(field, dim) for field, dim in enumerate(dims, 1))
    if how == "unpacked":
        return shape + b"".join(b"\x2d" + struct.pack("<f", value) for value in flat)
    if how == "double":
        return delimited(8, flat.astype("<f8").tobytes()) + shape
    if how == "half":
        return shape + number(10, 2) + delimited(12, flat.astype("<f2").tobytes())
    return delimited(5, flat.tobytes()) + shape


def caffemodel(layers: Blobs, how: str = "packed", *, v1: bool = False) -> bytes:
    """A NetParameter with the blobs of some layers."""
    made = delimited(1, b"net")
    for name, arrays in layers.items():
        blobs = [blob(array, how) for array in arrays]
        if v1:
            inner = delimited(4, name.encode()) + number(5, 4) + b"".join(delimited(6, one) for one in blobs)
        else:
            inner = (
                delimited(1, name.encode())
                + delimited(2, b"Any")
                + b"".join(delimited(7, one) for one in blobs)
            )
        made += delimited(2 if v1 else 100, inner)
    return made


def net(text: str, *shapes: Sequence[int]) -> str:
    """A prototxt: an Input layer for each shape, called a, b, …, then `text`."""
    inputs = [
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {' '.join(f'dim: {dim}' for dim in shape)} }} }} }}\n"
        for name, shape in zip("abcdef", shapes, strict=False)
    ]
    return 'name: "test"\n' + "".join(inputs) + text


def lower(
    folder: Path, text: str, blobs: Blobs | bytes | None = None, how: str = "packed", **options: Any
) -> LowerReport:
    """Lowers a net to `folder`/out/model.onnx."""
    source, named = folder / "net.prototxt", {}
    source.write_text(text)
    if blobs is not None:
        weights = folder / "net.caffemodel"
        weights.write_bytes(blobs if isinstance(blobs, bytes) else caffemodel(blobs, how))
        named["weights"] = weights
        options["weights"] = "net.caffemodel"
    if "lowering" in options:
        named["lowering"] = folder / options["lowering"]
    (folder / "out").mkdir(exist_ok=True)
    files = ModelFiles(source, named, folder)
    return lower_model(frontend, files, CaffeOptions.model_validate(options), folder / "out" / "model.onnx")


def run(model: Path, *arrays: np.ndarray, **named: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a model by name; `arrays` are the inputs in their order."""
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    feed = {**dict(zip(names, arrays, strict=False)), **named}
    outputs = [one.name for one in session.get_outputs()]
    return dict(zip(outputs, session.run(None, feed), strict=True))


def evaluate(
    folder: Path, text: str, *arrays: np.ndarray, blobs: Blobs | None = None, **options: Any
) -> dict[str, np.ndarray]:
    """What a net gives for inputs a, b, …, whose shapes it is lowered for."""
    source = net(text, *(array.shape for array in arrays))
    lower(folder, source, blobs, **options)
    named = dict(zip("abcdef", arrays, strict=False))
    return run(folder / "out" / "model.onnx", **named)
