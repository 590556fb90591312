"""`build --profile FILE`: writes what took how long, in Chrome's trace format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trtpipe.timings import span, start_recording, stop_recording

if TYPE_CHECKING:
    from pathlib import Path


@contextmanager
def profiled(path: Path | None) -> Iterator[None]:
    """Record what happens in this context, and write it however it ends. Raises SpecError if it cannot be written."""
    if path is None:
        yield
        return
    recording = start_recording("trtpipe build")
    _write(path, recording.chrome())  # better refused now than after a long build
    try:
        with span("build", "build"):
            yield
    finally:
        stop_recording()
        _write(path, recording.chrome())


def _write(path: Path, profile: dict[str, object]) -> None:
    import json

    from trtpipe.errors import SpecError
    from trtpipe.files import write_whole
    from trtpipe.problem_codes import Code

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(profile).encode(), durable=False)
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write {path}: {(error.strerror or str(error)).lower()}"
        ) from error
