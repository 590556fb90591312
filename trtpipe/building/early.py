"""Starts the processes of a build's stages while the build is still being planned, so that they import meanwhile.

Starting them changes no result. A build with nothing to do starts none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtpipe.building.stamp import never_built
from trtpipe.processes.stage_runs import expect_stages

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned


def expect_first_build() -> None:
    """For a project of which nothing was built yet: its stages must run, unless the store has their results."""
    if never_built():
        expect_stages()


def expect_runs(planned: Planned) -> None:
    """For a plan: if a step must run on this machine."""
    from trtpipe.building.planned import runs

    if runs(planned):
        expect_stages()
