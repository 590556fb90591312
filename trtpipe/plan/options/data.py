"""What the stages that run models on data have in common: the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from trtpipe.json_values import Json, JsonObject, flag_in, integer_in, object_in, objects_in
from trtpipe.plan.options.stage_options import StageOptions, if_given


class Data(TypedDict):
    """The fields of `DataOptions`, read back."""

    data: JsonObject | None
    samples: int | None
    profiles: Sequence[JsonObject]
    corners: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions(StageOptions):
    """The data on which models are run and compared."""

    data: JsonObject | None
    """The data set, or `random` with a seed; None where neither was asked for."""
    samples: int | None
    profiles: Sequence[JsonObject]
    corners: bool

    def data_record(self) -> dict[str, Json]:
        """The data as recorded in a fingerprint."""
        return {
            "data": self.data,
            "samples": self.samples,
            "profiles": list(self.profiles),
            "corners": self.corners,
        }


def data_in(record: JsonObject) -> Data:
    """The data read back from a fingerprint. Raises Malformed."""
    return {
        "data": if_given(object_in, record, "data"),
        "samples": if_given(integer_in, record, "samples"),
        "profiles": objects_in(record, "profiles"),
        "corners": flag_in(record, "corners"),
    }
