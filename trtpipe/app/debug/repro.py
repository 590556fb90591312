"""`debug repro`: writes a failed step as a directory in which one command fails in the same way elsewhere.

For an engine that cannot be built the directory holds a model, a request and the worker: neither trtpipe nor the
project is needed. For any other step it holds the task and its input files, run by `run.py` where trtpipe is installed.
Nothing in the directory names paths of this machine, its user or its environment variables.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from trtpipe import __version__
from trtpipe.building.performer import request_of
from trtpipe.checks.cell_steps import CellSteps, Failing
from trtpipe.errors import Problem, SpecError, TrtpipeError
from trtpipe.json_values import Malformed, read_object
from trtpipe.plan.graph import Action
from trtpipe.plan.task import Task
from trtpipe.problem_codes import Code
from trtpipe.workspace.project_code import require_libraries

if TYPE_CHECKING:
    from trtpipe.toolchains.engine_worker.request import WorkerRequest

NO_PROCESS = {
    "fetch": "fetching depends on servers, not on files",
    "parse": "errors of TensorRT's parser also occur when the engine is built",
    "search": "a search consists of many other steps",
}
_COMMANDS = {"build_engine": "python worker.py request.json"}
_RUN = '''\
"""Runs the step in task.json again: `python run.py`, by a Python that has trtpipe."""

import os
import sys
from pathlib import Path

from trtpipe.app.debug.repro import replay

os.chdir(Path(__file__).resolve().parent)
sys.exit(replay())
'''


@dataclass(frozen=True)
class Reproduction:
    """What was written."""

    folder: Path
    stage: str
    command: str
    failure: tuple[str, ...]
    random_weights: int | None = None
    files: tuple[str, ...] = ()
    total_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The reproduction as a JSON object."""
        return {
            "directory": str(self.folder),
            "stage": self.stage,
            "command": self.command,
            "failure": list(self.failure),
            "random_weights": self.random_weights,
            "files": list(self.files),
            "bytes": self.total_bytes,
        }


def require_new_directory(folder: Path) -> None:
    """Raises SpecError unless the directory is empty or can be created; called before any other work."""
    try:
        if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
            raise SpecError(
                Code.EXISTS_ALREADY, f"'{folder}' exists already", "name a new directory with --output"
            )
        partial = _partial(folder)
        partial.mkdir(parents=True)
        partial.rmdir()
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write '{folder}': {(error.strerror or str(error)).lower()}"
        ) from error


def write_reproduction(
    steps: CellSteps, action: Action, failing: Failing | None, folder: Path, *, random_weights: bool = False
) -> Reproduction:
    """Writes the directory, completely or not at all. Raises SpecError, StoreError or ToolchainError."""
    stage = action.stage
    if stage in NO_PROCESS:
        fact = f"a {stage} step cannot be written as a reproduction"
        raise SpecError(Problem(Code.NOT_REPRODUCIBLE, fact, details=NO_PROCESS[stage]))
    if random_weights and stage != "build_engine":
        fact = f"--random-weights is for an engine's model, and the step is {stage}"
        raise SpecError(
            Code.NOT_REPRODUCIBLE, fact, "leave it out, or check what the step reads before you share it"
        )
    said = failing.error.problems if failing else ()
    failure = tuple(dict.fromkeys(_portable(steps, str(one)) for one in said))
    command = _COMMANDS.get(stage, "python run.py")
    with new_directory(folder) as partial:
        randomized = _write(steps, action, partial, random_weights)
        write_environment(steps, action, partial, failure)
        weights = ""
        if randomized is not None:
            weights = f"The weights are random: {randomized} tensors have only the shapes of the original."
        (partial / "README.md").write_text(readme_of(steps, action, command, failure, weights))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    names = tuple(path.relative_to(folder).as_posix() for path in files)
    return Reproduction(folder, stage, command, failure, randomized, names, size)


@contextmanager
def new_directory(folder: Path) -> Iterator[Path]:
    """A temporary directory to fill, renamed when it is complete. Raises SpecError."""
    require_new_directory(folder)
    partial = _partial(folder)
    try:
        partial.mkdir(parents=True)
        yield partial
        with suppress(FileNotFoundError):
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write '{folder}': {(error.strerror or str(error)).lower()}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(folder: Path) -> Path:
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.{os.getpid()}.partial")


def replay() -> int:
    """Runs the task of the working directory and prints the result; returns the exit code of the step."""
    from trtpipe.stages.bodies import BODIES

    try:
        task = read_task(Path("task.json"))
    except TrtpipeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    shutil.rmtree(task.out, ignore_errors=True)
    task.out.mkdir()
    try:
        made = BODIES[task.stage](task)
    except TrtpipeError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"the {task.stage} step made {', '.join(made.files)}\n")
    return 0


def read_task(path: Path) -> Task:
    """The task in a file that was written for somebody else. Raises SpecError when it is damaged or missing."""
    from trtpipe.stages.bodies import BODIES

    try:
        task = Task.from_json(read_object(path.read_bytes()))
    except (OSError, Malformed) as error:
        raise SpecError(
            Code.RECORD_DAMAGED, f"'{path}' is damaged or missing: {error}", "copy the whole directory again"
        ) from error
    if task.stage not in BODIES:
        raise SpecError(
            Code.RECORD_DAMAGED,
            f"'{path}' names no stage of trtpipe: {task.stage!r}",
            "use the trtpipe that wrote it",
        )
    return task


def _write(steps: CellSteps, action: Action, folder: Path, random_weights: bool) -> int | None:
    """Writes the step's files; returns how many tensors were replaced by random ones, None if not requested."""
    if action.stage == "build_engine":
        return _write_engine_step(steps, action, folder, random_weights)
    inputs = _copied_inputs(steps, action, folder)
    local = {**steps.steps.performer.local_of(action), "root": ".", "reach": []}
    local |= {"events": "events", "progress": "counted"}
    task = Task(action.stage, action.fingerprint.options, inputs, Path("out"), local)
    (folder / "task.json").write_text(json.dumps(task.to_json(), indent=1) + "\n")
    (folder / "run.py").write_text(_RUN)
    return None


def _write_engine_step(steps: CellSteps, action: Action, folder: Path, random_weights: bool) -> int | None:
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.canonical.writer import write_model
    from trtpipe.reduction.random_weights import randomize_weights

    store = steps.steps.store
    at = steps.scratch / "reproduced" if random_weights else folder
    for name, digest in action.fingerprint.inputs["model"].items():
        store.fetch(digest, at / name, link=False)
    randomized = None
    if random_weights:
        model = read_skeleton(at / "model.onnx").proto
        randomized = randomize_weights(model)
        write_model(model, folder / "model.onnx")
    write_request(folder, portable_request(steps, action))
    return randomized


def plugins_of(steps: CellSteps, action: Action) -> list[Path]:
    """The plugin libraries of an engine's action, as files of this machine."""
    found = steps.steps.inputs_of(action, steps.scratch / "libraries").get("plugins", {})
    return list(require_libraries(found).values())


def portable_request(steps: CellSteps, action: Action) -> WorkerRequest:
    """An engine step's request for an interpreter that has TensorRT installed. Raises ToolchainError."""
    from trtpipe.toolchains.resolve import ready_toolchain

    toolchain = ready_toolchain(steps.planned.here().toolchain(action))
    return replace(request_of(action, toolchain, plugins_of(steps, action)), site=())


def write_request(folder: Path, request: WorkerRequest) -> None:
    """`request.json`, the plugins and the worker. Raises OSError."""
    from trtpipe.toolchains.engine_worker.launch import WORKER

    libraries = [Path(path) for path in request.plugins]
    for path in libraries:
        (folder / "plugins").mkdir(exist_ok=True)
        shutil.copy(path, folder / "plugins" / path.name)
    portable = replace(request, plugins=tuple(f"plugins/{path.name}" for path in libraries))
    (folder / "request.json").write_text(json.dumps(portable.to_json(), indent=1) + "\n")
    shutil.copy(WORKER, folder / "worker.py")


def _copied_inputs(steps: CellSteps, action: Action, folder: Path) -> dict[str, dict[str, Path]]:
    """The step's files in `in/SLOT/`, with their relative paths, because models refer to files beside them."""
    found = steps.steps.inputs_of(action, steps.scratch / "reproduced")
    own = steps.planned.here().sources(action)
    inputs: dict[str, dict[str, Path]] = {}
    for slot, files in found.items():
        here = own.get(slot, {})
        sources = {name: path for name, path in files.items() if name in here}
        base = _base([path.resolve() for path in sources.values()], steps.planned.workspace.root.resolve())
        inputs[slot] = {}
        for number, (name, path) in enumerate(files.items()):
            inside = _inside(path.resolve(), base) if name in sources else PurePath(name)
            place = Path("in") / slot / (inside or PurePath("elsewhere", str(number), path.name))
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, folder / place)
            else:
                shutil.copy(path, folder / place)
            inputs[slot][name] = place
    return inputs


def _base(paths: Sequence[Path], root: Path) -> Path | None:
    """The folder that a slot's files are relative to: the common one of all, or that of the first."""
    if not paths:
        return None
    if all(path.is_relative_to(root) for path in paths):
        return Path(os.path.commonpath([path.parent for path in paths]))
    return paths[0].parent


def _inside(path: Path, base: Path | None) -> PurePath | None:
    return path.relative_to(base) if base is not None and path.is_relative_to(base) else None


def _portable(steps: CellSteps, text: str) -> str:
    """The message with this machine's paths removed."""
    known = [(str(steps.scratch), "."), (str(steps.planned.workspace.root), ".")]
    with suppress(RuntimeError):
        known.append((str(Path.home()), "~"))
    for path, short in known:
        if len(path) > 1:
            text = text.replace(path, short)
    return text


def write_environment(steps: CellSteps, action: Action, folder: Path, failure: Sequence[str]) -> None:
    """`environment.json`: versions, GPUs and the failure."""
    libc = " ".join(platform.libc_ver())
    facts = {
        "stage": action.stage,
        "trtpipe": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}" + (f", {libc}" if libc.strip() else ""),
        "tools": action.fingerprint.tools,
        "target": {name: steps.cell.facts[name] for name in ("gpu", "compute_capabilities")},
        "gpus": [f"{gpu.name} ({gpu.compute_capability})" for gpu in steps.planned.targets.here()],
        "failure": list(failure),
    }
    (folder / "environment.json").write_text(json.dumps(facts, indent=1, default=str) + "\n")


def readme_of(steps: CellSteps, action: Action, command: str, failure: Sequence[str], more: str) -> str:
    """The text of the directory's README."""
    happens = "\n".join(f"    {line}" for one in failure for line in one.splitlines())
    what = f"It fails with\n\n{happens}\n" if failure else "It did not fail where this was written.\n"
    about = f"# A {action.stage} step of trtpipe {__version__}\n\n    {command}\n\n"
    said = f"\n{more}\n" if more else ""
    return f"{about}{what}{said}\n{_needs(steps, action)}\n`environment.json` says where it was written.\n"


def _needs(steps: CellSteps, action: Action) -> str:
    if action.stage != "build_engine":
        packages = ", ".join(f"{name} {version}" for name, version in action.fingerprint.tools.items())
        return f"It needs a Python with trtpipe {__version__} ({packages or 'its own packages'}) and nothing else.\n"
    from trtpipe.toolchains.lookup import PACKAGES

    toolchain = steps.planned.here().toolchain(action)
    package = PACKAGES[toolchain.flavour][0].replace("_", "-")
    return (
        f"It needs a Python with {toolchain.flavour} {toolchain.version} and nothing else:\n\n"
        f"    python -m venv venv && venv/bin/pip install {package}=={toolchain.version}\n"
        f"    venv/bin/{_COMMANDS['build_engine']}\n\n"
        "It prints one JSON object a line; the last says `ok`, the one before it what went wrong.\n"
        "`request.json` is what was asked for, described at FIELDS in `worker.py`.\n"
    )


def unknown_stage(steps: CellSteps, stage: str) -> SpecError:
    """The error for a stage of which the cell has no step."""
    from difflib import get_close_matches

    near = get_close_matches(stage, steps.cell.steps, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else "its stages are " + ", ".join(steps.cell.steps)
    return SpecError(Problem(Code.NO_SUCH_STEP, f"{steps.cell.name} has no stage {stage!r}", remedy))
