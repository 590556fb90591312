"""The options of the stages that inspect the network that TensorRT's parser creates: parse and readback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtpipe.json_values import Json, JsonObject, flag_in, integer_in, object_in, objects_in
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions, if_given


@dataclass(frozen=True, slots=True, kw_only=True)
class ParseOptions(StageOptions):
    """No options: the network that a parser creates depends only on the model, the toolchain and the plugins."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {}

    @classmethod
    def from_record(cls, record: JsonObject) -> ParseOptions:
        """The options read back."""
        return cls(origins=UNPLACED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadbackOptions(StageOptions):
    """The data on which a parsed network is compared with the typed model: the same as for its validation."""

    data: JsonObject | None
    """The data set, or `random` with a seed; None where neither was asked for."""
    samples: int | None
    profiles: Sequence[JsonObject]
    corners: bool
    recorded: bool
    """Whether the inputs are those of a recording, which has outputs as well."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {
            "data": self.data,
            "samples": self.samples,
            "profiles": list(self.profiles),
            "corners": self.corners,
            "recorded": self.recorded,
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> ReadbackOptions:
        """The options read back. Raises Malformed."""
        return cls(
            data=if_given(object_in, record, "data"),
            samples=if_given(integer_in, record, "samples"),
            profiles=objects_in(record, "profiles"),
            corners=flag_in(record, "corners"),
            recorded=flag_in(record, "recorded"),
            origins=UNPLACED,
        )
