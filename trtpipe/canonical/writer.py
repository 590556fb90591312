"""Writes canonical ONNX: the same model gives the same bytes, and memory use does not grow with the weights.

Weights are copied from their file in chunks. Up to `EMBEDDED` bytes of them are embedded; more go to one file
`NAME.data` beside the model, each at an aligned offset, because protobuf is limited to 2 GiB. Files are written
atomically.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from trtpipe.canonical.tensors import external_entries, is_external, set_external, set_inline, tensors_of
from trtpipe.canonical.wire import varint
from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

EMBEDDED = 1 << 30
"""Models whose large weights take more bytes than this get a data file."""

_ALIGNMENT = 4096  # a page, so that readers can map each weight
_PIECE = 4 << 20
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers of ModelProto, GraphProto, TensorProto


def write_model(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Writes the model, external references followed, to `path`; the files written, the model first.

    `model` is not changed. Raises ModelError when a file cannot be written.
    """
    total = sum(int(external_entries(t)["length"]) for t in model.graph.initializer if is_external(t))
    try:
        if total <= EMBEDDED:
            return [_write(path, lambda file: _embed(model, file))]
        data = path.with_name(path.name + ".data")
        outer = _copy(model)
        _write(data, lambda file: _lay_out(outer, data.name, file))
        return [_write(path, lambda file: _embed(outer, file)), data]
    except OSError as error:
        raise ModelError(Code.CANNOT_WRITE, f"cannot write '{path}': {error.strerror}") from error


def _write(path: Path, fill: Callable[[IO[bytes]], None]) -> Path:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that refers to files from the main graph's initializers only."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    main = list(copy.graph.initializer)  # kept alive, because ids of freed tensors are reused
    ids = {id(tensor) for tensor in main}
    for tensor in tensors_of(copy):
        if is_external(tensor) and id(tensor) not in ids:
            set_inline(tensor, b"".join(_bytes_of(tensor)))
    return copy


def _lay_out(model: onnx.ModelProto, location: str, file: IO[bytes]) -> None:
    """Copies the weights into `file` and updates the initializers' references."""
    for tensor in model.graph.initializer:
        if not is_external(tensor):
            continue
        offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        file.write(b"\0" * (offset - file.tell()))
        length = 0
        for piece in _bytes_of(tensor):
            file.write(piece)
            length += len(piece)
        set_external(tensor, Path(location), offset, length)


def _embed(model: onnx.ModelProto, file: IO[bytes]) -> None:
    """Serializes the model with absolute references replaced by their bytes; relative ones stay.

    The graph is put together from its parts by hand, because protobuf would hold the whole model in memory twice.
    """
    import onnx

    rest = _copy(model)
    tensors = list(model.graph.initializer)
    del rest.graph.initializer[:]
    graph = rest.graph.SerializeToString(deterministic=True)
    shell = onnx.ModelProto()
    shell.CopyFrom(rest)
    shell.ClearField("graph")
    parts = [_initializer(tensor) for tensor in tensors]
    size = len(graph) + sum(len(head) + (length if source else 0) for head, source, length in parts)
    file.write(shell.SerializeToString(deterministic=True))
    file.write(_tag(_GRAPH) + varint(size) + graph)
    for head, source, _ in parts:
        file.write(head)
        if source is not None:
            for piece in _bytes_of(source):
                file.write(piece)


def _initializer(tensor: onnx.TensorProto) -> tuple[bytes, onnx.TensorProto | None, int]:
    """The initializer's bytes up to where its weights follow, the tensor that has them, and their length."""
    import onnx

    if not is_external(tensor) or not Path(external_entries(tensor)["location"]).is_absolute():
        body = tensor.SerializeToString(deterministic=True)
        return _tag(_INITIALIZER) + varint(len(body)) + body, None, 0
    bare = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    length = int(external_entries(tensor)["length"])
    body = bare.SerializeToString(deterministic=True) + _tag(_RAW_DATA) + varint(length)
    return _tag(_INITIALIZER) + varint(len(body) + length) + body, tensor, length


def _bytes_of(tensor: onnx.TensorProto) -> Iterator[bytes]:
    entries = external_entries(tensor)
    left = int(entries["length"])
    with Path(entries["location"]).open("rb") as file:
        file.seek(int(entries["offset"]))
        while left:
            piece = file.read(min(_PIECE, left))
            if not piece:
                raise ModelError(
                    Code.WEIGHTS_CUT_SHORT,
                    f"the data of tensor '{tensor.name}' ended early while it was copied",
                )
            left -= len(piece)
            yield piece


def _tag(number: int) -> bytes:
    return varint(number << 3 | 2)
