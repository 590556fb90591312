"""Decisions: whether a step runs, is reused or restored, and why, as values. `text/decisions.py` words them.

A decision that was made before anything ran is a promise about the build that follows (`promise_of`), as long as
nothing else touches the project and its store meanwhile. When a step fails, the steps that depend on it do not run,
regardless of their decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trtpipe.digests import Digest
from trtpipe.plan.address import Address
from trtpipe.plan.fingerprint import Change
from trtpipe.plan.reasons import Reason
from trtpipe.unions import assert_never


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
    """Inputs are unknown until the named steps have run; then the step runs, unless its result is known.

    `changes` are the fields of its own that already differ from those of its last run here. A `forced` step runs
    whatever its inputs turn out to be.
    """

    waits_for: tuple[Address, ...]
    changes: tuple[Change, ...] = ()
    forced: bool = False


Decision: TypeAlias = UpToDate | Restore | Run | Pending

Promise: TypeAlias = Literal["will run", "may run", "will not run"]


def promise_of(decision: Decision) -> Promise:
    """The result that the decision predicts for the following build."""
    match decision:
        case Run():
            return "will run"
        case Pending():
            return "will run" if decision.forced else "may run"
        case UpToDate() | Restore():
            return "will not run"
    assert_never(decision)
