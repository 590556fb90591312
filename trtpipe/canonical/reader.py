"""Reads an ONNX model as a Skeleton: everything except its large weights, which stay in their file on disk.

A Skeleton's `proto` is an ordinary ModelProto in which every large weight, embedded or external, is an `external_data`
entry with an *absolute* `location`, an `offset` and a `length`, all checked against the file. No weight is read, so a
model of gigabytes needs only the memory of its graph. The graph itself is validated in `checks`.
"""

from __future__ import annotations

import mmap
import stat
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from trtpipe.canonical.foreign import foreign_format
from trtpipe.canonical.limits import TooLarge, refuse_many_ends, too_deep
from trtpipe.canonical.tensors import (
    external_entries,
    has_size,
    is_external,
    nbytes_of,
    set_external,
    set_inline,
    tensors_of,
)
from trtpipe.canonical.undecodable import refuse_undecodable
from trtpipe.canonical.wire import LARGE, WireError, skeleton_bytes
from trtpipe.errors import ModelError, Problem
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_HEAD = 512


@dataclass(frozen=True)
class Skeleton:
    """A model without its large weights.

    `external_files` are the data files beside the model, sorted; `big_bytes` counts the weights left on disk.
    """

    path: Path
    proto: onnx.ModelProto
    external_files: tuple[Path, ...]
    big_bytes: int


def read_skeleton(path: Path, *, root: Path | None = None) -> Skeleton:
    """The skeleton of the ONNX model at `path`, every reference to weights checked.

    Model and external data must lie inside `root`, when given, and the data inside the model's own folder, with
    symbolic links resolved. Raises ModelError.
    """
    _require_regular_file(path, root)
    proto, taken = _parse(path)
    problems: list[Problem] = []
    missing: dict[Path, str] = {}
    files: set[Path] = set()
    total = 0
    here = _Sources(path, root)
    refuse_undecodable(proto)
    for tensor in tensors_of(proto):
        if not is_external(tensor):
            problems += _misfit(tensor)
            continue
        try:
            source, length = _settle(tensor, here)
        except _DataMissing as error:
            missing.setdefault(error.source, tensor.name)
            continue
        except ModelError as error:
            problems += error.problems
            continue
        total += length
        files |= {source} - {here.model}
    problems += [_missing(source, name) for source, name in missing.items()]
    if problems:
        raise ModelError(problems)
    return Skeleton(path, proto, tuple(sorted(files)), max(total, taken))


def external_locations(path: Path) -> tuple[str, ...]:
    """The locations of external data in the model at `path`, sorted and distinct; the files need not exist.

    Raises ModelError when the file is not an ONNX model.
    """
    _require_regular_file(path, None)
    proto, _ = _parse(path)
    refuse_undecodable(proto)
    embedded = str(path.resolve())  # weights that the skeleton left in the model's own file
    named = {
        external_entries(tensor).get("location", "") for tensor in tensors_of(proto) if is_external(tensor)
    }
    return tuple(sorted(named - {embedded, ""}))


def ir_model(skeleton: Skeleton) -> onnx_ir.Model:
    """The skeleton as an onnx-ir model whose large weights are mapped from their files when first asked for.

    Raises ModelError when the graph is invalid (a value produced twice, a missing name).
    """
    import onnx_ir

    try:
        model: onnx_ir.Model = onnx_ir.from_proto(skeleton.proto)
    except Exception as error:  # onnx-ir wraps every error in its own private types
        raise ModelError(
            Code.INVALID_ONNX, f"'{skeleton.path}' is not a valid ONNX graph: {_innermost(error)}"
        ) from error
    return model


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())


def _require_regular_file(path: Path, root: Path | None) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"cannot read '{path}': {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise ModelError(Code.NOT_A_FILE, f"'{path}' is not a regular file")
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise ModelError(
            Code.NAME_NOT_UTF8,
            f"the path of '{path}' is not UTF-8, which ONNX requires",
            "rename the file or the directory",
        ) from None
    if root is not None and not path.resolve().is_relative_to(root.resolve()):
        raise ModelError(
            Code.OUTSIDE_PROJECT, f"'{path}' is outside '{root}'", "move the model into the project"
        )


def _parse(path: Path) -> tuple[onnx.ModelProto, int]:  # noqa: C901 - one try for all that a damaged file raises
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if not head:
                raise ModelError(Code.EMPTY_FILE, f"'{path}' is empty", "download or export the model again")
            foreign = foreign_format(head)
            if foreign is not None:
                raise ModelError(Code.FOREIGN_MODEL, f"'{path}' is {foreign[0]}", foreign[1])
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                encoded, taken = skeleton_bytes(data, str(path.resolve()))
        proto = onnx.ModelProto.FromString(encoded)
        refuse_many_ends(proto.graph)
    except OSError as error:
        raise ModelError(Code.CANNOT_READ, f"cannot read '{path}': {error.strerror}") from error
    except TooLarge as error:
        raise ModelError(Code.MODEL_TOO_LARGE, f"'{path}' {error}") from error
    except WireError as error:
        raise ModelError(
            Code.NOT_ONNX, f"'{path}' is not an ONNX model, or is truncated: {error}", _AGAIN
        ) from error
    except (DecodeError, ValueError) as error:  # ValueError: a string that is not UTF-8
        # the walk skips small messages, so only protobuf finds errors in them
        if "depth" in str(error).lower():
            raise ModelError(Code.MODEL_TOO_LARGE, f"'{path}' {too_deep()}") from error
        raise ModelError(
            Code.NOT_ONNX, f"'{path}' is not an ONNX model, or is damaged: {error}", _AGAIN
        ) from error
    if not proto.HasField("graph"):
        raise ModelError(Code.NOT_ONNX, f"'{path}' is not an ONNX model: it contains no graph", _AGAIN)
    return proto, taken


_AGAIN = "download or export the model again"


def _misfit(tensor: onnx.TensorProto) -> list[Problem]:
    """A problem if the raw bytes in the file do not match the dims; a tensor without any is checked in `checks`."""
    given = len(tensor.raw_data)
    if not given or not has_size(tensor):
        return []
    needed = nbytes_of(tensor)
    return (
        [Problem(Code.WEIGHTS_CUT_SHORT, f"tensor '{tensor.name}' needs {needed} bytes, but has {given}")]
        if given != needed
        else []
    )


class _Sources:
    """The files of a model's weights; each is looked up once, however many tensors are in it."""

    def __init__(self, path: Path, root: Path | None) -> None:
        self.model = path.resolve()
        self._path, self._root = path, root
        self._known: dict[str, tuple[Path, int]] = {}

    def of(self, name: str, location: str) -> tuple[Path, int]:
        """The file that a tensor names, and its size. Raises ModelError."""
        if location not in self._known:
            embedded = location == str(self.model)
            source = self.model if embedded else _inside(name, location, self._path, self._root)
            self._known[location] = source, source.stat().st_size
        return self._known[location]


def _settle(tensor: onnx.TensorProto, sources: _Sources) -> tuple[Path, int]:
    """Checks one external tensor and makes its reference absolute and complete; returns its file and size."""
    name = tensor.name
    entries = external_entries(tensor)
    source, size = sources.of(name, entries.get("location", ""))
    offset, length = (_number(name, entries.get(key, ""), key) for key in ("offset", "length"))
    needed = nbytes_of(tensor)
    offset = offset or 0
    if length is not None and length != needed:
        raise ModelError(
            Code.WEIGHTS_CUT_SHORT,
            f"tensor '{name}' needs {needed} bytes, but its data is {length} bytes long",
        )
    if offset + needed > size:
        raise ModelError(
            Code.WEIGHTS_CUT_SHORT,
            f"the data of tensor '{name}' ends at byte {offset + needed}, but '{source}' has {size} bytes",
            "the file is incomplete: copy or download it again",
        )
    if needed >= LARGE:
        set_external(tensor, source, offset, needed)
        return source, needed
    with source.open("rb") as file:  # small tensors hold axes and shapes, which every pass needs to read
        file.seek(offset)
        set_inline(tensor, file.read(needed))
    return source, 0


def _inside(name: str, location: str, model: Path, root: Path | None) -> Path:
    if not location:
        raise ModelError(Code.WEIGHTS_MISPLACED, f"tensor '{name}' has external data but no location")
    shape = PureWindowsPath(location)  # PureWindowsPath understands both separators
    if shape.drive or shape.root or ".." in shape.parts or "\0" in location:
        raise ModelError(
            Code.WEIGHTS_MISPLACED,
            f"the data of tensor '{name}' is at '{location}', which is not a path inside the model's folder",
            "external data must be in the model's folder",
        )
    folder = model.parent.resolve()
    source = (folder / location).resolve()
    if not source.is_relative_to(folder) or (root is not None and not source.is_relative_to(root.resolve())):
        raise ModelError(
            Code.WEIGHTS_MISPLACED,
            f"the data of tensor '{name}' at '{location}' leaves the model's folder",
            "replace the link by the file itself",
        )
    if not source.exists():
        raise _DataMissing(source)
    if not source.is_file():
        raise ModelError(
            Code.WEIGHTS_MISPLACED,
            f"the data of tensor '{name}' is at '{source}', which is not a regular file",
        )
    return source


class _DataMissing(ModelError):
    """A data file does not exist; reported once, however many tensors are in it."""

    def __init__(self, source: Path) -> None:
        super().__init__(Code.WEIGHTS_MISSING, f"'{source}' does not exist")
        self.source = source


def _missing(source: Path, tensor: str) -> Problem:
    return Problem(
        Code.WEIGHTS_MISSING,
        f"the data of tensor '{tensor}' is missing: '{source}' does not exist",
        "copy it into the model's folder",
    )


def _number(name: str, text: str, key: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 18:
        raise ModelError(
            Code.BAD_TENSOR, f"tensor '{name}' has an impossible {key} '{text}' for its external data"
        )
    return int(text)
