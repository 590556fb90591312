"""`trtpipe allow`: shows what a project would run and remembers that its user allows it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.permissions import grant, granted_digests
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.workspace.project_code import Named


def allow_command(specs: Sequence[str], *, yes: bool, listed: bool, revoke: bool, as_json: bool) -> int:
    """List what would run; allow it if the user agrees. Raises SpecError."""
    from trtpipe.loader.project import find_project
    from trtpipe.loader.user import write_allowed
    from trtpipe.workspace.project_code import code_in
    from trtpipe.workspace.workspace import open_workspace

    project = find_project(Path.cwd())
    if revoke:
        note(f"nothing of {project.root} is allowed any more: {write_allowed(project.root, ())}")
        return EXIT_DONE
    allowed = granted_digests()
    # read access only, because the specs name files there
    grant(code.digest for _, code in project.wanted_reach())
    workspace = open_workspace(specs, only_to_look=True)
    found = [
        (one, one.code.digest in allowed)
        for one in code_in(workspace.project, workspace.pipelines, workspace.bundles)
    ]
    if as_json:
        say_json({"schema": 1, "code": [_json_of(*one) for one in found]})
    else:
        _show(found)
    if listed or as_json or all(known for _, known in found):
        return EXIT_DONE
    if not (yes or _agreed()):
        note("nothing was allowed")
        return 1
    path = write_allowed(workspace.project.root, [one.code.digest for one, _ in found])
    note(f"allowed, until its content changes: {path}")
    return EXIT_DONE


def _show(found: Sequence[tuple[Named, bool]]) -> None:
    if not found:
        say("this project runs no code of its own, and reads nothing outside its directory")
    for one, known in found:
        state = "allowed" if known else "not allowed"
        say(f"{state}: {one.code.words()}, named in {one.where} (sha256 {one.code.digest[:16]})")


def _json_of(one: Named, known: bool) -> dict[str, object]:
    return {
        "kind": one.code.kind, "name": one.code.name, "named_in": one.where, "digest": one.code.digest,
        "allowed": known,
    }  # fmt: skip


def _agreed() -> bool:
    """The user's answer at a terminal. Raises SpecError when there is no terminal."""
    if not sys.stdin.isatty():
        raise SpecError(
            Code.CODE_NOT_ALLOWED,
            "cannot ask for confirmation: this is not a terminal",
            "read the list, and run the command again with --yes",
        )
    note("Allow all of this to run with your rights? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
