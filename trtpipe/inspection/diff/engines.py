"""Compares two engines: their bytes, headers, manifests and the networks that they were built from.

Works on the results of `inspection`; no engine is opened. Build time and memory use are reported but do not count as
differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from trtpipe.inspection.diff.records import LeafChange, diff_records
from trtpipe.json_values import Json, JsonObject, as_object, integer_in, object_in, objects_in, text_in

Verdict = Literal["identical bytes", "equal up to generated names", "different"]

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "cell": ("cell",),
    "source": ("source", "origin"),
    "model": ("model",),
    "toolchain": ("toolchain", "compute_capabilities", "gpu", "trtpipe", "reproducibility"),
    "options": ("steps",),
    "precision": ("precision", "typed", "audit", "search"),
    "calibration": ("calibration",),
    "inputs and outputs": ("io",),
    "profiles": ("profiles",),
    "accuracy": ("validation",),
    "not run": ("not_run",),
    "time and memory of the build": ("timings", "peak_rss"),
}
"""Title → the manifest's fields in it; fields that are not named go to `other`."""
_PASSED_OVER = frozenset({"engine", "schema", "pipeline", "variant", "target"})
UNCOUNTED = frozenset({"cell", "not run", "time and memory of the build"})
_BULKY = frozenset({"errors", "scatter", "points", "front", "histogram", "samples_used"})
_OF_STEPS = frozenset({"key", "address", "inputs", "schema"})
"""Of a step, its options and tools tell what was asked; keys and digests only that something was."""
_MOST_NAMES = 200


@dataclass(frozen=True, slots=True)
class LayerChange:
    """The first layer of network.json that differs: its position, and the layer on each side (None if missing)."""

    index: int
    old: JsonObject | None
    new: JsonObject | None


@dataclass(frozen=True, slots=True)
class EngineChanges:
    """Everything that differs between two engines."""

    verdict: Verdict
    bytes: tuple[int, int]
    digests: tuple[str, str]
    normalised: tuple[str, str]
    header: tuple[LeafChange, ...]
    sections: Mapping[str, tuple[LeafChange, ...]]
    layers: LayerChange | None
    layer_types: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Old and new type, and the layers (by name) that changed so."""
    measured: tuple[LeafChange, ...]
    """Latencies and what a GPU proved, of which each side has its own."""
    unknown: tuple[str, ...] = ()
    """What could not be compared, and why."""

    @property
    def any(self) -> bool:
        """Whether there is any relevant difference."""
        counted = any(changes for title, changes in self.sections.items() if title not in UNCOUNTED)
        return self.verdict == "different" or counted or bool(self.header or self.layers)

    def to_json(self) -> dict[str, Json]:
        """These changes as plain JSON values."""
        return {"differs": self.any, **asdict(self)}


def diff_engines(a: JsonObject, b: JsonObject, *, normalised: tuple[str, str]) -> EngineChanges:
    """The changes from A to B, two engines' descriptions as JSON with their normalised digests."""
    unknown = [
        f"no manifest is known for {side}"
        for side, one in (("the old engine", a), ("the new engine", b))
        if not isinstance(one["manifest"], Mapping)
    ]
    sections = {} if unknown else _sections(object_in(a, "manifest"), object_in(b, "manifest"))
    networks = _layers(a), _layers(b)
    if not unknown and None in networks:
        unknown.append("network.json is missing beside one of the engines")
    both = networks[0] or (), networks[1] or ()
    compared = None not in networks
    digests = text_in(a, "blake3"), text_in(b, "blake3")
    return EngineChanges(
        verdict=_verdict(digests, normalised),
        bytes=(integer_in(a, "bytes"), integer_in(b, "bytes")),
        digests=digests,
        normalised=normalised,
        header=diff_records(a["header"] or {}, b["header"] or {}, without=("size",)),
        sections=sections,
        layers=_first_difference(*both) if compared else None,
        layer_types=_type_changes(*both) if compared else (),
        measured=diff_records(a["records"], b["records"], without=(*_BULKY, "engine", "cell", "schema")),
        unknown=tuple(unknown),
    )


def _verdict(digests: tuple[str, str], normalised: tuple[str, str]) -> Verdict:
    if digests[0] == digests[1]:
        return "identical bytes"
    return "equal up to generated names" if normalised[0] == normalised[1] else "different"


def _sections(a: JsonObject, b: JsonObject) -> dict[str, tuple[LeafChange, ...]]:
    named = {field for fields in SECTIONS.values() for field in fields} | _PASSED_OVER
    other = tuple(dict.fromkeys(field for field in (*a, *b) if field not in named))
    found = {}
    for title, fields in {**SECTIONS, "other": other}.items():
        without = _BULKY | _OF_STEPS if title == "options" else _BULKY
        sides = ({field: one[field] for field in fields if field in one} for one in (a, b))
        changes = diff_records(*sides, without=without)
        if changes:
            found[title] = changes
    return found


def _layers(record: JsonObject) -> Sequence[JsonObject] | None:
    network = record.get("network")
    return None if network is None else objects_in(as_object(network, "network"), "layers")


def _first_difference(a: Sequence[JsonObject], b: Sequence[JsonObject]) -> LayerChange | None:
    for index in range(max(len(a), len(b))):
        old = a[index] if index < len(a) else None
        new = b[index] if index < len(b) else None
        if old != new:
            return LayerChange(index, old, new)
    return None


def _type_changes(
    a: Sequence[JsonObject], b: Sequence[JsonObject]
) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Layers with one name on both sides whose first output has another type."""
    of_b = dict(_first_types(b))
    found: dict[tuple[str, str], list[str]] = {}
    for name, old in _first_types(a):
        new = of_b.get(name, old)
        if old != new:
            found.setdefault((old, new), []).append(name)
    return tuple((*key, tuple(names[:_MOST_NAMES])) for key, names in sorted(found.items()))


def _first_types(layers: Sequence[JsonObject]) -> Iterator[tuple[str, str]]:
    """Each layer's name with the type of its first output."""
    for one in layers:
        outputs = objects_in(one, "outputs")
        if outputs:
            yield text_in(one, "name"), text_in(outputs[0], "dtype")
