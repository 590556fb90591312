"""Jobs: work on delivered engines that is no step of a plan. A fixed set; a request can name no other.

A job's files are placed under their relative paths in an empty directory, which no path may leave. The work is done by
a process of its own (`job_process.py`), because ONNX Runtime and TensorRT can crash and an agent does other work at the
same time; that process sees the job's GPU and no other, and none of the agent's secrets.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trtpipe.digests import Digest
from trtpipe.errors import FleetError, Interrupted, StepFailed
from trtpipe.fleet.protocol import Answer, Job
from trtpipe.json_values import Json, object_in, read_object, text_in
from trtpipe.launcher.children import Streams, interpreter_command, kill, start
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code
from trtpipe.processes.child import error_from_json
from trtpipe.processes.stage_runs import environment
from trtpipe.stores.local import LocalStore
from trtpipe.toolchains.detect import DetectedGpu, only_visible
from trtpipe.toolchains.engine_worker.watch import Minding, signal_of, tail

JOBS = ("validate", "bench", "run")
FILES, OUT, ASKED, RESULT = "files", "out", "job.json", "result.json"
"""What the directory of a job's process holds."""


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where a job is done."""

    store: LocalStore
    root: Path
    """An empty directory."""
    control: Control
    gpu: DetectedGpu | None


def run_job(job: Job, place: JobPlace) -> Answer:
    """Do a job; the files that it makes go into the store. Raises TrtpipeError."""
    if job.name not in JOBS:
        raise FleetError(Code.AGENT_ANSWER, f"no job is called {job.name!r}")
    folder = place.root.absolute()
    (folder / OUT).mkdir()
    for name, digest in job.files.items():
        place.store.fetch(digest, folder / FILES / inside(name))
    asked: dict[str, Json] = {"name": job.name, "options": dict(job.options)}
    (folder / ASKED).write_text(json.dumps(asked))
    _run(job, place, folder)
    result = read_object((folder / RESULT).read_bytes())
    if "error" in result:
        raise error_from_json(dict(object_in(result, "error")))
    files = object_in(result, "files")
    found: dict[str, Digest] = {
        name: place.store.put(folder / OUT / inside(text_in(files, name))) for name in sorted(files)
    }
    place.store.settle()
    return Answer(object_in(result, "result"), found)


def inside(name: str) -> Path:
    """A relative path that stays inside its directory. Raises FleetError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise FleetError(Code.AGENT_ANSWER, f"a job's file is called {name!r}, which leaves its directory")
    return Path(*path.parts)


def job_command() -> list[str]:
    """The command line of a job's process, without the directory."""
    return interpreter_command("trtpipe.agent.job_process")


def _run(job: Job, place: JobPlace, folder: Path) -> None:
    """Run the job's process to its end. Raises Interrupted, or StepFailed when it left no result."""
    visible: Mapping[str, str] = only_visible(place.gpu) if place.gpu is not None else {}
    log_path = folder / "job.log"
    with log_path.open("wb") as log:
        streams = Streams(stdout=subprocess.PIPE, stderr=log)
        child = start([*job_command(), str(folder)], {**environment(), **visible}, folder, streams)
        minding = Minding(child, place.control.cancelled, place.control.killed, None)
        try:
            for _ in minding.events():
                pass
            code = minding.wait()
        finally:
            kill(child)
    if minding.ended_because:
        raise Interrupted(Code.INTERRUPTED, "interrupted")
    if not (folder / RESULT).is_file():
        name = signal_of(code)
        how = f"died of {name}" if name else f"ended with code {code}"
        raise StepFailed(Code.WORKER_DIED, f"the process of the job {job.name} {how}", log=tail(log_path))
