"""Private TensorRT environments: one directory per version, filled by pip and shared by all projects of a user.

    $TRTPIPE_TOOLCHAINS, or trtpipe/toolchains in the user's cache directory
    ├── tensorrt_rtx-1.6.1.120-cp311-linux_x86_64/     the packages, and manifest.json
    ├── .tensorrt_rtx-1.6.1.120-cp311-linux_x86_64.lock
    └── .tensorrt_rtx-….abc123/                        under construction, or left by a killed process

An environment is created under a temporary name and renamed when it is complete, under a lock: several processes
create it only once, and a killed one leaves no usable half. Calling pip and explaining its failures is in `pip.py`.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from trtpipe.errors import Problem, ToolchainError
from trtpipe.files import is_disk_full
from trtpipe.problem_codes import Code
from trtpipe.targets.toolchain import Flavour, Toolchain, parse_version, version_matches
from trtpipe.toolchains import lookup
from trtpipe.toolchains.manifests import SCHEMA, read_manifest, write_manifest
from trtpipe.toolchains.verification import changed_files, record_digest, stamps_of
from trtpipe.toolchains.wheel_lock import Wheels

_LIBRARY = (".so", ".dll", ".pyd")
_LOCK_POLL_SECONDS = 0.2

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Provisioned:
    """One environment on disk; `damaged` describes the damage, if any."""

    flavour: Flavour
    version: str
    python: str
    """The interpreters it is for: `cp311`."""
    platform: str
    folder: Path
    nbytes: int
    damaged: str = ""

    @property
    def usable(self) -> bool:
        """Whether the running interpreter can use it."""
        return not self.damaged and self.folder.name == folder_name(self.flavour, self.version)


def toolchains_root() -> Path:
    """Where environments are kept: `$TRTPIPE_TOOLCHAINS`, else in the user's cache directory."""
    named = os.environ.get("TRTPIPE_TOOLCHAINS")
    try:
        return Path(named).expanduser().absolute() if named else _cache_directory() / "trtpipe" / "toolchains"
    except RuntimeError as error:  # a user without a home directory, as in many containers
        raise ToolchainError(
            Code.NO_HOME,
            "there is no home directory to keep toolchains in",
            "set TRTPIPE_TOOLCHAINS to a directory you can write",
        ) from error


def folder_name(flavour: str, version: str) -> str:
    """`tensorrt_rtx-1.6.1.120-cp311-linux_x86_64`, for the running interpreter."""
    return f"{flavour}-{version}-{_interpreter_tag()}-{_platform_tag()}"


def find_provisioned(flavour: Flavour, wanted: str) -> Toolchain | None:
    """The newest whole environment of that version, or prefix (`1.6.*`), for this interpreter; or None."""
    found = [
        one
        for one in list_provisioned()
        if one.flavour == flavour and one.usable and version_matches(one.version, wanted)
    ]
    newest = max(found, key=lambda one: parse_version(one.version), default=None)
    return _toolchain_in(newest.folder) if newest else None


def list_provisioned() -> tuple[Provisioned, ...]:
    """Every environment under the root, including those unusable here, sorted by flavour and version."""
    root = toolchains_root()
    folders = [one for one in _entries(root) if not one.name.startswith(".") and one.is_dir()]
    found = [one for folder in folders if (one := _described(folder)) is not None]
    return tuple(sorted(found, key=lambda one: (one.flavour, parse_version(one.version), one.folder.name)))


def provision(
    flavour: Flavour,
    version: str,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    known: Wheels | None = None,
) -> Toolchain:
    """The toolchain of an exact version, installed if it is missing. Raises ToolchainError.

    `known` holds the wheels, of any platform, that it may be installed from, if they are known.
    """
    say = progress or _silent
    root = toolchains_root()
    folder = root / folder_name(flavour, version)
    if not _damage_in(folder):
        return _toolchain_in(folder)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _only_one(_lock_of(folder), f"{flavour} {version}", say):
            if _damage_in(folder):
                _make(folder, flavour, version, offline, say, known)
    except OSError as error:
        raise _disk_trouble(error, root) from error
    return _toolchain_in(folder)


def remove(flavour: Flavour, version: str) -> int:
    """Remove the environments of that version for all interpreters; returns the bytes freed.

    Raises ToolchainError when there is none.
    """
    root = toolchains_root()
    there = list_provisioned()
    doomed = [one.folder for one in there if (one.flavour, one.version) == (flavour, version)]
    if not doomed:
        names = ", ".join(dict.fromkeys(f"{one.flavour} {one.version}" for one in there))
        known = f"provisioned: {names}" if names else "nothing is provisioned"
        fact = f"{flavour} {version} is not provisioned"
        raise ToolchainError(Problem(Code.NO_TOOLCHAIN, fact, details=known))
    try:
        return sum(_remove_folder(folder) for folder in doomed)
    except OSError as error:
        raise _disk_trouble(error, root) from error


def _remove_folder(folder: Path) -> int:
    nbytes = _size_of(folder)
    with _only_one(_lock_of(folder), folder.name, _silent):
        away = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        # renamed first, so that no process finds a half-removed environment
        folder.rename(away / folder.name)
        shutil.rmtree(away)
    return nbytes


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _make(
    folder: Path, flavour: Flavour, version: str, offline: bool, say: Progress, known: Wheels | None
) -> None:
    """Install into a temporary folder, write the manifest, rename. Other temporary folders are leftovers."""
    from trtpipe.targets.toolchain import install_line
    from trtpipe.toolchains.pip import install_packages

    if offline:
        raise ToolchainError(
            Code.NO_TOOLCHAIN,
            f"{flavour} {version} is not here, and --offline forbids fetching it",
            f"run `{install_line(flavour, version)}` once with a network",
        )
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    if folder.exists():
        say(f"installing {flavour} {version} again: {_damage_in(folder)}")
        shutil.rmtree(folder)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        wheels = install_packages(flavour, version, making, say, known)
        _describe(making, flavour, version, wheels)
        making.chmod(0o755)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _describe(making: Path, flavour: Flavour, version: str, wheels: list[dict[str, str]]) -> None:
    """Write the manifest; rejects an environment without the requested version."""
    found = lookup.find_packages(flavour, [str(making)])
    if found is None or found["version"] != version:
        there = found["version"] if found else "no such module"
        raise ToolchainError(Code.INSTALL_FAILED, f"the packages of {flavour} {version} hold {there}")
    files = {str(one.relative_to(making)): one.stat().st_size for one in _files_that_matter(making, flavour)}
    record = {
        "schema": SCHEMA,
        "flavour": flavour,
        "version": version,
        "python": lookup.python_version(),
        "libraries": found["libraries"],
        "wheels": wheels,
        "files": dict(sorted(files.items())),
        "stamps": stamps_of(making, files),
        "records": {str(one.metadata["Name"]): record_digest(one) for one in _distributions(making)},
        "nbytes": _size_of(making),
    }
    write_manifest(making, record)


def _distributions(folder: Path) -> Iterator[metadata.Distribution]:
    yield from metadata.distributions(path=[str(folder)])


def _files_that_matter(folder: Path, flavour: str) -> Iterator[Path]:
    """The flavour's own modules and all shared libraries, which an import needs; not bytecode, which may change."""
    for path in folder.rglob("*"):
        own = path.suffix == ".py" and path.parts[len(folder.parts)] == flavour
        if path.is_file() and (own or _is_library(path)):
            yield path


def _is_library(path: Path) -> bool:
    return any(path.name.endswith(end) or f"{end}." in path.name for end in _LIBRARY)


def _damage_in(folder: Path) -> str:
    """The damage of an environment, found by its files' sizes; empty when there is none."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "its manifest is missing or damaged" if folder.is_dir() else "it is not there"
    for name, size in manifest.files.items():
        try:
            found = (folder / name).stat().st_size
        except (OSError, ValueError):
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    return ""


def _toolchain_in(folder: Path) -> Toolchain:
    """The toolchain of a whole environment, for the running interpreter."""
    manifest = read_manifest(folder)
    assert manifest is not None, folder
    return Toolchain(
        manifest.flavour,
        manifest.version,
        (sys.executable,),
        (str(folder),),
        lookup.python_version(),
        manifest.libraries,
    )


def provisioned_toolchain(one: Provisioned) -> Toolchain:
    """The toolchain of an environment that may be damaged or for another interpreter: only for display."""
    if read_manifest(one.folder) is not None:
        return _toolchain_in(one.folder)
    return Toolchain(one.flavour, one.version, (sys.executable,), (str(one.folder),), one.python)


def changes_in(one: Provisioned) -> list[str]:
    """The files of an environment that were changed since it was installed."""
    return [] if one.damaged else changed_files(provisioned_toolchain(one))


def _described(folder: Path) -> Provisioned | None:
    flavour, _, rest = folder.name.partition("-")
    version, _, rest = rest.partition("-")
    python, _, platform = rest.partition("-")
    if flavour not in lookup.PACKAGES or not platform:
        return None
    manifest = read_manifest(folder)
    nbytes = manifest.nbytes if manifest else 0
    known: Flavour = "tensorrt_rtx" if flavour == "tensorrt_rtx" else "tensorrt"
    return Provisioned(known, version, python, platform, folder, nbytes, _damage_in(folder))


class _only_one:  # noqa: N801 - reads as a statement
    """Hold a lock file among all processes; reports when another one has it."""

    def __init__(self, path: Path, what: str, say: Progress) -> None:
        from filelock import FileLock

        self._lock, self._what, self._say = FileLock(path), what, say

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._say(f"waiting for another process that is installing {self._what}")
            self._lock.acquire(poll_interval=_LOCK_POLL_SECONDS)

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _disk_trouble(error: OSError, root: Path) -> ToolchainError:
    if is_disk_full(error):
        return ToolchainError(
            Code.DISK_FULL,
            f"no space left for a toolchain in {root}",
            "free some space, or set TRTPIPE_TOOLCHAINS to a directory with room (about 1 GiB each)",
        )
    said = (error.strerror or str(error)).lower()
    return ToolchainError(
        Code.CANNOT_WRITE,
        f"{error.filename or root}: {said}",
        "set TRTPIPE_TOOLCHAINS to a directory you can write",
    )


def _cache_directory() -> Path:
    """The user's cache directory, by each system's own convention."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _interpreter_tag() -> str:
    short = "cp" if sys.implementation.name == "cpython" else sys.implementation.name
    return f"{short}{sys.version_info.major}{sys.version_info.minor}"


def _platform_tag() -> str:
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _size_of(folder: Path) -> int:
    return sum(one.lstat().st_size for one in folder.rglob("*") if one.is_file())


def _silent(text: str) -> None:
    """Ignore a line of progress."""
