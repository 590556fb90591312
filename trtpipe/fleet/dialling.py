"""Whether this client and an agent can exchange artifacts: agents are dialled before anything starts.

One that cannot be reached is left out with its reason, also when it becomes unreachable later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from trtpipe.errors import FleetError, StoreError, TrtpipeError
from trtpipe.fleet.connection import SeenAgent
from trtpipe.fleet.lanes import Lane, Lanes
from trtpipe.fleet.transfer import Route, Routes
from trtpipe.problem_codes import Code

_AT_ONCE = 32


class AgentUnreachable(Exception):
    """This client and an agent cannot exchange artifacts; the text says why, and what helps."""


@contextmanager
def dialled() -> Iterator[None]:
    """Turns the error of an agent that cannot be dialled into AgentUnreachable."""
    try:
        yield
    except StoreError as error:
        if error.problems[0].code is Code.AGENT_UNREACHABLE:
            raise _unreachable(error) from error
        raise


def greet(agents: Iterable[SeenAgent], lanes: Lanes, routes: Routes) -> None:
    """Dial every agent, many at a time, and leave out those that this client cannot exchange artifacts with."""

    def dial(agent: SeenAgent) -> None:
        try:
            with dialled():
                routes.to(agent).greet()
        except AgentUnreachable as error:
            lanes.leave_out(agent, str(error))
        except TrtpipeError as error:
            lanes.leave_out(agent, f"cannot be sent artifacts: {error.problems[0].fact}")

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="greet") as pool:
        list(pool.map(dial, agents))


def _unreachable(error: TrtpipeError) -> AgentUnreachable:
    problem = error.problems[0]
    return AgentUnreachable(f"cannot be sent artifacts: {problem.fact}; {problem.remedy}")


def route_to(lane: Lane, routes: Routes) -> Route:
    """How artifacts reach the agent of a lane. Raises AgentUnreachable."""
    try:
        return routes.to(lane.agent)
    except FleetError as error:
        raise _unreachable(error) from error
