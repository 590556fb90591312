"""Delivers a bundle: judges the validation of the whole, then writes `bundle.json` and `summary.md` to its directory.

A bundle that misses a threshold is not delivered, and the error names the member whose precision costs most.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.delivery.bundle_proofs import gpu_line, judged_whole, proof_path, read_bundle_proof
from trtpipe.delivery.engine_proofs import EngineVerdict
from trtpipe.errors import ArtifactDamaged, Problem, TrtpipeError, ValidationFailed
from trtpipe.files import write_whole
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    integer_in,
    number_in,
    object_in,
    objects_in,
    text_in,
)
from trtpipe.loader.bundles import LoadedBundle
from trtpipe.lockfile import Entry, Fact, digest_in
from trtpipe.plan.trace import Trace
from trtpipe.problem_codes import Code
from trtpipe.provenance.manifest import gpu_words
from trtpipe.spec.pipeline import Threshold
from trtpipe.text.tables import render_table

if TYPE_CHECKING:
    from trtpipe.metrics.verdicts import Judgement

SCHEMA = 1
RECORD, SUMMARY = "bundle.json", "summary.md"
_LOOSE = 0.0


@dataclass(frozen=True, slots=True)
class BundleResult:
    """A bundle whose members are delivered and which was validated as a whole."""

    bundle: LoadedBundle
    choice: Mapping[str, Mapping[str, str]]
    """Target → member → cell."""
    key: str
    traces: Mapping[str, Trace]
    """Target → the trace of its validation; none where the spec has no `validate`."""
    facts: Mapping[str, Fact]
    """What the lockfile says of the bundle's own files and edges."""


def deliver_bundle(
    result: BundleResult,
    build: Path,
    entry_of: Callable[[str], Entry],
    hold: Callable[[Entry], None],
) -> tuple[list[Path], dict[str, Fact]]:
    """Write a bundle's files; returns them, and its entry for the lockfile. `entry_of` gives those of its cells.

    `hold` is given the entry before anything is written, and may raise.
    Raises ValidationFailed when the whole missed a threshold, TrtpipeError when the files cannot be written.
    """
    folder = build / result.bundle.name
    try:
        judged = {
            target: _verdicts(result, target, _engines(members, entry_of), folder)
            for target, members in result.choice.items()
        }
        problems = [one for target, both in judged.items() for one in _failures(result, target, both)]
        if problems:
            raise ValidationFailed(list({one.fact: one for one in problems}.values()))
        record = _record(result, judged, entry_of)
    except Malformed as error:
        fact = f"the trace of {result.bundle.name}:validate in the store is damaged: {error}"
        raise ArtifactDamaged(Code.ARTIFACT_DAMAGED, fact) from error
    entry = _entry(result, judged, entry_of)
    hold(entry)
    files = {SUMMARY: bundle_summary(record), RECORD: json.dumps(record, indent=2, sort_keys=True) + "\n"}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(folder / name, text.encode())
    except OSError as error:
        fact = f"cannot write {folder}: {(error.strerror or str(error)).lower()}"
        raise TrtpipeError(Code.CANNOT_DELIVER, fact) from error
    # proofs are noted also while they do not exist: once one appears or changes, the bundle is judged again
    proofs = [proof_path(folder, target) for target in result.choice]
    return [*(folder / name for name in files), *proofs], entry


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """What is known of the whole for a target; None where nothing was run."""

    typed: Judgement | None
    """Of the typed models on a CPU."""
    engines: EngineVerdict | None
    """Of the engines on a GPU."""


def _verdicts(result: BundleResult, target: str, engines: Mapping[str, str], folder: Path) -> _Verdicts:
    from trtpipe.metrics.verdicts import judge_report

    if target not in result.traces:
        return _Verdicts(None, None)
    asked, report = result.bundle.spec.validate_, result.traces[target].summary
    thresholds = asked.thresholds if asked is not None else ()
    typed = judge_report(report, thresholds, _defaults(result, target))
    proof = read_bundle_proof(folder, target, engines)
    return _Verdicts(typed, None if proof is None else judged_whole(proof, typed.as_json(), _samples(report)))


def _engines(members: Mapping[str, str], entry_of: Callable[[str], Entry]) -> dict[str, str]:
    """Member → the BLAKE3 of its engine in hex."""
    found = {name: digest_in(entry_of(cell)["engine"]) for name, cell in members.items()}
    return {name: digest.hex for name, digest in found.items() if digest is not None}


def _samples(report: JsonObject) -> int | None:
    """How many samples the whole was validated on."""
    place = next(iter(objects_in(report, "places")), {})
    return None if place.get("samples") is None else integer_in(place, "samples")


def _defaults(result: BundleResult, target: str) -> Sequence[Threshold]:
    """The thresholds of the least precise member: an error of one member is an error of the whole."""
    from trtpipe.precisions import find_precision

    found: list[tuple[Threshold, ...]] = []
    for member, cell in result.choice[target].items():
        variant = cell.partition("/")[2].partition("@")[0]
        named = result.bundle.pipeline_of(member).spec.variants[variant].precision
        precision = find_precision(named)
        if precision is not None:
            found.append(precision.default_thresholds)
    return min(found, key=lambda some: min((one.min or _LOOSE for one in some), default=_LOOSE), default=())


def _failures(result: BundleResult, target: str, both: _Verdicts) -> Iterator[Problem]:
    """The thresholds that the whole missed; the first with the cost of each member's precision."""
    judgement = both.typed
    if both.engines is not None:
        yield from both.engines.problems
    if judgement is None:
        return
    missed = {str(one["output"]) for one in judgement.verdicts if one["outcome"] == "failed"}
    rows = blame_rows(result.traces[target].summary, missed)
    for number, problem in enumerate(judgement.problems):
        located = result.bundle.locate(problem) if problem.path else problem
        if number or not rows:
            yield located
            continue
        worst = rows[0]
        cell = result.choice[target][worst.member]
        variant = cell.partition("@")[0]
        remedy = f"allow a wider variant for member {worst.member!r}, or see `trtpipe debug {variant}`"
        yield replace(located, remedy=remedy, details="\n".join(blame_lines(rows)))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a member's precision costs, at the output where it costs most."""

    member: str
    output: str
    error: float
    """Of that output with every member typed: the root mean square, as a share of the largest value."""
    without: float
    """The same with this member at its reference precision."""

    @property
    def share(self) -> float:
        """The share of the error that goes away."""
        return (self.error - self.without) / self.error if self.error else 0.0


def blame_rows(report: JsonObject, outputs: Collection[str] = ()) -> list[Cost]:
    """The members of a report, the most expensive for these outputs (or for any) first. Raises Malformed."""
    found = []
    for one in objects_in(report, "blame"):
        measured = object_in(one, "outputs")
        errors = {name: object_in(measured, name) for name in measured if not outputs or name in outputs}
        costs = [
            Cost(text_in(one, "member"), name, number_in(each, "error"), number_in(each, "without"))
            for name, each in errors.items()
        ]
        found += [max(costs, key=lambda cost: cost.error - cost.without)] if costs else []
    return sorted(found, key=lambda cost: cost.without - cost.error)


def blame_lines(rows: Sequence[Cost]) -> list[str]:
    """A table for a terminal."""
    told = [
        [one.member, one.output, f"{one.error:.3g}", f"{one.without:.3g}", f"{one.share:.0%}"] for one in rows
    ]
    text = render_table(["member", "worst output", "error", "without it", "share"], told)
    return ["what each member's precision costs:", *text.splitlines()]


def _record(
    result: BundleResult, judged: Mapping[str, _Verdicts], entry_of: Callable[[str], Entry]
) -> dict[str, Json]:
    spec = result.bundle.spec
    return {
        "schema": SCHEMA,
        "bundle": spec.bundle,
        "key": result.key,
        "members": {name: {"pipeline": member.pipeline} for name, member in spec.members.items()},
        "edges": [
            {
                "from": source,
                "to": edge.to,
                "reshape": list(edge.reshape) if edge.reshape else None,
                "cast": edge.cast,
            }
            for source, edge in spec.all_edges()
        ],
        "driver": spec.python,
        "targets": {
            target: {name: _engine(cell, entry_of(cell)) for name, cell in members.items()}
            for target, members in result.choice.items()
        },
        "validation": {target: _validation(result, target, one, entry_of) for target, one in judged.items()},
    }


def _engine(cell: str, entry: Entry) -> dict[str, Json]:
    return {"cell": cell, **{name: str(entry[name]) for name in ("key", "engine", "toolchain")}}


def _validation(
    result: BundleResult, target: str, both: _Verdicts, entry_of: Callable[[str], Entry]
) -> dict[str, Json]:
    judgement, on_gpu = both.typed, both.engines
    cells = result.choice[target].values()
    needs = sorted({str(entry_of(cell)["compute_capabilities"]) for cell in cells})
    not_run = [f"the whole on engines: needs {' and '.join(needs)}"] if on_gpu is None else on_gpu.not_run
    if judgement is None:
        return {
            "outcome": "not run",
            "not_run": ["the whole: the spec has no `validate`", *not_run],
            "blame": [],
        }
    report = result.traces[target].summary
    measured = {name: one for place in report["places"] for name, one in place["outputs"].items()}
    return {
        **judgement.as_json(),
        "reference": report["reference"],
        "samples": _samples(report),
        **({"run_on_gpu": dict(on_gpu.record)} if on_gpu is not None else {}),
        "outputs": {name: one["metrics"] for name, one in measured.items()},
        "blame": [_cost_json(one) for one in blame_rows(report)],
        "not_run": [*judgement.not_run, *not_run],
    }


def _cost_json(cost: Cost) -> dict[str, Json]:
    return {
        "member": cost.member,
        "output": cost.output,
        "error": cost.error,
        "without": cost.without,
        "share": round(cost.share, 4),
    }


def _entry(
    result: BundleResult, judged: Mapping[str, _Verdicts], entry_of: Callable[[str], Entry]
) -> dict[str, Fact]:
    outcomes = {
        "not run" if one.typed is None else one.typed.outcome.replace("_", " ") for one in judged.values()
    }
    return {
        "key": result.key,
        **result.facts,
        "members": member_facts(result.choice, entry_of),
        "validated": " and ".join(sorted(outcomes)),
        "run_on_gpu": {target: gpu_line(one.engines) for target, one in judged.items()},
    }


def member_facts(choice: Mapping[str, Mapping[str, str]], entry_of: Callable[[str], Entry]) -> dict[str, str]:
    """The lockfile's lines about members: `TARGET MEMBER` → the cell, and its engine's digest."""
    return {
        f"{target} {name}": f"{cell} {entry_of(cell)['engine']}"
        for target, members in choice.items()
        for name, cell in members.items()
    }


def bundle_summary(record: Mapping[str, Any]) -> str:
    """`summary.md` of a bundle."""
    lines = [f"# {record['bundle']}", "", "| target | " + " | ".join(record["members"]) + " | the whole |"]
    lines.append("|" + " --- |" * (len(record["members"]) + 2))
    for target, members in record["targets"].items():
        cells = [members[name]["cell"] for name in record["members"]]
        lines.append(f"| {target} | " + " | ".join(cells) + f" | {_outcome(record['validation'][target])} |")
    lines += ["", "## Edges", ""]
    lines += [f"- `{one['from']}` → `{one['to']}`{_change(one)}" for one in record["edges"]] or ["none"]
    lines += _measured_lines(record)
    return "\n".join(lines) + "\n"


def _outcome(validation: Mapping[str, Any]) -> str:
    return str(validation["outcome"]).replace("_", " ")


def _change(edge: Mapping[str, Any]) -> str:
    words = [
        f"reshaped to {edge['reshape']}" if edge["reshape"] else "",
        f"as {edge['cast']}" if edge["cast"] else "",
    ]
    said = " ".join(word for word in words if word)
    return f" {said}" if said else ""


def _measured_lines(record: Mapping[str, Any]) -> Iterator[str]:
    """What was measured; targets with the same figures are told together."""
    told: dict[str, list[str]] = {}
    for target, one in record["validation"].items():
        told.setdefault("\n".join(_figures(one)), []).append(target)
    for text, targets in told.items():
        yield from ["", f"## The whole on a CPU ({', '.join(targets)})", "", text]
    ran = {target: one["run_on_gpu"] for target, one in record["validation"].items() if "run_on_gpu" in one}
    yield from ["", "## The whole on engines", ""] if ran else []
    for target, one in ran.items():
        yield f"- {target}: {_outcome(one)} on {gpu_words(one)}, TensorRT {one['tensorrt']}"
    yield from ["", "## Not run", ""]
    for target, one in record["validation"].items():
        yield from (f"- {target}: {why}" for why in one["not_run"])


def _figures(validation: Mapping[str, Any]) -> Iterator[str]:
    if not validation.get("outputs"):
        yield f"Outcome: {_outcome(validation)}."
        return
    yield "| output | cosine | largest error |"
    yield "| --- | --- | --- |"
    for name, metrics in validation["outputs"].items():
        yield f"| {name} | {_number(metrics.get('cosine'))} | {_number(metrics.get('max_abs'))} |"
    yield ""
    yield "What each member's precision costs: the error of its worst output, with and without it."
    yield ""
    yield "| member | worst output | error | without | share |"
    yield "| --- | --- | --- | --- | --- |"
    for one in validation["blame"]:
        cells = [
            one["member"],
            one["output"],
            _number(one["error"]),
            _number(one["without"]),
            f"{one['share']:.0%}",
        ]
        yield "| " + " | ".join(cells) + " |"


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, (int, float)) else "n/a" if value is None else str(value)
