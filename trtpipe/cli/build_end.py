"""Reports the end of a build: one closing line, or one closing event of `--json`, however it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trtpipe.cli.output import say, say_json
from trtpipe.errors import Interrupted, Problem, TrtpipeError

if TYPE_CHECKING:
    from trtpipe.building.outcome import Outcome
    from trtpipe.plan.build_end import BuildEnded, FailedItem

_STOPPED = (Interrupted, KeyboardInterrupt)


@dataclass(slots=True)
class Closing:
    """The information for the closing message; a build fills it in as it proceeds."""

    as_json: bool
    text: str = ""
    """The closing line of a build that ran nothing."""
    outcome: Outcome | None = None
    began: float = field(default_factory=time.monotonic)

    def line(self) -> str:
        """The closing line of a build that was not stopped."""
        return closing_line(self.outcome, self._seconds()) if self.outcome else self.text

    def say_event(self, error: BaseException | None) -> None:
        """Write the closing event; `error` is what ended the build early, if anything."""
        from trtpipe.text.build_end import build_end_json

        say_json({**build_end_json(self._event(error)), "at": round(self._seconds(), 3)}, indent=None)

    def _event(self, error: BaseException | None) -> BuildEnded:
        from trtpipe.plan.build_end import BuildEnded

        outcome = self.outcome
        return BuildEnded(
            built=tuple(outcome.built) if outcome else (),
            restored=tuple(outcome.restored) if outcome else (),
            up_to_date=tuple(outcome.fresh) if outcome else (),
            failed=tuple(_failed(name, one) for name, one in outcome.failures) if outcome else (),
            not_built=tuple(outcome.blocked) if outcome else (),
            lock_changed=outcome.lock_changed if outcome else False,
            interrupted=isinstance(error, _STOPPED),
            problems=tuple(_problems(error)),
            closing=", ".join(filter(None, (_why(error), self.line()))),
        )

    def _seconds(self) -> float:
        return time.monotonic() - self.began


@contextmanager
def one_closing(*, as_json: bool) -> Iterator[Closing]:
    """Reports at the end how the build inside ended; an error is passed on to the caller, who reports it."""
    closing = Closing(as_json)
    try:
        yield closing
    except BaseException as error:
        if as_json:
            closing.say_event(error)
        raise
    if as_json:
        closing.say_event(None)
    else:
        say(closing.line())


def closing_line(outcome: Outcome, seconds: float) -> str:
    """`built 2 engines, 3 restored, 7 up to date in 41.0 s`, and the number of failures."""
    engines = "engine" if len(outcome.built) == 1 else "engines"
    parts = [f"built {len(outcome.built)} {engines}"]
    for names, word in (
        (outcome.restored, "restored"),
        (outcome.fresh, "up to date"),
        (outcome.failures, "failed"),
        (outcome.blocked, "not built"),
    ):
        if names:
            parts.append(f"{len(names)} {word}")
    return ", ".join(parts) + f" in {seconds:.1f} s"


def _why(error: BaseException | None) -> str:
    if error is None:
        return ""
    if isinstance(error, _STOPPED):
        return "interrupted"
    if isinstance(error, TrtpipeError):
        wrong = sum(problem.severity == "error" for problem in error.problems)
        return "1 error" if wrong == 1 else f"{wrong} errors"
    return f"a bug in trtpipe: {type(error).__name__}"


def _problems(error: BaseException | None) -> Sequence[Problem]:
    return error.problems if isinstance(error, TrtpipeError) and not isinstance(error, Interrupted) else ()


def _failed(name: str, error: TrtpipeError) -> FailedItem:
    from trtpipe.plan.build_end import FailedItem

    return FailedItem(name, tuple(error.problems), getattr(error, "log", ""))
