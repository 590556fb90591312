"""Writes canonical ONNX: the same model gives the same bytes, and memory use does not grow with the weights.

Weights are copied from their file in chunks. Up to `EMBEDDED` bytes of them are embedded; more go to one file
`NAME.data` beside the model, each at an aligned offset, because protobuf is limited to 2 GiB. Files are written
atomically.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trtpipe.canonical.tensors import external_entries, is_external, set_external, set_inline, tensors_of
from trtpipe.canonical.wire import varint
from trtpipe.errors import ModelError
from trtpipe.files import copy_range
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx

EMBEDDED = 1 << 30
"""Models whose large weights take more bytes than this get a data file."""

_ALIGNMENT = 4096  # a page, so that readers can map each weight
_MOST_OPEN = 64  # some exporters write a file for each weight, and a process may open about a thousand
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers of ModelProto, GraphProto, TensorProto


def write_model(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Writes the model, external references followed, to `path`; the files written, the model first.

    `model` is not changed. Raises ModelError when a file cannot be written.
    """
    total = sum(int(external_entries(t)["length"]) for t in model.graph.initializer if is_external(t))
    try:
        with _Weights() as weights:
            if total <= EMBEDDED:
                return [_write(path, lambda file: _embed(model, weights, file))]
            data = path.with_name(path.name + ".data")
            outer = _copy(model, weights)
            _write(data, lambda file: _lay_out(outer, data.name, weights, file))
            return [_write(path, lambda file: _embed(outer, weights, file)), data]
    except OSError as error:
        raise ModelError(Code.CANNOT_WRITE, f"cannot write '{path}': {error.strerror}") from error


def _write(path: Path, fill: Callable[[BinaryIO], None]) -> Path:
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


def _copy(model: onnx.ModelProto, weights: _Weights) -> onnx.ModelProto:
    """A copy that refers to files from the main graph's initializers only."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    main = list(copy.graph.initializer)  # kept alive, because ids of freed tensors are reused
    ids = {id(tensor) for tensor in main}
    for tensor in tensors_of(copy):
        if is_external(tensor) and id(tensor) not in ids:
            set_inline(tensor, weights.bytes_of(tensor))
    return copy


def _lay_out(model: onnx.ModelProto, location: str, weights: _Weights, file: BinaryIO) -> None:
    """Copies the weights into `file` and updates the initializers' references."""
    for tensor in model.graph.initializer:
        if not is_external(tensor):
            continue
        offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        file.write(b"\0" * (offset - file.tell()))
        set_external(tensor, Path(location), offset, weights.copy(tensor, file))


def _embed(model: onnx.ModelProto, weights: _Weights, file: BinaryIO) -> None:
    """Serializes the model with absolute references replaced by their bytes; relative ones stay.

    The graph is put together from its parts by hand, because protobuf would hold the whole model in memory twice.
    """
    import onnx

    rest = _copy(model, weights)
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
            weights.copy(source, file)


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


class _Weights:
    """The files that weights are read from. Each stays open, because a model may have thousands of weights in one."""

    def __init__(self) -> None:
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> _Weights:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def copy(self, tensor: onnx.TensorProto, target: BinaryIO) -> int:
        """Appends the tensor's bytes to `target`; returns how many. Raises ModelError when the file has fewer."""
        source, offset, length = self._place(tensor)
        _require_all(tensor, copy_range(source, target, offset, length), length)
        return length

    def bytes_of(self, tensor: onnx.TensorProto) -> bytes:
        """The tensor's bytes. Raises ModelError when the file has fewer."""
        source, offset, length = self._place(tensor)
        source.seek(offset)
        found = source.read(length)
        _require_all(tensor, len(found), length)
        return found

    def _place(self, tensor: onnx.TensorProto) -> tuple[BinaryIO, int, int]:
        entries = external_entries(tensor)
        return self._file(entries["location"]), int(entries["offset"]), int(entries["length"])

    def _file(self, location: str) -> BinaryIO:
        if location not in self._files:
            if len(self._files) >= _MOST_OPEN:
                self._close()
            self._files[location] = Path(location).open("rb")  # noqa: SIM115 - closed by `_close`
        return self._files[location]

    def _close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()


def _require_all(tensor: onnx.TensorProto, found: int, length: int) -> None:
    if found < length:
        raise ModelError(
            Code.WEIGHTS_CUT_SHORT, f"the data of tensor '{tensor.name}' ended early while it was copied"
        )


def _tag(number: int) -> bytes:
    return varint(number << 3 | 2)
