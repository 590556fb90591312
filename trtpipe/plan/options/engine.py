"""The options of the stage build_engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtpipe.json_values import Json, JsonObject, flag_in, object_in, objects_in, text_in, texts_in
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions, given, if_given


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions(StageOptions):
    """The options of an engine build. The last three belong to the flavour tensorrt, and are None for the other."""

    network_name: str
    profiles: Sequence[Mapping[str, JsonObject]]
    builder: JsonObject
    """The spec's builder options after defaults, but for limits."""
    compute_capabilities: Sequence[str]
    gpu: JsonObject | None = None
    """The GPU's identity, at the compatibility level that the target asks for."""
    hardware_compatibility: str | None = None
    version_compatible: bool | None = None

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return given(
            {
                "network_name": self.network_name,
                "profiles": list(self.profiles),
                "builder": dict(self.builder),
                "compute_capabilities": list(self.compute_capabilities),
                "gpu": self.gpu,
                "hardware_compatibility": self.hardware_compatibility,
                "version_compatible": self.version_compatible,
            }
        )

    @classmethod
    def from_record(cls, record: JsonObject) -> EngineOptions:
        """The options read back. Raises Malformed."""
        return cls(
            network_name=text_in(record, "network_name"),
            profiles=[{name: object_in(one, name) for name in one} for one in objects_in(record, "profiles")],
            builder=object_in(record, "builder"),
            compute_capabilities=texts_in(record, "compute_capabilities"),
            gpu=if_given(object_in, record, "gpu"),
            hardware_compatibility=if_given(text_in, record, "hardware_compatibility"),
            version_compatible=if_given(flag_in, record, "version_compatible"),
            origins=UNPLACED,
        )
