"""Keeps the shares of pipelines that are up to date, so that the next build's reports need not make them again.

A share is a sealed file in `.trtpipe/reports`. Its first line has the signatures of what it was made from, as they were
before that was read: the manifests, benchmarks and proofs beside the engines. A share that is damaged, was written by
somebody else, or was made from other files counts as absent: then its pipeline is planned, and its share made again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from trtpipe.building.unchanged.seen_files import Known, Seen, is_as_seen, seen_of
from trtpipe.digests import digest_bytes
from trtpipe.files import write_whole
from trtpipe.json_values import Malformed
from trtpipe.reports.shares import Share
from trtpipe.stores.sealed_files import CONTENT_AT, read_sealed, sealed
from trtpipe.stores.state import STATE_FILE, signature_of

_FOLDER = "reports"
_MOST_BYTES = 1 << 28
_BENCH = "bench.json"
_READ = ("manifest.json", _BENCH, "proof.json", "validation.json")
"""What the share of a cell is made from."""


def read_for_share(root: Path, cells: Iterable[str]) -> Known:
    """The signatures of what the cells' share is made from; to be asked for before it is read."""
    return {
        folder: {name: signature_of(f"{root}/{folder}/{name}") for name in _READ}
        for folder in _folders(cells)
    }


def keep_share(root: Path, share: Share, read: Known) -> None:
    """Keep a share. Skipped in a project that is not writable."""
    path, head = _path(root, share.pipeline), json.dumps(seen_of(read), separators=(",", ":"))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, sealed(b"%s\n%s" % (head.encode(), share.to_bytes())), durable=False)


def kept_share(root: Path, pipeline: str) -> Share | None:
    """The share of a pipeline that was found to be settled; None if it has gone since."""
    _, _, rest = read_sealed(_path(root, pipeline), _MOST_BYTES)[CONTENT_AT:].partition(b"\n")
    with contextlib.suppress(Malformed):
        return Share.of(rest)
    return None


def share_seen(root: Path, pipeline: str, cells: Iterable[str]) -> Seen | None:
    """What a later build has to look at, besides the delivered files, to rely on the share; None if there is none."""
    path = _path(root, pipeline)
    head, _, _ = read_sealed(path, _MOST_BYTES)[CONTENT_AT:].partition(b"\n")
    if not head or not is_as_seen(root, json.loads(head)):
        return None
    known: dict[str, Mapping[str, str | None]] = {str(path.parent): {path.name: signature_of(str(path))}}
    known |= {folder: {_BENCH: signature_of(f"{root}/{folder}/{_BENCH}")} for folder in _folders(cells)}
    return seen_of({folder: dict(files) for folder, files in known.items()})


def _folders(cells: Iterable[str]) -> list[str]:
    """The directories of cells, which are called as they are."""
    return [f"build/{name}" for name in cells]


def _path(root: Path, pipeline: str) -> Path:
    return (root / STATE_FILE).with_name(_FOLDER) / digest_bytes(pipeline.encode()).hex[:32]
