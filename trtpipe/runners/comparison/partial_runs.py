"""Runs parts of a typed model on the source model's tensors.

`record` runs the source on the validation data and writes its tensors to files, batch by batch. `measure` runs a part
of the typed model with these tensors as inputs and compares its outputs with the recorded ones. Everything before the
part is exact then, so the measured error is that of the part alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import ModelError, StepFailed, TrtpipeError
from trtpipe.figures import figure_beside
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    integer_in,
    object_in,
    read_object,
    text_in,
    texts_in,
)
from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.thresholds import judge
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.runners.comparison.compare_all import LOT_BYTES, data_of, match_tensors
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.validation.requests import request_of
from trtpipe.spec.pipeline import Threshold

if TYPE_CHECKING:
    from trtpipe.arrays import Array

RECORD_BYTES = 2 << 30
"""Bytes of the source's tensors on disk above which no further batch is recorded."""
INDEX = "index.json"
_INPUTS = "inputs.json"
_REDUCTION = "reduction.json"


def record(task: Task, out: Path) -> dict[str, Json]:
    """Records the source's tensors in `out`: names, batches and samples. Raises ModelError, SpecError or StepFailed.

    `task` is a comparison's, see `compare_all`. Recorded are inputs, and the tensors that both models have.
    """
    request = request_of(task)
    typed, reference = runnable_model(request.typed), runnable_model(request.reference)
    names = [place.tensor for place in match_tensors(typed, reference)[0]]
    batches, taken, samples = 0, 0, 0
    with data_of(task, typed, reference) as feeds:
        for feed, labels in feeds():
            folder = out / str(batches)
            folder.mkdir()
            written = _write(folder, {f"in:{name}": array for name, array in feed.items()})
            if labels is not None:
                np.save(folder / "labels.npy", np.asarray(labels), allow_pickle=False)
            for start, lot in _lots(names, written):
                with open_runner(reference.only_outputs(lot), threads=request.threads) as runner:
                    found = runner.infer({name: feed[name] for name in runner.inputs if name in feed})
                written += _write(folder, found, start)
            batches += 1
            taken += written
            samples += max((array.shape[0] for array in feed.values() if array.ndim), default=1)
            if taken + written > RECORD_BYTES:
                break
    index: dict[str, Json] = {"names": names, "batches": batches, "samples": samples}
    (out / INDEX).write_text(json.dumps(index))
    return index


def _lots(names: Sequence[str], size: int) -> Iterator[tuple[int, Sequence[str]]]:
    """The names in groups. Tensor sizes are unknown beforehand, so groups are small if inputs are large."""
    count = max(1, min(len(names), LOT_BYTES // max(1, 4 * size)))
    for start in range(0, len(names), count):
        yield start, names[start : start + count]


def _write(folder: Path, arrays: Mapping[str, Array], start: int = 0) -> int:
    """Writes arrays and returns their size. Files are named by the index of the input or tensor."""
    total = 0
    for index, (name, array) in enumerate(arrays.items(), start):
        kind = "in" if name.startswith("in:") else "t"
        held = np.asarray(array)
        if kind == "t" and held.dtype.kind not in "biufc":  # types that NumPy lacks
            held = held.astype(np.float32)
        np.save(folder / f"{kind}{index}.npy", held, allow_pickle=False)
        total += held.nbytes
    if any(name.startswith("in:") for name in arrays):
        (folder / _INPUTS).write_text(json.dumps([name.removeprefix("in:") for name in arrays]))
    return total


class Recorded:
    """The files that `record` wrote. Raises ModelError when they are damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        try:
            index = _object_at(path)
            names, self.batches = texts_in(index, "names"), integer_in(index, "batches")
        except Malformed as error:
            raise _damaged(path) from error
        self.place = {name: number for number, name in enumerate(names)}

    def array(self, batch: int, name: str) -> Array:
        """A tensor or an input. Raises ModelError when it was not recorded."""
        folder = self.folder / str(batch)
        if name in self.place:
            return _load(folder / f"t{self.place[name]}.npy", mapped=True)
        inputs = _inputs_at(folder / _INPUTS)
        if name not in inputs:
            raise ModelError(Code.NOT_MEASURED, f"tensor '{name}' was not recorded")
        return _load(folder / f"in{inputs.index(name)}.npy", mapped=True)

    def labels(self, batch: int) -> Array | None:
        """The labels of a batch; None if there are none."""
        path = self.folder / str(batch) / "labels.npy"
        return _load(path) if path.exists() else None


def _object_at(path: Path) -> JsonObject:
    """The JSON object in a file. Raises ModelError when there is none, Malformed when its content is invalid."""
    try:
        return read_object(path.read_bytes())
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error


def _inputs_at(path: Path) -> list[str]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise _damaged(path)
    return found


def _load(path: Path, *, mapped: bool = False) -> Array:
    try:
        found: Array = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path) from error
    return found


def _damaged(path: Path) -> ModelError:
    return ModelError(Code.RECORD_DAMAGED, f"'{path}' is damaged or missing")


def measure(
    model: RunnableModel, recorded: Recorded, batches: int, threads: int = 0
) -> dict[str, dict[str, Json]]:
    """Output → its metrics on the first batches, as a validation's report has them. Raises ModelError or StepFailed."""
    with open_runner(model, threads=threads) as runner:
        measured = {name: Accumulator() for name in runner.outputs if name in recorded.place}
        for batch in range(batches):
            found = runner.infer({name: np.array(recorded.array(batch, name)) for name in runner.inputs})
            for name, accumulator in measured.items():
                expected = np.array(recorded.array(batch, name))
                if np.shape(found[name]) != expected.shape:
                    raise StepFailed(
                        Code.OUTPUT_DIFFERS, f"output '{name}' has another shape than the source's"
                    )
                accumulator.add(expected, found[name], recorded.labels(batch))
    return {name: accumulator.result().as_json() for name, accumulator in measured.items()}


@dataclass(frozen=True, slots=True)
class _Reduction:
    """The parts of a reduction that are needed to run it again."""

    output: str
    threshold: Threshold


def replay(folder: Path) -> int:
    """Runs a reduced model on its recorded inputs and prints the result; returns 1 when it misses its threshold."""
    try:
        return _replay(folder)
    except TrtpipeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _replay(folder: Path) -> int:
    from trtpipe.metrics.metrics import metrics_from_json

    wanted, recorded = _reduction_in(folder / _REDUCTION), Recorded(folder / "recorded")
    measured = measure(runnable_model(folder / "model.onnx"), recorded, recorded.batches)
    if wanted.output not in measured:
        raise ModelError(
            Code.NOT_MEASURED, f"output '{wanted.output}' of '{folder / _REDUCTION}' was not recorded"
        )
    metrics = metrics_from_json(measured[wanted.output])
    verdicts = judge(wanted.output, metrics, [wanted.threshold]).verdicts
    for verdict in verdicts:
        found, bounds = verdict.value, (verdict.min, verdict.max)
        value = "not measured" if found is None else figure_beside(found, *bounds)
        sys.stdout.write(f"{wanted.output}: {verdict.metric} {value}: {verdict.outcome}\n")
    return int(any(verdict.outcome == "failed" for verdict in verdicts))


def _reduction_in(path: Path) -> _Reduction:
    try:
        record = _object_at(path)
        threshold = Threshold.model_validate(object_in(record, "threshold"))
        return _Reduction(text_in(record, "output"), threshold)
    except ValueError as error:  # Malformed, or pydantic's ValidationError
        raise _damaged(path) from error
