"""The stamp of a build with nothing left to do: the signatures of all files that it looked at.

If the same command finds all of these files unchanged, and the reports complete, the result is the same: there is
nothing to do. A build with nothing to do is then as fast as reading one file and calling stat on the others. A stamp is
written only when a full plan has found nothing to do, or a build has done it all, and covers everything that this plan
read: specs (and the folders where a new one could appear), data sets, sources, delivered files, the lockfile, the
packages whose versions are part of keys. No stamp is written if the plan depends on something that is not a file: a
target `this`, or an interpreter that had to be run; nor if a file was changed after the plan began to read.

Stamps are sealed files in `.trtpipe/stamps`, one for each command of the last few; options that change no result, such
as `--json` and `--jobs`, do not make another command. A stamp holds names, and digests of their signatures.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe import __version__
from trtpipe.building.unchanged.seen_files import Known, Seen, is_as_seen, seen_of
from trtpipe.digests import digest_bytes
from trtpipe.files import sweep_files, write_whole
from trtpipe.homes import user_file
from trtpipe.stores.sealed_files import CONTENT_AT, read_sealed, sealed
from trtpipe.stores.state import STAMPS, STATE_FILE, signature_of
from trtpipe.workspace.reports_mark import is_marked

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned
    from trtpipe.building.unchanged.settled import Settled

LOCK_FILE = "trtpipe.lock"
"""As in `loader/project.py`, which a build with nothing to do should not import."""
_SCHEMA = "4"
"""Increase it when a build would write something else from the same files, such as another lockfile."""
_MOST_STAMPS = 16
_MOST_BYTES = 1 << 28


def is_unchanged(arguments: Sequence[str], only: Sequence[str]) -> bool:
    """Whether the last build of this command left nothing to do and nothing has changed since."""
    root = root_of(Path.cwd())
    text = read_sealed(_stamp(root, arguments, only), _MOST_BYTES) if root is not None else b""
    if root is None or not text or is_marked(root):
        return False
    try:
        told = json.loads(text[CONTENT_AT:])
        return bool(
            told["environment"] == environment() and all(is_as_seen(root, seen) for seen in told["seen"])
        )
    except (ValueError, KeyError, TypeError):  # written by this user, with another trtpipe
        return False


def never_built() -> bool:
    """Whether no build has left a state here."""
    return root_of(Path.cwd()) is None


def take(planned: Planned, arguments: Sequence[str], only: Sequence[str]) -> None:
    """Record that this command has nothing to do; left out in a project that is not writable."""
    if planned.workspace.root == root_of(Path.cwd()):
        _record(planned.workspace.root, (arguments, only), _seen(planned, arguments))


def take_settled(settled: Settled, arguments: Sequence[str], since: int) -> None:
    """The same for a command all of whose pipelines are settled, found so at that time."""
    from trtpipe.building.unchanged.watched_files import folders_of_specs

    assert settled.root is not None and settled.shared is not None
    folders = folders_of_specs(settled.pipelines, settled.root, since)
    if folders is not None:
        known = (folders, _lockfile(settled.root / LOCK_FILE))
        own = settled.pipelines.values()
        seen = [
            *map(seen_of, known),
            settled.shared,
            *(one.files for one in own),
            *(one.delivered for one in own),
        ]
        _record(settled.root, (arguments, ()), seen)


def _record(root: Path, command: tuple[Sequence[str], Sequence[str]], seen: list[Seen] | None) -> None:
    if seen is not None:
        text = json.dumps({"environment": environment(), "seen": seen}, separators=(",", ":"))
        _write(_stamp(root, *command), sealed(text.encode()))


def _lockfile(path: Path) -> Known:
    return {str(path.parent): {path.name: signature_of(str(path))}}


def _seen(planned: Planned, arguments: Sequence[str]) -> list[Seen] | None:
    """Everything that the command depends on; None if some of it was changed since the plan was begun."""
    from trtpipe.building.unchanged.watched_files import (
        delivered_files,
        files_of,
        folders_of_specs,
        shared_files,
    )

    workspace = planned.workspace
    specs = (*planned.settled.pipelines, *(one.path for one in workspace.pipelines))
    known = [
        folders_of_specs(specs, workspace.root, workspace.opened),
        shared_files(planned),
        _lockfile(workspace.lockfile),
        *(files_of(planned, one) for one in workspace.pipelines),
        *_of_bundles(planned, arguments),
    ]
    settled = planned.settled.pipelines.values()
    # the delivered files come last: they are many, and a changed spec is told without them
    names = [cell.name for cell in planned.plan.cells] + [one.name for one in workspace.whole_bundles]
    delivered = delivered_files(planned, names)
    if any(one is None for one in known):
        return None
    return [
        *(seen_of(one) for one in known if one is not None),
        *(one.files for one in settled),
        seen_of(delivered),
        *(one.delivered for one in settled),
    ]


def _of_bundles(planned: Planned, arguments: Sequence[str]) -> list[Known | None]:
    """What the bundles depend on besides; nothing in a project without."""
    if not planned.workspace.bundles:
        return []
    from trtpipe.building.bundles.watched_files import files_of_bundles

    return [files_of_bundles(planned, arguments)]


def _write(path: Path, text: bytes) -> None:
    """Write a stamp, and remove the oldest ones beyond the number that is kept."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_files(path.parent)
        write_whole(path, text, durable=False)
        kept = sorted(path.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for old in kept[_MOST_STAMPS:]:
            old.unlink()


def _stamp(root: Path, arguments: Sequence[str], only: Sequence[str]) -> Path:
    name = digest_bytes(_name(arguments, only).encode(errors="surrogateescape")).hex[:32]
    return (root / STATE_FILE).with_name(STAMPS) / name


def _name(arguments: Sequence[str], only: Sequence[str]) -> str:
    return repr((str(Path.cwd()), list(arguments), list(only)))


def environment() -> list[str]:
    """What a plan depends on besides files."""
    named = [os.environ.get(name, "") for name in ("TRTPIPE_STORE", "TRTPIPE_TOOLCHAINS")]
    return [_SCHEMA, __version__, sys.executable, sys.version, str(user_file()), *named]


def root_of(start: Path) -> Path | None:
    """The root of the project around a folder, if something was built in it."""
    return next((one for one in (start, *start.parents) if (one / STATE_FILE).is_file()), None)
