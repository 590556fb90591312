"""npy: one .npy file for each array, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files
from trtpipe.datasets.samples.mapped import MappedArray, told_at
from trtpipe.errors import Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.weights.npy import map_array, read_header


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    return {text: files(text) for text in (spec.npy or {}).values()}


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    found: dict[str, Source] = {}
    problems: list[Problem] = []
    for name, text in (spec.npy or {}).items():
        with _collected(problems):
            found[name] = _array(files(text), text, name, stack)
    if problems:
        raise SpecError(problems)
    return found


@contextmanager
def _collected(problems: list[Problem]) -> Iterator[None]:
    try:
        yield
    except SpecError as error:
        problems += error.problems


def _array(path: Path, text: str, name: str, stack: ExitStack) -> Source:
    where = ("npy", name)
    try:
        file = stack.enter_context(path.open("rb"))
    except OSError as error:
        raise SpecError(
            Problem(Code.CANNOT_READ, f"cannot read '{text}': {error.strerror}", path=where)
        ) from error
    with told_at(where):
        header = read_header(file, f"'{text}'")
    size = file.seek(0, 2)
    if size - header.size < header.nbytes:
        fact = f"'{text}' is truncated: it should have {header.nbytes} bytes of data, but has {size - header.size}"
        raise SpecError(Problem(Code.NOT_NPY, fact, "copy or download it again", path=where))
    return MappedArray(map_array(file, header, 0))


reader = Reader(version=1, files=_files, open=_open)
