"""A checkpoint of the counts so far, in a file, from which an interrupted run continues.

    8 bytes    MAGIC, which identifies the format
    32 bytes   the BLAKE3 of the rest
    32 bytes   the BLAKE3 of what is counted: tensors in order, bins, whether all values are counted
    8 bytes    how many samples are done
    a tensor   zeros, infinite or NaN, finite values, the largest magnitude (float64), counts, peaks: 8 bytes each

Little-endian. The length follows from the number of tensors, and is compared with the file's before anything is read; a
file of another length, with a wrong checksum or inconsistent counts is ignored. The caller chooses where it is: a
folder that belongs to one action's key.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from trtpipe.calibration.calibrators.measurement.histograms import BINS, Histogram
from trtpipe.files import write_whole

if TYPE_CHECKING:
    from trtpipe.arrays import Array

MAGIC = b"trtcal1\n"
_DIGEST = 32
_FACTS = 4


@dataclass(frozen=True)
class SavedCounts:
    """The file at `path` (None: nothing is saved). `counted` is False when only largest magnitudes are counted."""

    path: Path | None
    counted: bool = True

    def write(self, histograms: Mapping[str, Histogram], done: int) -> None:
        """Saves the counts of the first `done` samples, atomically. Raises OSError."""
        if self.path is None:
            return
        parts = [_identity(histograms, self.counted), np.array([done], "<i8").tobytes()]
        parts += [part for one in histograms.values() for part in _encoded(one)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        body = b"".join(parts)
        write_whole(self.path, MAGIC + blake3(body).digest() + body, durable=False)

    def read(self, histograms: Mapping[str, Histogram], most: int) -> int:
        """Reads the counts into `histograms`; returns how many samples are done, at most `most`; 0 without counts."""
        body = self._body(histograms)
        if body is None:
            return 0
        done = int(np.frombuffer(body, "<i8", 1, _DIGEST)[0])
        rows = np.frombuffer(body, "<i8", offset=_DIGEST + 8).reshape(len(histograms), -1)
        if not 0 < done <= most or not all(self._adds_up(row, done) for row in rows):
            return 0
        for one, row in zip(histograms.values(), rows, strict=True):
            _decode(one, row)
        return done

    def _body(self, histograms: Mapping[str, Histogram]) -> bytes | None:
        """The file's content, if it is undamaged and belongs to exactly these tensors."""
        size = _DIGEST + 8 + len(histograms) * _row_size() * 8
        content = b""
        if self.path is not None:
            with contextlib.suppress(OSError), self.path.open("rb") as file:
                content = file.read(len(MAGIC) + _DIGEST + size + 1)
        body = content[len(MAGIC) + _DIGEST :]
        if len(body) != size or content[: -len(body)] != MAGIC + blake3(body).digest():
            return None
        return body if body[:_DIGEST] == _identity(histograms, self.counted) else None

    def _adds_up(self, row: Array, done: int) -> bool:
        zeros, nonfinite, finite = (int(value) for value in row[: _FACTS - 1])
        largest = float(row[_FACTS - 1 : _FACTS].view("<f8")[0])
        counts, peaks = row[_FACTS : _FACTS + BINS], row[_FACTS + BINS :]
        if min(zeros, nonfinite, finite, int(counts.min()), int(peaks.min())) < 0:
            return False
        if not (np.isfinite(largest) and largest >= 0) or int(peaks.sum()) != done:
            return False
        return not self.counted or bool(zeros + int(counts.sum()) == finite)


def _row_size() -> int:
    return _FACTS + BINS + int(Histogram().peaks.size)


def _identity(histograms: Mapping[str, Histogram], counted: bool) -> bytes:
    record = {"tensors": list(histograms), "bins": [BINS, Histogram().peaks.size], "counted": counted}
    return blake3(json.dumps(record, sort_keys=True).encode()).digest()


def _encoded(one: Histogram) -> tuple[bytes, ...]:
    whole = np.array([one.zeros, one.nonfinite, one.finite], "<i8")
    largest = np.array([one.largest], "<f8")
    return (
        whole.tobytes(),
        largest.tobytes(),
        one.counts.astype("<i8").tobytes(),
        one.peaks.astype("<i8").tobytes(),
    )


def _decode(one: Histogram, row: Array) -> None:
    one.zeros, one.nonfinite, one.finite = (int(value) for value in row[: _FACTS - 1])
    one.largest = float(row[_FACTS - 1 : _FACTS].view("<f8")[0])
    one.counts[:] = row[_FACTS : _FACTS + BINS]
    one.peaks[:] = row[_FACTS + BINS :]
