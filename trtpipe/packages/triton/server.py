"""How Triton must be started for a repository: what no `config.pbtxt` can say.

Pure data. The paths are those of a container into which the user mounts the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOUNT, PLUGINS = "/models", "/plugins"


@dataclass(frozen=True, slots=True)
class Needs:
    """What the server needs besides the repository."""

    plugins: tuple[str, ...] = ()
    """File names of plugin libraries, which are not in the package."""
    version_compatible: bool = False
    load: tuple[str, ...] = ()
    """The models to load, when others are for other GPUs of the same compute capability; none: all of them."""


def start_lines(needs: Needs) -> list[str]:
    """The command that starts the server, one argument on each line after the first."""
    found = [
        f"tritonserver --model-repository={MOUNT}",
        # the configuration is complete, and completing it would need an engine that this GPU can load
        "--disable-auto-complete-config",
    ]
    if needs.plugins:
        libraries = ";".join(f"{PLUGINS}/{name}" for name in needs.plugins)
        found.append(f"'--backend-config=tensorrt,plugins={libraries}'")
    if needs.version_compatible:
        found.append("--backend-config=tensorrt,version-compatible=true")
    if needs.load:
        found += ["--model-control-mode=explicit", *(f"--load-model={name}" for name in needs.load)]
    return found


def notes_of(needs: Needs, sharing: Sequence[Sequence[str]] = ()) -> list[str]:
    """What a person must know before starting the server, one sentence each."""
    found = []
    if needs.plugins:
        names = ", ".join(needs.plugins)
        found.append(f"mount {names} at {PLUGINS}, or name them in LD_PRELOAD: they are not packaged")
    if needs.version_compatible:
        found.append(
            "version-compatible engines bring code of their own that the server runs: trust who built them"
        )
    found += [
        f"load one of {', '.join(models)}: they are for different GPUs of one compute capability"
        for models in sharing
    ]
    return found
