"""Why a step must run: a closed union with one class for each cause and the data that belongs to it.

The rebuilder and the scheduler create reasons. Only `text/decisions.py` turns them into words and JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from trtpipe.plan.fingerprint import Change


@dataclass(frozen=True, slots=True)
class First:
    """No earlier run of the step is recorded here, so there is nothing to compare with."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The step's fingerprint differs from that of its last run here; `changes` are the fields, at least one."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Forced:
    """The user requested the step with `--force`, even if it is up to date."""


@dataclass(frozen=True, slots=True)
class MissingOutput:
    """A trace of the step exists, but another step needs its outputs and the store has lost some of them.

    `names` are the outputs that are gone, or the step's address if they are all back by now.
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CorruptOutput:
    """While the build ran, an output of the step was found damaged or gone, so it runs once more.

    `what` says in words what that is.
    """

    what: str


@dataclass(frozen=True, slots=True)
class NoTrace:
    """The fingerprint is that of the last run here, but the store has no trace of its key.

    It is another store, or the trace was collected.
    """


Reason: TypeAlias = First | Changed | Forced | MissingOutput | CorruptOutput | NoTrace
