"""`trtpipe toolchain ls|install|remove|verify`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say, say_json
from trtpipe.errors import Problem, SpecError, ToolchainError
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.pipeline import Flavour, ToolchainSpec
from trtpipe.targets.capabilities import capabilities_of
from trtpipe.text.tables import render_table

if TYPE_CHECKING:
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.toolchains.provision import Provisioned
    from trtpipe.toolchains.verification import Verdict
    from trtpipe.toolchains.wheel_lock import WheelLock


def list_command(*, as_json: bool) -> int:
    """Print the toolchains that are installed beside trtpipe or provisioned."""
    from trtpipe.toolchains.installed import installed_toolchain
    from trtpipe.toolchains.provision import list_provisioned

    rows: list[tuple[str, str, str, Toolchain | Provisioned]] = [
        (_name(one.flavour, one.version), "installed", one.python_version, one)
        for flavour in get_args(Flavour)
        if (one := installed_toolchain(flavour)) is not None
    ]
    rows += [
        (_name(one.flavour, one.version), one.damaged or "provisioned", one.python, one)
        for one in list_provisioned()
    ]
    table = [(name, origin, python, " ".join(_builds_for(one))) for name, origin, python, one in rows]
    header = ("toolchain", "origin", "python", "builds_for")
    if as_json:
        say_json([dict(zip(header, row, strict=True)) for row in table])
    elif table:
        say(render_table(tuple(name.replace("_", " ") for name in header), table))
    else:
        say("no toolchain: install one with `trtpipe toolchain install VERSION`")
    return EXIT_DONE


def install_command(flavour: str, versions: Sequence[str]) -> int:
    """Provision toolchains, from the wheels that the project around the working directory knows."""
    from trtpipe.toolchains.resolve import ready_toolchain

    if flavour not in get_args(Flavour):
        raise SpecError(
            Code.UNKNOWN_VALUE,
            f"unknown flavour {flavour!r}",
            f"the flavours are {', '.join(get_args(Flavour))}",
        )
    lock = _wheel_lock()
    for found in [_located(flavour, version) for version in versions]:
        ready = ready_toolchain(
            found, offline=False, progress=note, lock=lock if lock.path.exists() else None
        )
        say(f"{_name(ready.flavour, ready.version)} is ready")
    return EXIT_DONE


def _located(flavour: str, version: str) -> Toolchain:
    from trtpipe.toolchains.resolve import locate_toolchain

    try:
        spec = ToolchainSpec.model_validate({"flavour": flavour, "version": version})
    except ValidationError as error:
        remedy = "write it in full, such as '1.7.1.116', or as a prefix such as '11.4.*'"
        raise SpecError(Code.BAD_ARGUMENT, f"not a version: {version!r}", remedy) from error
    found = locate_toolchain(None, spec)
    if isinstance(found, Problem):
        raise ToolchainError(Problem(found.code, found.fact, found.remedy))
    return found


def verify_command(names: Sequence[str], *, as_json: bool) -> int:
    """Hash toolchains. 1 when one differs from what was installed."""
    from trtpipe.toolchains.verification import verify

    known, lock = _known_toolchains(), _wheel_lock()
    unknown = [name for name in names if name not in known]
    if unknown:
        listed = ", ".join(known) or "none"
        raise ToolchainError(
            Code.NO_TOOLCHAIN, f"no toolchain {unknown[0]!r} is installed", f"there are: {listed}"
        )
    verdicts = []
    for name, found in known.items():
        for toolchain, damage in found if not names or name in names else ():
            note(f"reading {name}")
            verdicts.append(verify(toolchain, lock, damage))
            if not as_json:
                say("\n".join(_verdict_lines(verdicts[-1])))
    if as_json:
        say_json([one.to_json() for one in verdicts])
    return EXIT_FAILED if any(one.problems for one in verdicts) else EXIT_DONE


def _verdict_lines(one: Verdict) -> Iterator[str]:
    locked = f", {one.wheels} wheels as locked" if one.wheels else ""
    said = "CHANGED" if one.problems else f"{one.files} files as installed{locked}"
    yield f"{one.name} ({one.origin}): {said}"
    yield from (f"  {problem}" for problem in one.problems)


def _known_toolchains() -> dict[str, list[tuple[Toolchain, str]]]:
    """Installed and provisioned toolchains by name, with known damage; several with one name are all listed."""
    from trtpipe.toolchains.installed import installed_toolchain
    from trtpipe.toolchains.provision import list_provisioned, provisioned_toolchain

    found: dict[str, list[tuple[Toolchain, str]]] = {}
    for flavour in get_args(Flavour):
        if (installed := installed_toolchain(flavour)) is not None:
            found.setdefault(_name(flavour, installed.version), []).append((installed, ""))
    for one in list_provisioned():
        found.setdefault(_name(one.flavour, one.version), []).append(
            (provisioned_toolchain(one), one.damaged)
        )
    return found


def _wheel_lock() -> WheelLock:
    from trtpipe.loader.project import find_root
    from trtpipe.toolchains.wheel_lock import LOCK_FILE, WheelLock

    return WheelLock(find_root(Path.cwd()) / LOCK_FILE)


def remove_command(name: str) -> int:
    """Remove a provisioned toolchain."""
    from trtpipe.toolchains.provision import list_provisioned, remove

    known = {_name(one.flavour, one.version): one for one in list_provisioned()}
    if name not in known:
        listed = ", ".join(known) or "none"
        raise ToolchainError(
            Code.NO_TOOLCHAIN, f"no provisioned toolchain {name!r}", f"the provisioned ones are: {listed}"
        )
    freed = remove(known[name].flavour, known[name].version)
    say(f"removed {name}, {format_size(freed)}")
    return EXIT_DONE


def _name(flavour: str, version: str) -> str:
    return f"{flavour}-{version}"


def _builds_for(toolchain: Toolchain | Provisioned) -> list[str]:
    return [one.sm for one in capabilities_of(toolchain.flavour, toolchain.version)]
