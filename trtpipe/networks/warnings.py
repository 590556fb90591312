"""stub until the table is merged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trtpipe.json_values import Json, JsonObject, integer_in, text_in
from trtpipe.networks.network import ParserWarning

NAMES: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClassedWarning:
    message: str
    name: str
    kind: Literal["harmless", "dangerous", "unknown"]
    meaning: str
    count: int

    def to_json(self) -> dict[str, Json]:
        return {
            "message": self.message,
            "name": self.name,
            "kind": self.kind,
            "meaning": self.meaning,
            "count": self.count,
        }

    @classmethod
    def from_json(cls, record: JsonObject) -> ClassedWarning:
        return cls(
            text_in(record, "message"),
            text_in(record, "name"),
            "unknown",
            text_in(record, "meaning"),
            integer_in(record, "count"),
        )


def classed(warnings: Iterable[ParserWarning]) -> tuple[ClassedWarning, ...]:
    return tuple(ClassedWarning(one.message, "", "unknown", "", 1) for one in warnings)
