"""`trtpipe sensitivity` and `trtpipe debug`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from trtpipe.app.debug.layers import Diagnosis, debug_variant
from trtpipe.app.debug.sensitivity import Ranking, rank_units
from trtpipe.app.debug.subjects import Subject, open_subject
from trtpipe.cli.fleets.use import ON_THIS_MACHINE, FleetOptions, steps_on_fleet
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, say, say_json
from trtpipe.cli.progress import LazyProgress
from trtpipe.errors import SpecError
from trtpipe.json_values import Json
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.scalars import flow_yaml
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.spec.budget import MetricName
from trtpipe.text.tables import render_table

_METRICS: tuple[MetricName, ...] = get_args(MetricName)
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class HowToRank:
    """The options of `sensitivity`."""

    metric: str
    samples: int | None
    kept: bool


def sensitivity_command(
    cell: str,
    specs: Sequence[str],
    fleet: FleetOptions = ON_THIS_MACHINE,
    *,
    how: HowToRank,
    as_json: bool,
) -> int:
    """Print what each unit's precision does to the outputs, worst first."""
    known = next((one for one in _METRICS if one == how.metric), None)
    if known is None:
        remedy = choose_from(how.metric, _METRICS, "metrics")
        raise SpecError(Code.UNKNOWN_VALUE, f"unknown metric {how.metric!r}", remedy)
    with (
        LazyProgress() as progress,
        open_subject(cell, specs, progress, steps_on_fleet(fleet), samples=how.samples) as subject,
    ):
        ranking = rank_units(subject, progress, metric=known, kept=how.kept)
    if as_json:
        say_json(_ranking_json(subject, ranking))
    else:
        say(_ranking_table(ranking))
        say(_ranking_closing(ranking))
    return EXIT_DONE


def debug_command(
    cell: str, specs: Sequence[str], fleet: FleetOptions = ON_THIS_MACHINE, *, as_json: bool
) -> int:
    """Print the `keep` that makes a cell's thresholds pass; 1 when its precision is not what fails them."""
    with (
        LazyProgress() as progress,
        open_subject(cell, specs, progress, steps_on_fleet(fleet), searched=True) as subject,
    ):
        found = debug_variant(subject, progress)
    if as_json:
        say_json({"schema": 1, "cell": subject.cell.name, **found.to_json()})
    else:
        say("\n".join(_told(subject, found)))
    return EXIT_FAILED if found.verdict == "not the precision" else EXIT_DONE


def _ranking_json(subject: Subject, ranking: Ranking) -> dict[str, Json]:
    return {
        "schema": 1,
        "cell": subject.cell.name,
        "metric": ranking.metric,
        "all_lowered": ranking.lowered.value,
        "none_lowered": ranking.wide.value,
        "units": ranking.rows,
        "evaluations": ranking.asked,
        "evaluations_run": ranking.ran,
    }


def _ranking_table(ranking: Ranking) -> str:
    kept = any("kept_value" in row for row in ranking.rows)
    header = ["unit", "op", "nodes", "lowered to", ranking.metric, "error", "weights", "saves"]
    rows = [_row(row) for row in ranking.rows]
    if kept:
        header.append(f"{ranking.metric} if kept")
        rows = [[*cells, _number(row["kept_value"])] for cells, row in zip(rows, ranking.rows, strict=True)]
    return render_table(header, rows)


def _row(row: Mapping[str, Any]) -> list[str]:
    return [
        row["unit"],
        row["op"],
        str(len(row["nodes"])),
        row["precision"],
        _number(row["value"]),
        "not finite" if row["noise"] is None else f"{row['noise']:.3g}",
        format_size(_FLOAT32_BYTES * row["weights"]),
        f"{100 * row['saving']:.1f} %",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.7g}"


def _ranking_closing(ranking: Ranking) -> str:
    ends = f"{_number(ranking.wide.value)} in fp32, {_number(ranking.lowered.value)} with every unit lowered"
    return f"{ranking.metric} {ends}; {_counted(ranking.asked, ranking.ran)}"


def _counted(asked: int, ran: int) -> str:
    return f"{asked} evaluation{'' if asked == 1 else 's'}, {ran} of them new"


def _told(subject: Subject, found: Diagnosis) -> list[str]:
    name, counted = subject.cell.name, _counted(found.evaluations, found.ran)
    if found.verdict == "nothing fails":
        return [f"{name}: nothing fails; {counted}"]
    if found.verdict == "not the precision":
        lines = [
            f"{name} fails with every node in {subject.ladder.levels[-1]}, so its precision is not the cause:"
        ]
        lines += [f"  {fact}" for fact in found.problems]
        return [*lines, f"check the import, the transform, the data or the thresholds; {counted}"]
    count = len(found.nodes)
    nodes = "1 node" if count == 1 else f"{count} nodes"
    lines = [f"{name} fails:", *(f"  {fact}" for fact in found.problems)]
    lines += [f"with {nodes} kept wider, every threshold passes:"]
    lines += ["variants:", f"  {subject.cell.variant}:", "    keep:"]
    lines += [f"      {precision}: {flow_yaml(list(globs))}" for precision, globs in found.keep.items()]
    return [*lines, counted]
