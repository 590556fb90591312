"""An engine inside a package: the entry that the package's index has for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtpipe.packages.index import INDEX, PackedModel
from trtpipe.packages.index_file import read_index

_ABOVE = 3
"""How many folders below its package an engine lies: `models/NAME/CELL`."""


@dataclass(frozen=True, slots=True)
class PackagedCell:
    """A package and the model in it to which a cell belongs."""

    package: Path
    model: PackedModel
    variant: str

    @property
    def typed_model(self) -> Path | None:
        """The typed model of its variant, if the package has it."""
        found = (self.package / one.file for one in self.model.fallbacks if one.variant == self.variant)
        return next((path for path in found if path.is_file()), None)


def packaged_cell(folder: Path, cell: str) -> PackagedCell | None:
    """The package around an engine's directory; None if it is in none. Raises TrtpipeError for a damaged index."""
    package = folder.parents[_ABOVE - 1] if len(folder.parents) >= _ABOVE else folder
    if not (package / INDEX).is_file():
        return None
    for model in read_index(package).models:
        for engine in model.engines:
            if engine.cell == cell and (package / engine.file).parent == folder:
                return PackagedCell(package, model, engine.variant)
    return None
