"""Reads inputs named on the command line: `NAME=file.npy`, `file.npz`, and image files.

Files are read as data sets read them: mapped, checked against their sizes, never unpickled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from trtpipe.datasets.npz import LARGEST_UNPACKED
from trtpipe.errors import ModelError, Problem, SpecError
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.signature import Signature
from trtpipe.shapes import format_size
from trtpipe.weights.archive import Archive
from trtpipe.weights.npy import map_array, read_header

if TYPE_CHECKING:
    from trtpipe.arrays import Array

MOST_BYTES = 16 << 30
"""Limit for one array, because it is held in memory."""


@dataclass(slots=True)
class Given:
    """The given arrays, and images by the input that they are for (None if it was not named)."""

    arrays: dict[str, Array] = field(default_factory=dict)
    images: dict[str | None, list[str]] = field(default_factory=dict)


def read_given(texts: Sequence[str], signature: Signature, cwd: Path, images: Iterable[str]) -> Given:
    """The arrays and images that `--input` named; `images` are the suffixes of image files.

    Raises SpecError with every problem.
    """
    given = Given()
    problems = [one for text in texts for one in _problems(text, given, signature, cwd, tuple(images))]
    if problems:
        raise SpecError(problems)
    return given


def _problems(
    text: str, given: Given, signature: Signature, cwd: Path, images: tuple[str, ...]
) -> Sequence[Problem]:
    try:
        _take(text, given, signature, cwd, images)
    except (ModelError, SpecError) as error:
        return error.problems
    return ()


def _take(text: str, given: Given, signature: Signature, cwd: Path, images: tuple[str, ...]) -> None:
    name, file = named_file(text, signature.names, cwd)
    suffix = Path(file).suffix.lower()
    if suffix in images:
        given.images.setdefault(name, []).append(file)
        return
    if suffix not in (".npy", ".npz"):
        remedy = f"give NAME=FILE.npy, FILE.npz or an image ({', '.join(images)})"
        raise SpecError(Code.WRONG_FILE, f"--input {text!r} is not a supported kind of file", remedy)
    found = read_npz(cwd / file, file) if suffix == ".npz" else {"": read_npy(cwd / file, file)}
    if suffix == ".npz" and name is not None:
        if name not in found:
            listed = ", ".join(repr(one) for one in found) or "nothing"
            raise SpecError(Code.UNKNOWN_ARRAY, f"'{file}' has no array {name!r}: it has {listed}")
        found = {name: found[name]}
    elif suffix == ".npy":
        found = {_only(name, file, signature): found[""]}
    twice = sorted(set(found) & set(given.arrays))
    if twice:
        raise SpecError(Code.LISTED_TWICE, f"input {twice[0]!r} is given twice")
    given.arrays |= found


def named_file(text: str, names: Sequence[str], cwd: Path) -> tuple[str | None, str]:
    """`NAME=FILE` split in two (an input's name may contain `=` itself); NAME is None when there is only a file."""
    for name in sorted(names, key=len, reverse=True):
        if text.startswith(f"{name}="):
            return name, text[len(name) + 1 :]
    if "=" not in text or _is_file(cwd / text):
        return None, text
    name, _, file = text.partition("=")
    return name, file


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _only(name: str | None, file: str, signature: Signature) -> str:
    """The input that an unnamed array is for: the only one."""
    if name is not None:
        return name
    if len(signature.inputs) != 1:
        raise SpecError(
            Code.WHICH_INPUT,
            f"which input is '{file}' for?",
            f"say NAME={file}; the inputs are {signature.described()}",
        )
    return signature.inputs[0].name


def read_npy(path: Path, text: str) -> Array:
    """The array in a .npy file, mapped. Raises ModelError."""
    with _opened(path, text) as file:
        header = read_header(file, f"'{text}'")
        size = file.seek(0, 2)
        if size - header.size < header.nbytes:
            fact = f"'{text}' is truncated: it should have {header.nbytes} bytes of data, but has {size - header.size}"
            raise ModelError(Code.NOT_NPY, fact, "copy or download it again")
        return map_array(file, header, 0)


def _opened(path: Path, text: str) -> BinaryIO:
    try:
        if path.exists() and not path.is_file():
            raise ModelError(Code.NOT_A_FILE, f"'{text}' is not a regular file")
        return path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(Code.CANNOT_READ, f"cannot read '{text}': {reason.lower()}") from error


def read_npz(path: Path, text: str) -> Mapping[str, Array]:
    """The arrays in a .npz file by name. Raises ModelError."""
    _opened(path, text).close()
    with ExitStack() as stack:
        archive = Archive(path, text, stack)
        total = sum(archive.unpacked_size(name) for name in archive.infos)
        if total > min(MOST_BYTES, LARGEST_UNPACKED):
            fact = f"'{text}' would unpack to {format_size(total)}; {format_size(MOST_BYTES)} are allowed"
            raise ModelError(
                Problem(Code.FILE_TOO_LARGE, fact, "give the arrays as .npy files, which are mapped")
            )
        return {name: archive.array(name) for name in archive.infos}
