"""A step's recipe: what it was asked to do, without the package versions and the processor that it ran with.

A recipe is what teammates must agree on. Package versions are not part of it, because other versions usually produce
the same bytes: a step whose versions differ runs again, and its result is compared. The lockfile therefore records the
versions that produced a result, and keeps them as long as the result stays the same, no matter who builds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trtpipe.digests import key_of
from trtpipe.json_values import JsonObject
from trtpipe.lockfile.entries import MADE_ON, MADE_WITH, RECIPE, StepEntry
from trtpipe.plan.fingerprint import Record

_PACKAGES = "packages"
_DATA = (("data",), ("validate", "data"))
"""Where options hold the record of a data set, which names the packages that read it."""


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """Something that a result depends on, in the lockfile and here; empty where it is not used."""

    name: str
    locked: str
    here: str

    def words(self) -> str:
        """`pillow 13.0.0 in the lockfile, 12.3.0 here`."""
        return f"{self.name} {self.locked or 'unknown'} in the lockfile, {self.here or 'none'} here"

    def to_json(self) -> dict[str, str]:
        """The same as a JSON object."""
        return {"name": self.name, "lockfile": self.locked, "here": self.here}


def recipe_of(record: Record) -> str:
    """The digest of what a step was asked to do, and with which files: its record without the package versions."""
    asked = {name: value for name, value in record.items() if name != "tools"}
    if record["stage"] == "readback":  # the typed model's outputs differ from processor to processor
        asked["inputs"] = {slot: files for slot, files in record["inputs"].items() if slot != "outputs"}
    for path in _DATA:
        asked["options"] = _without_packages(asked["options"], path)
    return key_of(asked)


def _without_packages(options: JsonObject, path: tuple[str, ...]) -> JsonObject:
    """The options without the packages that read the data set at that path; unchanged if there is none."""
    inner = options.get(path[0])
    if not isinstance(inner, Mapping):
        return options
    if len(path) > 1:
        return {**options, path[0]: _without_packages(inner, path[1:])}
    return {**options, path[0]: {name: value for name, value in inner.items() if name != _PACKAGES}}


def versions_in(record: Record) -> dict[str, str]:
    """Package → version, for all packages that may affect a step's result; toolchains are not included."""
    tools = {name: version for name, version in record["tools"].items() if isinstance(version, str)}
    for path in _DATA:
        inner = record["options"]
        for name in path:
            inner = inner.get(name) if isinstance(inner, Mapping) else None
        if isinstance(inner, Mapping):
            tools |= inner.get(_PACKAGES, {})
    return dict(sorted(tools.items()))


def shown_versions(versions: Mapping[str, str]) -> str:
    """Versions as the lockfile shows them: `numpy 2.4.1, onnx 1.19.0`."""
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _read_versions(text: str) -> dict[str, str]:
    pairs = (one.partition(" ") for one in text.split(", ") if one)
    return {name: version for name, _, version in pairs}


def other_versions(entry: StepEntry, versions: Mapping[str, str]) -> tuple[OtherVersion, ...]:
    """Package versions here that differ from the lockfile's; empty if the lockfile lists none."""
    if MADE_WITH not in entry:
        return ()
    locked = _read_versions(entry[MADE_WITH])
    return tuple(
        OtherVersion(name, locked.get(name, ""), versions.get(name, ""))
        for name in sorted(locked.keys() | versions.keys())
        if locked.get(name) != versions.get(name)
    )


def other_processor(entry: StepEntry, here: str) -> tuple[OtherVersion, ...]:
    """The processor recorded for a step's result, if it is of another kind than `here`."""
    locked = entry.get(MADE_ON, "")
    return (OtherVersion("processor", locked, here),) if locked and locked != here else ()


def steady_step(old: StepEntry, new: StepEntry) -> StepEntry:
    """The new entry; recorded versions and processor stay if recipe and result are unchanged."""
    return old if MADE_WITH in old and same_result(old, new) else new


def made_elsewhere(cell: str, old: Mapping[str, StepEntry], new: Mapping[str, StepEntry]) -> bool:
    """Whether a cell's old measurements are of the same recipe, made with other packages or another processor."""
    address = f"{cell.rpartition('@')[0]}:validate"
    before, now = old.get(address, {}), new.get(address, {})
    same = before.get(RECIPE) == now.get(RECIPE)
    return same and any(name in before and before[name] != now.get(name) for name in (MADE_WITH, MADE_ON))


def in_order(entry: StepEntry) -> Iterator[tuple[str, str]]:
    """An entry's facts as they are written: the recipe, outputs by name, what made them."""
    yield RECIPE, entry[RECIPE]
    yield from sorted(outputs_in(entry).items())
    yield from ((name, entry[name]) for name in (MADE_WITH, MADE_ON) if name in entry)


def same_result(one: StepEntry, other: StepEntry) -> bool:
    """Whether two entries are of the same recipe and the same outputs."""
    return one.get(RECIPE) == other.get(RECIPE) and outputs_in(one) == outputs_in(other)


def other_outputs(entry: StepEntry, shown: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Output → the lockfile's digest and the one here, for outputs that both have and that differ."""
    told = outputs_in(entry).items()
    return {name: (text, shown[name]) for name, text in told if name in shown and shown[name] != text}


def outputs_in(entry: StepEntry) -> dict[str, str]:
    """The outputs that an entry names, with their digests as they are shown."""
    return {name: text for name, text in entry.items() if name not in (RECIPE, MADE_WITH, MADE_ON)}
