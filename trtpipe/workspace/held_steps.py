"""Compares a step's result with the lockfile, which has the result of the same recipe and the versions that made it.

Equal bytes are accepted whatever made them; other versions are only noted. Different bytes need a cause: different
package versions or another kind of processor than in the lockfile. If there is no such difference, and the result was
not made here, either the store or the lockfile is wrong, and neither is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.errors import LockMismatch, Problem
from trtpipe.json_values import Json
from trtpipe.lockfile import Lock, shown_digest
from trtpipe.lockfile.comparison import Difference
from trtpipe.lockfile.entries import FROM_LOCK, RECIPE
from trtpipe.lockfile.measurements import same_bound
from trtpipe.lockfile.recipes import (
    OtherVersion,
    other_outputs,
    other_processor,
    other_versions,
    recipe_of,
    versions_in,
)
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.events import Event, MeasuredOtherwise, SameDespite
from trtpipe.plan.graph import Action, Outputs
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.processes.processor import PROCESSOR
from trtpipe.stores.local import LocalStore

MEASURING: frozenset[Stage] = frozenset({"validate", "readback"})
"""Stages whose outputs are measurements: judged by thresholds, not equal byte for byte everywhere."""
CHOOSING: frozenset[Stage] = frozenset({"calibrate", "search"})
"""Stages whose result comes from the lockfile if possible; a machine with another result adopts it."""
_MEASURED = "measured "

OTHER_RESULT = "install what the lockfile names, or run `trtpipe build --force` and commit what it writes"
CONTRADICTS = (
    "has another result in the store than in the lockfile, though nothing that it depends on differs"
)
NOT_BELIEVED = "`trtpipe build --force` makes it here and writes what comes out"


@dataclass(frozen=True, slots=True)
class Held:
    """A step's result and its lockfile entry."""

    address: Address
    outputs: Mapping[str, tuple[str, str]]
    """Output → the lockfile's digest and the one here, for those that differ."""
    others: tuple[OtherVersion, ...] = ()
    """The package versions and processor that differ."""
    taken: bool = False
    """Whether it was copied from the lockfile, so that equality proves nothing."""

    def cause(self) -> str:
        """What explains different bytes, as text; empty when nothing does."""
        return "; ".join(one.words() for one in self.others)

    def differences(self, cell: str) -> Iterator[Difference]:
        """The differences, as facts about a cell."""
        because = f" ({self.cause()})" if self.others else ""
        for name, (locked, here) in self.outputs.items():
            yield Difference(cell, f"{self.address} {name}", locked, f"{here}{because}")

    def to_json(self) -> dict[str, Json]:
        """The same as a JSON object."""
        outputs: dict[str, Json] = {
            name: {"lockfile": locked, "store": here} for name, (locked, here) in self.outputs.items()
        }
        return {"step": str(self.address), "outputs": outputs}


def held_step(
    lock: Lock, address: Address, outputs: Outputs, action: Callable[[], Action], store: LocalStore
) -> Held | None:
    """A step's result and its lockfile entry; None when the lockfile has no entry for this recipe.

    `action` returns the step's action; it is called only when something may differ.
    """
    entry = lock.steps.get(str(address))
    if entry is None:
        return None
    asked = action()
    record = asked.fingerprint.record()
    if entry[RECIPE] != recipe_of(record):
        return None
    shown = {name: shown_digest(digest) for name, digest in outputs.items()}
    differing = {} if address.stage in MEASURING else other_outputs(entry, shown)
    trace = store.trace(asked.key)
    summary = trace.summary if trace is not None else {}
    here = str(summary.get(PROCESSOR, ""))
    others = (*other_versions(entry, versions_in(record)), *(other_processor(entry, here) if here else ()))
    return Held(address, differing, others, summary.get("from") == FROM_LOCK)


def contradiction(
    lock: Lock, address: Address, outputs: Outputs, action: Callable[[], Action], store: LocalStore
) -> Held | None:
    """The same for a result that was not made now, if it differs from the lockfile without an explanation."""
    entry = lock.steps.get(str(address))
    shown = {name: shown_digest(digest) for name, digest in outputs.items()}
    if entry is None or address.stage in (*MEASURING, *CHOOSING) or not other_outputs(entry, shown):
        return None
    held = held_step(lock, address, outputs, action, store)
    return held if held is not None and held.outputs and not held.others else None


def apart(
    differences: Iterable[Difference], measured: Iterable[Held | None]
) -> tuple[list[Difference], list[Difference]]:
    """Splits differences into those that count, and those of values measured elsewhere against the same limits."""
    elsewhere = any(one is not None and one.others for one in measured)
    count: list[Difference] = []
    aside: list[Difference] = []
    for one in differences:
        spared = elsewhere and one.field.startswith(_MEASURED) and same_bound(one.old, one.new)
        (aside if spared else count).append(one)
    return count, aside


def agreement_events(held: Iterable[Held], excused: Iterable[Difference]) -> Iterator[Event]:
    """Notes about results that agree although versions or processors differ, each once."""
    equal = (one for step in held if not (step.outputs or step.taken) for one in step.others)
    for one in dict.fromkeys(equal):
        yield SameDespite(one.name, one.locked, one.here)
    for found in excused:
        yield MeasuredOtherwise(found.cell, found.field.removeprefix(_MEASURED), found.old, found.new)


class ResultDiffers(LockMismatch):
    """A step's result differs from the lockfile; `name` is the step's."""

    def __init__(self, problem: Problem, name: str = "") -> None:
        super().__init__(problem)
        self.name = name


def refuse_other_result(held: Held) -> None:
    """For `--frozen` builds. Raises ResultDiffers when a step's result differs from the lockfile."""
    if held.outputs:
        words = "does not yield what the lockfile says"
        raise ResultDiffers(_problem(held, Code.LOCK_DIFFERS, words, OTHER_RESULT), str(held.address))


def refuse_contradictions(held: Sequence[Held]) -> None:
    """For results that were not made now. Raises LockMismatch with each that contradicts the lockfile."""
    problems = [_problem(one, Code.STORE_CONTRADICTS, CONTRADICTS, NOT_BELIEVED) for one in held]
    if len(problems) == 1:
        raise ResultDiffers(problems[0], str(held[0].address))
    if problems:
        raise LockMismatch(problems)


def _problem(held: Held, code: ProblemCode, words: str, remedy: str) -> Problem:
    lines = [one.line() for one in held.differences("")]
    return Problem(code, f"{held.address} {words}", "\n".join([*lines, remedy]))
