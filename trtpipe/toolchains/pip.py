"""Installs TensorRT's packages into a directory with pip, or uv if there is no pip, and explains their failures.

The package index is the one that the user configured; none is named here.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, ToolchainError
from trtpipe.json_values import JsonObject, Malformed, object_in, objects_in, read_object, text_in
from trtpipe.launcher.children import run_to_end
from trtpipe.launcher.environment import installer_environment
from trtpipe.problem_codes import Code
from trtpipe.toolchains.lookup import PACKAGES
from trtpipe.toolchains.wheel_lock import LOCK_FILE, Wheels, parts_of, required_hashes

if TYPE_CHECKING:
    from trtpipe.targets.toolchain import Flavour

_NOT_THERE = re.compile(
    r"no matching distribution|could not find a version|no solution found|because there is no version", re.I
)
_VERSIONS = re.compile(r"\(from versions: (?P<versions>[^)]*)\)")
_NO_SPACE = re.compile(r"no space left|errno 28|disk quota", re.I)
_NO_NETWORK = re.compile(
    r"name resolution|newconnectionerror|connection (?:refused|reset|broken|aborted)|timed? ?out|max retries|proxyerror"
    r"|network is unreachable|error sending request|dns error|could not fetch url|sslerror|failed to fetch",
    re.I,
)
_OTHER_HASHES = re.compile(r"do(?:es)? not match the hash|hash mismatch", re.I)
_LOG_LINES = 20
_ELSEWHERE = "give the toolchain a `python:`, an interpreter that already has it"


def install_packages(
    flavour: Flavour, version: str, folder: Path, say: Callable[[str], None], known: Wheels | None = None
) -> list[dict[str, str]]:
    """Install a flavour's packages of one version into a folder: name, version, file and sha256 of each wheel.

    The CUDA 13 packages are tried before the CUDA 12 ones. If `known` has wheels for this machine, the installer
    uses only those. Raises ToolchainError.
    """
    said = ""
    for package in PACKAGES[flavour][:2]:
        requirements = _requirements(flavour, package, version)
        say(f"installing {requirements[0]} (100 MB and more)")
        names = [one.partition("==")[0] for one in requirements]
        done, report = _run(requirements, folder, required_hashes(known or {}, names))
        if done.returncode == 0:
            return _wheels(report)
        said = (done.stderr + done.stdout).decode(errors="replace")
        if (
            _OTHER_HASHES.search(said)
            or _NO_SPACE.search(said)
            or _NO_NETWORK.search(said)
            or not _NOT_THERE.search(said)
        ):
            break
    raise _refusal(flavour, version, said)


def find_installer() -> list[str] | None:
    """The command that starts pip, or uv's pip; None when there is neither."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    uv = shutil.which("uv")
    return [uv, "pip"] if uv else None


def _requirements(flavour: Flavour, package: str, version: str) -> list[str]:
    """The package itself and, for RTX, its parts by name, so that pip does not choose their versions."""
    parts = ("", "_bindings", "_libs") if flavour == "tensorrt_rtx" else ("",)
    return [f"{(package + part).replace('_', '-')}=={version}" for part in parts]


def _run(
    requirements: list[str], folder: Path, hashed: list[str]
) -> tuple[subprocess.CompletedProcess[bytes], Path | None]:
    """One installation, of the `hashed` requirements where there are any.

    pip's report is in the same folder until it has been read.
    """
    installer = find_installer()
    if installer is None:
        raise ToolchainError(
            Code.INSTALL_FAILED,
            f"{sys.executable} has no pip, and there is no uv",
            "install pip or uv, or give the toolchain a `python:` that has TensorRT",
        )
    command = [*installer, "install", "--target", str(folder), *_only_wheels(requirements)]
    listed = folder / ".requirements.txt"  # pip accepts hashes only in a requirements file
    if hashed:
        listed.write_text("\n".join(hashed) + "\n")
        command += ["--require-hashes", "--requirement", str(listed)]
    else:
        command += requirements
    report = None
    if Path(installer[0]).stem != "uv":
        report = folder / ".report.json"
        # Without bytecode: it would name the temporary directory.
        command += ["--report", str(report), "--no-input", "--progress-bar", "off", "--retries", "2"]
        command += ["--no-compile"]
    else:
        command += ["--python", sys.executable]
    # In that folder and not the project's, whose files are no modules of pip's.
    done = run_to_end(command, installer_environment(), folder)
    listed.unlink(missing_ok=True)
    return done, report


def _only_wheels(requirements: list[str]) -> list[str]:
    """Allows only wheels, except for the package itself, which NVIDIA publishes as a source distribution."""
    package = requirements[0].partition("==")[0]
    return [word for name in sorted(parts_of(package)) for word in ("--only-binary", name)]


def _wheels(report: Path | None) -> list[dict[str, str]]:
    """The wheels in pip's report; empty if the installer writes no report."""
    if report is None:
        return []
    try:
        record = read_object(report.read_bytes())
        found = [_wheel(one) for one in objects_in(record, "install")]
    except (OSError, Malformed) as error:
        fact = f"the installer's report, {report.name}, is not as pip writes it: {error}"
        raise ToolchainError(
            Code.INSTALL_FAILED, fact, "update pip: `python -m pip install --upgrade pip`"
        ) from error
    report.unlink()
    return sorted(found, key=lambda one: one["name"])


def _wheel(entry: JsonObject) -> dict[str, str]:
    """Raises Malformed."""
    about, download = object_in(entry, "metadata"), object_in(entry, "download_info")
    archive = object_in(download, "archive_info") if "archive_info" in download else {}
    hashes = object_in(archive, "hashes") if "hashes" in archive else {}
    legacy = str(archive.get("hash", "")).removeprefix("sha256=")
    return {
        "name": text_in(about, "name"),
        "version": text_in(about, "version"),
        "file": text_in(download, "url").rpartition("/")[2],
        "sha256": text_in(hashes, "sha256") if "sha256" in hashes else legacy,
    }


def _refusal(flavour: Flavour, version: str, said: str) -> ToolchainError:
    """The explanation of the installer's output: the first one that matches, the most certain ones first."""
    what = f"{flavour} {version}"
    if _OTHER_HASHES.search(said):
        return ToolchainError(
            Code.OTHER_PACKAGES,
            f"the packages of {what} are not those that {LOCK_FILE} names",
            "the index, a proxy or a cache serves other bytes than before: do not install them; if they were published "
            f"anew, take the lines of {flavour}-{version} out of that file",
        )
    if _NO_SPACE.search(said):
        return ToolchainError(
            Code.DISK_FULL,
            f"no space left while installing {what}",
            "free some space, or set TRTPIPE_TOOLCHAINS to a directory with room (about 1 GiB each)",
        )
    if _NO_NETWORK.search(said):
        index = "NVIDIA's package index" if flavour == "tensorrt" else "the package index"
        return ToolchainError(
            Code.INDEX_UNREACHABLE,
            f"{index} cannot be reached for {what}",
            "check the network and pip's configuration, or give the toolchain a `python:` that has it",
        )
    if _NOT_THERE.search(said):
        return ToolchainError(
            Code.NO_PACKAGES, f"there are no packages of {what} for this interpreter", _choices(said)
        )
    last = "\n".join(["the end of the installer's output:", *said.strip().splitlines()[-_LOG_LINES:]])
    fact = f"{what} could not be installed"
    return ToolchainError(Problem(Code.INSTALL_FAILED, fact, _ELSEWHERE, details=last))


def _choices(said: str) -> str:
    lists = [match["versions"] for match in _VERSIONS.finditer(said)]
    versions = next((one for one in lists if one.strip() not in ("", "none")), "")
    return f"there are: {versions}; or {_ELSEWHERE}" if versions else _ELSEWHERE
