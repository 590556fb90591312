"""Recordings: inputs with their outputs, in one self-contained .npz file.

An archive holds runs. Each has inputs as `in:NAME` and reference outputs as `out:NAME`; if known, also the outputs that
were computed instead as `got:NAME`, the samples' classes as `labels`, and the place that it comes from as `place`
(UTF-8). With several runs, each name begins with its run's number: `0/in:NAME`, `1/in:NAME`. Types that NumPy lacks are
stored as float32.

Archives are written without compression and without times, so that equal runs give equal bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trtpipe.errors import ModelError
from trtpipe.files import open_beside
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.weights.archive import Archive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trtpipe.arrays import Array

RECORDED_BYTES = 8 << 20
"""Samples are recorded up to this size, whole batches of them."""
LARGEST_BATCH = 64 << 20
"""The first batch is recorded even when it alone is larger than that, up to this size."""

_KIND = re.compile(r"(?:(\d{1,9})/)?(?:(in|out|got):(.*)|(labels|place))", re.DOTALL)
_LARGEST_UNPACKED = 4 << 30
_LONGEST_PLACE = 200


@dataclass(frozen=True)
class RecordedRun:
    """One set of inputs with its outputs."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array] = field(default_factory=dict)
    """The reference's."""
    got: Mapping[str, Array] = field(default_factory=dict)
    """What was compared with it."""
    labels: Array | None = None
    place: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of all its arrays."""
        arrays = (*self.inputs.values(), *self.outputs.values(), *self.got.values())
        return sum(int(array.nbytes) for array in arrays) + (0 if self.labels is None else self.labels.nbytes)

    @property
    def samples(self) -> int:
        """How many samples it holds: the rows of its largest batch."""
        return max((np.shape(array)[0] for array in self.inputs.values() if np.ndim(array)), default=1)

    def plain(self) -> RecordedRun | None:
        """The run in types that NumPy's files support; None if an input has another, outputs of others are left out."""
        inputs, outputs, got = (
            {name: plain for name, array in some.items() if (plain := _plain(array)) is not None}
            for some in (self.inputs, self.outputs, self.got)
        )
        if len(inputs) < len(self.inputs):
            return None
        labels = None if self.labels is None else _plain(self.labels)
        return RecordedRun(inputs, outputs, got, labels, self.place)

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Its arrays by their names in an archive, without the run's number."""
        for kind, some in (("in", self.inputs), ("out", self.outputs), ("got", self.got)):
            yield from ((f"{kind}:{name}", array) for name, array in some.items())
        if self.labels is not None:
            yield "labels", self.labels
        if self.place:
            yield "place", np.frombuffer(self.place.encode(), np.uint8)


def _plain(array: Array) -> Array | None:
    array = np.asarray(array)
    if array.dtype.kind in "biufc" and array.dtype.isbuiltin == 1:
        return array
    try:
        return array.astype(np.float32) if array.dtype.kind in "Vf" else None
    except (TypeError, ValueError):
        return None


def write_recording(path: Path, runs: Sequence[RecordedRun]) -> None:
    """Write runs, each of plain types, as one archive, atomically. Raises OSError."""
    arrays: dict[str, Any] = {}  # the annotation of savez does not allow an argument list by name
    for number, run in enumerate(runs):
        before = f"{number}/" if len(runs) > 1 else ""
        arrays |= {before + name: array for name, array in run.arrays()}
    handle, temporary = open_beside(path)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def is_recorded(name: str) -> bool:
    """Whether an array of that name in an archive is a recorded input."""
    kind = _KIND.fullmatch(name)
    return kind is not None and kind[2] == "in"


def read_recording(path: Path) -> tuple[RecordedRun, ...]:
    """The runs of an archive, in order; memory-mapped. Raises ModelError when it is damaged or not a recording."""
    found: dict[int, dict[str, dict[str, Array]]] = {}
    with ExitStack() as stack:
        archive = Archive(path, path.name, stack)
        wanted = {name: kind for name in archive.infos if (kind := _KIND.fullmatch(name)) is not None}
        unpacked = sum(archive.unpacked_size(name) for name in wanted)
        if unpacked > _LARGEST_UNPACKED:
            raise ModelError(
                Code.FILE_TOO_LARGE,
                f"'{path.name}' would unpack to {format_size(unpacked)}",
                "save it uncompressed",
            )
        for name, kind in wanted.items():
            run = found.setdefault(int(kind[1] or 0), {"in": {}, "out": {}, "got": {}, "": {}})
            run[kind[2] or ""][kind[3] if kind[2] else kind[4]] = archive.array(name)
    return tuple(_run(found[number]) for number in sorted(found))


def _run(found: Mapping[str, Mapping[str, Array]]) -> RecordedRun:
    place = found[""].get("place")
    named = place.tobytes()[:_LONGEST_PLACE].decode(errors="replace") if place is not None else ""
    return RecordedRun(found["in"], found["out"], found["got"], found[""].get("labels"), named)


@dataclass
class Recorder:
    """Keeps the first runs, up to a size."""

    limit: int = RECORDED_BYTES
    runs: list[RecordedRun] = field(default_factory=list)
    samples: int = 0
    nbytes: int = 0
    full: bool = False

    def add(self, run: RecordedRun, samples: int) -> None:
        """Keep a run of so many samples, unless it no longer fits or its types cannot be written."""
        if self.full:
            return
        size = self.nbytes + run.nbytes
        fits = size <= self.limit or (not self.runs and size <= LARGEST_BATCH)
        plain = run.plain() if fits else None
        if plain is None:
            self.full = True
            return
        self.runs.append(_copied(plain))
        self.samples += samples
        self.nbytes = size


@dataclass
class Worst:
    """Keeps for each place the run with the largest error, cut to one sample if possible."""

    limit: int = LARGEST_BATCH
    found: dict[str, tuple[float, RecordedRun]] = field(default_factory=dict)

    def add(self, run: RecordedRun, outputs: Iterable[str], *, cut: bool) -> None:
        """Consider a run; `outputs` are those that count, `cut` says whether a single sample may be run alone."""
        names = [name for name in outputs if name in run.outputs and name in run.got]
        if not names:
            return
        rows = _rows(run) if cut else 0
        if not rows and run.nbytes > self.limit:
            return
        noise = np.max([_noise(run.outputs[name], run.got[name], rows) for name in names], axis=0)
        worst = int(noise.argmax())
        score = float(noise[worst])
        known = self.found.get(run.place)
        if score <= (known[0] if known else 0.0):
            return
        kept = (_row(run, worst) if rows else run).plain()
        others = sum(one.nbytes for place, (_, one) in self.found.items() if place != run.place)
        if kept is not None and others + kept.nbytes <= self.limit:
            self.found[run.place] = (score, _copied(kept))

    def runs(self) -> list[RecordedRun]:
        """The kept runs, in the order of the places."""
        return [run for _, run in self.found.values()]


def _copied(run: RecordedRun) -> RecordedRun:
    inputs, outputs, got = (
        {name: np.array(array, order="C") for name, array in some.items()}
        for some in (run.inputs, run.outputs, run.got)
    )
    return RecordedRun(inputs, outputs, got, None if run.labels is None else np.array(run.labels), run.place)


def _rows(run: RecordedRun) -> int:
    """The number of samples if the first axis of every array is the sample axis, else 0."""
    arrays = [*run.inputs.values(), *run.outputs.values(), *run.got.values()]
    counts = {np.shape(array)[0] if np.ndim(array) else 0 for array in arrays}
    return int(counts.pop()) if len(counts) == 1 else 0


def _row(run: RecordedRun, index: int) -> RecordedRun:
    inputs, outputs, got = (
        {name: array[index : index + 1] for name, array in some.items()}
        for some in (run.inputs, run.outputs, run.got)
    )
    labels = run.labels if run.labels is not None and len(run.labels) > index else None
    return RecordedRun(inputs, outputs, got, None if labels is None else labels[index : index + 1], run.place)


def _noise(reference: Array, actual: Array, rows: int) -> NDArray[np.float64]:
    """|a - r| / |r| of each row, of everything when there are no rows; infinite where only one side is finite."""
    if np.shape(reference) != np.shape(actual) or not np.size(reference):
        return np.zeros(max(rows, 1))
    r, a = (np.asarray(one).reshape(max(rows, 1), -1) for one in (reference, actual))
    return np.array([_row_noise(one, other) for one, other in zip(r, a, strict=True)])


def _row_noise(reference: Array, actual: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        r, a = reference.astype(np.float64), actual.astype(np.float64)
        ok = np.isfinite(r) & np.isfinite(a)
        if not ok.all():
            if (~ok & (a != r)).any():
                return float("inf")
            r, a = r[ok], a[ok]
        error = a - r
        size = float(np.sqrt(np.dot(r, r)))
        found = float(np.sqrt(np.dot(error, error))) / max(size, 1e-12)
    return found if np.isfinite(found) else float("inf")
