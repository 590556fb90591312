"""A folder for what a command needs only while it runs; what the system refuses there is told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtpipe.errors import StepFailed
from trtpipe.files import temporary_folder
from trtpipe.problem_codes import Code


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """A new temporary folder, gone afterwards. Raises StepFailed where it cannot be made or written."""
    try:
        with temporary_folder(purpose, ignore_cleanup_errors=True) as made:
            yield made
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        place = f"{error.filename}: " if error.filename else "the temporary directory: "
        raise StepFailed(
            Code.CANNOT_WRITE, f"{place}{reason}", "make room there, or set TMPDIR to another disk"
        ) from error
