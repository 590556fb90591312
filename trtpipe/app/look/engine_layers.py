"""An engine's layers from TensorRT's inspector, if a GPU of this machine runs the engine; otherwise the reason.

An engine is a program: it is deserialized only if the manifest beside it or the project's lockfile vouches for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from trtpipe.errors import Problem, TrtpipeError
from trtpipe.files import temporary_folder
from trtpipe.inspection.engine_files import read_json
from trtpipe.runners.inference.delivered import DeliveredEngine, delivered_engine
from trtpipe.runners.inference.requests import HowToRun
from trtpipe.runners.inference.run import run_engine
from trtpipe.runners.inference.trust import vouched_by_lock
from trtpipe.spec.pipeline import ToolchainSpec
from trtpipe.targets.capabilities import runnable_here
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import TITLES, Toolchain

_SECONDS = 300.0
_SM = re.compile(r"sm\d{2,3}")


def engine_layers(path: Path) -> list[dict[str, str]] | str:
    """The layers (`name`, `type`, `outputs`), or a sentence that begins with `not run:`."""
    try:
        return _layers_of(delivered_engine(path, vouched=_vouched()))
    except TrtpipeError as error:
        return f"not run: {error.problems[0].fact}"


def _vouched() -> frozenset[str]:
    from trtpipe.loader.project import LOCK_FILE, find_root

    return vouched_by_lock(find_root(Path.cwd()) / LOCK_FILE)


def _layers_of(delivered: DeliveredEngine) -> list[dict[str, str]] | str:
    from trtpipe.toolchains.detect import detect_gpus

    wanted = _capabilities(delivered.built_for.compute_capabilities)
    reason = runnable_here(wanted, [gpu.compute_capability for gpu in detect_gpus()]) if wanted else ""
    if reason:
        return f"not run: {reason}"
    toolchain = _toolchain(delivered)
    if isinstance(toolchain, str):
        return toolchain
    how = HowToRun(built_for=delivered.built_for, time_limit=_SECONDS)
    with temporary_folder("layers") as folder:
        found = run_engine(toolchain, delivered.engine, (), how, Path(folder))
        if found.layers is None:
            return "not told by TensorRT's inspector"
        return _shown(read_json(found.layers))


def _capabilities(names: tuple[str, ...]) -> list[ComputeCapability]:
    """The well-formed compute capabilities among these values; a manifest may contain anything."""
    return [ComputeCapability.parse(name) for name in names if _SM.fullmatch(name)]


def _toolchain(delivered: DeliveredEngine) -> Toolchain | str:
    from trtpipe.targets.toolchain import install_line
    from trtpipe.toolchains.resolve import locate_toolchain

    flavour, version = delivered.flavour, delivered.built_for.version
    found = locate_toolchain(None, ToolchainSpec(flavour=flavour, version=version))
    if isinstance(found, Problem):
        return f"not run: {found.fact}"
    if not found.ready:
        return f"not run: needs {TITLES[flavour]} {version} ({install_line(flavour, version)})"
    return found


def _shown(told: object) -> list[dict[str, str]]:
    """The inspector's layers: objects, or only names if the build kept no more."""
    layers = told.get("Layers", []) if isinstance(told, Mapping) else told
    return [_layer(one) for one in layers] if isinstance(layers, list) else []


def _layer(one: object) -> dict[str, str]:
    if not isinstance(one, Mapping):
        return {"name": str(one), "type": "", "outputs": ""}
    outputs = one.get("Outputs")
    texts = [
        " ".join(str(out.get(key, "")) for key in ("Name", "Format/Datatype", "Dimensions"))
        for out in (outputs if isinstance(outputs, list) else [])
        if isinstance(out, Mapping)
    ]
    return {
        "name": str(one.get("Name", "")),
        "type": str(one.get("LayerType", "")),
        "outputs": "; ".join(texts),
    }
