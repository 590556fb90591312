"""Starts the processes of a build's stages while the build is still being planned, so that they import meanwhile.

Starting them changes no result. A build with nothing to do starts none.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trtpipe.building.stamp import never_built
from trtpipe.errors import TrtpipeError
from trtpipe.processes.stage_runs import expect_stages

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.toolchains.engine_worker.request import Asked


def expect_first_build() -> None:
    """For a project of which nothing was built yet: its stages must run, unless the store has their results."""
    if never_built():
        expect_stages()


def expect_runs(planned: Planned) -> None:
    """For a plan: if a step must run on this machine."""
    from trtpipe.building.planned import runs

    running = runs(planned)
    if not running:
        return
    expect_stages()
    toolchains = planned.here().toolchains
    for stage in ("parse", "build_engine"):
        first = next((one for one in running if one.stage == stage), None)
        if first is not None:
            _expect_worker(toolchains[first], "parse" if stage == "parse" else "build")


def _expect_worker(toolchain: Toolchain, action: Asked) -> None:
    """A worker that imports TensorRT meanwhile, if that needs no GPU and the toolchain is here and unchanged."""
    from trtpipe.toolchains.engine_worker.launch import expect_worker
    from trtpipe.toolchains.engine_worker.parser_runs import numpy_of
    from trtpipe.toolchains.verification import refuse_changed

    if toolchain.flavour != "tensorrt_rtx" or not toolchain.ready:
        return
    with contextlib.suppress(TrtpipeError):
        refuse_changed(toolchain)
        site = (*toolchain.site, *numpy_of(toolchain.python)) if action == "parse" else toolchain.site
        expect_worker(toolchain.python, toolchain.flavour, action, site)


def expect_reports() -> None:
    """While steps run, this process waits, and can import what writes the reports at the end."""
    threading.Thread(
        target=importlib.import_module, args=("trtpipe.app.report.reports",), daemon=True
    ).start()


@contextlib.contextmanager
def early_helpers() -> Iterator[None]:
    """Ends the workers that were not needed."""
    try:
        yield
    finally:
        launch = sys.modules.get("trtpipe.toolchains.engine_worker.waiting_workers")
        if launch is not None:
            launch.WAITING_WORKERS.dismiss()
