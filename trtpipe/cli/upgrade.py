"""`trtpipe upgrade`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json
from trtpipe.cli.progress import open_progress


@dataclass(frozen=True, slots=True)
class UpgradeOptions:
    """The options of the command line; `jobs` and `output` are None when not given."""

    specs: Sequence[str]
    only: Sequence[str]
    output: Path | None = None
    jobs: int | None = None
    offline: bool = False
    as_json: bool = False


def upgrade_command(name: str, options: UpgradeOptions) -> int:
    """Build on another TensorRT version and compare. 1 when a cell failed there or got worse."""
    from trtpipe.app.upgrade.upgrade import (
        comparison_of,
        got_worse,
        open_upgrade,
        run_upgrade,
        write_reports,
    )
    from trtpipe.building.build import default_jobs
    from trtpipe.text.upgrades import summary_line
    from trtpipe.workspace.workspace import open_workspace

    upgrade = open_upgrade(open_workspace(options.specs, options.only), name, options.output)
    if upgrade.cells:
        steps = 2 * len(upgrade.cells)
        with open_progress(as_json=False, total=steps, began=time.monotonic()) as progress:
            run_upgrade(upgrade, progress, jobs=options.jobs or default_jobs(), offline=options.offline)
    record = comparison_of(upgrade)
    paths = write_reports(upgrade, record) if upgrade.cells else []
    if options.as_json:
        say_json(record)
    elif not upgrade.cells:
        say(f"nothing to upgrade: every cell is on {upgrade.toolchain} already")
    else:
        _show(record)
        say(f"{summary_line(record)}; see {paths[0]}")
    return EXIT_FAILED if got_worse(record) else EXIT_DONE


def _show(record: Mapping[str, Any]) -> None:
    """Each cell and bundle with what is wrong with it, and the lines to change."""
    told = [(row["cell"], row) for row in record["cells"]]
    told += [(row["bundle"], row) for row in record.get("bundles", ())]
    for name, row in told:
        say(f"{row['status']:<12} {name}")
        for problem in row["problems"][:3]:
            say(f"             {problem}")
    for change in record["changes"]:
        say(f"change {change}")
