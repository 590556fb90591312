"""The options of a bundle's validation: how its members are connected, and what they are run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trtpipe.json_values import (
    Json,
    JsonObject,
    integer_in,
    integers_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.plan.options.stage_options import UNPLACED, StageOptions, if_given

VERSION = 1
"""Raised when the same members would be measured otherwise."""


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """An edge: an output, the input that it becomes, and what is done to it on the way."""

    source: str
    to: str
    reshape: Sequence[int] | None
    cast: str | None

    def record(self) -> dict[str, Json]:
        """The edge as recorded in a fingerprint."""
        shape = None if self.reshape is None else list(self.reshape)
        return {"from": self.source, "to": self.to, "reshape": shape, "cast": self.cast}

    @classmethod
    def from_record(cls, record: JsonObject) -> EdgeOptions:
        """The edge read back. Raises Malformed."""
        return cls(
            text_in(record, "from"),
            text_in(record, "to"),
            if_given(integers_in, record, "reshape"),
            if_given(text_in, record, "cast"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions(StageOptions):
    """How a bundle is run from its free inputs to its outputs. Thresholds are not included: they are applied later."""

    members: Sequence[str]
    """In the order of the edges."""
    edges: Sequence[EdgeOptions]
    joined: Sequence[str]
    """Inputs whose reshape and cast are part of the typed model."""
    outputs: Sequence[str]
    """Outputs that an edge consumes and that the whole yields all the same."""
    data: JsonObject | None
    """The data set, or `random` with a seed; None for a recording."""
    samples: int | None
    profiles: Mapping[str, JsonObject]
    """Member → its first profile, which gives random inputs their shapes."""
    driver: str | None
    """`module:function`, if the project has a driver for it."""

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint."""
        return {
            "bundle": VERSION,
            "members": list(self.members),
            "edges": [edge.record() for edge in self.edges],
            "joined": list(self.joined),
            "outputs": list(self.outputs),
            "data": self.data,
            "samples": self.samples,
            "profiles": dict(self.profiles),
            "driver": self.driver,
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> BundleOptions:
        """The options read back. Raises Malformed."""
        profiles = object_in(record, "profiles")
        return cls(
            members=texts_in(record, "members"),
            edges=[EdgeOptions.from_record(one) for one in objects_in(record, "edges")],
            joined=texts_in(record, "joined"),
            outputs=texts_in(record, "outputs"),
            data=if_given(object_in, record, "data"),
            samples=if_given(integer_in, record, "samples"),
            profiles={name: object_in(profiles, name) for name in profiles},
            driver=if_given(text_in, record, "driver"),
            origins=UNPLACED,
        )
