"""A finding of an engine rule about one node or one value."""

from __future__ import annotations

from typing import NamedTuple

CUT = "cut the graph before it with transform.outputs and do this step outside the engine"
NAME = "<name>"
"""Stands in a remedy for the names of the nodes, as a spec has them."""


class Refusal(NamedTuple):
    """Why something cannot be built, and the remedy; `node` or `value` names it, whichever is known."""

    why: str
    remedy: str
    node: str = ""
    """The name of the node in the typed model."""
    value: str = ""
    """The name of the input, output or weight that is refused."""
