"""Pipelines with nothing left to do, so that a command need not plan them: it takes their part of the answer from here.

`.trtpipe/settled` is a sealed file. Its first line is about the project: what all plans depend on, and the lockfile as
the last build left it. Each other line is about a pipeline whose cells a build found, or made, up to date:

    {"schema":1,"environment":[…],"shared":…,"lockfile":"…"}
    "/project/pipelines/digits.yaml"<tab>{"pipeline":"digits","files":…,"delivered":…,"steps":[…],"cells":[…]}

A line counts only while everything that it depends on is as it was: trtpipe's version, the interpreter and the
environment; the spec, its sources and data, the folders where samples could appear, the packages whose versions are in
keys; the lockfile; and every delivered file. It says nothing of a pipeline with something else than files in its keys
(`watched_files.py`), and there are no lines in a project with bundles. The file may be deleted at any time.

A line whose conditions do not hold is not an error: its pipeline is planned as if there were none.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.building.stamp import environment, root_of
from trtpipe.building.unchanged.kept_shares import share_seen
from trtpipe.building.unchanged.seen_files import Seen, is_as_seen, seen_of
from trtpipe.files import write_whole
from trtpipe.json_values import (
    JsonObject,
    Malformed,
    list_in,
    object_in,
    objects_in,
    read_object,
    text_in,
    texts_in,
)
from trtpipe.loader.project import LOCK_FILE, find_pipelines
from trtpipe.stores.sealed_files import CONTENT_AT, read_sealed, sealed
from trtpipe.stores.state import SETTLED, STATE_FILE, Signature, signature_of
from trtpipe.workspace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned

_SCHEMA = 1
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check` told of a pipeline without problems, whose models TensorRT's parser had accepted."""

    gpus: tuple[str, ...]
    """The compute capabilities of the machine's GPUs then."""
    cells: tuple[JsonObject, ...]
    lines: tuple[str, ...]

    @classmethod
    def of(cls, told: JsonObject) -> Checked:
        """The same from JSON. Raises Malformed."""
        lines = tuple(texts_in(told, "lines"))
        return cls(tuple(texts_in(told, "gpus")), tuple(objects_in(told, "cells")), lines)


@dataclass(frozen=True, slots=True)
class SettledPipeline:
    """A pipeline with nothing left to do."""

    name: str
    files: Seen
    """What its plan depends on."""
    delivered: Seen
    steps: tuple[str, ...]
    """The addresses of its steps, in the plan's order."""
    cells: tuple[str, ...]
    reports: Seen | None = None
    """What its share of the reports depends on besides, and the share's file; None if no share is kept."""
    checked: Checked | None = None
    """None if it was not checked since."""

    @classmethod
    def of(cls, line: bytes) -> SettledPipeline:
        """The pipeline of a line. Raises Malformed."""
        told = read_object(line)
        files, delivered = _seen_in(told, "files"), _seen_in(told, "delivered")
        steps, cells = texts_in(told, "steps"), texts_in(told, "cells")
        reports = _seen_in(told, "reports") if "reports" in told else None
        checked = Checked.of(object_in(told, "checked")) if "checked" in told else None
        return cls(text_in(told, "pipeline"), files, delivered, tuple(steps), tuple(cells), reports, checked)

    def line(self) -> bytes:
        """The JSON that `of` reads."""
        told = {
            "pipeline": self.name,
            "files": self.files,
            "delivered": self.delivered,
            "steps": self.steps,
            "cells": self.cells,
            **({"reports": self.reports} if self.reports is not None else {}),
            **({"checked": asdict(self.checked)} if self.checked is not None else {}),
        }
        return json.dumps(told, separators=(",", ":")).encode()


@dataclass(slots=True)
class Settled:
    """What a command found of such pipelines when it began."""

    root: Path | None = None
    pipelines: dict[Path, SettledPipeline] = field(default_factory=dict)
    """Spec → pipeline: those that the command is about and need not plan, in its order."""
    order: tuple[Path, ...] = ()
    """All specs that the command is about."""
    shared: Seen | None = None
    """What the plans of all pipelines depend on."""
    lockfile: Signature | None = None
    """The lockfile's signature when its content agreed with all lines."""
    _text: bytes = b""
    """The file's content when it was read."""
    _lines: dict[str, bytes] = field(default_factory=dict)
    """Spec → what follows in its line, for all of the project whose shared conditions hold."""
    _lock_is_kept: bool = True
    """Whether nobody else wrote the lockfile before this build did."""

    @property
    def cells(self) -> list[str]:
        """The cells of the settled pipelines."""
        return [name for one in self.pipelines.values() for name in one.cells]

    @property
    def steps(self) -> list[str]:
        """The addresses of their steps."""
        return [address for one in self.pipelines.values() for address in one.steps]

    @property
    def is_all(self) -> bool:
        """Whether no pipeline of the command is left to be planned."""
        return bool(self.order) and len(self.pipelines) == len(self.order)

    @contextlib.contextmanager
    def writing_lockfile(self, path: Path) -> Iterator[None]:
        """Around the writing of the lockfile: what is settled stays so only if nobody else wrote it before."""
        self._lock_is_kept = self._lock_is_kept and signature_of(str(path)) == self.lockfile
        yield
        self.lockfile = signature_of(str(path))

    def in_order(self, planned: Mapping[Path, str]) -> Iterator[tuple[str, SettledPipeline | None]]:
        """All pipelines in the command's order, by name: settled ones, and those that were `planned`."""
        for path in self.order or planned:
            if path in self.pipelines:
                yield self.pipelines[path].name, self.pipelines[path]
            elif path in planned:
                yield planned[path], None


def settled_for_check(arguments: Sequence[str]) -> Settled:
    """The pipelines of a check that are settled; whether they were checked since is told by each."""
    settled = read_settled()
    _settle(settled, arguments, reports=False)
    return settled


def remember_checked(settled: Settled, checked: Mapping[Path, Checked]) -> None:
    """Record what was told of settled pipelines, unless a build has written the file meanwhile."""
    root = settled.root
    found = {path: one for path, one in checked.items() if path in settled.pipelines}
    if root is None or not found or _content(root) != settled._text:
        return
    lines = dict(settled._lines)
    lines |= {str(path): replace(settled.pipelines[path], checked=one).line() for path, one in found.items()}
    _write(root, settled._text.partition(b"\n")[0], lines)


def open_unsettled(
    arguments: Sequence[str], only: Sequence[str], *, use: bool = True, reports: bool = False
) -> tuple[Workspace | None, Settled]:
    """The pipelines that a command has to plan (None if there are none), and those that are settled.

    Without `use`, or if the command is about some cells only, all are to be planned; if it writes `reports`, those of
    which no share is kept, too. Raises SpecError.
    """
    settled = read_settled()
    if use and not only and not any("@" in text for text in arguments):
        _settle(settled, arguments, reports=reports)
    if settled.is_all:
        return None, settled
    if settled.pipelines:
        workspace = open_workspace(arguments, only, leave_out=settled.pipelines.keys())
        if _fits(workspace, settled):
            return workspace, settled
        settled.pipelines.clear()
    return open_workspace(arguments, only), settled


def _fits(workspace: Workspace, settled: Settled) -> bool:
    """Whether the rest can be planned by itself: it has no bundles, and no name of a settled pipeline."""
    names = {one.name for one in settled.pipelines.values()}
    return (
        workspace.root == settled.root
        and not workspace.bundles
        and not any(one.spec.pipeline in names for one in workspace.pipelines)
    )


def read_settled() -> Settled:
    """The record of the project around the working directory; empty if its shared conditions do not hold."""
    found = Settled(root_of(Path.cwd()))
    if found.root is not None:
        found._text = _content(found.root)
        head, *lines = found._text.split(b"\n")[:-1] or [b"{}"]
        found.lockfile = signature_of(str(found.root / LOCK_FILE))
        with contextlib.suppress(Malformed):
            told = read_object(head)
            if _holds(found.root, told, found.lockfile):
                found.shared = _seen_in(told, "shared")
                parts = (one.partition(b"\t") for one in lines)
                found._lines = {json.loads(path): line for path, _, line in parts}
    return found


def _holds(root: Path, told: JsonObject, lockfile: Signature | None) -> bool:
    return bool(
        told.get("schema") == _SCHEMA
        and told.get("environment") == environment()
        and told.get("lockfile") == lockfile is not None
        and is_as_seen(root, _seen_in(told, "shared"))
    )


def _settle(settled: Settled, arguments: Sequence[str], *, reports: bool) -> None:
    """Find the settled ones among the pipelines that the arguments mean."""
    root = settled.root
    if root is None or not settled._lines:
        return
    settled.order = tuple(dict.fromkeys(find_pipelines(arguments, Path.cwd())))
    for path in settled.order:
        with contextlib.suppress(Malformed):
            one = SettledPipeline.of(settled._lines.get(str(path), b"null"))
            needed = (one.files, one.delivered, one.reports) if reports else (one.files, one.delivered)
            if all(seen is not None and is_as_seen(root, seen) for seen in needed):
                settled.pipelines[path] = one


def remember(planned: Planned, cells: Collection[str]) -> None:
    """Record the planned pipelines all of whose cells are among these: in place, and in the lockfile as they are.

    Those of before stay if nothing that all depend on has changed meanwhile. Skipped in a project that is not writable.
    """
    from trtpipe.building.unchanged.watched_files import shared_files

    workspace, settled = planned.workspace, planned.settled
    shared = shared_files(planned)
    if shared is None or workspace.bundles or planned.site.lock.bundles:
        return
    stays = settled._lock_is_kept and settled.root == workspace.root
    before = settled._lines if stays else {}
    lines = {path: line for path, line in before.items() if signature_of(path) is not None}
    lines |= {path: one.line() for path, one in _found(planned, cells)}
    told = {
        "schema": _SCHEMA,
        "environment": environment(),
        "shared": seen_of(shared),
        "lockfile": settled.lockfile,
    }
    _write(workspace.root, json.dumps(told).encode(), lines)


def _found(planned: Planned, cells: Collection[str]) -> Iterator[tuple[str, SettledPipeline]]:
    from trtpipe.building.unchanged.watched_files import delivered_files, files_of

    wanted: dict[str, list[str]] = {}
    steps: dict[str, list[str]] = {}
    for cell in planned.plan.cells:
        wanted.setdefault(cell.pipeline, []).append(cell.name)
    for address in planned.plan.steps:
        steps.setdefault(address.pipeline, []).append(str(address))
    there = set(cells)
    for pipeline in planned.workspace.pipelines:
        name, spec = pipeline.spec.pipeline, pipeline.spec
        own = wanted.get(name, [])
        if len(own) == len(spec.variants) * len(spec.targets) and there.issuperset(own):
            files = files_of(planned, pipeline)
            if files is not None:
                reports = share_seen(planned.workspace.root, name, own)
                delivered = seen_of(delivered_files(planned, own))
                yield (
                    str(pipeline.path),
                    SettledPipeline(name, seen_of(files), delivered, tuple(steps[name]), tuple(own), reports),
                )


def _content(root: Path) -> bytes:
    return read_sealed(_path(root), _MOST_BYTES)[CONTENT_AT:]


def _write(root: Path, head: bytes, lines: Mapping[str, bytes]) -> None:
    text = [head, *(b"%s\t%s" % (json.dumps(path).encode(), line) for path, line in lines.items())]
    with contextlib.suppress(OSError):
        write_whole(_path(root), sealed(b"".join(b"%s\n" % one for one in text)), durable=False)


def _path(root: Path) -> Path:
    return (root / STATE_FILE).with_name(SETTLED)


def _seen_in(told: JsonObject, name: str) -> Seen:
    """Files with the digest of their signatures. Only this user can have written them, so they are not looked at."""
    groups, digest = list_in(told, name)
    assert isinstance(groups, list) and isinstance(digest, str)
    return groups, digest
