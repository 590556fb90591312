"""Reads recorded inputs to run them again: those of golden outputs, or of samples that missed a threshold."""

from __future__ import annotations

from pathlib import Path

from trtpipe.runners.feeds.feeds import Feed, checked_feed
from trtpipe.runners.feeds.given import read_npz
from trtpipe.runners.feeds.signature import Signature
from trtpipe.runners.validation.recordings import is_recorded, read_recording


def recorded_feeds(path: Path, text: str, signature: Signature) -> list[Feed]:
    """The feeds of a recording, in the types that the inputs have; none when the archive is not one.

    Raises ModelError when it is damaged, SpecError when its inputs are not those of the network.
    """
    if not any(map(is_recorded, read_npz(path, text))):
        return []
    feeds = []
    for number, run in enumerate(read_recording(path)):
        rows = max((array.shape[0] for array in run.inputs.values() if array.ndim), default=0)
        names = tuple(f"{run.place or path.stem} {number}, row {row}" for row in range(rows))
        labels = tuple(int(one) for one in run.labels) if run.labels is not None else ()
        feeds.append(checked_feed(Feed(dict(run.inputs), names, labels), signature, cast=True))
    return feeds
