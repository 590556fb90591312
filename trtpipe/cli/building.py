"""`trtpipe build`, as far as it goes without reading a spec: a build with nothing to do ends here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.cli.output import EXIT_DONE, say


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


def build_command(options: BuildOptions) -> int:
    """Build what is not up to date. 1 when a step or a threshold failed."""
    from trtpipe.system.stamp import is_unchanged

    if not options.force and is_unchanged(options.specs, options.only):
        return say_nothing("nothing to do", as_json=options.as_json)
    from trtpipe.cli.running import plan_and_run

    return plan_and_run(options)


def say_nothing(text: str, *, as_json: bool) -> int:
    """The closing line of a build that ran nothing."""
    if as_json:
        from trtpipe.cli.progress import open_progress

        with open_progress(as_json=True, total=0) as progress:
            progress.emit({"event": "end", "built": [], "restored": [], "failed": [], "closing": text})
    else:
        say(text)
    return EXIT_DONE
