"""A temporary folder for the duration of a command; errors of the operating system become one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtpipe.errors import StepFailed
from trtpipe.files import temporary_folder
from trtpipe.problem_codes import Code


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A new temporary folder, removed afterwards. Raises StepFailed when it cannot be created or written."""
    try:
        with temporary_folder(purpose, ignore_cleanup_errors=True) as made:
            yield made
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        place = f"{error.filename}: " if error.filename else "the temporary directory: "
        raise StepFailed(
            Code.CANNOT_WRITE, f"{place}{reason}", "make room there, or set TMPDIR to another disk"
        ) from error
