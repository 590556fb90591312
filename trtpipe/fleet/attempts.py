"""Tries work on one agent after the other.

What an agent's death, memory or disk may have caused is tried on other agents, three times in all; what the work itself
causes fails at once, as it would on this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from trtpipe.errors import Interrupted, Problem, StepFailed, StoreError, ToolchainError, TrtpipeError
from trtpipe.fleet.connection import AgentLost
from trtpipe.fleet.dialling import AgentUnreachable
from trtpipe.fleet.lanes import Lane, Lanes
from trtpipe.fleet.placement import Need
from trtpipe.plan.control import Control
from trtpipe.problem_codes import Code

TRIES = 3
_CRASHES = (Code.STEP_CRASHED, Code.WORKER_DIED)
"""Another machine may have more memory, or a library that does not crash there."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Attempts:
    """The attempts at one piece of work."""

    lanes: Lanes
    need: Need
    control: Control
    tell: Callable[[str], None]
    """Hears why an attempt did not succeed and that another follows."""
    crashes_again: bool = True
    """Whether work that crashed is tried again."""

    def on_some_lane(self, what: str, work: Callable[[Lane], T]) -> T:
        """What the work gives on a lane that fits; `what` names it in errors.

        Raises what the work raises, FleetError when nobody can do it, and StepFailed when it was lost too often.
        """
        lost: list[str] = []
        avoid: set[str] = set()
        last: TrtpipeError | None = None
        while len(lost) < TRIES:
            lane = self.lanes.take(self.need, self.control, avoid)
            try:
                return work(lane)
            except AgentUnreachable as error:
                self.lanes.leave_out(lane.agent, str(error))
                continue
            except AgentLost as error:
                lost.append(str(error))
            except TrtpipeError as error:
                if not self._may_be_the_machine(error):
                    raise
                lost.append(f"{lane}: {error.problems[0].fact}")
                last = error
            finally:
                self.lanes.give(lane)
            avoid.add(lane.agent.address)
            self.tell(f"{lost[-1]}; it is tried again")
        raise _given_up(what, lost, last)

    def _may_be_the_machine(self, error: TrtpipeError) -> bool:
        """Whether the same work may succeed on another machine."""
        if isinstance(error, Interrupted):
            return False
        if isinstance(error, (StoreError, ToolchainError)):
            return True
        code = error.problems[0].code
        return isinstance(error, StepFailed) and (
            code is Code.DISK_FULL or (self.crashes_again and code in _CRASHES)
        )


def _given_up(what: str, lost: list[str], last: TrtpipeError | None) -> TrtpipeError:
    where = "; ".join(lost)
    if last is not None:
        first = last.problems[0]
        details = "\n".join(filter(None, [f"tried {len(lost)} times: {where}", first.details]))
        if isinstance(last, ToolchainError):
            return ToolchainError(replace(first, details=details))
        return StepFailed(replace(first, details=details), log=getattr(last, "log", ""))
    return StepFailed(Problem(Code.AGENT_LOST, f"{what} was lost {len(lost)} times: {where}"))
