"""The options of `trtpipe build`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What the command line asked for; `jobs` is None when it did not say."""

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

    @property
    def runs_known(self) -> bool:
        """Whether something must run, or be looked at, whatever is known."""
        return self.force or self.search_again or self.frozen or self.check
