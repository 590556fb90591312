"""Finds the weights in a caffemodel: the position of each layer's blobs in the file, and their shapes.

A binary NetParameter (caffe.proto; NVCaffe's raw_data as in trtcaffe.proto) is parsed without its values: only tags,
lengths and shapes are read. Both generations are supported. The meaning of a blob is not interpreted.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.wire import I32, I64, LEN, VARINT, Field, WireError, WireReader
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code
from trtpipe.shapes import LARGEST_DIM

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_MOST_FIELDS = 4_000_000
_MOST_LAYERS = 200_000
_MOST_AXES = 32  # Caffe's kMaxBlobAxes
_LEGACY = {1: 0, 2: 1, 3: 2, 4: 3}  # num, channels, height, width
_DATA, _SHAPE, _DOUBLE_DATA, _RAW_TYPE, _RAW_DATA = 5, 7, 8, 10, 12
_TYPE_WIRES = {2: VARINT, 100: LEN}  # a layer's type is a number in V1 and text in later versions
_RAW_DTYPES = {0: "<f8", 1: "<f4", 2: "<f2"}


@dataclass(frozen=True, slots=True)
class _Run:
    """Values in a row, `stride` bytes apart."""

    offset: int
    count: int
    dtype: str
    stride: int


@dataclass(frozen=True, slots=True)
class Blob:
    """One tensor of a layer: its shape and where its values are."""

    dims: tuple[int, ...]
    runs: tuple[_Run, ...]
    file: Path

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(run.count for run in self.runs)

    @property
    def mapped(self) -> int | None:
        """The position of the values if they are contiguous little-endian float32; None otherwise."""
        if len(self.runs) != 1:
            return None
        run = self.runs[0]
        return run.offset if (run.dtype, run.stride) == ("<f4", 4) else None

    def array(self) -> Array:
        """The values as a new float32 vector."""
        import numpy as np

        made = np.empty(self.count, np.float32)
        at = 0
        for run in self.runs:
            length = (run.count - 1) * run.stride + np.dtype(run.dtype).itemsize
            held = np.memmap(self.file, np.uint8, "r", run.offset, (length,))
            strided = np.ndarray((run.count,), run.dtype, held, 0, (run.stride,))
            with np.errstate(all="ignore"):
                made[at : at + run.count] = strided
            at += run.count
        return made


@dataclass
class Weights:
    """The blobs of every layer that has some, by the layer's name; of equal names the first, as in Caffe."""

    file: Path
    name: str
    layers: dict[str, list[Blob]] = field(default_factory=dict)


def read_weights(file: Path, name: str) -> Weights:
    """The weights in a caffemodel, called `name` in messages. Raises ModelError when it is damaged."""
    if not file.stat().st_size:
        raise ModelError(Code.EMPTY_FILE, f"{name} is empty")
    with file.open("rb") as opened:
        if opened.read(4) == b"\x89HDF":
            remedy = "save it as binary protobuf: snapshot_format: BINARYPROTO in the solver"
            raise ModelError(Code.CAFFE_WEIGHTS, f"{name} is an HDF5 file, which is not supported", remedy)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return parse_weights(data, file, name)


def parse_weights(data: mmap.mmap | bytes, file: Path, name: str) -> Weights:
    """The weights in the bytes of `file`. Raises ModelError when they are damaged."""
    reader = _Reader(data, file)
    weights = Weights(file, name)
    try:
        for layer, blobs in reader.layers():
            if blobs:
                weights.layers.setdefault(layer, blobs)
    except WireError as error:
        remedy = "copy or download it again; it must be the binary .caffemodel"
        raise ModelError(
            Code.CAFFE_WEIGHTS, f"{name} is not a complete caffemodel: {error}", remedy
        ) from None
    return weights


def looks_like_caffemodel(file: Path) -> bool:
    """Whether the file begins with the fields of a binary NetParameter and holds a layer."""
    try:
        with file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size < 8:
                return False
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Reader(data, file).begins_with_layers()
    except (OSError, ValueError):
        return False


class _Reader(WireReader):
    """A NetParameter: 1 name, 2 layers (V1), 100 layer."""

    def __init__(self, data: mmap.mmap | bytes, file: Path) -> None:
        super().__init__(data)
        self.file = file
        self.left = _MOST_FIELDS

    def field(self, begin: int, end: int) -> Field:
        self.left -= 1
        if self.left < 0:
            raise WireError(f"it holds more than {_MOST_FIELDS:,} fields")
        return super().field(begin, end)

    def layers(self) -> Iterator[tuple[str, list[Blob]]]:
        count = 0
        for item in self.fields(0, len(self.data)):
            if item.number not in (2, 100) or item.wire != LEN:
                continue
            count += 1
            if count > _MOST_LAYERS:
                raise WireError(f"it holds more than {_MOST_LAYERS:,} layers")
            yield self.v1_layer(item) if item.number == 2 else self.layer(item)

    def begins_with_layers(self) -> bool:
        """A net's name if any, then layers whose own first fields are a name and a type; a layer may have no name."""
        for number, item in enumerate(self.fields(0, len(self.data))):
            if item.number in (2, 100) and item.wire == LEN:
                inner = {one.number: one.wire for one in self.fields(item.value, item.end)}
                name, kind = (1, 2) if item.number == 100 else (4, 5)
                wires = (inner.get(name), inner.get(kind))
                if wires != (None, _TYPE_WIRES[item.number]):
                    return wires == (LEN, _TYPE_WIRES[item.number])
            if number > 64:
                break
        return False

    def layer(self, layer: Field) -> tuple[str, list[Blob]]:
        """LayerParameter: 1 name, 7 blobs."""
        return self.named(layer, 1, 7)

    def v1_layer(self, layer: Field) -> tuple[str, list[Blob]]:
        """V1LayerParameter: 4 name, 6 blobs; 1 is a layer of V0."""
        fields = [item for item in self.fields(layer.value, layer.end) if item.number == 1]
        if fields:
            raise WireError("it is in the V0 format of 2013; upgrade it with upgrade_net_proto_binary")
        return self.named(layer, 4, 6)

    def named(self, layer: Field, name: int, blobs: int) -> tuple[str, list[Blob]]:
        found, read = "", []
        for item in self.fields(layer.value, layer.end):
            if item.number == name and item.wire == LEN:
                found = self.data[item.value : min(item.end, item.value + 4096)].decode("utf-8", "replace")
            elif item.number == blobs and item.wire == LEN:
                read.append(self.blob(item, found))
        return found, read

    def blob(self, blob: Field, layer: str) -> Blob:
        """BlobProto: values packed or one by one, in float or double, or raw with a type."""
        legacy = [0, 0, 0, 0]
        dims: tuple[int, ...] | None = None
        runs: dict[int, list[_Run]] = {_DATA: [], _DOUBLE_DATA: [], _RAW_DATA: []}
        raw_type = -1
        position = blob.value
        while position < blob.end:
            item = self.field(position, blob.end)
            position = item.end
            if item.number in _LEGACY and item.wire == VARINT:
                legacy[_LEGACY[item.number]] = item.number_value
            elif item.number == _SHAPE and item.wire == LEN:
                dims = self.shape(item)
            elif item.number == _RAW_TYPE and item.wire == VARINT:
                raw_type = item.number_value
            elif item.number in runs:
                run = self.run(item, blob.end)
                runs[item.number].append(run)
                position = max(
                    position, run.offset + run.count * run.stride - 1 if run.stride in (5, 9) else 0
                )
        values = self.values(runs, raw_type)
        dims = dims if dims is not None else tuple(legacy)
        return self.checked(dims, values, layer)

    def values(self, runs: dict[int, list[_Run]], raw_type: int) -> tuple[_Run, ...]:
        if runs[_RAW_DATA]:
            run = runs[_RAW_DATA][-1]
            dtype = _RAW_DTYPES.get(raw_type)
            if dtype is None:
                raise WireError(f"raw data of type {raw_type} is neither double, float nor half")
            size = int(dtype[-1])
            return (_Run(run.offset, run.count // size, dtype, size),) if run.count >= size else ()
        found = runs[_DOUBLE_DATA] or runs[_DATA]
        return tuple(run for run in found if run.count)

    def run(self, item: Field, end: int) -> _Run:
        if item.number == _RAW_DATA and item.wire == LEN:
            return _Run(item.value, item.end - item.value, "u1", 1)
        size = 8 if item.number == _DOUBLE_DATA else 4
        dtype = f"<f{size}"
        if item.wire == LEN:
            if (item.end - item.value) % size:
                raise WireError(f"packed values at byte {item.value} are not a multiple of {size} bytes")
            return _Run(item.value, (item.end - item.value) // size, dtype, size)
        if item.wire != (I64 if size == 8 else I32) or item.value != item.begin + 1:
            raise WireError(f"values at byte {item.begin} have another type than their field")
        return _Run(item.value, self.repeated(item, end), dtype, size + 1)

    def repeated(self, item: Field, end: int) -> int:
        """How many times the field is repeated in a row, each with its tag of one byte."""
        import numpy as np

        stride = item.end - item.begin
        count = 1
        while True:
            begin = item.begin + count * stride
            pieces = min((end - begin) // stride, 1 << 16)
            if pieces < 1:
                return count
            tags = np.frombuffer(self.data[begin : begin + pieces * stride], np.uint8)[::stride]
            same = tags == self.data[item.begin]
            if not same.all():
                return count + int(np.argmin(same))
            count += pieces

    def shape(self, item: Field) -> tuple[int, ...]:
        """BlobShape: dim, packed or one by one."""
        dims: list[int] = []
        for one in self.fields(item.value, item.end):
            if one.number != 1:
                continue
            position = one.value
            while one.wire == LEN and position < one.end:
                dim, position = self.varint(position, one.end)
                dims.append(dim)
                if len(dims) > _MOST_AXES:
                    break
            if one.wire == VARINT:
                dims.append(one.number_value)
            if len(dims) > _MOST_AXES:
                raise WireError(f"a blob has more than {_MOST_AXES} axes")
        return tuple(dims)

    def checked(self, dims: tuple[int, ...], runs: tuple[_Run, ...], layer: str) -> Blob:
        count = sum(run.count for run in runs)
        if any(dim > LARGEST_DIM for dim in dims) or math.prod(dims) != count:
            shown = "x".join(map(str, dims)) or "scalar"
            raise WireError(f"a blob of layer {layer!r} has the shape {shown}, but contains {count} values")
        return Blob(dims, runs, self.file)
