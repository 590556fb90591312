"""The base of all stages' options: each field records where its value comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from trtpipe.json_values import Json, JsonObject
from trtpipe.plan.fingerprint import RecordPath
from trtpipe.plan.origins import Nowhere, Origin, Parts, inside

T = TypeVar("T")

Origins: TypeAlias = Mapping[str, Origin | Parts]
"""Field → where its value comes from."""

UNPLACED: Origins = MappingProxyType({})
"""Of options that no plan made: read back from a record, or put together while a step runs."""

_GONE = Nowhere("an option that the step does not have now")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageOptions:
    """Fields with values, and `origins`, which names every one of them, or is UNPLACED.

    A field has the name of its key in the record, with an underscore appended if that is a Python keyword.
    """

    origins: Origins = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        names = {one.name for one in fields(self)} - {"origins"}
        assert self.origins is UNPLACED or self.origins.keys() == names, (
            f"{type(self).__name__} has {sorted(names)}, and places of {sorted(self.origins)}"
        )

    def record(self) -> dict[str, Json]:
        """The options as recorded in a fingerprint, defaults included."""
        raise NotImplementedError

    def origin(self, path: RecordPath) -> Origin:
        """Where the value at a path of the record comes from; `path` begins with a field's key."""
        name, rest = str(path[0]), path[1:]
        name = name if name in self.origins else f"{name}_"
        if name not in self.origins:
            return _GONE
        held = getattr(self, name)
        if isinstance(held, StageOptions) and rest:
            return held.origin(rest)
        return inside(self.origins[name], rest)


def given(record: Mapping[str, Json]) -> dict[str, Json]:
    """The record without fields that are None: options that are not used are not part of a key."""
    return {name: value for name, value in record.items() if value is not None}


def if_given(read: Callable[[JsonObject, str], T], record: JsonObject, name: str) -> T | None:
    """A field read by `reader`; None if it is missing or null. Raises Malformed."""
    return read(record, name) if record.get(name) is not None else None
