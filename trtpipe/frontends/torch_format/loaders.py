"""Explains why a program cannot be loaded: most often it was written by another PyTorch version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata

from trtpipe.errors import ModelError, Problem
from trtpipe.frontends.conversion.converters import ConversionRefused
from trtpipe.problem_codes import Code


@contextmanager
def in_words_of_versions(written_by: str) -> Iterator[None]:
    """A conversion's error, explained as a version mismatch if it is one; `written_by` is a PyTorch version."""
    try:
        yield
    except ConversionRefused as error:
        here = _public(_installed())
        if error.raised != "CannotLoad" or here == _public(written_by):
            raise
        fact = f"the program was written by PyTorch {_public(written_by)}, and PyTorch {here} cannot load it"
        remedy = f"export it again with PyTorch {here}, or install the other: pip install torch=={_public(written_by)}"
        problem = Problem(Code.PYTORCH_VERSION, fact, remedy, details=f"it said: {error.said}")
        raise ModelError(problem) from error


def _public(version: str) -> str:
    return version.partition("+")[0]


def _installed() -> str:
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
