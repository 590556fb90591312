"""The ports: interfaces (protocols) to the outside world that the scheduler and the stages use.

Each is implemented in a folder of its own; the composition root connects them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trtpipe.digests import Digest
from trtpipe.plan.control import Control
from trtpipe.plan.graph import Action, Source
from trtpipe.plan.trace import Trace
from trtpipe.targets.toolchain import Toolchain

if TYPE_CHECKING:
    from trtpipe.plan.events import Event


class Store(Protocol):
    """Artifacts by digest, traces by key. Every write is atomic; equal writes may race."""

    def has(self, digest: Digest) -> bool:
        """Whether an artifact of that digest (and size) is there; its bytes are not read."""

    def put(self, path: Path) -> Digest:
        """Move or link a file into the store; `path` may be gone afterwards. Raises StoreError."""

    def fetch(self, digest: Digest, target: Path, *, link: bool = True) -> None:
        """Put the artifact's verified bytes at `target` atomically; a damaged artifact is quarantined.

        Raises ArtifactDamaged, ArtifactMissing when there is none, StoreError otherwise.
        """

    def trace(self, key: str) -> Trace | None:
        """The trace of a key, or None; a damaged one counts as none."""

    def record(self, trace: Trace) -> None:
        """Remember a trace. Raises StoreError."""

    def keep(self, files: Mapping[str, Path], trace_of: Callable[[Mapping[str, Digest]], Trace]) -> Trace:
        """Move the files of a result into the store, and remember the trace of their digests. Raises StoreError."""

    def lock(self, key: str, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Hold the right to run the action of that key, among all processes that share the store.

        `waiting` is called a few times a second while another process holds it, and may raise to give up.
        """

    def partial(self, key: str) -> Path:
        """A directory for partial results of that key; it stays until `forget_partial`."""

    def forget_partial(self, key: str) -> None:
        """Remove that directory."""

    def scratch(self) -> AbstractContextManager[Path]:
        """An empty directory on the store's file system, removed at the end."""


@dataclass(frozen=True, slots=True)
class ActionResult:
    """The result of an action: files in its scratch directory by output name, and a summary for reports."""

    files: Mapping[str, Path]
    summary: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Performed:
    """The trace of an action, and whether it ran now or another build had just run it."""

    trace: Trace
    ran: bool = True


class Executor(Protocol):
    """Runs actions, here or elsewhere. Independent of plans; whether an action must run is decided by the caller."""

    def execute(self, action: Action, control: Control) -> Trace:
        """Run an action, store what it yields and record its trace; returns when all that is done.

        Called from several threads. Raises StepFailed, Interrupted when `control` says so, or another TrtpipeError.
        """


class Here(Protocol):
    """Facts that only the machine that runs an action knows; none of them is in the action or its key."""

    @property
    def root(self) -> Path:
        """The project's root: files that a model refers to must be inside it."""

    @property
    def reach(self) -> tuple[str, ...]:
        """Directories outside it from which models may be read."""

    def sources(self, action: Action) -> Mapping[str, Mapping[str, Source]]:
        """Slot → name → the file that is that input here. Inputs that are not in it come from the store."""

    def toolchain(self, action: Action) -> Toolchain:
        """The TensorRT that an engine's action names, as it was found here; it may still have to be installed."""


class Observer(Protocol):
    """Receives events, for a terminal, a log or another program."""

    def emit(self, event: Event) -> None:
        """One event. Called from several threads."""
