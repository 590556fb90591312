"""Decisions: what is to happen to a step, and why, as values. `rendering/decisions.py` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from trtpipe.digests import Digest
from trtpipe.plan.reasons import Reason


@dataclass(frozen=True, slots=True)
class UpToDate:
    """A trace exists and, for a step whose outputs are handed to the user, they are in place."""

    key: str
    outputs: Mapping[str, Digest]


@dataclass(frozen=True, slots=True)
class Restore:
    """A trace and its artifacts exist, but the build directory lacks them."""

    key: str
    outputs: Mapping[str, Digest]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """The action must run."""

    key: str
    reason: Reason


@dataclass(frozen=True, slots=True)
class Pending:
    """Inputs are unknown until the named steps have run."""

    waits_for: tuple[str, ...]


Decision: TypeAlias = UpToDate | Restore | Run | Pending
