"""Timing caches and tactics for builds of the flavour tensorrt: restored before, replayed, and stored after a build.

TensorRT chooses kernels (tactics) by timing them, so the choice varies. The lockfile holds the choices (`tactics`); an
engine with the same key is built from exactly those. If TensorRT cannot follow them, it is built by timing as usual,
with a warning. TensorRT-RTX does not time kernels. None of this is part of a key, as `plan/fingerprint.py` documents.

This has never run with a real TensorRT: it was tested against the names of nine versions and a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trtpipe.errors import StepFailed
from trtpipe.plan.events import Warned
from trtpipe.plan.ports import Observer
from trtpipe.stores.timing_caches import TimingCaches, cache_name
from trtpipe.toolchains.engine_worker.request import Timing, WorkerRequest

GROWN = "timing.cache"
Run = Callable[[WorkerRequest], Mapping[str, Any]]
"""Carries out one request of the worker."""


@dataclass(frozen=True, slots=True)
class TimedBuild:
    """One build of an engine by a TensorRT that times its kernels."""

    caches: TimingCaches
    observer: Observer
    address: str
    version: str
    gpu: str
    tactics: Mapping[str, str]
    """The choices in the lockfile; empty when it has none for this key."""

    def run(self, request: WorkerRequest, folder: Path, run: Run) -> dict[str, Any]:
        """The worker's result, with the tactics chosen. Raises what running the worker raises."""
        if self.tactics:
            try:
                found = run(replace(request, timing=Timing(GROWN, (), self.tactics)))
            except StepFailed as error:
                self._warn(f"the lockfile's tactics could not be used: {error.problems[0].fact}")
            else:
                for line in changed_tactics(self.tactics, found.get("tactics") or {}):
                    self._warn(line)
                return dict(found)
        name = cache_name(self.version, self.gpu)
        taken = self.caches.take(name, folder)
        (folder / GROWN).unlink(missing_ok=True)
        files = tuple(path.name for path in taken)
        result = run(replace(request, timing=Timing(GROWN, files, {})))
        if (folder / GROWN).exists():
            self.caches.give(name, folder / GROWN, taken)
        return dict(result)

    def _warn(self, text: str) -> None:
        self.observer.emit(Warned(f"{self.address}: {text}"))


def changed_tactics(locked: Mapping[str, str], chosen: Mapping[str, str]) -> Iterator[str]:
    """Text that describes how a replay differs: tactics that are missing, new, or different."""
    before, now = (_hashes(one) for one in (locked, chosen))
    words = {
        "not used": before.keys() - now.keys(),
        "not in the lockfile": now.keys() - before.keys(),
        "another one": {key for key in before.keys() & now.keys() if before[key] != now[key]},
    }
    for word, keys in words.items():
        if keys:
            shown = ", ".join(sorted(keys)[:3])
            yield f"tactics {word} after the replay: {len(keys)} ({shown})"


def _hashes(tactics: Mapping[str, str]) -> dict[str, str]:
    """Key → tactic, without the measured time."""
    return {key: text.split(" ")[0] for key, text in tactics.items()}


def gpu_here() -> str:
    """The model of this machine's GPU, which kernels are timed on; `unknown` when it cannot be found out."""
    from trtpipe.toolchains.detect import detect_gpus

    return next((gpu.name for gpu in detect_gpus() if gpu.name), "unknown")
