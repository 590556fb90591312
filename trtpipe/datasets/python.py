"""python: a function of the project that yields samples, each a mapping of array name to array.

It runs in the process of the stage that reads the data set, never in trtpipe's main process, which only parses its
source. Its samples must depend on its source and the declared `files` only.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from trtpipe.datasets import Reader, Source
from trtpipe.datasets.locations import Files, GivenFiles
from trtpipe.errors import Problem, SpecError
from trtpipe.loader.grammar import choose_from
from trtpipe.permissions import ProjectCode, code_of, require
from trtpipe.problem_codes import Code
from trtpipe.spec.dataset import DatasetSpec

_WHERE = ("python",)
_ANY_SUFFIX = ("",)
_LARGEST_SOURCE = 4 << 20
_IMPORTED = (".py", ".so", ".pyd")


def _module_file(spec: DatasetSpec) -> str:
    """The module's file, as a path relative to the project."""
    return (spec.python or "").partition(":")[0].replace(".", "/") + ".py"


def _files(spec: DatasetSpec, files: Files) -> Mapping[str, Path]:
    name = _module_file(spec)
    module = files(name, _WHERE)
    _require_function(spec, name, module)
    found = {name: module}
    for number, pattern in enumerate(spec.files):
        found |= files.below(pattern, _ANY_SUFFIX, ("files", number))
    return found


def project_code(spec: DatasetSpec, named: Mapping[str, Path]) -> ProjectCode:
    """The code that runs when the data set is read: the module, and those declared files that Python can import."""
    name = _module_file(spec)
    imported = sorted(one for one in named if one != name and Path(one).suffix in _IMPORTED)
    return code_of("code", name, [named[one].read_bytes() for one in (name, *imported)])


def _require_function(spec: DatasetSpec, name: str, module: Path) -> None:
    """Raises SpecError when the module is not valid Python or lacks the function; it is parsed, not run."""
    wanted = (spec.python or "").partition(":")[2]
    try:
        if module.stat().st_size > _LARGEST_SOURCE:
            raise ValueError(f"it is larger than {_LARGEST_SOURCE >> 20} MiB")
        tree = ast.parse(module.read_bytes())
    except SyntaxError as error:
        raise SpecError(
            Problem(Code.DATA_CODE, f"{name}:{error.lineno}: {error.msg}", path=_WHERE)
        ) from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise SpecError(Problem(Code.CANNOT_READ, f"cannot read '{name}': {error}", path=_WHERE)) from error
    defined = [one.name for one in tree.body if isinstance(one, (ast.FunctionDef, ast.ClassDef))]
    if wanted not in defined:
        fact = f"'{name}' defines no function '{wanted}'"
        raise SpecError(
            Problem(Code.UNKNOWN_NAME, fact, choose_from(wanted, defined, "functions"), path=_WHERE)
        )


def _open(spec: DatasetSpec, files: Files, stack: ExitStack) -> Mapping[str, Source]:
    from trtpipe.datasets.spools.run import samples_of
    from trtpipe.datasets.spools.spool import Spool, SpooledArray

    assert isinstance(files, GivenFiles), "only a stage's own process runs code of a project"
    name, text = _module_file(spec), spec.python or ""
    module = files(name).absolute()
    spools: dict[str, Spool] = {}
    limit = spec.samples if not spec.shuffle else None
    named = _files(spec, files)
    require(project_code(spec, named), _WHERE)
    declared = named.values()
    root = module.parents[name.count("/")]
    for number, sample in enumerate(samples_of(text, module, root, declared, limit)):
        spools = spools or {array: Spool(stack) for array in sample}
        for array, values in sample.items():
            spools[array].append(values, f"'{array}' of sample {number} of {text}", _WHERE)
    if not spools:
        raise SpecError(Problem(Code.NO_SAMPLES, f"{text} yields no samples", path=_WHERE))
    for spool in spools.values():
        spool.close()
    return {array: SpooledArray(spool) for array, spool in spools.items()}


reader = Reader(version=1, files=_files, open=_open, runs_code=True)
