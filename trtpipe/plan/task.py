"""A task is an action as a stage's code receives it, with files in place of digests; and the result it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.json_values import JsonObject, object_in, text_in
from trtpipe.plan.fingerprint import Record

MODEL = "model.onnx"
SCALES = "scales.json"
PARSED = "parsed.onnx"
HALF = "half"
"""The folder of a half model that a first run makes."""
GOLDEN = "golden.npz"
"""What a validation leaves for machines that have neither source nor data: the first samples and their reference."""
WORST = "worst.npz"
"""What it leaves to look at: of each place the sample with the largest error."""


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs by slot and name, options from the fingerprint, and a directory for the results."""

    stage: str
    options: Record
    inputs: Mapping[str, Mapping[str, Path]]
    out: Path
    local: Record = field(default_factory=dict)

    def input(self, slot: str) -> Path:
        """The first file of a slot: the model itself if its weights are in the same slot."""
        return next(iter(self.inputs[slot].values()))

    def to_json(self) -> dict[str, Any]:
        """The task as a JSON object, to hand to another process."""
        return {
            "stage": self.stage,
            "options": dict(self.options),
            "inputs": {
                slot: {name: str(path) for name, path in files.items()} for slot, files in self.inputs.items()
            },
            "out": str(self.out),
            "local": dict(self.local),
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Task:
        """The task read back. Raises Malformed."""
        slots = object_in(data, "inputs")
        inputs = {
            slot: {name: Path(text_in(files, name)) for name in files}
            for slot in slots
            for files in (object_in(slots, slot),)
        }
        options, local = object_in(data, "options"), object_in(data, "local")
        return cls(text_in(data, "stage"), options, inputs, Path(text_in(data, "out")), local)


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage's code produced: files by output name, and a summary for reports."""

    files: Mapping[str, Path]
    summary: Mapping[str, Any] = field(default_factory=dict)
