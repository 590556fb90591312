"""Reads an engine file's header, without TensorRT and without a GPU.

The layout is TensorRT-RTX's and undocumented; it was determined from engines of 1.4, 1.5, 1.6 and 1.7. Facts from
after the first 64 bytes are best effort, and None if they are not found. Little-endian:

     0  `vtrt`                      24  version: major, minor, patch, build (a byte each)
    16  u64 size of the file        32  u64 targets, a bit each
    28  `vtrt`                      56  u64 bytes of weights that stay on the GPU
    64  blocks; the network's name is the first text in them; then a readable `header { … tf32=0 … }` of the compiler

Engines of the flavour tensorrt have another header, whose layout is unknown.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.json_values import Json
from trtpipe.problem_codes import Code

_MAGIC = b"vtrt"
_HEADER_BYTES = 64
_READ_BYTES = 1 << 18  # the compiler's header comes after the list of layers and I/O tensors
_NAME_BYTES = 1 << 16
_TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
_FIRST_TENSORRT = 8
"""TensorRT-RTX is at 1; a major version from here on is the flavour tensorrt's."""

_TEXT = re.compile(rb"\x13\x80\x01\x00(?P<size>.{8})\x01\x80\x0c\x80\x01\x00(?P=size)", re.DOTALL)
_FIELD = rb"\n +%s ?= ?(?P<value>-?\d+)\n"


@dataclass(frozen=True, slots=True)
class EngineHeader:
    """The header of an engine of TensorRT-RTX."""

    version: str
    size: int
    capabilities: tuple[str, ...]
    """The compute capabilities it was built for: `sm86`, `sm89`."""
    unnamed_targets: int
    """Targets newer than any that has a name here; an engine built for "everything" has one."""
    weight_bytes: int
    """Weights that stay on the GPU; 0 with weight streaming."""
    network_name: str | None = None
    tf32: bool | None = None
    memory_budget: int | None = None
    """The workspace limit it was built under, plus the bytes of its constants."""

    def to_json(self) -> dict[str, Json]:
        """This header as plain JSON values."""
        return {**asdict(self), "capabilities": list(self.capabilities)}


def read_engine_header(path: Path) -> EngineHeader:
    """The header of an engine file; at most 256 KiB are read. Raises ModelError.

    A truncated file, a file that is not an engine, and an engine of the flavour tensorrt are rejected.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_READ_BYTES)
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"{path}: {(error.strerror or str(error)).lower()}") from error
    _refuse_other_files(path, head)
    header = _parsed(head)
    if header.size != size:
        fact = f"{path} is damaged: its header says {header.size} bytes, the file has {size}"
        raise ModelError(Code.ENGINE_DAMAGED, fact, "build it again, or fetch it again")
    return header


def _refuse_other_files(path: Path, head: bytes) -> None:
    if not re.match(rb"[a-z]trt", head):
        remedy = "an engine starts with the letters 'vtrt'" if head else "the file is empty"
        raise ModelError(Code.NOT_AN_ENGINE, f"{path} is not a TensorRT engine", remedy)
    if head[:4] == _MAGIC and len(head) < _HEADER_BYTES:
        raise ModelError(
            Code.ENGINE_DAMAGED, f"{path} is damaged: it has {len(head)} bytes only", "build it again"
        )
    if head[:4] != _MAGIC or head[28:32] != _MAGIC:
        raise _other_layout(path, "")
    if head[24] >= _FIRST_TENSORRT:
        raise _other_layout(path, " " + ".".join(map(str, head[24:28])))


def _other_layout(path: Path, version: str) -> ModelError:
    fact = f"{path} is an engine of another layout: flavour tensorrt{version}, header not readable"
    return ModelError(Code.NOT_AN_ENGINE, fact)


def _parsed(head: bytes) -> EngineHeader:
    mask = _number(head, 32)
    tf32 = _field(head, b"tf32")
    return EngineHeader(
        version=".".join(map(str, head[24:28])),
        size=_number(head, 16),
        capabilities=tuple(name for bit, name in enumerate(_TARGETS) if mask >> bit & 1),
        unnamed_targets=(mask >> len(_TARGETS)).bit_count(),
        weight_bytes=_number(head, 56),
        network_name=_network_name(head),
        tf32=None if tf32 is None else tf32 == 1,
        memory_budget=_field(head, b"memory_budget"),
    )


def _number(head: bytes, offset: int) -> int:
    return int.from_bytes(head[offset : offset + 8], "little")


def _network_name(head: bytes) -> str | None:
    """The first text of the serialized network, whose size is written twice before it."""
    match = _TEXT.search(head, _HEADER_BYTES)
    if match is None:
        return None
    size = int.from_bytes(match["size"], "little")
    text = head[match.end() : match.end() + size]
    try:
        return text.decode() if len(text) == size <= _NAME_BYTES else None
    except UnicodeDecodeError:
        return None


def _field(head: bytes, name: bytes) -> int | None:
    match = re.search(_FIELD % name, head)
    return int(match["value"]) if match else None
