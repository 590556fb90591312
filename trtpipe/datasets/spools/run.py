"""Runs a project's function that yields samples, and watches which files it reads.

Every file of the project that the function opens must be declared, because otherwise the key would not depend on it.
Python's audit events report each opened file, imported modules included; files that libraries open in C code are not
seen.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.errors import Problem, SpecError, TrtpipeError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.arrays import Array

WHERE = ("python",)
_SHOWN = 5
_CODE = (".py", ".pyc", ".so", ".pyd")
_watched: list[_Watch] = []
"""The active watch. Audit hooks cannot be removed, so there is one permanent hook that uses this."""
_hooked = False


def samples_of(
    text: str, file: Path, root: Path, declared: Iterable[Path], limit: int | None = None
) -> Iterator[Mapping[str, Array]]:
    """The samples that the function of `MODULE:FUNCTION` yields, at most `limit`: array name → array for each.

    The working directory is the project's root meanwhile, and its modules can be imported. Raises SpecError when the
    function raises, when it yields something that is not a sample, and when it reads files of the project that are not
    declared.
    """
    with project_function(text, file, root, declared) as function:
        yield from _checked(text, islice(function(), limit))


@contextmanager
def project_function(
    text: str, file: Path, root: Path, declared: Iterable[Path]
) -> Iterator[Callable[..., Iterable[object]]]:
    """The function of `MODULE:FUNCTION`, to be called while the context lasts: what it raises becomes a SpecError.

    The working directory is the project's root meanwhile, and its modules can be imported. Raises SpecError also when
    files of the project that are not declared were read.
    """
    name = text.partition(":")[2]
    allowed = {file.resolve(), *(one.resolve() for one in declared)}
    with _inside(root), _noting(_Watch(root.resolve(), allowed)) as opened:
        try:
            yield getattr(_imported(text, file), name)
        except TrtpipeError:
            raise
        except _UndeclaredCode as error:
            raise SpecError(_reads(text, [str(error)])) from error
        except (Exception, SystemExit) as error:
            raise SpecError(_raised(text, file, error)) from error
    undeclared = sorted(_undeclared(opened, root, allowed))
    if undeclared:
        raise SpecError(_reads(text, undeclared))


def _imported(text: str, file: Path) -> ModuleType:
    """The module, imported under a name of its own so that a library module of the same name is not shadowed."""
    name = f"trtpipe_project.{text.partition(':')[0]}"
    found = importlib.util.spec_from_file_location(name, file)
    assert found is not None and found.loader is not None, f"{file} is a Python file"
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    found.loader.exec_module(module)
    return module


def _checked(text: str, yielded: Iterable[object]) -> Iterator[dict[str, Array]]:
    names: set[str] | None = None
    for number, sample in enumerate(yielded):
        if not isinstance(sample, Mapping) or not sample or not all(isinstance(name, str) for name in sample):
            fact = f"{text} yields {type(sample).__name__} as sample {number}"
            raise SpecError(Problem(Code.DATA_CODE, fact, "yield a mapping: array name → array", path=WHERE))
        names = set(sample) if names is None else names
        if set(sample) != names:
            listed = [", ".join(f"'{name}'" for name in sorted(one)) for one in (set(sample), names)]
            fact = f"{text} yields {listed[0]} as sample {number}, but {listed[1]} before it"
            raise SpecError(
                Problem(Code.DATA_CODE, fact, "yield the same arrays for every sample", path=WHERE)
            )
        yield {name: np.asarray(value) for name, value in sample.items()}


def _raised(text: str, file: Path, error: BaseException) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == str(file)]
    line = f":{own[-1].lineno}" if own else ""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        line = f":{error.lineno}"
    said = f": {' '.join(str(error).split())[:200]}" if str(error) else ""
    return Problem(
        Code.DATA_CODE, f"{text} failed at {file.name}{line}: {type(error).__name__}{said}", path=WHERE
    )


def _reads(text: str, undeclared: list[str]) -> Problem:
    shown = ", ".join(undeclared[:_SHOWN])
    more = f" and {len(undeclared) - _SHOWN} more" if len(undeclared) > _SHOWN else ""
    fact = f"{text} reads files that the data set does not declare: {shown}{more}"
    return Problem(
        Code.DATA_CODE_FILES,
        fact,
        f"declare them, so that changes are detected: files: [{shown}]",
        path=WHERE,
    )


@contextmanager
def _inside(root: Path) -> Iterator[None]:
    """Makes the project's root the working directory and first import path; no bytecode is written there."""
    before = Path.cwd(), list(sys.path), sys.dont_write_bytecode, sys.pycache_prefix
    os.chdir(root)
    sys.path.insert(0, str(root))
    sys.dont_write_bytecode = True
    sys.pycache_prefix = os.devnull  # the project's bytecode may not match its sources
    try:
        yield
    finally:
        os.chdir(before[0])
        sys.path[:], sys.dont_write_bytecode, sys.pycache_prefix = before[1:]


class _UndeclaredCode(Exception):
    """The project's code imports a file of the project that the data set does not declare."""


class _Watch(set[str]):
    """Records opened files; a file of the project that Python would import must be declared."""

    def __init__(self, root: Path, declared: Collection[Path]) -> None:
        super().__init__()
        self.root, self.declared = root, declared
        self.apart = _environments()

    def refuse_code(self, name: str) -> None:
        """Raises _UndeclaredCode for undeclared code of the project, because the user has not allowed it to run."""
        if not name.endswith(_CODE):
            return
        path = Path(name).resolve()
        inside = path.is_relative_to(self.root) and not any(path.is_relative_to(one) for one in self.apart)
        if inside and path not in self.declared:
            raise _UndeclaredCode(path.relative_to(self.root).as_posix())


@contextmanager
def _noting(opened: _Watch) -> Iterator[_Watch]:
    global _hooked  # noqa: PLW0603
    if not _hooked:
        sys.addaudithook(_note)
        _hooked = True
    _watched.append(opened)
    try:
        yield opened
    finally:
        _watched.remove(opened)


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if not _watched:
        return
    # a shared library is loaded without an `open` event
    if event == "import" and isinstance(arguments[1], str):
        for noted in _watched:
            noted.refuse_code(os.path.abspath(arguments[1]))  # noqa: PTH100
    if event != "open":
        return
    path, _, flags = arguments
    reads = isinstance(flags, int) and not flags & (os.O_WRONLY | os.O_RDWR)
    if isinstance(path, (str, bytes, os.PathLike)) and reads:
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - as cheap as can be: this hears of every file
        for noted in _watched:
            noted.add(name)
            noted.refuse_code(name)


def _undeclared(opened: Iterable[str], root: Path, declared: set[Path]) -> Iterator[str]:
    """The opened files that are in the project, not in its environments or its state, and not declared."""
    home = root.resolve()
    apart = _apart(home)
    for name in opened:
        path = Path(name).resolve()
        inside = path.is_relative_to(home) and path.is_file() and path not in declared
        if inside and path.suffix != ".pyc" and not any(path.is_relative_to(one) for one in apart):
            yield path.relative_to(home).as_posix()


def _apart(home: Path) -> list[Path]:
    """Places that are not project files although they may be inside the project: environments, trtpipe, its state."""
    return [*_environments(), *(Path(home / place).resolve() for place in (".trtpipe", "build"))]


def _environments() -> list[Path]:
    """The folders of Python's own modules and of trtpipe. Code in `build` or `.trtpipe` counts as the project's."""
    return [Path(place).resolve() for place in (sys.prefix, sys.base_prefix, Path(__file__).parents[2])]
