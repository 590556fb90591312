"""Starts the process that runs an engine, reads its events, and reports how it ended.

The process's log goes to `run.log` in its folder. The calling thread must stay alive until the process has ended,
because the process dies with it. Independent of specs, stores and the command line; used for validation, ad-hoc runs
and benchmarks.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from trtpipe.errors import (
    Interrupted,
    ModelError,
    Problem,
    SpecError,
    StepFailed,
    ToolchainError,
    TrtpipeError,
)
from trtpipe.json_values import JsonObject, Malformed, text_in
from trtpipe.launcher.children import Program, Streams, kill, start
from trtpipe.launcher.environment import environment_of
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.requests import EngineRun, HowToRun, request_json
from trtpipe.runners.inference.results import Inference, read_inference
from trtpipe.runners.inference.trust import TrustedEngine
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.engine_worker.failure_codes import code_of_failure
from trtpipe.toolchains.engine_worker.watch import Minding, Supervision, signal_of, tail
from trtpipe.toolchains.lookup import python_version

_PROGRAM = Program(Path(__file__).parent, "engine_process.main")
_KINDS: Mapping[str, type[TrtpipeError]] = {
    "environment": ToolchainError,
    "trust": ModelError,
    "engine": ModelError,
    "input": SpecError,
    "config": SpecError,
    "cancelled": Interrupted,
}
"""Error kind → the exception raised here; all other kinds are failed runs."""

OnEvent = Callable[[JsonObject], None]


def run_engine(
    toolchain: Toolchain,
    engine: TrustedEngine,
    runs: Sequence[EngineRun],
    how: HowToRun,
    folder: Path,
    supervision: Supervision[JsonObject] | None = None,
) -> Inference:
    """Run an engine on a GPU of this machine; without runs, deserialize and describe it.

    Outputs, `timings.npy` and `run.log` are written into `folder`, which must exist and is the process's own. When
    cancelled it stops between two runs, within five seconds; when killed at once. Raises ToolchainError where this
    machine cannot run the engine (GPU, version, driver), ModelError for one that is damaged or changed, SpecError for
    inputs that do not fit the engine, StepFailed when it fails on the GPU, Interrupted.
    """
    request = request_json(toolchain, _site_of(toolchain), engine, runs, how)
    (folder / "request.json").write_text(json.dumps(request))
    log_path = folder / "run.log"
    heard: list[JsonObject] = []
    with log_path.open("ab", buffering=0) as log:
        child = _start(toolchain.python, folder, log)
        watched = supervision or Supervision()
        minding = Minding(child, watched.control.cancelled, watched.control.killed, how.time_limit)
        try:
            for event in minding.events():
                _keep(event, heard, log)
                watched.on_event(event)
            code = minding.wait()
        finally:
            kill(child)
    try:
        if heard and heard[-1]["event"] == "result" and heard[-1].get("ok"):
            return read_inference(heard, folder)
        ending = _ending(heard, code, minding.ended_because, log_path)
    except Malformed as error:
        fact = f"the process that runs the engine told what cannot be read: {error}"
        raise StepFailed(Code.WORKER_DIED, fact, log=tail(log_path)) from error
    raise ending


def _keep(event: JsonObject, heard: list[JsonObject], log: IO[bytes]) -> None:
    """Writes log lines to the log, keeps all other events."""
    if event["event"] == "log":
        log.write(f"[{event['severity']}] {event['message']}\n".encode(errors="replace"))
    else:
        heard.append(event)


def _site_of(toolchain: Toolchain) -> list[str]:
    """The directories of TensorRT and cuda-python: beside TensorRT, or ours if the interpreter is compatible."""
    site = list(toolchain.site)
    if toolchain.python_version == python_version():
        site += [folder for folder in cuda_site() if folder not in site]
    return site


def cuda_site() -> list[str]:
    """The directory that holds our cuda-python; none without it."""
    try:
        spec = importlib.util.find_spec("cuda.bindings")
    except ModuleNotFoundError:
        return []
    return (
        [str(Path(place).parents[1]) for place in list(spec.submodule_search_locations or [])[:1]]
        if spec
        else []
    )


def _start(python: Sequence[str], folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = _PROGRAM.command(python, "request.json")
    try:
        streams = Streams(stdout=subprocess.PIPE, stderr=log)
        return start(command, environment_of("engine"), folder, streams)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ToolchainError(
            Code.INTERPRETER,
            f"cannot start the interpreter '{python[0]}': {reason}",
            "install the toolchain again",
        ) from error


def _ending(heard: Sequence[JsonObject], code: int, ended_because: str, log: Path) -> TrtpipeError:
    """The error for a process without a result. Raises Malformed."""
    if ended_because in ("cancelled", "killed"):
        return Interrupted(Code.INTERRUPTED, "interrupted")
    error = next((event for event in heard if event["event"] == "error"), None)
    phases = (text_in(event, "name") for event in reversed(heard) if event["event"] == "phase")
    phase = next(phases, "starting")
    if error is not None:
        problem = Problem(
            code_of_failure(text_in(error, "kind")), text_in(error, "message"), text_in(error, "remedy")
        )
        kind = _KINDS.get(text_in(error, "kind"))
        return kind(problem) if kind else StepFailed(problem, log=tail(log))
    if ended_because == "timeout":
        return StepFailed(
            Code.TIMED_OUT, f"the engine took longer than the time limit while {phase}", log=tail(log)
        )
    name = signal_of(code)
    how = f"died of {name}" if name else f"ended with code {code}"
    return StepFailed(
        Code.WORKER_DIED, f"the process that runs the engine {how} while {phase}", log=tail(log)
    )
