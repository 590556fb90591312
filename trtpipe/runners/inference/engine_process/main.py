"""The main function: reads the request, works in one thread, watches limits and signals in another, reports the end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from .devices import CudaError
from .engine_files import put_on_path
from .events import Events, Failure, Stop
from .job import Job

if TYPE_CHECKING:
    from .request import Request

SCHEMA = 1
GRACE_SECONDS = 3.0  # for a run under way: a kernel that hangs never ends
_WATCH_SECONDS = 0.05
_DEFAULTS: dict[str, object] = {
    "site": [],
    "built_for": {},
    "plugins": [],
    "device": 0,
    "runs": [],
    "warm_up": 0,
    "iterations": 1,
    "duration": 0,
    "steady": None,
    "streams": 1,
    "graph": "off",
    "specialization": None,
    "runtime_cache": None,
    "timing": False,
    "save": True,
    "time_limit": None,
    "memory_limit": None,
}
_NEEDED = ("schema", "action", "flavour", "engine", "sha256", "bytes")
CHOICES = {
    "schema": (SCHEMA,),
    "action": ("run", "describe"),
    "flavour": ("tensorrt", "tensorrt_rtx"),
    "graph": ("off", "capture", "rtx"),
    "specialization": (None, "lazy", "eager", "none"),
}


def checked_request(raw: dict[str, Any]) -> Request:
    """The request with its defaults. Raises Failure with everything that is wrong with it."""
    problems = [f"unknown field '{name}'" for name in raw if name not in _DEFAULTS and name not in _NEEDED]
    problems += [f"the field '{name}' is missing" for name in _NEEDED if name not in raw]
    filled: Any = {**_DEFAULTS, **raw}
    request: Request = filled
    for name, choices in CHOICES.items():
        if name in filled and filled[name] not in choices:
            problems.append(f"'{name}' is {filled[name]!r}, not one of {', '.join(map(str, choices))}")
    least = {"iterations": 1, "streams": 1, "warm_up": 0}
    problems += [f"'{name}' is less than {number}" for name, number in least.items() if filled[name] < number]
    if problems:
        raise Failure("config", "; ".join(problems), details=problems)
    return request


def carry_out(job: Job) -> Failure | None:
    """Run the job; returns the exception that ended it, if any."""
    try:
        job.run()
    except Failure as failure:
        return failure
    except CudaError as error:
        return Failure("run", f"CUDA failed while {job.events.phase}: {error}")
    except MemoryError:
        return Failure("memory", "no memory left on the host")
    except OSError as error:
        fact = f"{error.filename or 'a file'}: {(error.strerror or str(error)).lower()}"
        return Failure("input" if isinstance(error, (FileNotFoundError, PermissionError)) else "run", fact)
    except Exception as error:  # any exception of a binding must still become an event
        import traceback  # imported here, because it is slow to import; the traceback goes to run.log

        traceback.print_exc()
        return Failure("internal", f"{type(error).__name__}: {error}")
    return None


def finish(result: dict[str, object], failure: Failure | None, events: Events) -> int:
    """Send the last events; returns the exit code."""
    if failure is not None:
        events.fail(failure)
    events.send("result", ok=failure is None, python=sys.version.split()[0], **result)
    return 0 if failure is None else 1


def mind(worker: threading.Thread, time_limit: float | None, stop: Stop, began: float) -> bool:
    """Wait for the working thread and enforce the time limit; False when the thread does not stop when asked to."""
    give_up = None
    while worker.is_alive():
        worker.join(_WATCH_SECONDS)
        now = time.monotonic()
        if time_limit and now - began > time_limit and not stop.reason:
            stop.reason = "timeout"
        if stop.reason and give_up is None:
            give_up = now + GRACE_SECONDS
        if give_up is not None and now > give_up and worker.is_alive():
            return False
    return True


def main() -> None:
    """Read the request, do the work, exit without unloading native libraries, which may crash."""
    began = time.monotonic()
    stop, failures = Stop(), []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.on_signal)
    events = Events(os.dup(1))
    os.dup2(2, 1)  # output of native code must not get between the events
    try:
        with open(sys.argv[1], "rb") as file:  # noqa: PTH123
            raw = json.load(file)
        events.send("start", action=raw.get("action"), pid=os.getpid(), schema=SCHEMA)
        job = Job(checked_request(raw), events, stop)
    except Failure as failure:
        os._exit(finish({}, failure, events))
    put_on_path(job.request["site"])
    worker = threading.Thread(target=lambda: failures.append(carry_out(job)), daemon=True)
    worker.start()
    if not mind(worker, job.request["time_limit"], stop, began):
        try:
            stop.check()
        except Failure as failure:
            failures.append(failure)
    os._exit(finish(job.result, failures[-1], events))
