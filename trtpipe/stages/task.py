"""A task: one action as a stage's body sees it, with files where digests were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.plan.fingerprint import Record


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs by slot and name, options from the fingerprint, and a directory for what is made."""

    stage: str
    options: Record
    inputs: Mapping[str, Mapping[str, Path]]
    out: Path
    local: Record = field(default_factory=dict)

    def input(self, slot: str) -> Path:
        """The first file of a slot: the model itself where its weights come along."""
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
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        """The task read back."""
        inputs = {
            slot: {name: Path(text) for name, text in files.items()} for slot, files in data["inputs"].items()
        }
        return cls(data["stage"], data["options"], inputs, Path(data["out"]), data["local"])
