"""`trtpipe report`, and the reports at the end of a build: where they are, and what could not be written."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, EXIT_USAGE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.timings import span

if TYPE_CHECKING:
    from trtpipe.app.report.reports import Written
    from trtpipe.building.outcome import Outcome
    from trtpipe.building.planned import Planned
    from trtpipe.workspace.reports_mark import ReportsMark

_MOST_BYTES = 1_000_000
"""What GitHub takes of a step's summary, with room for what other steps wrote."""


def tell_reports(planned: Planned, outcome: Outcome, mark: ReportsMark, *, interrupted: bool = False) -> None:
    """Write the reports of a build, and remove its marker when they list every cell as delivered.

    Errors are only warnings here, because the build itself is done.
    """
    whole = not (interrupted or outcome.failures or outcome.blocked)
    with _only_warned_of():
        from trtpipe.app.report.reports import report_build
        from trtpipe.building.planned import delivered_now

        standing = set() if whole else delivered_now(planned)
        with span("write the reports", "report"):
            written = report_build(planned, outcome, interrupted=interrupted, standing=standing)
        _warn(written)
        append_step_summary(written)
        if whole and not written.warnings:
            mark.lift()


def mend_reports(planned: Planned) -> bool:
    """Write the reports of a plan with nothing to do again if an earlier build left them incomplete; returns if so."""
    from trtpipe.workspace.reports_mark import found_mark

    mark = found_mark(planned.workspace.state.path)
    if not mark.is_set:
        return False
    with _only_warned_of():
        from trtpipe.app.report.reports import report_delivered

        written = report_delivered(planned, None)
        _warn(written)
        append_step_summary(written)
        if not written.warnings:
            mark.lift()
            return True
    return False


@contextmanager
def _only_warned_of() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        note(f"warning: the reports were not written: {type(error).__name__}: {error}")


def report_command(
    arguments: Sequence[str], only: Sequence[str], *, since: Path | None, as_json: bool
) -> int:
    """Write reports anew from what is delivered. 2 when one cannot be written."""
    folders = [Path(one) for one in arguments if (Path(one) / "manifest.json").is_file()]
    others = [one for one in arguments if Path(one) not in folders]
    if folders and (only or since):
        raise SpecError(
            Code.OPTIONS_EXCLUDE,
            "an engine directory excludes --only and --since",
            "leave them out, because they select cells of specs",
        )
    all_written = [_of_directory(folder) for folder in folders]
    if others or not folders:
        all_written.append(_of_specs(others, only, since))
    for written in all_written:
        if not as_json:
            tell_files(written)
            continue
        if written.report is not None:
            say_json(written.report.to_json())
        _warn(written)
    append_step_summary(all_written[-1])
    return EXIT_USAGE if any(written.warnings for written in all_written) else EXIT_DONE


def tell_files(written: Written) -> None:
    """Say which pages were written, and warn of what could not be."""
    for path in written.files:
        if path.name == "report.html":
            say(_shown(path))
    _warn(written)


def _of_directory(folder: Path) -> Written:
    from trtpipe.app.report.reports import report_directory

    return report_directory(folder)


def _of_specs(specs: Sequence[str], only: Sequence[str], since: Path | None) -> Written:
    from trtpipe.app.report.reports import report_delivered
    from trtpipe.building.planned import make_plan
    from trtpipe.workspace.reports_mark import found_mark
    from trtpipe.workspace.workspace import open_workspace

    planned = make_plan(open_workspace(specs, only))
    mark = found_mark(planned.workspace.state.path)
    written = report_delivered(planned, since)
    if not (planned.undelivered or written.warnings):
        mark.lift()
    planned.workspace.state.save()
    return written


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _warn(written: Written) -> None:
    for text in written.unread:
        note(f"warning: {text}")
    for text in written.warnings[:10]:
        note(f"warning: {text}")
    if len(written.warnings) > 10:
        note(f"warning: {len(written.warnings) - 10} more reports could not be written")


def append_step_summary(written: Written) -> None:
    """Append the Markdown summary to the page of a GitHub Actions job, if this is one."""
    target = os.environ.get("GITHUB_STEP_SUMMARY", "")
    if not target:
        return
    if not written.summary:
        return
    text = written.summary.encode("utf-8", "backslashreplace")
    try:
        with Path(target).open("ab") as file:
            room = _MOST_BYTES - file.tell()
            if len(text) <= room:
                file.write(text)
            else:
                file.write(b"The summary of this build is too long for this page: see build/summary.md.\n")
    except OSError as error:
        note(f"warning: cannot write GITHUB_STEP_SUMMARY: {(error.strerror or str(error)).lower()}")
