"""Writes a delivered engine's statements of origin, `provenance.json` and `model.cdx.json`, as text.

Adds to the traces the SHA-256 of the engine, of the typed model and of the model's own files, because the store only
has BLAKE3 digests. An artifact is read for it once a build; a model's own files only when their signatures change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from trtpipe.digests import Digest, same_digest
from trtpipe.plan.address import Address, Stage
from trtpipe.plan.graph import Cell, Source, Step
from trtpipe.plan.trace import Trace
from trtpipe.provenance.materials import materials_of
from trtpipe.provenance.ml_bom import bill_of
from trtpipe.provenance.statement import statement_of
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.toolchains.wheels import sha256_of

SCHEMA = 1
"""Increase it when delivered cells should get new statements although nothing else changed."""
_AT_ONCE = 2
"""Artifacts that are hashed at once: an engine is as large as its model. Other cells are built meanwhile."""
PROVENANCE, BILL = "provenance.json", "model.cdx.json"


@dataclass(frozen=True, slots=True)
class Statements:
    """Writes the statements of a project's cells."""

    store: LocalStore
    state: ProjectState
    steps: Mapping[Address, Step]
    """The plan's steps: where a model's own files are on this machine."""
    known: dict[str, str] = field(default_factory=dict)
    """The SHA-256 of artifacts by their BLAKE3: the targets of a variant share its typed model."""

    def texts(self, cell: Cell, traces: Mapping[Stage, Trace], manifest: Mapping[str, Any]) -> dict[str, str]:
        """Both documents by file name. Raises StoreError, and OSError when a file cannot be read."""
        made = [traces["build_engine"].outputs["model.engine"], *traces["quantize"].outputs.values()]
        with ThreadPoolExecutor(_AT_ONCE) as pool:  # hashing lets go of the GIL
            sha256 = dict(zip([one.hex for one in made], pool.map(self._stored, made), strict=True))
        sha256 |= self._sources(cell)
        materials = materials_of(traces, sha256)
        return {
            PROVENANCE: _text(statement_of(cell, traces, materials, sha256)),
            BILL: _text(bill_of(manifest, traces, materials, sha256)),
        }

    def _stored(self, digest: Digest) -> str:
        if digest.hex not in self.known:
            self.known[digest.hex] = sha256_of(self.store.path(digest))
        return self.known[digest.hex]

    def _sources(self, cell: Cell) -> dict[str, str]:
        """The model's own files; one that changed since the build has no digest."""
        found = {}
        for source in self._model_files(cell):
            if same_digest(self.state.digest(source.path), source.digest):
                path = source.path
                found[source.digest.hex] = self.state.noted_text(path, "sha256", partial(sha256_of, path))
        return found

    def _model_files(self, cell: Cell) -> Iterable[Source]:
        stages: tuple[Stage, ...] = ("import", "transform")
        for stage in stages:
            address = cell.steps.get(stage)
            step = self.steps.get(address) if address is not None else None
            for refs in step.inputs.values() if step is not None else ():
                yield from (ref for ref in refs if isinstance(ref, Source) and _is_file(ref.path))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
