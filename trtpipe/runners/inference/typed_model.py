"""Runs given inputs through a typed model on the CPU as validation does, for `trtpipe run`.

Inputs and outputs are tensors in files, as they are for an engine on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.json_values import integers_in, text_in
from trtpipe.plan.task import Task
from trtpipe.runners.cpu.graphs import runnable_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.cpu.twins import twins_in
from trtpipe.runners.inference.tensors import StoredTensor, store_tensor

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json, JsonObject


def infer(task: Task) -> dict[str, Json]:
    """Run the task's `runs` one after the other; per run, output → file, dtype and shape.

    Raises ModelError, StepFailed.
    """
    model = runnable_model(task.input("model"))
    runs = []
    with open_runner(model, threads=task.options["threads"]) as runner:
        for number, run in enumerate(task.options["runs"]):
            feed = {name: stored(one).array() for name, one in run.items()}
            outputs = runner.infer(feed)
            runs.append(
                {
                    name: _kept(array, task.out / f"run{number}-output{index}")
                    for index, (name, array) in enumerate(outputs.items())
                }
            )
    return {"runs": runs, "twins": dict(twins_in(model))}


def stored(record: JsonObject) -> StoredTensor:
    """The tensor that `StoredTensor.to_json` named. Raises Malformed."""
    shape = tuple(integers_in(record, "shape"))
    return StoredTensor(Path(text_in(record, "file")), text_in(record, "dtype"), shape)


def _kept(array: Array, stem: Path) -> dict[str, Json]:
    return store_tensor(array, stem).to_json()
