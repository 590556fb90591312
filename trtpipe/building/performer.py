"""Performs an action: puts its inputs into a scratch directory, then runs a child process or the worker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.digests import same_digest
from trtpipe.errors import Interrupted, ModelError, StepFailed, ToolchainError
from trtpipe.json_values import Json, JsonObject, object_in, texts_in
from trtpipe.lockfile.entries import FROM_LOCK
from trtpipe.networks.reader import NETWORK, WEIGHTS
from trtpipe.plan.address import Address
from trtpipe.plan.control import Control
from trtpipe.plan.events import ToolchainProgress, Warned, WorkerProgress
from trtpipe.plan.graph import Action, Source
from trtpipe.plan.options import EngineOptions
from trtpipe.plan.ports import ActionResult, Here, Observer
from trtpipe.plan.requirements import EngineRequirements, ImportRequirements, PlaceRequirements
from trtpipe.plan.task import Task
from trtpipe.plan.worker_messages import WorkerMessage, WorkerPhase
from trtpipe.problem_codes import Code
from trtpipe.processes.child import of_os_error
from trtpipe.processes.processor import PROCESSOR, RUNS_MODELS, platform_of, processor_kind
from trtpipe.processes.stage_runs import run_in_child
from trtpipe.stores.local import LocalStore
from trtpipe.stores.placement import flushing
from trtpipe.targets.toolchain import Toolchain
from trtpipe.timings import span
from trtpipe.workspace.project_code import require_libraries
from trtpipe.workspace.site import Site

if TYPE_CHECKING:
    from trtpipe.building.on_fleet import FleetUse
    from trtpipe.building.searches.evaluations import Evaluations
    from trtpipe.building.searches.evaluators import Evaluators
    from trtpipe.building.timing_caches import Run
    from trtpipe.spec.pipeline import BuilderSpec
    from trtpipe.stores.timing_caches import TimingCaches
    from trtpipe.toolchains.detect import DetectedGpu
    from trtpipe.toolchains.engine_worker.request import WorkerRequest

_CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL")
"""Signals that a process causes itself; one killed from outside is not at fault and may be retried."""
_WORKER_FILES = ("model.engine", "network.json", "layers.json", "build.log")

Given = Callable[[Action], ActionResult | None]
"""The result of an action, if it is known; its files are gone afterwards."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Settings of a command for the steps that it runs; none of them changes a result."""

    jobs: int = 1
    """How many steps run at a time."""
    offline: bool = False
    forced: frozenset[Address] = frozenset()
    """Steps requested explicitly: a fetch downloads unpinned files again, a search searches again."""
    evaluate_anew: bool = False
    frozen: bool = False
    """Whether no file of the project may be written, so that unknown wheels are not added to its lock."""
    by_rules: bool = False
    """Whether typed models are held to what TensorRT is known to refuse before it is asked, as `check` does."""
    quiet: bool = True
    """Whether only failures and warnings are told."""
    writes: bool = True
    """Whether anything may have to run."""
    fleet: FleetUse | None = None
    """The fleet that runs the steps; None if this machine does."""
    gpu: DetectedGpu | None = None
    """The only GPU that engines may be built on; None if any GPU of this machine will do."""
    evaluators: Evaluators | None = None
    """Processes that wait for another evaluation; None if each evaluation of another machine's search has its own."""
    given: Given = lambda action: None
    """What the command has computed already, by a stage's own function from the same inputs."""


PLAIN_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class Performer:
    """Performs actions with files from a store; it implements the `perform` that an executor is given."""

    site: Site
    here: Here
    observer: Observer
    terms: Terms
    timing_caches: TimingCaches
    """Where the flavour tensorrt's timing caches are."""

    @property
    def store(self) -> LocalStore:
        """The store that artifacts come from."""
        return self.site.store

    def __call__(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Run one action. Raises StepFailed, Interrupted or another TrtpipeError."""
        try:
            result = self.terms.given(action) or self._perform(action, scratch, control)
            if RUNS_MODELS not in action.fingerprint.tools or result.summary.get("from") == FROM_LOCK:
                return result
            return replace(result, summary={**result.summary, PROCESSOR: processor_kind()})
        except OSError as error:
            raise of_os_error(error, scratch) from error
        except Interrupted as error:
            if control.cancelled.is_set():
                raise
            fact = f"the {action.stage} step was stopped by an external signal"
            raise StepFailed(Code.INTERRUPTED, fact, "build again") from error

    def _perform(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        sources = [one for files in self.here.sources(action).values() for one in files.values()]
        self._refuse_changed(sources)
        match action.stage:
            case "build_engine":
                result = self._build_engine(action, scratch, control)
            case "parse":
                result = self._parse(action, scratch, control)
            case "fetch":
                result = self._fetch(action, scratch, control)
            case "search":
                result = self._search(action, scratch, control)
            case "evaluate":
                from trtpipe.building.searches.evaluations import evaluate_alone

                result = evaluate_alone(self, action, scratch, control)
            case "import":
                result = self._import(self.task(action, scratch), action, scratch, control)
            case "calibrate":
                result = self._calibrate(action, self.task(action, scratch), scratch, control)
            case _:
                result = run_in_child(self.task(action, scratch), scratch, control)
        self._refuse_changed(sources)
        return result

    def task(self, action: Action, scratch: Path) -> Task:
        """The task for the stage's process: the action with its files on this machine."""
        inputs = self.inputs_of(action, scratch / "in")
        (out := scratch / "out").mkdir()
        return Task(action.stage, action.fingerprint.options, inputs, out, self.local_of(action))

    def local_of(self, action: Action) -> dict[str, Json]:
        """What an action's process needs in addition to its options: readable paths, and the action's requirements."""
        local: dict[str, Json] = {"root": str(self.here.root), "reach": list(self.here.reach)}
        match action.requirements:
            case ImportRequirements(file_names):
                local["file_names"] = dict(file_names)
            case PlaceRequirements(path):
                local["place"] = list(path)
        return local

    def _refuse_changed(self, sources: Iterable[Source]) -> None:
        """Raises when a source changed since the plan: the result would be recorded under a wrong digest."""
        for source in sources:
            if not same_digest(self.site.state.digest(source.path), source.digest):
                raise StepFailed(
                    Code.MODEL_CHANGED, f"{source.path} changed during the build", "run it again"
                )

    def inputs_of(self, action: Action, folder: Path) -> dict[str, dict[str, Path]]:
        """Source files in place on this machine; files from the store, verified, in a folder for each slot."""
        inputs: dict[str, dict[str, Path]] = {}
        wanted = action.requirements
        named = wanted.file_names if isinstance(wanted, ImportRequirements) else {}
        sources = self.here.sources(action)
        for slot, digests in action.fingerprint.inputs.items():
            here = sources.get(slot, {})
            files = inputs[slot] = {}
            for name, digest in digests.items():
                if name in here:
                    files[name] = here[name].path
                    continue
                own = f"{name}/{named[name]}" if slot == "files" and name in named else name
                files[name] = folder / slot / own
                self.store.fetch(digest, files[name])
        return inputs

    def _import(self, task: Task, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Imports the model, and reports what replaced operators cost; later builds only show it in the manifest."""
        result = run_in_child(task, scratch, control)
        changes = object_in(result.summary, "changes")
        for cost in texts_in(changes, "costs") if "costs" in changes else ():
            self.observer.emit(Warned(f"{action.address}: {cost}"))
        return result

    def _calibrate(self, action: Action, task: Task, scratch: Path, control: Control) -> ActionResult:
        from trtpipe.building.calibration import Calibration

        anew, frozen = action.address in self.terms.forced, self.terms.frozen
        return Calibration(self.site, self.observer, anew, frozen).run(action, task, scratch, control)

    def _fetch(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        from trtpipe.building.fetched import Fetcher

        anew = action.address in self.terms.forced
        return Fetcher(action, self.store, self.observer, scratch, control, self.terms.offline, anew).run()

    def _search(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        from trtpipe.building.searches.search import perform_search

        locked = {} if action.address in self.terms.forced else self.site.choices
        with self.evaluations(action, scratch, control) as evaluations:
            return perform_search(evaluations, self.observer, locked)

    def evaluations(self, action: Action, scratch: Path, control: Control) -> Evaluations:
        """Evaluations of what a search action is about."""
        from trtpipe.building.searches.evaluations import evaluations_of

        return evaluations_of(self, action, scratch, control)

    def _build_engine(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Run the worker on `model.onnx` in the scratch directory itself, so that the path is always the same."""
        from trtpipe.toolchains.engine_digest import normalised_digest
        from trtpipe.toolchains.engine_worker.launch import run_worker
        from trtpipe.toolchains.engine_worker.watch import Supervision
        from trtpipe.toolchains.header import read_engine_header
        from trtpipe.toolchains.wheels import wheels_of

        with span("put the model into place", "store"):
            for name, digest in action.fingerprint.inputs["model"].items():
                self.store.fetch(digest, scratch / name)
        toolchain = self.toolchain(action)
        plugins = self.inputs_of(action, scratch / "plugins").get("plugins", {})
        require_libraries(plugins)
        request = request_of(action, toolchain, plugins.values())

        def hear(message: WorkerMessage) -> None:
            self.observer.emit(WorkerProgress(action.address, message))

        def run(asked: WorkerRequest) -> Mapping[str, Any]:
            supervision = Supervision(hear, control, self._visible())
            return run_worker(toolchain.python, asked, scratch, supervision).facts

        result = self._timed(action, toolchain, request, scratch, run)
        engine = scratch / "model.engine"
        files = {name: scratch / name for name in _WORKER_FILES if (scratch / name).exists()}
        header = None
        if toolchain.flavour == "tensorrt_rtx":
            with contextlib.suppress(ModelError):
                header = read_engine_header(engine).to_json()
        with flushing(engine), span("normalise the engine", "step"):
            normalised = normalised_digest(engine)
        told = {"normalised": normalised, "header": header, "wheels": wheels_of(toolchain)}
        return ActionResult(files, {**result, **told, **platform_of(toolchain.flavour)})

    def _parse(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Have the worker write the network that TensorRT's parser makes, then a child process convert it to ONNX.

        If TensorRT parses a model but crashes while its network is read, it could still build the engine, so the
        network is skipped without an error.
        """
        from trtpipe.toolchains.engine_worker.parser_runs import parse_network
        from trtpipe.toolchains.engine_worker.watch import Supervision

        inputs = self.inputs_of(action, scratch / "in")
        typed = next(iter(inputs["model"].values()))
        toolchain = self.toolchain(action)
        if self.terms.by_rules and toolchain.flavour == "tensorrt_rtx":
            refuse_by_rules(typed, toolchain.version)
        folder = scratch.absolute() / "network"
        folder.mkdir()
        limits, phases = action.requirements, [""]
        assert isinstance(limits, EngineRequirements), "a parse action has them"

        def hear(message: WorkerMessage) -> None:
            if isinstance(message, WorkerPhase):
                phases.append(message.name)
            self.observer.emit(WorkerProgress(action.address, message))

        facts: JsonObject = {}
        unreadable = ""
        try:
            parsed = parse_network(
                toolchain,
                typed,
                folder,
                plugins=require_libraries(inputs.get("plugins", {})).values(),
                limits=limits_only(limits),
                supervision=Supervision(hear, control),
            )
            facts = parsed.facts
        except StepFailed as error:
            problem = error.problems[0]
            crashed = problem.code is Code.WORKER_DIED and any(one in problem.fact for one in _CRASHES)
            if not crashed or phases[-1] != "read":
                raise
            unreadable = f"its network cannot be read: {problem.fact}"
        return self._kept(action, scratch, control, inputs["model"], facts, unreadable)

    def _kept(
        self,
        action: Action,
        scratch: Path,
        control: Control,
        model: Mapping[str, Path],
        facts: JsonObject,
        unreadable: str,
    ) -> ActionResult:
        """The result of a parse step, for a network in the scratch directory or one that could not be read."""
        from trtpipe.networks.verdicts import worth_telling

        folder = scratch.absolute() / "network"
        files = {name: folder / name for name in (NETWORK, WEIGHTS)}
        if unreadable:
            files[NETWORK].write_text(json.dumps({"unreadable": unreadable}) + "\n")
            files[WEIGHTS].write_bytes(b"")
        (scratch / "out").mkdir()
        local = {**self.local_of(action), "unreadable": unreadable}
        inputs = {"typed": model, "parsed": files}
        task = Task("parse", action.fingerprint.options, inputs, (scratch / "out").absolute(), local)
        made = run_in_child(task, scratch, control)
        for name, message in worth_telling(made.summary):
            called = f" of '{name}'" if name else ""
            self.observer.emit(Warned(f"{action.address}: TensorRT's parser warns{called}: {message}"))
        seconds = {} if unreadable else {"phases": facts["seconds"]}
        return ActionResult({**files, **made.files}, {**made.summary, **seconds})

    def _timed(
        self, action: Action, toolchain: Toolchain, request: WorkerRequest, scratch: Path, run: Run
    ) -> Mapping[str, Any]:
        """The worker's result; a TensorRT that times kernels starts from the measurements of earlier builds."""
        if toolchain.flavour != "tensorrt":
            return run(request)
        from trtpipe.building.timing_caches import TimedBuild, gpu_here

        tactics = self.site.tactics.get(action.key, {})
        version = f"tensorrt-{toolchain.version}"
        gpu = self.terms.gpu.name if self.terms.gpu is not None else gpu_here()
        build = TimedBuild(self.timing_caches, self.observer, str(action.address), version, gpu, tactics)
        return build.run(request, scratch, run)

    def _visible(self) -> Mapping[str, str]:
        """The variables that say which GPU the worker sees."""
        from trtpipe.toolchains.detect import only_visible

        return only_visible(self.terms.gpu) if self.terms.gpu is not None else {}

    def toolchain(self, action: Action) -> Toolchain:
        """The toolchain of an engine's action, ready on this machine. Raises ToolchainError."""
        from trtpipe.toolchains.resolve import ready_toolchain
        from trtpipe.toolchains.wheel_lock import WheelLock

        def say(text: str) -> None:
            self.observer.emit(ToolchainProgress(action.address, text))

        lock = WheelLock(self.site.wheel_lock, not self.terms.frozen)
        return ready_toolchain(
            self.here.toolchain(action), offline=self.terms.offline, progress=say, lock=lock
        )


def refuse_by_rules(typed: Path, version: str) -> None:
    """Raises StepFailed if TensorRT-RTX `version` is known to refuse the typed model. Reads no large weights."""
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.proofs.engine_limits.proof import engine_refusals
    from trtpipe.toolchains.detect import driver_may_be_here

    found = engine_refusals(read_skeleton(typed).proto, version, driver=driver_may_be_here())
    errors = [problem for problem in found if problem.severity == "error"]
    if errors:
        raise StepFailed(errors)


def limits_only(limits: EngineRequirements) -> BuilderSpec:
    """Builder options that contain only the limits on the worker's time and memory."""
    from trtpipe.spec.pipeline import BuilderSpec

    return BuilderSpec(time_limit=limits.time_limit, memory_limit=limits.memory_limit)


def request_of(action: Action, toolchain: Toolchain, plugins: Iterable[Path] = ()) -> WorkerRequest:
    """The worker's request: everything from the fingerprint, and the paths on this machine."""
    from trtpipe.spec.pipeline import BuilderSpec
    from trtpipe.toolchains.engine_worker.request import UNTIMED, WorkerRequest, compatibility_of

    record, limits = action.fingerprint.options, action.requirements
    options = EngineOptions.from_record(record)
    assert isinstance(limits, EngineRequirements), "an engine's action has them"
    if not toolchain.site:
        raise ToolchainError(Code.NO_TOOLCHAIN, f"{toolchain.flavour} {toolchain.version} is not installed")
    named = options.compute_capabilities if toolchain.flavour == "tensorrt_rtx" else ()
    limited = {"time_limit": limits.time_limit, "memory_limit": limits.memory_limit}
    return WorkerRequest(
        action="build",
        flavour=toolchain.flavour,
        site=toolchain.site,
        network_name=options.network_name,
        compute_capabilities=tuple(named),
        profiles=tuple(options.profiles),
        builder=BuilderSpec.model_validate({**options.builder, **limited}),
        compatibility=compatibility_of(record),
        plugins=tuple(map(str, plugins)),
        timing=UNTIMED,
    )
