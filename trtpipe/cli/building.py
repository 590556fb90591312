"""`trtpipe build`, as far as it goes without reading a spec: a build with nothing to do ends here."""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.cli.output import EXIT_DONE, say


def build_command(
    specs: Sequence[str],
    only: Sequence[str],
    *,
    jobs: int | None,
    keep_going: bool,
    force: bool,
    offline: bool,
    as_json: bool,
) -> int:
    """Build what is not up to date. 1 when a step or a threshold failed."""
    from trtpipe.system.stamp import is_unchanged

    if not force and is_unchanged(specs, only):
        return say_nothing("nothing to do", as_json=as_json)
    from trtpipe.cli.running import plan_and_run

    return plan_and_run(
        specs, only, jobs=jobs, keep_going=keep_going, force=force, offline=offline, as_json=as_json
    )


def say_nothing(text: str, *, as_json: bool) -> int:
    """The closing line of a build that ran nothing."""
    if as_json:
        from trtpipe.cli.progress import open_progress

        with open_progress(as_json=True, total=0) as progress:
            progress.emit({"event": "end", "built": [], "restored": [], "failed": [], "closing": text})
    else:
        say(text)
    return EXIT_DONE
