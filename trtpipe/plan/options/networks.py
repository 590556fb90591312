"""The options of the stages that inspect the network that TensorRT's parser creates: parse and readback."""

from __future__ import annotations

from dataclasses import dataclass

from trtpipe.json_values import Json, JsonObject, flag_in, object_in
from trtpipe.plan.options.data import DataOptions, data_in
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions


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
class ReadbackOptions(DataOptions):
    """The data on which a parsed network is compared with the typed model: the same as for its validation."""

    recorded: bool
    """Whether the inputs are those of a recording, which has outputs as well."""
    graft: JsonObject | None = None
    """Layers in front of the model, which the data do not know: the edges of a bundle."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        grafted = {"graft": self.graft} if self.graft is not None else {}
        return {**self.data_record(), "recorded": self.recorded, **grafted}

    @classmethod
    def from_record(cls, record: JsonObject) -> ReadbackOptions:
        """The options read back. Raises Malformed."""
        return cls(
            **data_in(record),
            recorded=flag_in(record, "recorded"),
            graft=object_in(record, "graft") if "graft" in record else None,
            origins=UNPLACED,
        )
