"""`trtpipe build --check`: builds everything again, grades it, and prints a table."""

from __future__ import annotations

from collections import Counter

from trtpipe.app.prove.grades import GRADES, Graded
from trtpipe.app.prove.rebuild import Rebuild
from trtpipe.building.build import default_jobs
from trtpipe.building.planned import make_plan
from trtpipe.cli.build_end import Closing
from trtpipe.cli.build_options import BuildOptions
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_LOCK, note, say, show_error
from trtpipe.cli.progress import open_progress
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.text.tables import render_table
from trtpipe.workspace.stores import use_remote
from trtpipe.workspace.workspace import open_workspace


def check_again(options: BuildOptions, closing: Closing) -> int:
    """Build again and grade. 3 when anything came out worse than its flavour promises, 1 when a step failed."""
    _refuse_with(options)
    workspace = open_workspace(options.specs, options.only)
    use_remote(workspace.store, offline=options.offline, required=options.require_remote)
    planned = make_plan(workspace)
    total = len(planned.plan.steps)
    with open_progress(as_json=options.as_json, total=total, began=closing.began) as progress:
        rebuild = Rebuild(planned, progress, options.jobs or default_jobs(), options.offline)
        graded = rebuild.run()
    if not options.as_json:
        for name, error in rebuild.failures:
            note(f"\n{name} failed:")
            show_error(error)
        _show(graded)
    closing.text = _closing(graded)
    return _code(graded, failed=bool(rebuild.failures))


def _refuse_with(options: BuildOptions) -> None:
    both = [
        name
        for name, asked in (
            ("--force", options.force),
            ("--frozen", options.frozen),
            ("--search-again", options.search_again),
        )
        if asked
    ]
    if both:
        raise SpecError(
            Code.OPTIONS_EXCLUDE,
            f"--check and {both[0]} cannot be combined",
            "leave it out, because --check compares with the lockfile and writes nothing",
        )


def _code(graded: list[Graded], *, failed: bool) -> int:
    if failed:
        return EXIT_FAILED
    told = [one for one in graded if one.grade is not None]
    if not told or any(not one.passed for one in told) or any(one.failed for one in graded):
        return EXIT_LOCK
    return EXIT_DONE


def _show(graded: list[Graded]) -> None:
    rows = [(one.name, one.grade or "not run", _verdict(one)) for one in graded]
    say(render_table(("what", "grade", "verdict"), rows))
    for one in graded:
        lines = [*one.details, *(f"not run: {reason}" for reason in one.not_run)]
        if lines:
            say("\n  ".join([f"\n{one.name}:", *lines]))


def _verdict(one: Graded) -> str:
    if one.grade is None:
        return "FAILED" if one.failed else ""
    return "ok" if one.passed else "FAILED"


def _closing(graded: list[Graded]) -> str:
    counts: Counter[str] = Counter(one.grade or "not run" for one in graded)
    words = [f"{counts[name]} {name}" for name in (*GRADES, "not run") if counts[name]]
    return f"built {len(graded)} again: " + (", ".join(words) or "nothing")
