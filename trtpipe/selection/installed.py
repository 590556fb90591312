"""Whether an engine that is installed already is of a package and still fits the machine, after an update of either."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import Digest, digest_file
from trtpipe.errors import ModelError
from trtpipe.json_values import Json
from trtpipe.packages.index import Index, PackedEngine
from trtpipe.problem_codes import Code
from trtpipe.selection.machine import Machine
from trtpipe.selection.verdict import Choice, choose, judge


@dataclass(frozen=True, slots=True)
class Installed:
    """What is known of an engine's file."""

    file: Path
    cell: str | None
    """The cell whose engine it is; None if the package has no such engine."""
    why_not: str
    """Why it must not be used any more; empty when it still fits."""
    instead: tuple[Choice, ...] = ()
    """What would be selected today for its model, or for every model if it is of none."""

    @property
    def fits(self) -> bool:
        """Whether it still fits."""
        return not self.why_not

    def to_json(self) -> dict[str, Json]:
        """The same as plain JSON values."""
        return {
            "schema": 1,
            "file": str(self.file),
            "cell": self.cell,
            "fits": self.fits,
            "why_not": self.why_not,
            "instead": [one.to_json() for one in self.instead],
        }


def check_installed(index: Index, file: Path, machine: Machine) -> Installed:
    """Whether a file is an engine of the package, by its digest, and runs on the machine. Raises ModelError."""
    try:
        digest = digest_file(file)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ModelError(Code.CANNOT_READ, f"cannot read '{file}': {why}") from error
    found = [(model.name, one) for model in index.models for one in model.engines if _is(one, digest, index)]
    choices = choose(index, machine).choices
    if not found:
        return Installed(file, None, f"it is no engine of package '{index.package}'", choices)
    judged = [judge(model, engine, machine) for model, engine in found]  # several cells may share one engine
    best = next((one for one in judged if not one.why_not), judged[0])
    today = tuple(one for one in choices if one.model == best.model)
    return Installed(file, best.engine.cell, best.why_not, today)


def _is(engine: PackedEngine, digest: Digest, index: Index) -> bool:
    promised = index.files[engine.file]
    return Digest(promised.blake3, promised.bytes) == digest
