"""Jobs: work on delivered engines that is no step of a plan. A fixed set; a request can name no other.

A job's files are placed under their relative paths in an empty directory, which no path may leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from trtpipe.digests import Digest
from trtpipe.errors import FleetError
from trtpipe.fleet.protocol import Answer, Job
from trtpipe.json_values import JsonObject
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore

Made = tuple[JsonObject, Mapping[str, Path]]
"""What a job yields: facts, and files by name."""
JobBody = Callable[[Path, JsonObject, Control, int], Made]
"""Does a job in a directory: its options, whether to stop, and the index of the GPU that it may use."""


def run_job(job: Job, store: LocalStore, root: Path, control: Control, gpu: int) -> Answer:
    """Do a job; the files that it makes go into the store. Raises TrtpipeError."""
    body = _bodies().get(job.name)
    if body is None:
        raise FleetError(Code.AGENT_ANSWER, f"no job is called {job.name!r}")
    folder = root / "files"
    folder.mkdir()
    for name, digest in job.files.items():
        store.fetch(digest, folder / _inside(name))
    result, files = body(folder, job.options, control, gpu)
    found: dict[str, Digest] = {name: store.put(path) for name, path in sorted(files.items())}
    return Answer(result, found)


def _inside(name: str) -> Path:
    """A relative path that stays inside its directory. Raises FleetError."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
        raise FleetError(Code.AGENT_ANSWER, f"a job's file is called {name!r}, which leaves its directory")
    return Path(*path.parts)


def _bodies() -> dict[str, JobBody]:
    return {}
