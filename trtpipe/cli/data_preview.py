"""`trtpipe data preview|ls`: their output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say, say_json
from trtpipe.text.tables import render_table

_HEADER = ("input", "dtype", "shape", "min", "max", "mean", "std", "zeros")


def preview_command(
    name: str, spec: str | None, samples: int | None, shown: int, output: Path | None, *, as_json: bool
) -> int:
    """Print statistics, write the sheets, and name the samples that a build would refuse."""
    from trtpipe.app.author.data_preview import preview_dataset

    seen = preview_dataset(name, spec=spec, samples=samples, shown=shown, output=output)
    report = seen.report
    if as_json:
        say_json({**report, "sheets": {input_: str(_shown(path)) for input_, path in seen.sheets.items()}})
    else:
        say("\n".join(_lines(report)))
    for path in seen.sheets.values():
        note(f"wrote {_shown(path)}")
    if report["shown"] and not report["pillow"]:
        note("no contact sheet, which needs pillow: pip install 'trtpipe[images]'")
    return EXIT_FAILED if report["refused"] else EXIT_DONE


def list_command(*, as_json: bool) -> int:
    """Print the project's data sets."""
    from trtpipe.app.author.data_preview import list_datasets

    found = list_datasets()
    if as_json:
        say_json(found)
    elif found:
        rows = [
            (one["data"], " ".join(one["sources"]), str(one["samples"] or "?"), "yes" if one["labels"] else "no",
             one["problem"] or one.get("description", ""))
            for one in found
        ]  # fmt: skip
        say(render_table(("data", "sources", "samples", "labels", "description"), rows))
    else:
        say("no data set: describe one in calibration/NAME.yaml")
    return EXIT_DONE


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    dropped = f", {report['dropped']} more fill no batch" if report["dropped"] else ""
    classes = f", {len(report['classes'])} classes" if report["classes"] else ""
    yield f"{report['data']}: {report['samples']} samples{classes}{dropped}"
    yield render_table(_HEADER, [row for one in report["inputs"] for row in _rows(one)])
    if report["classes"]:
        yield "classes: " + ", ".join(
            f"{label}: {count}" for label, count in list(report["classes"].items())[:32]
        )
    for fault in report["faults"]:
        what = "constant" if fault["kind"] == "constant" else "not finite"
        yield f"refused: {fault['sample']} makes input '{fault['input']}' {what} ({fault['value']})"
    yield from (f"refused: {fact}" for fact in report["misfits"])
    more = report["refused"] - len(report["faults"]) - len(report["misfits"])
    if more:
        yield f"refused: {more} more"


def _rows(one: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    moments = ("min", "max", "mean", "std")
    zeros = f"{one['zeros']:.1%}" + (f", {one['nonfinite']} not finite" if one["nonfinite"] else "")
    yield one["input"], one["dtype"], _shapes(one), *(_number(one[key]) for key in moments), zeros
    for number, channel in enumerate(one["channels"]):
        yield f"  channel {number}", "", "", *(_number(channel[key]) for key in moments), ""


def _shapes(one: Mapping[str, Any]) -> str:
    shapes = one["shapes"]
    first = "x".join(map(str, shapes[0]["shape"])) or "scalar"
    more = len(shapes) - 1 + one["more_shapes"]
    return first + (f" and {more} more" if more else "")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _shown(path: Path) -> Path:
    found = path.absolute()
    return found.relative_to(Path.cwd()) if found.is_relative_to(Path.cwd()) else found
