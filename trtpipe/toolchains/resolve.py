"""Resolves a spec's toolchain to a Toolchain: in the running interpreter, in another one, or provisioned.

Locating never installs anything: an exact version that is not installed yet is a valid result, because a plan only
needs its facts. `ready_toolchain` installs it when an engine must be built. TensorRT is never imported here.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, SpecPath, ToolchainError
from trtpipe.files import temporary_folder
from trtpipe.json_values import JsonObject, Malformed, object_in, read_object, text_in, texts_in
from trtpipe.launcher.children import run_to_end
from trtpipe.launcher.environment import environment_of
from trtpipe.problem_codes import Code
from trtpipe.targets.toolchain import Flavour, Toolchain, install_line, parse_version, version_matches
from trtpipe.toolchains import lookup
from trtpipe.toolchains.installed import installed_toolchain

if TYPE_CHECKING:
    from trtpipe.spec.pipeline import ToolchainSpec
    from trtpipe.toolchains.wheel_lock import WheelLock

_PROBE_SECONDS = 60
_WHOLE = {"tensorrt_rtx": (4, "1.7.1.116"), "tensorrt": (3, "10.16.1.11")}
"""Flavour → how many numbers a whole version has at least, and one for example."""


def locate_toolchain(
    name: str | None, spec: ToolchainSpec | None, *, path: SpecPath = ()
) -> Toolchain | Problem:
    """The toolchain that a spec describes under `name`, or the installed TensorRT-RTX; installs nothing.

    An exact version that is not installed has an empty `site`. Returns a Problem, located at `path` or at the wrong
    key below it, if there is no such toolchain.
    """
    if spec is None:
        return installed_toolchain("tensorrt_rtx") or _nothing_installed("tensorrt_rtx", path)
    below = path if name is None else (*path, "version")
    if spec.python is not None:
        return _in_interpreter(spec, path)
    here = installed_toolchain(spec.flavour)
    if spec.version is None:
        return here or _nothing_installed(spec.flavour, path)
    if here is not None and version_matches(here.version, spec.version):
        return here
    return _provisioned(spec.flavour, spec.version, here, below)


def ready_toolchain(
    toolchain: Toolchain,
    *,
    offline: bool = False,
    progress: Callable[[str], None] | None = None,
    lock: WheelLock | None = None,
) -> Toolchain:
    """The toolchain, installed on this machine if it is missing, from the wheels that `lock` knows.

    A provisioned one is rejected if it was changed on disk, or was installed from other wheels than the lock's. Raises
    ToolchainError.
    """
    from trtpipe.toolchains.provision import provision
    from trtpipe.toolchains.verification import learn_wheels, name_of, refuse_changed

    ready = toolchain
    if not toolchain.ready or not all(Path(folder).is_dir() for folder in toolchain.site):
        known = lock.wheels(name_of(toolchain)) if lock is not None else None
        ready = provision(
            toolchain.flavour, toolchain.version, offline=offline, progress=progress, known=known
        )
    refuse_changed(ready)
    if lock is not None:
        learn_wheels(ready, lock)
    return ready


def planned_toolchain(flavour: Flavour, version: str) -> Toolchain:
    """A toolchain that will be provisioned for the running interpreter when it is needed."""
    return Toolchain(flavour, version, (sys.executable,), (), lookup.python_version())


def _provisioned(
    flavour: Flavour, wanted: str, here: Toolchain | None, path: SpecPath
) -> Toolchain | Problem:
    from trtpipe.toolchains.provision import find_provisioned

    if not wanted.endswith(".*"):
        return (
            _incomplete(flavour, wanted, path)
            or find_provisioned(flavour, wanted)
            or planned_toolchain(flavour, wanted)
        )
    found = find_provisioned(flavour, wanted)
    if found is not None:
        return found
    example = _WHOLE[flavour][1]
    installed = f", and the installed one is {here.version}" if here else ""
    return Problem(
        Code.NO_TOOLCHAIN,
        f"no {flavour} {wanted} is provisioned{installed}",
        f"write an exact version, such as '{example}', or run `{install_line(flavour, 'VERSION')}`",
        path=path,
    )


def _incomplete(flavour: Flavour, version: str, path: SpecPath) -> Problem | None:
    numbers, example = _WHOLE[flavour]
    if len(parse_version(version)) >= numbers:
        return None
    fact = f"{version!r} is not a whole version of {flavour}"
    return Problem(
        Code.WHOLE_VERSION_NEEDED,
        fact,
        f"write all of it, such as '{example}', or a prefix: '{version}.*'",
        path=path,
    )


def _nothing_installed(flavour: Flavour, path: SpecPath) -> Problem:
    package = lookup.PACKAGES[flavour][0].replace("_", "-")
    return Problem(
        Code.NO_TOOLCHAIN,
        f"{flavour} is not installed in {sys.executable}",
        f"run `pip install {package}`, or give the toolchain an exact version, "
        f"such as '{_WHOLE[flavour][1]}', to have it provisioned",
        path=path,
    )


def _in_interpreter(spec: ToolchainSpec, path: SpecPath) -> Toolchain | Problem:
    """The toolchain of another interpreter, which is run to find it."""
    assert spec.python is not None
    command = _command(spec.python)
    at = (*path, "python")
    try:
        answer = _asked(command, spec.flavour)
    except ToolchainError as error:
        problem = error.problems[0]
        return replace(problem, path=at)
    found = answer.found
    if found is None:
        module = f"{spec.python!r} has no {spec.flavour}"
        return Problem(
            Code.OTHER_VERSION, module, "install it there, or name an interpreter that has it", path=at
        )
    if spec.version is not None and not version_matches(found.version, spec.version):
        fact = f"{spec.python!r} has {spec.flavour} {found.version}, not {spec.version}"
        remedy = f"write version: '{found.version}', or leave it out"
        return Problem(Code.OTHER_VERSION, fact, remedy, path=(*path, "version"))
    return Toolchain(spec.flavour, found.version, command, found.site, answer.python, found.libraries)


def _command(python: str) -> tuple[str, ...]:
    """A command line; a text that is the path of a file, which may contain blanks, is one word."""
    try:
        expanded = Path(python).expanduser()
        if expanded.exists():
            return (str(expanded.absolute()),)
        return tuple(_absolute(word) for word in shlex.split(python)) or (python,)
    except (OSError, ValueError, RuntimeError):  # too long, an unclosed quote, an unknown ~user
        return (python,)


def _absolute(word: str) -> str:
    """A word as absolute path if it is a file, because the command runs in another directory."""
    return str(Path(word).absolute()) if "/" in word and Path(word).is_file() else word


@dataclass(frozen=True, slots=True)
class _Found:
    """The TensorRT of an interpreter."""

    version: str
    site: tuple[str, ...]
    libraries: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The output of the lookup."""

    python: str
    found: _Found | None

    @classmethod
    def from_json(cls, record: JsonObject) -> _Answer:
        """Raises Malformed."""
        python = text_in(record, "python")
        if record.get("found", "") is None:
            return cls(python, None)
        found = object_in(record, "found")
        libraries = object_in(found, "libraries")
        known = {name: text_in(libraries, name) for name in libraries}
        return cls(python, _Found(text_in(found, "version"), tuple(texts_in(found, "site")), known))


def _run_apart(command: list[str], source: str) -> subprocess.CompletedProcess[bytes]:
    """Runs an interpreter in an empty directory, without the user's secrets: a clone's files are not its modules."""
    with temporary_folder("toolchain") as empty:
        given = source.encode()
        return run_to_end(command, environment_of("engine"), empty, seconds=_PROBE_SECONDS, given=given)


def _asked(command: tuple[str, ...], flavour: str) -> _Answer:
    """The output of the lookup, run by that interpreter. Raises ToolchainError."""
    shown = shlex.join(command)
    remedy = "name an interpreter of Python 3.8 or newer that has TensorRT"
    source = Path(lookup.__file__).read_text(encoding="utf-8")
    try:
        done = _run_apart([*command, "-", flavour], source)
    except subprocess.TimeoutExpired as error:
        fact = f"{shown!r} did not answer within {_PROBE_SECONDS} s"
        raise ToolchainError(Code.INTERPRETER, fact, remedy) from error
    except OSError as error:
        raise ToolchainError(
            Code.INTERPRETER, f"{shown!r} cannot be run: {(error.strerror or '').lower()}", remedy
        ) from error
    try:
        return _Answer.from_json(read_object(done.stdout.splitlines()[-1]))
    except (IndexError, Malformed) as error:
        said = (
            done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        )[-1]
        raise ToolchainError(
            Code.INTERPRETER, f"{shown!r} is not a usable Python interpreter: {said}", remedy
        ) from error
