"""The options of `trtpipe build`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.cli.fleets.use import FleetOptions


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """The options of the command line; `jobs` is None when it was not given."""

    specs: Sequence[str]
    only: Sequence[str]
    jobs: int | None = None
    keep_going: bool = False
    force: bool = False
    offline: bool = False
    as_json: bool = False
    search_again: bool = False
    frozen: bool = False
    check: bool = False
    require_remote: bool = False
    fleet: FleetOptions = field(default_factory=FleetOptions)
    profile: Path | None = None
    """Where to write what took how long."""

    @property
    def runs_known(self) -> bool:
        """Whether something must run or be examined even if its result is known."""
        return self.force or self.search_again or self.frozen or self.check
