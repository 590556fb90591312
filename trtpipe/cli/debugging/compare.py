"""`trtpipe debug compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtpipe.app.debug.compare import compare_cell
from trtpipe.checks.cell_steps import open_cell
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, steps_on_fleet
from trtpipe.cli.output import EXIT_DONE, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.text.tables import render_table

_SHOWN = 20


def compare_command(
    cell: str,
    specs: Sequence[str],
    fleet: FleetOptions = ON_THIS_MACHINE,
    *,
    samples: int | None,
    as_json: bool,
) -> int:
    """Print where a cell's typed model departs from the model that it was made from."""
    with LazyProgress() as progress, open_cell(cell, specs, progress, steps_on_fleet(fleet)) as steps:
        found = compare_cell(steps, samples)
        name = steps.cell.name
    if as_json:
        say_json({"schema": 1, "cell": name, **found})
    else:
        say(_table(found["tensors"]))
        say("\n".join(_closing(found)))
    return EXIT_DONE


def _table(records: Sequence[Mapping[str, Any]]) -> str:
    ranked = sorted(records, key=lambda one: -float(one["growth"]))[:_SHOWN]
    header = ["tensor", "op", "type", "error", "inputs' error", "growth", "largest error", "of"]
    rows = [
        [
            one["tensor"],
            one["op"],
            one["type"],
            _number(one["error"]),
            _number(one["inputs_error"]),
            _number(one["growth"]),
            _number(one["largest_error"]),
            _number(one["largest"]),
        ]
        for one in ranked
    ]
    return render_table(header, rows)


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"


def _closing(found: Mapping[str, Any]) -> list[str]:
    known = {one["tensor"]: one for one in found["tensors"]}
    lines = []
    if len(known) > _SHOWN:
        lines.append(f"{_SHOWN} of {len(known)} tensors, those whose error grows most; --json has all")
    one = known.get(found["divergence"])
    if one is None:
        lines.append("no divergence: the inputs and the types explain the error of every tensor")
    else:
        where = f"'{one['tensor']}', of {found['divergence_node']}"
        explained = f"its inputs explain {_number(one['inputs_error'])}, its types {_number(one['unit'])}"
        lines.append(f"first divergence: {where}: its error is {_number(one['error'])}, {explained}")
    broken = known.get(found["nonfinite"])
    if broken is not None:
        what = f"{broken['nan']} NaN, {broken['inf']} infinite of {broken['elements']} elements"
        lines.append(f"first not finite: '{broken['tensor']}' ({found['nonfinite_node']}): {what}")
    if found["unmatched"]:
        shown = ", ".join(repr(name) for name in found["unmatched"][:3])
        lines.append(f"{len(found['unmatched'])} tensors of the source are not in the typed model: {shown}")
    lines += [f"on the CPU, {name} as {words}" for name, words in found["twins"].items()]
    lines += [f"not run: {one['name']}: {one['why']}" for one in found["not_run"]]
    samples = "1 sample" if found["samples"] == 1 else f"{found['samples']} samples"
    return [*lines, f"{len(known)} tensors compared on {samples}"]
