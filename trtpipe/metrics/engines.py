"""Lists the differences between two builds of an engine for a reader: header, network, layers, weights. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trtpipe.json_values import JsonObject

_MOST_LINES = 6
_LAYER_FIELDS = ("type", "tactic", "inputs", "outputs")


def header_differences(old: JsonObject | None, new: JsonObject | None) -> list[str]:
    """The fields of the engine's header that differ; `weight_bytes` counts weights that stay on the GPU."""
    if not old or not new:
        return []
    return [
        f"header {name}: {old.get(name)} -> {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def layer_differences(old: Sequence[JsonObject], new: Sequence[JsonObject], what: str = "layer") -> list[str]:
    """Layers that only one has, and fields of a layer that differ; of many, only the first few.

    Layers of one name are taken in their order: TensorRT gives some names several times.
    """
    return _few(_layer_lines(_by_name(old), _by_name(new), what))


def io_differences(old: Sequence[JsonObject], new: Sequence[JsonObject]) -> list[str]:
    """Inputs and outputs that differ in anything."""
    before, now = ({one.get("name"): one for one in ports} for ports in (old, new))
    return _few(
        f"tensor {name}: {_port(before.get(name))} -> {_port(now.get(name))}"
        for name in sorted(before.keys() | now.keys(), key=str)
        if before.get(name) != now.get(name)
    )


def same_tactics(old: Sequence[JsonObject], new: Sequence[JsonObject]) -> bool:
    """Whether two lists of layers hold the same layers with the same tactics, and say which tactics."""
    told = [layer.get("tactic") for layer in (*old, *new)]
    return bool(told) and all(told) and _by_name(old) == _by_name(new)


def _by_name(layers: Sequence[JsonObject]) -> dict[tuple[str, int], JsonObject]:
    found: dict[tuple[str, int], JsonObject] = {}
    counts: dict[str, int] = {}
    for layer in layers:
        name = str(layer.get("name"))
        found[name, counts.setdefault(name, 0)] = layer
        counts[name] += 1
    return found


def _layer_lines(
    old: Mapping[tuple[str, int], JsonObject],
    new: Mapping[tuple[str, int], JsonObject],
    what: str,
) -> Iterator[str]:
    for name, number in sorted(old.keys() | new.keys()):
        before, now = old.get((name, number)), new.get((name, number))
        if before is None or now is None:
            yield f"{what} {name!r} is only in the {'rebuilt' if before is None else 'locked'} engine"
            continue
        for field in _LAYER_FIELDS:
            if before.get(field) != now.get(field):
                yield f"{what} {name!r} {field}: {before.get(field)} -> {now.get(field)}"


def _port(port: JsonObject | None) -> str:
    if port is None:
        return "(none)"
    return f"{port.get('mode')} {port.get('dtype')} {port.get('shape')}"


def _few(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    more = len(found) - _MOST_LINES
    return [*found[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
