"""`trtpipe toolchain ls|install|remove`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import Problem, SpecError, ToolchainError
from trtpipe.rendering.tables import render_table
from trtpipe.shapes import format_size
from trtpipe.spec.pipeline import Flavour, ToolchainSpec
from trtpipe.targets.capabilities import capabilities_of

if TYPE_CHECKING:
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.toolchains.provision import Provisioned


def list_command(*, as_json: bool) -> int:
    """Print the toolchains that are installed beside trtpipe or provisioned."""
    from trtpipe.toolchains.installed import installed_toolchain
    from trtpipe.toolchains.provision import list_provisioned

    rows: list[tuple[str, str, str, Any]] = [
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


def install_command(flavour: str, version: str) -> int:
    """Provision a toolchain."""
    from trtpipe.toolchains.resolve import locate_toolchain, ready_toolchain

    if flavour not in get_args(Flavour):
        raise SpecError(f"unknown flavour {flavour!r}", f"the flavours are {', '.join(get_args(Flavour))}")
    try:
        spec = ToolchainSpec.model_validate({"flavour": flavour, "version": version})
    except ValidationError as error:
        remedy = "write all of it, such as '1.7.1.116', or a prefix such as '11.4.*'"
        raise SpecError(f"not a version: {version!r}", remedy) from error
    found = locate_toolchain(None, spec)
    if isinstance(found, Problem):
        raise ToolchainError(Problem(found.fact, found.remedy))
    ready = ready_toolchain(found, offline=False, progress=note)
    say(f"{_name(ready.flavour, ready.version)} is ready")
    return EXIT_DONE


def remove_command(name: str) -> int:
    """Remove a provisioned toolchain."""
    from trtpipe.toolchains.provision import list_provisioned, remove

    known = {_name(one.flavour, one.version): one for one in list_provisioned()}
    if name not in known:
        listed = ", ".join(known) or "none"
        raise ToolchainError(f"no provisioned toolchain {name!r}", f"the provisioned ones are: {listed}")
    freed = remove(known[name].flavour, known[name].version)
    say(f"removed {name}, {format_size(freed)}")
    return EXIT_DONE


def _name(flavour: str, version: str) -> str:
    return f"{flavour}-{version}"


def _builds_for(toolchain: Toolchain | Provisioned) -> list[str]:
    return [one.sm for one in capabilities_of(toolchain.flavour, toolchain.version)]
