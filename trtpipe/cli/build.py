"""`trtpipe build`, up to the point where specs must be read: a build with nothing to do ends here."""

from __future__ import annotations

from trtpipe.cli.build_end import one_closing
from trtpipe.cli.build_options import BuildOptions
from trtpipe.cli.output import EXIT_DONE
from trtpipe.cli.profile import profiled


def build_command(options: BuildOptions) -> int:
    """Build what is not up to date. 1 when a step or a threshold failed."""
    with profiled(options.profile), one_closing(as_json=options.as_json) as closing:
        from trtpipe.building.stamp import is_unchanged

        if not options.runs_known and is_unchanged(options.specs, options.only):
            closing.text = "nothing to do"
            return EXIT_DONE
        if options.check:
            from trtpipe.cli.rebuild import check_again

            return check_again(options, closing)
        from trtpipe.cli.early import early_helpers, expect_first_build

        with early_helpers():
            if not options.fleet.executor:
                expect_first_build()
            from trtpipe.cli.build_run import plan_and_run

            return plan_and_run(options, closing)
