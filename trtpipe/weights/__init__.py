"""Named weights from a file: .npz, .npy, .safetensors, tensorrtx .wts, or an ONNX model's initializers.

The format is detected from the content. Headers are checked against the file when it is opened; values are read on
demand, memory-mapped where possible, so that memory holds one tensor at a time. Independent of layers and specs. This
module imports neither onnx nor numpy.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.arrays import Array

_HEAD = 4096


class NamedWeights(Protocol):
    """An open weights file. Every method takes one of `names`."""

    names: tuple[str, ...]
    """In the file's own order."""

    def shape_of(self, name: str) -> tuple[int, ...] | None:
        """The dims; None if the format stores none, in which case the values are flat and the spec gives the shape."""

    def dtype_of(self, name: str) -> str:
        """The element type's name in ONNX and the spec: `float32`, `bfloat16`, `float8_e4m3fn`, …."""

    def count_of(self, name: str) -> int:
        """How many elements."""

    def array(self, name: str) -> Array:
        """The values, read-only, in this machine's byte order, with the dims of `shape_of` or flat.

        Raises ModelError if the file turns out to be damaged.
        """

    def location(self, name: str) -> tuple[Path, int] | None:
        """The file and the offset of the values if they are stored row-major and little-endian; else None."""


def open_weights(path: Path, *, root: Path | None, workplace: Path | None = None) -> NamedWeights:
    """The weights in the file at `path`. Raises ModelError.

    External data of an ONNX model are read only inside `root`, or inside the model's own folder if that is outside.
    `workplace` is a directory that must outlive every use of `location`: a .wts file is converted there; without it,
    values can be read, but have no location.
    """
    head = _head(path)
    if head.startswith(b"PK"):
        from trtpipe.weights.npz import NpzFile

        return NpzFile(path)
    if head.startswith(b"\x93NUMPY"):
        from trtpipe.weights.npy import NpyFile

        return NpyFile(path)
    if _looks_like_safetensors(head):
        from trtpipe.weights.safetensors import SafetensorsFile

        return SafetensorsFile(path)
    from trtpipe.weights.wts import WtsFile, looks_like_wts

    if looks_like_wts(head):
        return WtsFile(path, workplace)
    from trtpipe.weights.onnx_initializers import OnnxInitializers

    inside = root is not None and path.resolve().is_relative_to(root.resolve())
    return OnnxInitializers(path, root if inside else path.resolve().parent)


def files_beside(path: Path, *, root: Path | None) -> list[Path]:
    """The files that weights refer to: the external data of an ONNX model. Raises ModelError."""
    from trtpipe.weights.onnx_initializers import OnnxInitializers

    opened = open_weights(path, root=root)
    return list(opened.external_files) if isinstance(opened, OnnxInitializers) else []


def _head(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        # opening a named pipe would block
        raise ModelError(Code.NOT_A_FILE, f"'{path}' is not a regular file")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
    if not head:
        raise ModelError(Code.EMPTY_FILE, f"'{path}' is empty", "copy or download it again")
    return head


def _looks_like_safetensors(head: bytes) -> bool:
    """Eight bytes that may be a length below 2**48, then a JSON object."""
    return len(head) > 8 and head[6:8] == b"\0\0" and head[8:9] == b"{"
