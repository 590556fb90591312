"""A bundle's engines run as a whole, and compared with the recording of what the whole must give.

Without a driver each member runs all batches in one process, one member after the other. A driver calls members as it
likes, so each of its calls is a process of its own, and it runs itself in a stage's process (`run_engines`). Where an
engine runs (a GPU of this machine, or a fleet's) is the caller's affair. Measures; thresholds are applied elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.canonical.summary import TensorInfo, summarize
from trtpipe.errors import SpecError, StepFailed
from trtpipe.files import write_whole
from trtpipe.json_values import JsonObject, object_in, objects_in, text_in, texts_in
from trtpipe.plan.options import BundleOptions
from trtpipe.plan.task import MODEL, Task
from trtpipe.runners.bundles.driver import open_driver
from trtpipe.runners.bundles.members import InOrder, Member
from trtpipe.runners.bundles.whole import Compared
from trtpipe.runners.cpu.graphs import runnable_model
from trtpipe.runners.inference.delivered import DeliveredEngine, delivered_engine
from trtpipe.runners.inference.requests import EngineRun, HowToRun
from trtpipe.runners.inference.results import Inference
from trtpipe.runners.inference.run import run_engine
from trtpipe.runners.validation.recordings import RecordedRun
from trtpipe.runners.validation.references import read_golden
from trtpipe.runners.validation.validate_engine import Feed, GpuEngine, RunEngine, typed_inputs, widened
from trtpipe.targets.toolchain import FLAVOURS, Toolchain

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

SCHEMA = 1
PLACE = "data"


@dataclass(frozen=True)
class EngineRunner:
    """A member's engine, as a member runs it."""

    engine: GpuEngine
    infos: Sequence[TensorInfo]
    """The inputs of its typed model, which it has too."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Its inputs with their types."""
        return {info.name: info.dtype for info in self.infos}

    def infer_all(self, batches: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """The outputs for each batch, in one process."""
        feeds = [Feed(PLACE, typed_inputs(self.infos, one)) for one in batches]
        return [dict(outputs) for outputs in self.engine(feeds)]


def engine_runner(folder: Path, delivered: DeliveredEngine, run: RunEngine, scratch: Path) -> EngineRunner:
    """The engine in a cell's directory. Raises ModelError if its typed model cannot be read."""
    scratch.mkdir()
    infos = summarize(runnable_model(folder / MODEL).proto).inputs
    return EngineRunner(GpuEngine(delivered, scratch, run), infos)


def recorded_runs(
    golden: Path, options: BundleOptions, engines: Mapping[str, EngineRunner]
) -> list[RecordedRun]:
    """The recording, with the whole's free inputs. Raises StepFailed."""
    fed = {edge.to for edge in options.edges}
    every = (f"{member}.{name}" for member, one in engines.items() for name in one.inputs)
    return list(read_golden(golden, [name for name in every if name not in fed]))


def measure_in_order(
    options: BundleOptions, golden: Path, engines: Mapping[str, EngineRunner]
) -> dict[str, Json]:
    """The measurements of a bundle without a driver. Raises StepFailed for a recording that does not fit."""
    runs = recorded_runs(golden, options, engines)
    members = {name: Member(name, runner) for name, runner in engines.items()}
    whole = InOrder(options.members, options.edges, options.outputs)
    try:
        found = whole.every(members, [run.inputs for run in runs])
        return _report(runs, found, engines)
    except (StepFailed, SpecError) as error:
        return _broken(error, engines)


def run_engines(task: Task, out: Path) -> dict[str, Json]:
    """The same for one with a driver, in a stage's process; writes the report to `out`."""
    options = BundleOptions.from_record(task.options)
    engines = {
        text_in(one, "member"): _runner_of(one, task.out / f"member{number}")
        for number, one in enumerate(objects_in(task.local, "engines"))
    }
    members = {name: Member(name, runner) for name, runner in engines.items()}
    runs = recorded_runs(task.input("golden"), options, engines)
    assert options.driver is not None, "without a driver there is no such task"
    given = task.inputs["golden"].values()
    with open_driver(options.driver, task.inputs["code"], given) as run:
        try:
            report = _report(runs, [run(members, one.inputs) for one in runs], engines)
        except StepFailed as error:
            report = _broken(error, engines)
    encoded = json.dumps(report, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    write_whole(out, (encoded + "\n").encode())
    return report


def task_engine(member: str, folder: Path, toolchain: Toolchain, how: HowToRun) -> dict[str, Json]:
    """A member's engine as a task names it."""
    told = {**asdict(toolchain), "python": list(toolchain.python), "site": list(toolchain.site)}
    plugins: list[Json] = [str(path.absolute()) for path in how.plugins]
    return {
        "member": member,
        "folder": str(folder.absolute()),
        "toolchain": told,
        "device": how.device,
        "plugins": plugins,
    }


def _runner_of(record: JsonObject, scratch: Path) -> EngineRunner:
    """The runner of such a record."""
    told, folder = object_in(record, "toolchain"), Path(text_in(record, "folder"))
    flavour = next(one for one in FLAVOURS if one == text_in(told, "flavour"))
    python, site = tuple(texts_in(told, "python")), tuple(texts_in(told, "site"))
    libraries = {name: str(version) for name, version in object_in(told, "libraries").items()}
    toolchain = Toolchain(
        flavour, text_in(told, "version"), python, site, text_in(told, "python_version"), libraries
    )
    delivered = delivered_engine(folder)
    device = record["device"]
    assert isinstance(device, int)
    plugins = tuple(Path(path) for path in texts_in(record, "plugins"))
    how = HowToRun(device=device, plugins=plugins, built_for=delivered.built_for)

    def run(engine: DeliveredEngine, runs: Sequence[EngineRun], place: Path) -> Inference:
        return run_engine(toolchain, engine.engine, runs, how, place)

    return engine_runner(folder, delivered, run, scratch)


def _report(
    runs: Sequence[RecordedRun],
    found: Sequence[Mapping[str, Array]],
    engines: Mapping[str, EngineRunner],
) -> dict[str, Json]:
    measured = Compared()
    for run, outputs in zip(runs, found, strict=True):
        measured.add(run.outputs, {name: widened(array) for name, array in outputs.items()}, run.labels)
    count = sum(run.samples for run in runs)
    place: dict[str, Json] = {
        "place": PLACE, "kind": PLACE, "samples": count, "outputs": measured.as_json(),
    }  # fmt: skip
    return {**_about(engines), "places": [place], "broken": [], "recorded": count}


def _broken(error: StepFailed | SpecError, engines: Mapping[str, EngineRunner]) -> dict[str, Json]:
    broken: list[Json] = [{"place": PLACE, "why": error.problems[0].fact}]
    return {**_about(engines), "places": [], "broken": broken, "recorded": 0}


def _about(engines: Mapping[str, EngineRunner]) -> dict[str, Json]:
    gpu = next((facts for one in engines.values() if (facts := one.engine.facts()) is not None), None)
    versions = sorted({one.engine.tensorrt for one in engines.values() if one.engine.tensorrt})
    return {
        "schema": SCHEMA,
        "reference": "the recorded outputs of the whole",
        "gpu": gpu,
        "tensorrt": " and ".join(versions),
        "not_run": [],
        "nonfinite": [],
    }
