"""Stores the typed model's outputs on its validation data, so that the readback need not compute them again.

An .npz archive holds the outputs of each batch as `PLACE/BATCH/OUTPUT`, and as `fed` (UTF-8 JSON) the type in which
each input was given, which is the source's. Whole batches are kept up to `KEPT_BYTES`; missing ones are computed again.
Written batch by batch, without compression and without times, so that equal outputs give equal bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import ModelError
from trtpipe.json_values import Malformed, read_object, text_in
from trtpipe.problem_codes import Code
from trtpipe.weights.archive import Archive

if TYPE_CHECKING:
    from trtpipe.arrays import Array

TYPED_OUTPUTS = "typed.npz"
KEPT_BYTES = 64 << 20
"""Bytes of outputs above which no further batch is kept."""
_FED = "fed"
_BEGINNING = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can hold


@dataclass
class OutputsWriter:
    """Takes batches; made by `writing_outputs`."""

    archive: zipfile.ZipFile
    limit: int = KEPT_BYTES
    nbytes: int = 0
    full: bool = False
    _batches: dict[str, int] = field(default_factory=dict)

    def fed(self, dtypes: Mapping[str, str]) -> None:
        """Note the type that each input is given in."""
        self._write(_FED, np.frombuffer(json.dumps(dtypes, sort_keys=True).encode(), np.uint8))

    def add(self, place: str, outputs: Mapping[str, Array]) -> None:
        """The next batch of a place. Keeping ends at an unsupported type or at the size limit."""
        number = self._batches.get(place, 0)
        self._batches[place] = number + 1
        arrays = {name: np.asarray(array) for name, array in outputs.items()}
        size = self.nbytes + sum(array.nbytes for array in arrays.values())
        plain = all(array.dtype.isbuiltin == 1 and array.dtype.kind in "biuf" for array in arrays.values())
        if self.full or size > self.limit or not plain:
            self.full = True
            return
        self.nbytes = size
        for name, array in arrays.items():
            self._write(f"{place}/{number}/{name}", array)

    def _write(self, name: str, array: Array) -> None:
        entry = zipfile.ZipInfo(f"{name}.npy", _BEGINNING)
        with self.archive.open(entry, "w", force_zip64=True) as file:
            np.lib.format.write_array(file, np.asanyarray(array, order="C"), allow_pickle=False)


@contextmanager
def writing_outputs(path: Path) -> Iterator[OutputsWriter]:
    """A writer that stores outputs in a file, while the context lasts. Raises OSError."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        yield OutputsWriter(archive)


@dataclass(frozen=True)
class KeptOutputs:
    """The stored outputs; made by `open_outputs`."""

    archive: Archive
    dtypes: Mapping[str, str]
    """The type that each input was given in."""

    def batch(self, place: str, number: int, names: tuple[str, ...]) -> dict[str, Array] | None:
        """The outputs of a batch, mapped; None when one of them was not kept."""
        entries = {name: f"{place}/{number}/{name}" for name in names}
        if not all(entry in self.archive.infos for entry in entries.values()):
            return None
        return {name: self.archive.array(entry) for name, entry in entries.items()}


@contextmanager
def open_outputs(path: Path) -> Iterator[KeptOutputs]:
    """The outputs in a file, while the context lasts. Raises ModelError when it is damaged."""
    with ExitStack() as stack:
        archive = Archive(path, path.name, stack)
        yield KeptOutputs(archive, _fed_in(archive, path))


def _fed_in(archive: Archive, path: Path) -> dict[str, str]:
    if _FED not in archive.infos:
        return {}
    try:
        record = read_object(archive.array(_FED).tobytes())
        return {name: text_in(record, name) for name in record}
    except Malformed as error:
        raise ModelError(Code.RECORD_DAMAGED, f"'{path.name}' is damaged: {error}") from error
