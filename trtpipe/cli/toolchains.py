"""`trtpipe toolchain ls|install|remove`."""

from __future__ import annotations

from typing import get_args

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import Problem, SpecError, ToolchainError
from trtpipe.rendering.tables import render_table
from trtpipe.spec.pipeline import Flavour, ToolchainSpec
from trtpipe.targets.capabilities import capabilities_of
from trtpipe.targets.toolchain import Toolchain


def list_command(*, as_json: bool) -> int:
    """Print the toolchains that are installed beside trtpipe or provisioned."""
    from trtpipe.toolchains.installed import installed_toolchain
    from trtpipe.toolchains.provision import list_provisioned

    here = [found for flavour in get_args(Flavour) if (found := installed_toolchain(flavour)) is not None]
    rows = [(_name(one), "installed", one) for one in here]
    rows += [(_name(one), "provisioned", one) for one in list_provisioned()]
    if as_json:
        say_json(
            [
                {"name": name, "origin": origin, **one.facts(), "builds_for": _builds_for(one)}
                for name, origin, one in rows
            ]
        )
    elif rows:
        table = [(name, origin, one.facts()["python"], " ".join(_builds_for(one))) for name, origin, one in rows]
        say(render_table(("toolchain", "origin", "python", "builds for"), table))
    else:
        say("no toolchain: install one with `trtpipe toolchain install VERSION`")
    return EXIT_DONE


def install_command(flavour: str, version: str) -> int:
    """Provision a toolchain."""
    from trtpipe.toolchains.resolve import locate_toolchain, ready_toolchain

    if flavour not in get_args(Flavour):
        raise SpecError(f"unknown flavour {flavour!r}", f"the flavours are {', '.join(get_args(Flavour))}")
    spec = ToolchainSpec.model_validate({"flavour": flavour, "version": version})
    found = locate_toolchain(None, spec)
    if isinstance(found, Problem):
        raise ToolchainError(Problem(found.fact, found.remedy))
    ready = ready_toolchain(found, offline=False, progress=note)
    say(f"{_name(ready)} is ready")
    return EXIT_DONE


def remove_command(name: str) -> int:
    """Remove a provisioned toolchain."""
    from trtpipe.toolchains.provision import list_provisioned, remove

    known = {_name(one): one for one in list_provisioned()}
    if name not in known:
        listed = ", ".join(known) or "none"
        raise ToolchainError(f"no provisioned toolchain {name!r}", f"the provisioned ones are: {listed}")
    remove(known[name])
    say(f"removed {name}")
    return EXIT_DONE


def _name(toolchain: Toolchain) -> str:
    return f"{toolchain.flavour}-{toolchain.version}"


def _builds_for(toolchain: Toolchain) -> list[str]:
    return [one.sm for one in capabilities_of(toolchain.flavour, toolchain.version)]
