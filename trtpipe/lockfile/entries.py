"""The contents of a lockfile: the facts of each cell and the recipe of each step. Independent of text and files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.digests import Digest

SCHEMA = 3
Fact = str | Sequence[str] | Mapping[str, str]
"""A text, a list of globs, or texts by name."""
Entry = Mapping[str, Fact]
StepEntry = Mapping[str, str]
"""`recipe`, each output that other steps take by its name, and what they were made with and on."""

RECIPE = "recipe"
MADE_WITH, MADE_ON = "made_with", "made_on"
"""The packages that a step's result was made with, and the kind of processor: recorded, and no reason to refuse."""
FROM_LOCK = "the lockfile"
"""What a trace's summary says under `from`, of a result that was taken over from the lockfile."""
FIELDS = (
    "key",
    "source",
    "origin",
    "data",
    "golden",
    "calibration",
    "calibration_data",
    "calibration_cache",
    "graft",
    "plugins",
    "model",
    "scales",
    "engine",
    "normalised",
    "toolchain",
    "python",
    "compute_capabilities",
    "gpu",
    "address_randomisation",
    "search",
    "precision",
    "base",
    "reached",
    "nodes",
    "tactics",
    "validated",
    "measured",
    "reach",
    "layers_read",
    "run_on_gpu",
)
"""The facts of a cell, in the order in which they are written; lists of globs follow."""
KEEP = "keep_"
"""How the names of facts begin that are lists of globs; a precision follows."""
BUNDLE_FIELDS = (
    "key",
    "edges",
    "driver",
    "data",
    "golden",
    "labels",
    "members",
    "validated",
    "run_on_gpu",
)
"""The facts of a bundle, in the order in which they are written; `members` has a line for each member and target."""
CIRCUMSTANCES = frozenset({"address_randomisation", "gpu", "run_on_gpu"})
"""What tells of the machine and not of the work: recorded, and never a reason to refuse. (An engine's key has the GPU
that it is tied to.)"""

CHAIN = ("canonical", "typed", "network")
"""The parts of `reach`, in the order in which they are made of each other."""

_SHOWN = re.compile(r"([0-9a-f]{64}) \((\d+) bytes\)")


@dataclass(frozen=True, slots=True)
class Lock:
    """A lockfile as read. In a merge conflict both sides are combined, without entries on which they disagree."""

    cells: Mapping[str, Entry] = field(default_factory=dict)
    steps: Mapping[str, StepEntry] = field(default_factory=dict)
    schema: int = SCHEMA
    disagreeing: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """Cell or bundle → what the sides of a merge conflict say of it."""
    conflict: bool = False
    bundles: Mapping[str, Entry] = field(default_factory=dict)
    """Bundle → its facts."""

    def every_entry(self) -> list[Entry]:
        """The facts of all cells, those of both sides of a conflict included."""
        return [*self.cells.values(), *(entry for sides in self.disagreeing.values() for entry in sides)]


def shown_digest(digest: Digest) -> str:
    """A digest as the lockfile shows it."""
    return f"{digest.hex} ({digest.size} bytes)"


def digest_in(text: object) -> Digest | None:
    """The digest from a text of `shown_digest`; None if it is not a digest."""
    match = _SHOWN.fullmatch(text) if isinstance(text, str) else None
    return Digest(match[1], int(match[2])) if match else None


def first_source(entry: Entry) -> str:
    """The digest of a cell's model file (the first one if there are several), as shown in the lockfile."""
    source = entry.get("source", "")
    return next(iter(source.values()), "") if isinstance(source, Mapping) else str(source)


def pipeline_of(name: str) -> str:
    """The pipeline that a cell's name or a step's address begins with."""
    return re.split("[/:]", name, maxsplit=1)[0]
