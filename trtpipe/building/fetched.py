"""Performs a fetch step: each file comes from the store if it was fetched before, else from a download.

The content found for a pin or, without a pin, for an address is recorded in the store as a trace. So a pinned file that
was verified is never downloaded again, whichever address names it, and two builds at once download once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.digests import Digest, key_of
from trtpipe.errors import Problem, SpecError, SpecPath, StepFailed
from trtpipe.json_values import JsonObject
from trtpipe.plan.child_reports import Download
from trtpipe.plan.control import Control
from trtpipe.plan.events import FetchProgress
from trtpipe.plan.graph import Action
from trtpipe.plan.options import FetchOptions
from trtpipe.plan.planner.facts import SOURCE_FOLDER
from trtpipe.plan.ports import ActionResult, Observer, Store
from trtpipe.plan.requirements import FetchRequirements
from trtpipe.plan.task import Task
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.processes.stage_runs import Telling, run_in_child
from trtpipe.spec.remote import RemoteFile, is_local_host, is_plain_relative

_FILE = "file"
_TOLD = ("sha256", "commit", "version")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One file to download, and its place in the spec."""

    name: str
    remote: RemoteFile
    place: SpecPath


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Performs one fetch action. With `again`, files without a pin are downloaded even if they were before."""

    action: Action
    store: Store
    observer: Observer
    scratch: Path
    control: Control
    offline: bool = False
    again: bool = False

    def run(self) -> ActionResult:
        """Get every file. Raises StepFailed, Interrupted, and SpecError when offline and not all are in the store."""
        options = FetchOptions.from_record(self.action.fingerprint.options)
        asked = self.action.requirements
        assert isinstance(asked, FetchRequirements), "a fetch has them"
        wanted = [_Wanted(name, remote, asked.places.get(name, ())) for name, remote in asked.files.items()]
        found = self._all(wanted)
        if options.beside:
            source = next(one for one in wanted if one.name.startswith(SOURCE_FOLDER))
            beside = list(self._beside(source, found[source.name], options.pins))
            wanted += beside
            found |= self._all(beside)
        files = {}
        for name, trace in found.items():
            files[name] = self.scratch / "out" / name
            self.store.fetch(trace.outputs[_FILE], files[name])
        return ActionResult(
            files, {"files": {one.name: _told(one.remote, found[one.name]) for one in wanted}}
        )

    def _all(self, wanted: Iterable[_Wanted]) -> dict[str, Trace]:
        missing = [one for one in wanted if self._known(one.remote) is None]
        if self.offline and missing:
            raise SpecError([_missing(one) for one in missing])
        return {one.name: self._one(one) for one in wanted}

    def _known(self, remote: RemoteFile) -> Trace | None:
        """The trace of its pin or address, if the store still has the bytes."""
        trace = self.store.trace(_key_of(remote))
        return trace if trace is not None and self.store.has(trace.outputs[_FILE]) else None

    def _one(self, wanted: _Wanted) -> Trace:
        known = self._known(wanted.remote)
        anew = self.again and not wanted.remote.sha256 and not self.offline
        if known is not None and not anew:
            return known
        key = _key_of(wanted.remote)
        with self.store.lock(key, self.control.check):
            now = self._known(wanted.remote)
            if now is not None and (not anew or now != known):
                return now
            return self._fetch(wanted, key)

    def _fetch(self, wanted: _Wanted, key: str) -> Trace:
        self.control.check()
        folder = self._folder()
        events = folder / "events"
        task = Task(
            "fetch",
            {},
            {},
            self.store.partial(key),
            {"file": wanted.remote.to_json(), "place": list(wanted.place), "events": str(events)},
        )
        result = run_in_child(task, folder, self.control, Telling(events, self._hear))
        sha256 = str(result.summary["sha256"])
        digest = self.store.put(result.files[_FILE])
        self.store.forget_partial(key)
        told = {name: result.summary[name] for name in _TOLD if name in result.summary}
        summary = {**told, "from": wanted.remote.identity()}
        pinned = wanted.remote.pinned(sha256)
        for one in (pinned, wanted.remote):
            self.store.record(_memo(one, digest, summary))
        return _memo(wanted.remote, digest, summary)

    def _hear(self, report: JsonObject) -> None:
        self.observer.emit(FetchProgress(self.action.address, Download.from_json(report)))

    def _folder(self) -> Path:
        """A new folder for one child process."""
        folder = self.scratch / f"child{len(list(self.scratch.iterdir()))}"
        folder.mkdir()
        return folder

    def _beside(self, source: _Wanted, model: Trace, pins: Mapping[str, str]) -> Iterable[_Wanted]:
        """The files beside the model that it refers to. Raises StepFailed when one has no plain relative name."""
        folder = self._folder()
        path = folder / "in" / source.name.removeprefix(SOURCE_FOLDER)
        self.store.fetch(model.outputs[_FILE], path)
        task = Task("fetch", {}, {"source": {path.name: path}}, folder)
        names = list(run_in_child(task, folder, self.control).summary["beside"])
        problems = [
            *_unsafe(names, path.name, source),
            *_unused(pins, names, source),
            *_loose(pins, names, source),
        ]
        if problems:
            raise StepFailed(problems)
        for name in names:
            yield _Wanted(
                SOURCE_FOLDER + name, source.remote.beside(name, pins.get(name, "")), ("model", "source")
            )


def _key_of(remote: RemoteFile) -> str:
    """The key of a pin, whatever the address; without a pin, that of the address."""
    return key_of(_record(remote))


def _record(remote: RemoteFile) -> dict[str, Any]:
    return {"fetched": {"sha256": remote.sha256} if remote.sha256 else remote.identity()}


def _memo(remote: RemoteFile, digest: Digest, summary: Mapping[str, Any]) -> Trace:
    return Trace(_key_of(remote), "fetch", _record(remote), {_FILE: digest}, summary)


def _told(remote: RemoteFile, trace: Trace) -> dict[str, Any]:
    """The origin of a file, for the manifest."""
    here = trace.summary["from"] == remote.identity()  # pinned bytes may be from another address
    about = {
        name: trace.summary[name] for name in _TOLD if name in trace.summary and (here or name == "sha256")
    }
    if remote.scheme == "hf" and not remote.moves:
        about["commit"] = remote.revision
    return {"url": remote.shown, "pinned": bool(remote.sha256), **about}


def _missing(wanted: _Wanted) -> Problem:
    fact = f"not in the store: {wanted.remote.shown}"
    return Problem(Code.NOT_FETCHED, fact, "run `trtpipe build` once without --offline", path=wanted.place)


def _unsafe(names: Iterable[str], model: str, source: _Wanted) -> Iterable[Problem]:
    for name in names:
        if not is_plain_relative(name) or name == model:
            fact = f"the model's external data is at {name!r}, which is not a plain relative name"
            yield Problem(
                Code.WEIGHTS_MISPLACED,
                fact,
                "external data must be in the model's folder or below it",
                path=source.place,
            )


def _unused(pins: Mapping[str, str], names: Iterable[str], source: _Wanted) -> Iterable[Problem]:
    for name in sorted(pins.keys() - set(names)):
        held = f"its external data is: {', '.join(names)}" if names else "it has no external data"
        yield Problem(
            Code.MISPLACED_PIN, f"the model refers to no file {name!r}", held, path=("model", "files", name)
        )


def _loose(pins: Mapping[str, str], names: Iterable[str], source: _Wanted) -> Iterable[Problem]:
    """Files that must not be downloaded: over plain HTTP without a pin, unless from this machine."""
    if source.remote.scheme == "http" and not is_local_host(source.remote.host):
        for name in (name for name in names if name not in pins):
            fact = f"{name!r} is next to the model and has no pin, and plain http can be altered in transit"
            yield Problem(
                Code.PLAIN_HTTP, fact, "write https://, or pin it in model.files", path=source.place
            )
