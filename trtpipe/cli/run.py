"""`trtpipe run`: prints the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.app.engines.choice import ENGINE
from trtpipe.app.engines.machine import NAMED_MODEL
from trtpipe.app.engines.run import InferRequest, infer
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, machine_for
from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.text.tables import render_table

_ROWS = 20
"""Of a classification, as text; --json has all."""


def infer_command(asked: InferRequest, fleet: FleetOptions = ON_THIS_MACHINE, *, as_json: bool) -> int:
    """Run it and print a few statistics of each output."""
    with machine_for(asked.where, fleet) as machine:
        record = infer(asked, machine)
    if as_json:
        say_json(record)
        return EXIT_DONE
    if record["why_not_engine"] not in ("", NAMED_MODEL):
        why_not = record["why_not_engine"].removeprefix("the engine ")
        note(f"not run: {record['name']} as an engine: {why_not}")
    say("\n".join(_lines(record)))
    return EXIT_DONE


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"{record['name']}: {_subject(record)}, on {record['inputs']}"
    yield from _runs(record["runs"])
    rows = [
        (one["name"], one["dtype"], _dims(one["shape"]), *(_number(one[key]) for key in ("min", "max", "mean")),
         str(one["nan"]), str(one["inf"]))
        for one in record["outputs"]
    ]  # fmt: skip
    yield render_table(("output", "dtype", "shape", "min", "max", "mean", "NaN", "inf"), rows)
    for top in record["top"]:
        yield from _top_lines(top)
    for text in record["notes"]:
        yield f"note: {text}"
    if record["saved"]:
        yield f"saved {record['saved']}"


def _subject(record: Mapping[str, Any]) -> str:
    if record["subject"] != ENGINE:
        return str(record["subject"])
    gpu = record["gpu"]
    return f"engine on {gpu['name']} ({gpu['compute_capability']}), TensorRT {record['tensorrt']}"


def _runs(runs: list[Mapping[str, Any]]) -> Iterator[str]:
    shapes = ", ".join(f"{name} {_dims(shape)}" for name, shape in runs[0]["shapes"].items())
    if len(runs) > 1:
        shapes += f" and {len(runs) - 1} more"
    yield f"{len(runs)} run{'' if len(runs) == 1 else 's'}: {shapes}"


def _top_lines(top: Mapping[str, Any]) -> Iterator[str]:
    yield f"classes by '{top['output']}':"
    rows = top["rows"]
    for row in rows[:_ROWS]:
        truth = f" (label {row['label']})" if row["label"] is not None else ""
        best = ", ".join(f"{_class(one)} {_score(one['score'])}" for one in row["best"])
        yield f"  {row['row']}{truth}: {best}"
    if len(rows) > _ROWS:
        yield f"  and {len(rows) - _ROWS} more: see --json"
    known = [row for row in rows if row["label"] is not None]
    if known:
        right = sum(row["best"][0]["class"] == row["label"] for row in known)
        yield f"  the first is correct in {right} of {len(known)}"


def _class(one: Mapping[str, Any]) -> str:
    return f"{one['class']} {one['name']}" if one["name"] is not None else str(one["class"])


def _score(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _dims(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"
