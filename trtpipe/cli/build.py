"""`trtpipe build`, as far as it goes without reading a spec: a build with nothing to do ends here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.cli.build_end import one_closing
from trtpipe.cli.output import EXIT_DONE


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


def build_command(options: BuildOptions) -> int:
    """Build what is not up to date. 1 when a step or a threshold failed."""
    with one_closing(as_json=options.as_json) as closing:
        from trtpipe.building.stamp import is_unchanged

        if not options.runs_known and is_unchanged(options.specs, options.only):
            closing.text = "nothing to do"
            return EXIT_DONE
        if options.check:
            from trtpipe.cli.rebuild import check_again

            return check_again(options, closing)
        from trtpipe.cli.build_run import plan_and_run

        return plan_and_run(options, closing)
