"""One pass over a data set: statistics of every input, the samples that would be refused, and contact sheets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.datasets.preview.sheet import Sheet, image_axis
from trtpipe.datasets.preview.statistics import Statistics
from trtpipe.datasets.samples.batches import Dataset
from trtpipe.datasets.samples.feeds import Fault, Feed

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import Json

LISTED = 50
"""How many refused samples a report lists."""
SCHEMA = 1


def has_pillow() -> bool:
    """Whether Pillow is installed, which contact sheets need."""
    return find_spec("PIL") is not None


class Look:
    """One pass over a data set; `misfits` lists shapes that fit no profile."""

    def __init__(self, data: Dataset, shown: int, misfits: Sequence[str] = ()) -> None:
        self.misfits = misfits
        self.data = data
        self.feeds = {feed.info.name: feed for feed in data.feeds}
        self.statistics: dict[str, Statistics] = {}
        self.sheets = {name: Sheet(feed, shown) for name, feed in self.feeds.items()}
        self.faults: list[dict[str, Json]] = []
        self.refused = 0
        self.classes: Counter[int] = Counter()

    def run(self) -> None:
        """Reads every sample. Raises SpecError when one cannot be read."""
        for indices, made in self.data.looked_at():
            classes = None if self.data.labels is None else self.data.labels.rows(indices).tolist()
            self.classes.update(classes or ())
            for name, (array, faults) in made.items():
                self._add(self.feeds[name], array, [int(index) for index in indices], classes, faults)

    def _add(
        self, feed: Feed, array: Array, indices: list[int], classes: list[int] | None, faults: list[Fault]
    ) -> None:
        name = feed.info.name
        if name not in self.statistics:
            self.statistics[name] = Statistics(image_axis(feed, array.shape))
        elif not feed.sliced:
            return  # the shapes are the same in every batch
        self.statistics[name].add(array if feed.sliced and not feed.one_by_one else array[None])
        bad = {fault.index for fault in faults}
        if feed.sliced and not feed.one_by_one:
            captions = [f"#{index}" for index in indices]
            if classes is not None:
                captions = [f"{text} = {label}" for text, label in zip(captions, classes, strict=True)]
            self.sheets[name].add(array, captions, [index in bad for index in indices])
        self.refused += len(faults)
        for fault in faults[: max(0, LISTED - len(self.faults))]:
            sample = feed.source.name_of(fault.index).strip("'")
            self.faults.append(
                {
                    "input": name,
                    "sample": sample,
                    "index": fault.index,
                    "kind": fault.kind,
                    "value": fault.what,
                }
            )

    def write_sheets(self, folder: Path) -> Mapping[str, Path]:
        """Input → its sheet, for inputs that look like images; none without Pillow."""
        made: dict[str, Path] = {}
        if not has_pillow():
            return made
        for number, (name, sheet) in enumerate(self.sheets.items()):
            if sheet.tiles:
                made[name] = folder / f"sheet{number}.png"
                sheet.write(made[name])
        return made

    def to_json(self) -> dict[str, Json]:
        """The report."""
        inputs = [
            {
                "input": name,
                "array": self.feeds[name].array,
                "dtype": str(self.feeds[name].dtype),
                "sliced": self.feeds[name].sliced,
                **statistics.to_json(),
            }
            for name, statistics in self.statistics.items()
        ]
        return {
            "schema": SCHEMA,
            "samples": self.data.samples,
            "dropped": self.data.dropped,
            "pillow": has_pillow(),
            "shown": max((len(sheet.tiles) for sheet in self.sheets.values()), default=0),
            "inputs": inputs,
            "classes": {str(label): count for label, count in sorted(self.classes.items())},
            "refused": self.refused + len(self.misfits),
            "misfits": list(self.misfits),
            "faults": self.faults,
        }
