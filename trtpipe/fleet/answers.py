"""Reads answers of agents: an error or a refusal in one is raised here as if the work had been done on this machine."""

from __future__ import annotations

from trtpipe.errors import FleetError
from trtpipe.fleet.clocks import held_down
from trtpipe.fleet.connection import AgentLost
from trtpipe.fleet.lanes import Lane
from trtpipe.fleet.protocol import Answer
from trtpipe.json_values import Malformed
from trtpipe.problem_codes import Code
from trtpipe.processes.child import error_from_json


def require_done(answer: Answer, lane: Lane) -> None:
    """Raises the error that an agent answered, AgentLost when it refused, FleetError when the error is unreadable."""
    if answer.refused:
        raise AgentLost(f"{lane.agent.name} refused it: {answer.refused}")
    if not answer.error:
        return
    try:
        error = error_from_json(dict(answer.error))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as unreadable:
        raise unusable(lane, str(unreadable)) from unreadable
    raise error


def slow_clocks(answer: Answer, lane: Lane) -> str:
    """What held the clocks of the GPU down while the work ran; empty if nothing is known. Raises FleetError."""
    try:
        return held_down(answer.result)
    except Malformed as error:
        raise unusable(lane, str(error)) from error


def unusable(lane: Lane, why: str) -> FleetError:
    """The error for an answer that holds something else than was asked for."""
    return FleetError(Code.AGENT_ANSWER, f"the answer of {lane.agent.name} cannot be used: {why}")
