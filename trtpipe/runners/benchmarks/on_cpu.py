"""Times a typed model in ONNX Runtime on the CPU in its default configuration, with all optimizations on.

Validation runs the model differently, following its rounding node by node. These times say nothing about a GPU.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError, StepFailed
from trtpipe.plan.task import Task
from trtpipe.runners.cpu.graphs import RunnableModel, runnable_model
from trtpipe.runners.cpu.onnxruntime import FOLDER_ENTRY, mapped_error
from trtpipe.runners.cpu.twins import twin_of, twins_in
from trtpipe.runners.inference.engine_process.steadiness import Steadiness
from trtpipe.runners.inference.typed_model import stored

if TYPE_CHECKING:
    import onnxruntime

    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

TIMES = "times.npy"
_FATAL = 4
_NUMPY = {"tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64"}


def bench(task: Task) -> tuple[dict[str, Path], dict[str, Json]]:
    """Time the task's inputs with each number of streams; write the times of the first to a file, return a summary.

    A stream is a thread that runs one inference after the other. Raises ModelError, StepFailed.
    """
    import numpy as np
    import onnxruntime

    options = task.options
    model = runnable_model(task.input("model"))
    session = _session(twin_of(model), options["threads"])
    feed = _feed(session, {name: stored(one).array() for name, one in options["inputs"].items()})
    try:
        for _ in range(options["warm_up"]):
            session.run(None, feed)
        timed = [_timed(session, feed, count, options["steady"]) for count in options["streams"]]
    except Exception as error:
        raise mapped_error(error, model.path, StepFailed) from error
    out = task.out / TIMES
    np.save(out, np.asarray(timed[0][0], np.float64), allow_pickle=False)
    told = [
        {"streams": count, **steadiness.to_json()}
        for count, (_, steadiness) in zip(options["streams"], timed, strict=True)
    ]
    return {TIMES: out}, {
        "measured": told,
        "onnxruntime": onnxruntime.__version__,
        "twins": dict(twins_in(model)),
    }


def _session(model: RunnableModel, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    options.add_session_config_entry(FOLDER_ENTRY, str(model.folder))
    encoded = model.proto.SerializeToString()
    try:
        return onnxruntime.InferenceSession(encoded, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise mapped_error(error, model.path, ModelError) from error


def _feed(session: onnxruntime.InferenceSession, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs in the session's types, which may be wider than the typed model's."""
    kinds = {value.name: _NUMPY.get(value.type) for value in session.get_inputs()}
    return {name: array.astype(kinds[name]) if kinds.get(name) else array for name, array in arrays.items()}


def _timed(
    session: onnxruntime.InferenceSession, feed: Mapping[str, Array], streams: int, rule: Mapping[str, float]
) -> tuple[list[float], Steadiness]:
    """Microseconds of each run in the order in which they ended, and the windows."""
    steadiness = Steadiness(rule["window"], rule["within"], rule["limit"])
    times: list[float] = []
    lock = threading.Lock()
    failures: list[Exception] = []
    steadiness.start(time.perf_counter())

    def go_on() -> None:
        try:
            while not failures:
                began = time.perf_counter()
                session.run(None, feed)
                now = time.perf_counter()
                with lock:
                    times.append((now - began) * 1e6)
                    steadiness.add(times[-1], now)
                    if steadiness.done(now):
                        return
        except Exception as error:  # re-raises an error of a thread
            failures.append(error)

    threads = [threading.Thread(target=go_on) for _ in range(streams - 1)]
    for thread in threads:
        thread.start()
    go_on()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    steadiness.finish(time.perf_counter())
    return times, steadiness
