"""Messages about stores, and moving a project's former store into the user's store.

Who wrote a project's former store is unknown, since it may have come with the project. So it is moved only on explicit
request, and its traces are trusted in that project only (`stores/vouchers.py`). Its artifacts are named by their
digests and can be used by all projects.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import SpecError
from trtpipe.loader.project import Project
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.store import IN_PROJECT
from trtpipe.stores.faults import mapped
from trtpipe.stores.judgement import text_of, vouched
from trtpipe.stores.kept import Kept
from trtpipe.stores.local import LocalStore
from trtpipe.stores.strangers import Untrusted, parse
from trtpipe.stores.survey import artifacts_of, trace_files
from trtpipe.workspace.store_places import former_store
from trtpipe.workspace.stores import former_place
from trtpipe.workspace.written_places import refuse_foreign_places


@dataclass(slots=True)
class Adopted:
    """What was moved from a former store; sizes in bytes."""

    traces: int = 0
    artifacts: int = 0
    bytes: int = 0
    left_out: int = 0
    """Traces that are damaged, of another version, or answer for no step; and links, to files and of directories."""


def store_line(store: LocalStore) -> str:
    """A line that says where a store is, and how big."""
    artifacts = list(artifacts_of(store))
    size = format_size(sum(one.size for one in artifacts))
    return f"{store.root}: {size} in {len(artifacts)} artifact{'' if len(artifacts) == 1 else 's'}"


def former_line(project: Project, store: LocalStore) -> str:
    """A line that says what to do about the project's former store; empty when there is none."""
    former = former_store(project, store.root)
    if former is None:
        return ""
    size = format_size(sum(one.size for one in artifacts_of(LocalStore(former, read_only=True))))
    return (
        f"{IN_PROJECT} holds {size} of a former store, which is not used: `trtpipe cache adopt` takes it over, "
        "if you built it; else remove it"
    )


def adopt(project: Project, store: LocalStore) -> Adopted:
    """Move the project's former store into its store. Raises SpecError when there is none, StoreError."""
    refuse_foreign_places(project.root)
    former = former_store(project, store.root)
    if former is None:
        raise SpecError(
            Code.NO_SUCH_FILE, f"there is no former store to take over: {project.root / IN_PROJECT}"
        )
    store.open()
    result = Adopted()
    with mapped(former):
        for artifact in artifacts_of(LocalStore(former, read_only=True)):
            if not _lies_in(former, artifact.path):
                result.left_out += 1
                continue
            store.put(artifact.path)  # stored under the digest of its bytes, regardless of its old name
            result.artifacts += 1
            result.bytes += artifact.size
        kept = Kept.of(store.root, former_place(project))
        for path in trace_files(former):
            text = _as_others_say_it(path) if _lies_in(former, path) else None
            if text is None:
                result.left_out += 1
            else:
                kept.write(path.stem, text)
                result.traces += 1
        shutil.rmtree(former)
    return result


def _lies_in(former: Path, path: Path) -> bool:
    """Whether a file is in the store itself; files behind a link must not be moved away."""
    return path.resolve() == former.resolve() / path.relative_to(former)


def _as_others_say_it(path: Path) -> bytes | None:
    """A trace's text in the form in which other places provide it; None when it cannot be trusted."""
    with contextlib.suppress(OSError, Untrusted):
        text = text_of(path)
        vouched(text, path.stem, (), fetched=True)
        return json.dumps(parse(text), ensure_ascii=False).encode()
    return None
