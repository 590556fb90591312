"""Has TensorRT parse a model and write the resulting network to files, which `networks/` reads.

The worker is started as for a build (`launch.py`), with the same limits and errors, but builds nothing and gets no GPU
name, because the network is the same for all GPUs. The flavour tensorrt still needs a GPU, because its builder cannot
be created without one.

TensorRT's binding hands weights out as NumPy arrays. A provisioned toolchain has no NumPy, so the interpreter's is
appended to the import path; if the interpreter has none, the network's weights cannot be read.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from trtpipe.errors import StepFailed
from trtpipe.json_values import JsonObject
from trtpipe.launcher.children import run_to_end
from trtpipe.launcher.environment import environment_of
from trtpipe.networks.reader import NETWORK, WEIGHTS
from trtpipe.plan.worker_messages import WorkerMessage
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import BuilderSpec
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.engine_worker.launch import run_worker
from trtpipe.toolchains.engine_worker.request import MODEL, UNTIMED, WorkerRequest, compatibility_of
from trtpipe.toolchains.engine_worker.watch import Supervision

_NAME = "network"
"""A constant: the network of a model is the same whoever asks."""
_FIND_NUMPY = (
    "import importlib.util, os; found = importlib.util.find_spec('numpy');"
    "print(os.path.dirname(os.path.dirname(found.origin)) if found else '')"
)
_FIND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ParsedFiles:
    """The files and facts that parsing a model yields."""

    network: Path
    """parsed.json."""
    weights: Path
    """parsed.weights."""
    facts: JsonObject
    """The worker's result: seconds, inputs and outputs, layers by type; `read` counts layers and those unread."""


def parse_network(
    toolchain: Toolchain,
    model: Path,
    folder: Path,
    *,
    plugins: Iterable[Path] = (),
    limits: BuilderSpec | None = None,
    supervision: Supervision[WorkerMessage] | None = None,
) -> ParsedFiles:
    """The network that TensorRT makes of a model, as two files in `folder`; `limits` are those of a build.

    The toolchain must be ready. A model in another folder is linked into this one with its external data. Raises
    ModelError, StepFailed when TensorRT fails or crashes, ToolchainError when it cannot start, Interrupted.
    """
    _place(model, folder)
    request = WorkerRequest(
        action="parse",
        flavour=toolchain.flavour,
        site=(*toolchain.site, *numpy_of(toolchain.python)),
        network_name=_NAME,
        compute_capabilities=(),
        profiles=(),
        builder=limits or BuilderSpec(),
        compatibility=compatibility_of({}),
        plugins=tuple(map(str, plugins)),
        timing=UNTIMED,
    )
    result = run_worker(toolchain.python, request, folder, supervision or Supervision())
    return ParsedFiles(folder / NETWORK, folder / WEIGHTS, result.facts)


def _place(model: Path, folder: Path) -> None:
    """Put the model and its external data into the folder under the names that TensorRT expects."""
    from trtpipe.canonical.reader import external_locations

    if model.resolve() == (folder / MODEL).resolve():
        return
    places = {model: folder / MODEL}
    for name in external_locations(model):
        if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise StepFailed(Code.PARSE_FAILED, f"'{model}' keeps weights outside its folder, in '{name}'")
        places[model.parent / name] = folder / name
    for source, place in places.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.hardlink_to(source.resolve())
        except OSError:  # the folder is on another file system, or on one without hard links
            shutil.copyfile(source, place)


def numpy_of(python: Sequence[str]) -> tuple[str, ...]:
    """The directory in which an interpreter has NumPy; empty when it has none, or does not answer."""
    if tuple(python) == (sys.executable,):
        found = importlib.util.find_spec("numpy")
        return (str(Path(found.origin).parents[1]),) if found and found.origin else ()
    try:
        command = [*python, "-I", "-c", _FIND_NUMPY]
        done = run_to_end(command, environment_of("engine"), seconds=_FIND_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return ()
    place = done.stdout.decode(errors="replace").strip()
    return (place,) if place else ()
