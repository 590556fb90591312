"""How an action is performed: its inputs as files in a scratch directory, then a child process or the worker."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.digests import Digest, same_digest
from trtpipe.errors import Interrupted, ModelError, StepFailed, ToolchainError
from trtpipe.executors.local import Control
from trtpipe.lockfile import Lock, choices_in
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Source
from trtpipe.plan.ports import ActionResult, Observer, Store
from trtpipe.stages.task import Task
from trtpipe.system.child import of_os_error
from trtpipe.system.processes import Telling, run_in_child

if TYPE_CHECKING:
    from trtpipe.stores.timing_caches import TimingCaches
    from trtpipe.system.evaluating import Evaluations
    from trtpipe.system.timing import Run
    from trtpipe.system.workspace import Workspace
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.toolchains.request import WorkerRequest

_WORKER_FILES = ("model.engine", "network.json", "layers.json", "build.log")


@dataclass(frozen=True, slots=True)
class Performer:
    """Performs actions with files from a store; the composition root's answer to an executor's `perform`."""

    store: Store
    observer: Observer
    digest: Callable[[Path], Digest]
    """The digest of a source file, through the stat cache."""
    offline: bool = False
    again: Collection[str] = ()
    """Fetch steps that fetch anew what has no pin; searches that do not take the lockfile's word."""
    locked: Mapping[str, Record] = field(default_factory=dict)
    """A search's key → the choice that the lockfile holds for it."""
    evaluate_anew: bool = False
    wheel_lock: Path | None = None
    """The file that holds the SHA-256 of toolchains' wheels, in a project that has one to keep."""
    timing_caches: TimingCaches | None = None
    """Where the flavour tensorrt's timing caches are; None: every build times anew, and replays nothing."""
    tactics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """An engine's key → the tactics that the lockfile holds for it."""
    frozen: bool = False
    """Whether nothing of the project's is written: wheels that are not known yet stay so."""

    def __call__(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Run one action. Raises StepFailed, Interrupted or another TrtpipeError."""
        try:
            return self._perform(action, scratch, control)
        except OSError as error:
            raise of_os_error(error, scratch) from error
        except Interrupted as error:
            if control.cancelled.is_set():
                raise
            fact = f"the {action.step.stage} step was told to stop by a signal from outside"
            raise StepFailed(fact, "build again") from error

    def _perform(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        sources = _sources(action)
        self._refuse_changed(sources)
        if action.step.stage == "build_engine":
            result = self._build_engine(action, scratch, control)
        elif action.step.stage == "fetch":
            result = self._fetch(action, scratch, control)
        elif action.step.stage == "search":
            result = self._search(action, scratch, control)
        else:
            inputs = self.inputs_of(action, scratch / "in")
            out = scratch / "out"
            out.mkdir()
            local = _json_only(action.step.local)
            task = Task(action.step.stage, action.fingerprint.options, inputs, out, local)
            if action.step.stage == "calibrate":
                result = self._calibrate(action, task, scratch, control)
            else:
                result = run_in_child(task, scratch, control)
        self._refuse_changed(sources)
        return result

    def _refuse_changed(self, sources: Iterable[Source]) -> None:
        """A source that changed since the plan was made would be recorded under the wrong digest."""
        for source in sources:
            if not same_digest(self.digest(source.path), source.digest):
                raise StepFailed(f"{source.path} changed while it was being built from", "run it again")

    def inputs_of(self, action: Action, folder: Path) -> dict[str, dict[str, Path]]:
        """Sources where they are; artifacts, verified, in a folder for each slot."""
        inputs: dict[str, dict[str, Path]] = {}
        named = action.step.local.get("file_names", {})
        for slot, refs in action.step.inputs.items():
            here = {ref.name: ref.path for ref in refs if isinstance(ref, Source)}
            files = inputs[slot] = {}
            for name, digest in action.fingerprint.inputs[slot].items():
                if name in here:
                    files[name] = here[name]
                    continue
                own = f"{name}/{named[name]}" if slot == "files" and name in named else name
                files[name] = folder / slot / own
                self.store.fetch(digest, files[name])
        return inputs

    def _calibrate(self, action: Action, task: Task, scratch: Path, control: Control) -> ActionResult:
        """What was counted lies under the action's key until it is done; another action never sees it."""
        events = scratch.absolute() / "events"
        counted = self.store.partial(action.key).absolute() / "counted"
        local = {**task.local, "events": str(events), "progress": str(counted)}

        def hear(event: Mapping[str, Any]) -> None:
            self.observer.emit({**event, "address": action.address})

        result = run_in_child(replace(task, local=local), scratch, control, Telling(events, hear))
        self.store.forget_partial(action.key)
        for warning in result.summary.get("warnings", ()):
            self.observer.emit({"event": "warning", "text": f"{action.address}: {warning}"})
        return result

    def _fetch(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        from trtpipe.system.fetched import Fetcher

        again = action.address in self.again
        return Fetcher(action, self.store, self.observer, scratch, control, self.offline, again).run()

    def _search(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        from trtpipe.system.searching import perform_search

        locked = {} if action.address in self.again else self.locked
        with self.evaluations(action, scratch, control) as evaluations:
            return perform_search(evaluations, self.observer, locked)

    def evaluations(self, action: Action, scratch: Path, control: Control) -> Evaluations:
        """Evaluations of what a search action is about."""
        from trtpipe.system.evaluating import Evaluations

        def inputs() -> Mapping[str, Mapping[str, Path]]:
            return self.inputs_of(action, scratch / "in")

        return Evaluations(action, self.store, scratch, control, inputs, self.evaluate_anew)

    def _build_engine(self, action: Action, scratch: Path, control: Control) -> ActionResult:
        """Run the worker on `model.onnx` in the scratch directory itself: the path is a constant."""
        from trtpipe.toolchains.engine_digest import normalised_digest
        from trtpipe.toolchains.header import read_engine_header
        from trtpipe.toolchains.launch import run_worker
        from trtpipe.toolchains.wheels import wheels_of

        for name, digest in action.fingerprint.inputs["model"].items():
            self.store.fetch(digest, scratch / name)
        toolchain = self._toolchain(action)
        request = request_of(action, toolchain)

        def hear(event: Mapping[str, Any]) -> None:
            self.observer.emit({**event, "event": f"worker_{event['event']}", "address": action.address})

        def run(asked: WorkerRequest) -> Mapping[str, Any]:
            return run_worker(
                toolchain.python,
                asked,
                scratch,
                on_event=hear,
                cancelled=control.cancelled,
                killed=control.killed,
            )

        result = self._timed(action, toolchain, request, scratch, run)
        engine = scratch / "model.engine"
        files = {name: scratch / name for name in _WORKER_FILES if (scratch / name).exists()}
        header = None
        if toolchain.flavour == "tensorrt_rtx":
            with contextlib.suppress(ModelError):
                header = read_engine_header(engine).to_json()
        summary = {
            **{name: value for name, value in result.items() if name not in ("event", "ok", "at")},
            "normalised": normalised_digest(engine),
            "header": header,
            "wheels": wheels_of(toolchain),
        }
        return ActionResult(files, summary)

    def _timed(
        self, action: Action, toolchain: Toolchain, request: WorkerRequest, scratch: Path, run: Run
    ) -> Mapping[str, Any]:
        """The worker's result; a TensorRT that times its kernels starts from what earlier builds measured."""
        if toolchain.flavour != "tensorrt" or self.timing_caches is None:
            return run(request)
        from trtpipe.system.timing import TimedBuild, gpu_here

        tactics = self.tactics.get(action.key, {})
        version = f"tensorrt-{toolchain.version}"
        build = TimedBuild(self.timing_caches, self.observer, action.address, version, gpu_here(), tactics)
        return build.run(request, scratch, run)

    def _toolchain(self, action: Action) -> Toolchain:
        from trtpipe.toolchains.resolve import ready_toolchain
        from trtpipe.toolchains.wheel_lock import WheelLock

        def say(text: str) -> None:
            self.observer.emit({"event": "provision", "address": action.address, "text": text})

        lock = WheelLock(self.wheel_lock, not self.frozen) if self.wheel_lock is not None else None
        wanted: Toolchain = action.step.local["toolchain"]
        return ready_toolchain(wanted, offline=self.offline, progress=say, lock=lock)


def performer_of(
    workspace: Workspace,
    observer: Observer,
    lock: Lock,
    *,
    offline: bool,
    again: Collection[str] = (),
    evaluate_anew: bool = False,
    frozen: bool = False,
) -> Performer:
    """What performs a workspace's actions, with what its lockfile holds of searches and tactics."""
    from trtpipe.stores.timing_caches import TimingCaches
    from trtpipe.system.timing import locked_tactics

    return Performer(
        workspace.store,
        observer,
        workspace.state.digest,
        offline,
        again,
        choices_in(lock.every_entry()),
        evaluate_anew,
        workspace.wheel_lock,
        TimingCaches(workspace.store.root),
        locked_tactics(lock.cells),
        frozen,
    )


def request_of(action: Action, toolchain: Toolchain) -> WorkerRequest:
    """The worker's request: everything from the fingerprint, and where things are on this machine."""
    from trtpipe.spec.pipeline import BuilderSpec
    from trtpipe.toolchains.request import UNTIMED, WorkerRequest, compatibility_of

    options, local = action.fingerprint.options, action.step.local
    if not toolchain.site:
        raise ToolchainError(f"{toolchain.flavour} {toolchain.version} is not installed")
    named = options["compute_capabilities"] if toolchain.flavour == "tensorrt_rtx" else ()
    plugins = [str(ref.path) for ref in action.step.inputs.get("plugins", ()) if isinstance(ref, Source)]
    limits = {name: local[name] for name in ("time_limit", "memory_limit")}
    return WorkerRequest(
        action="build",
        flavour=toolchain.flavour,
        site=toolchain.site,
        network_name=options["network_name"],
        compute_capabilities=tuple(named),
        profiles=tuple(options["profiles"]),
        builder=BuilderSpec.model_validate({**options["builder"], **limits}),
        compatibility=compatibility_of(options),
        plugins=tuple(plugins),
        timing=UNTIMED,
    )


def _json_only(local: Mapping[str, Any]) -> dict[str, Any]:
    """The local facts that another process can be told."""
    return {name: value for name, value in local.items() if _is_json(value)}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def _sources(action: Action) -> list[Source]:
    return [ref for refs in action.step.inputs.values() for ref in refs if isinstance(ref, Source)]
