"""The functions that dask calls in an agent's process. Their names and their texts are the whole interface.

dask sends a function by its module and name, so these must stay where they are: a client of any version then reaches
an agent of any version, which refuses what it does not understand. They take and return text only; no object of
trtpipe is ever pickled.
"""

from __future__ import annotations

from typing import Protocol


class Agent(Protocol):
    """What answers in this process."""

    def labels(self) -> str:
        """The agent's labels, as JSON text."""

    def perform(self, request: str) -> str:
        """Do what a request asks; the answer as JSON text."""

    def stop(self, identity: str, now: bool) -> bool:
        """Stop a request; returns whether it was running here."""

    def running(self) -> str:
        """What runs here, as JSON text."""


_agents: list[Agent] = []


def serve(agent: Agent) -> None:
    """Make an agent the one that answers in this process."""
    _agents[:] = [agent]


def _agent() -> Agent:
    if not _agents:
        raise RuntimeError("this dask worker is not a trtpipe agent: start it with `trtpipe agent`")
    return _agents[0]


def labels() -> str:
    """The labels of the agent in this process."""
    return _agent().labels()


def perform(request: str) -> str:
    """Do what a request asks."""
    return _agent().perform(request)


def stop(identity: str, now: bool) -> bool:
    """Stop a request, gracefully or at once."""
    return _agent().stop(identity, now)


def running() -> str:
    """What runs in this process at the moment."""
    return _agent().running()
