"""Where a project's steps run on this machine: its store, state, lockfile and paths.

This is the part of a workspace that running steps needs, also for a plan that consists of one import only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from trtpipe.digests import digest_bytes, same_digest
from trtpipe.loader.project import LOCK_FILE, Project
from trtpipe.lockfile import Lock, agrees, choices_in, entries_with, load_lock, shown_digest, tactics_in
from trtpipe.lockfile.entries import RECIPE
from trtpipe.plan.address import Address
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Action, Outputs, Source, Step
from trtpipe.plan.planner.facts import SCALES_FILE
from trtpipe.plan.rebuilder import Past
from trtpipe.plan.trace import Trace
from trtpipe.search.choices import Choice, choice_text
from trtpipe.search.steps import CHOICE_FILE
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.wheel_lock import LOCK_FILE as WHEEL_LOCK
from trtpipe.workspace.held_steps import CHOOSING
from trtpipe.workspace.locked_scales import LockedScales, locked_scales


@dataclass(frozen=True)
class Site:
    """One project on this machine, with what running a plan's steps needs."""

    store: LocalStore
    state: ProjectState
    root: Path
    lockfile: Path
    wheel_lock: Path
    """The file that holds the SHA-256 of toolchains' wheels."""
    reach: tuple[str, ...] = ()
    """Directories outside the project from which models may be read."""
    sent_tactics: Mapping[str, Mapping[str, str]] | None = None
    """Where there is no lockfile because a client on another machine has it: the tactics that it holds."""

    @cached_property
    def lock(self) -> Lock:
        """The lockfile as it was when first read. Raises LockMismatch when it is damaged."""
        return load_lock(self.lockfile)

    @cached_property
    def choices(self) -> Mapping[str, Record]:
        """A search's recipe → the choice in the lockfile."""
        return choices_in(self.lock.every_entry())

    @cached_property
    def tactics(self) -> Mapping[str, Mapping[str, str]]:
        """An engine's key → the tactics in the lockfile."""
        if self.sent_tactics is not None:
            return self.sent_tactics
        return tactics_in(entries_with(self.lock.cells, "tactics"))

    @cached_property
    def scales(self) -> LockedScales:
        """The scales in the lockfile."""
        return locked_scales(self.lock, self.store, self.state, self.root)

    def believes(self, trace: Trace) -> bool:
        """Whether a trace in the store may be used; not if the lockfile decides this result and has a different one."""
        match trace.stage:
            case "search":
                return agrees(trace, self.choices)
            case "calibrate":
                return self.scales.believes(trace)
        return True

    def past(self) -> Past:
        """The results of earlier builds known to this project and its store. Every cell counts as delivered."""
        return Past(self._outputs_of, self._last_record, self.store.has, self._has_trace)

    def _outputs_of(self, address: Address, key: str) -> Outputs | None:
        known = self.state.last_outputs(address, key)
        if known is not None and (address.stage not in CHOOSING or self._are_locked_scales(address, known)):
            return known
        trace = self.store.trace(key)
        if trace is not None:
            return trace.outputs if self.believes(trace) else None
        return known if known is not None and self._is_locked_choice(address, known) else None

    def _are_locked_scales(self, address: Address, outputs: Outputs) -> bool:
        """Whether outputs are, byte for byte, the lockfile's scales for a calibration."""
        found = outputs.get(SCALES_FILE)
        entry = self.lock.steps.get(str(address), {})
        return found is not None and entry.get(SCALES_FILE) == shown_digest(found)

    def _is_locked_choice(self, address: Address, outputs: Outputs) -> bool:
        """Whether a search's result is the choice in the lockfile: then it is valid even without a trace."""
        recipe = self.lock.steps.get(str(address), {}).get(RECIPE, "")
        choice, found = self.choices.get(recipe), outputs.get(CHOICE_FILE)
        if choice is None or found is None:
            return False
        return same_digest(found, digest_bytes(choice_text(Choice.from_json(choice)).encode()))

    def _last_record(self, address: Address) -> Record | None:
        key = self.state.last_key(address)
        trace = self.store.trace(key) if key else None
        return trace.fingerprint if trace else None

    def _has_trace(self, key: str) -> bool:
        return self.store.trace(key) is not None


def site_of(project: Project, store: LocalStore, state: ProjectState) -> Site:
    """The site of a project whose results go to the usual places."""
    root = project.root
    return Site(store, state, root, root / LOCK_FILE, root / WHEEL_LOCK, project.reach)


@dataclass(frozen=True)
class HereOf:
    """Machine-specific facts about a plan's actions, from the files and toolchains that the plan was made with."""

    root: Path
    reach: tuple[str, ...]
    steps: Mapping[Address, Step]
    toolchains: Mapping[Address, Toolchain]
    """Of the steps that build engines."""

    def knowing(self, step: Step) -> HereOf:
        """The same, extended by the files of a step that is not in the plan."""
        return replace(self, steps={**self.steps, step.address: step})

    def sources(self, action: Action) -> Mapping[str, Mapping[str, Source]]:
        """The files of the action's step, by slot and name."""
        step = self.steps.get(action.address)
        return step.sources() if step is not None else {}

    def toolchain(self, action: Action) -> Toolchain:
        """The toolchain that was found for the action's target."""
        return self.toolchains[action.address]
