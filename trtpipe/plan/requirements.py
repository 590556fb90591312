"""What an action needs at run time that must not affect its key: limits, addresses, positions in the spec.

Plain data that travels with the action. What depends on the machine that runs it (paths, the toolchain's interpreter,
the project's root) is not included: it is looked up there, see `ports.Here`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from trtpipe.errors import SpecPath
from trtpipe.json_values import Json, JsonObject, Malformed, list_in, number_in, object_in, text_in
from trtpipe.spec.remote import RemoteFile


@dataclass(frozen=True, slots=True)
class NoRequirements:
    """For most actions, whose fingerprints hold everything."""


@dataclass(frozen=True, slots=True)
class FetchRequirements:
    """For a fetch: output name → the remote file with its full address, and where the spec names it."""

    files: Mapping[str, RemoteFile]
    places: Mapping[str, SpecPath] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImportRequirements:
    """For an import of remote files: place → the file's own name, which the reader may look at."""

    file_names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PlaceRequirements:
    """For a step that reports problems in the spec: the path of the section that it concerns."""

    path: SpecPath


@dataclass(frozen=True, slots=True)
class EngineRequirements:
    """For an engine: the time in seconds and memory in bytes that its build may take; None means no limit."""

    time_limit: float | None = None
    memory_limit: int | None = None


Requirements: TypeAlias = (
    NoRequirements | FetchRequirements | ImportRequirements | PlaceRequirements | EngineRequirements
)


NOTHING_REQUIRED = NoRequirements()


def requirements_json(requirements: Requirements) -> dict[str, Json]:
    """The requirements as a JSON object; `kind` names the class."""
    match requirements:
        case NoRequirements():
            return {"kind": "none"}
        case FetchRequirements(files, places):
            return {
                "kind": "fetch",
                "files": {name: file.to_json() for name, file in files.items()},
                "places": {name: list(path) for name, path in places.items()},
            }
        case ImportRequirements(names):
            return {"kind": "import", "file_names": dict(names)}
        case PlaceRequirements(path):
            return {"kind": "place", "path": list(path)}
        case EngineRequirements(seconds, size):
            return {"kind": "engine", "time_limit": seconds, "memory_limit": size}


def requirements_from_json(record: JsonObject) -> Requirements:
    """The requirements read back. Raises Malformed."""
    match text_in(record, "kind"):
        case "none":
            return NoRequirements()
        case "fetch":
            files, places = object_in(record, "files"), object_in(record, "places")
            return FetchRequirements(
                {name: RemoteFile.from_json(object_in(files, name)) for name in files},
                {name: spec_path_in(places, name) for name in places},
            )
        case "import":
            names = object_in(record, "file_names")
            return ImportRequirements({name: text_in(names, name) for name in names})
        case "place":
            return PlaceRequirements(spec_path_in(record, "path"))
        case "engine":
            seconds, size = record.get("time_limit"), record.get("memory_limit")
            return EngineRequirements(
                None if seconds is None else number_in(record, "time_limit"),
                None if size is None else int(number_in(record, "memory_limit")),
            )
        case kind:
            raise Malformed(f"requirements of kind {kind!r}")


def spec_path_in(record: JsonObject, name: str) -> SpecPath:
    """A field that must be a path in a spec: names and numbers. Raises Malformed."""
    found = tuple(one for one in list_in(record, name) if isinstance(one, (str, int)))
    if len(found) != len(list_in(record, name)):
        raise Malformed(f"an entry of {name} is neither a name nor a number")
    return found
