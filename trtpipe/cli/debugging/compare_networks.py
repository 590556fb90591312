"""`trtpipe debug compare --network`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtpipe.app.debug.compare import compare_cell_with_network
from trtpipe.checks.cell_steps import open_cell
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, steps_on_fleet
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.json_values import JsonObject, integer_in, list_in, object_in, objects_in, text_in, texts_in
from trtpipe.text.networks import layer_words, warning_lines
from trtpipe.text.tables import render_table

_SHOWN = 20


def compare_network_command(
    cell: str,
    specs: Sequence[str],
    fleet: FleetOptions = ON_THIS_MACHINE,
    *,
    samples: int | None,
    as_json: bool,
) -> int:
    """Print where TensorRT's network departs from a cell's typed model; 1 when it does, or when that is unknown."""
    with LazyProgress() as progress, open_cell(cell, specs, progress, steps_on_fleet(fleet)) as steps:
        found: JsonObject = compare_cell_with_network(steps, samples)
        name = steps.cell.name
    if as_json:
        say_json({"schema": 1, "cell": name, **found})
    else:
        say("\n".join(_lines(found)))
    return EXIT_DONE if found["equal"] else EXIT_FAILED


def _lines(found: JsonObject) -> list[str]:
    not_run = [
        f"not run: {text_in(one, 'name')}: {text_in(one, 'why')}" for one in objects_in(found, "not_run")
    ]
    if "tensors" not in found:
        return not_run
    tensors = objects_in(found, "tensors")
    lines = [*_table(tensors), *warning_lines(texts_in(found, "warnings")), *_read(found)]
    lines += [f"note: {text}" for text in texts_in(found, "notes")]
    lines += [f"on the CPU, {kind} as {words}" for kind, words in object_in(found, "twins").items()]
    lines += [f"no proof: {text}" for text in texts_in(found, "contradictions")]
    lines += [*not_run, *map(_misfit, objects_in(found, "misfits")), *_first(found, tensors)]
    return [*lines, _closing(found)]


def _table(tensors: Sequence[JsonObject]) -> list[str]:
    """The tensors that depart, or those whose error is nearest to its bound."""
    if not tensors:
        return []
    departing = [one for one in tensors if one["departs"]]
    shown = (departing or sorted(tensors, key=lambda one: -_size(one["error"])))[:_SHOWN]
    header = ["tensor", "op", "node", "TensorRT's layer", "error", "inputs' error", "bound"]
    rows = [
        [
            text_in(one, "tensor"),
            text_in(one, "op"),
            text_in(one, "node"),
            _layer(one),
            text_in(one, "misfit") or _number(one["error"]),
            _number(one["inputs_error"]),
            _number(one["bound"]),
        ]
        for one in shown
    ]
    left = len(departing or tensors) - len(shown)
    what = "depart" if departing else "were compared"
    return [render_table(header, rows), *([f"{left} more {what}; --json has all"] if left else [])]


def _layer(one: JsonObject) -> str:
    return "an input" if one["layer"] is None else layer_words(object_in(one, "layer"))


def _size(value: object) -> float:
    return float(value) if isinstance(value, (int, float, str)) else 0.0


def _number(value: object) -> str:
    return value if isinstance(value, str) else f"{_size(value):.3g}"


def _read(found: JsonObject) -> list[str]:
    layers, read = integer_in(found, "layers"), integer_in(found, "layers_read")
    if layers == read:
        return [f"all {layers} layers were read"]
    kinds = ", ".join(f"{kind} {count}" for kind, count in object_in(found, "unread_by_type").items())
    lines = [f"{read} of {layers} layers were read; not read: {kinds}"]
    unread = objects_in(found, "unread")
    lines += [
        f"  '{text_in(one, 'name')}' ({text_in(one, 'type')}): {text_in(one, 'why')}"
        for one in unread[:_SHOWN]
    ]
    if len(unread) > _SHOWN:
        lines.append(f"  {len(unread) - _SHOWN} more; --json has all")
    return lines


def _misfit(one: JsonObject) -> str:
    node = f" (node '{one['node']}')" if one["node"] else ""
    return f"does not fit: {text_in(one, 'what')} '{text_in(one, 'name')}'{node} {text_in(one, 'why')}"


def _first(found: JsonObject, tensors: Sequence[JsonObject]) -> list[str]:
    known: Mapping[str, JsonObject] = {text_in(one, "tensor"): one for one in tensors}
    one = known.get(str(found["first"]))
    if one is None:
        return []
    made = one["called"] or f"{text_in(one, 'op')}, node '{text_in(one, 'node')}'"
    layer = "" if one["layer"] is None else f"; TensorRT's layer {_layer(one)}"
    explained = (
        f"its inputs' error is {_number(one['inputs_error'])}, rounding explains {_number(one['bound'])}"
    )
    error = f"its error is {_number(one['error'])}, {explained}"
    return [f"first to depart: '{one['tensor']}' ({made}{layer}): {text_in(one, 'misfit') or error}"]


def _closing(found: JsonObject) -> str:
    count, samples = len(list_in(found, "tensors")), integer_in(found, "samples")
    of = "1 sample" if samples == 1 else f"{samples} samples"
    verdict = "differs from the typed model"
    if found["equal"]:
        verdict = "equals the typed model within rounding"
    elif found["first"] is None and not found["misfits"]:
        verdict = "was not compared in full with the typed model"
        if found["contradictions"]:
            verdict = "was not read as TensorRT has it"
    return f"TensorRT's network {verdict}: {count} tensors compared on {of}"
