"""Judges whether the network that TensorRT's parser created computes what the typed model does.

Combines two reports: the parse step's checks without data, and the readback's measurements, if it ran. The network
**failed** when TensorRT warned of something dangerous, when a tensor has another type or shape than in the model, or
when an output deviates by more than its bound, unless the spec accepts that by name. It is **proved** when every output
was compared and none deviates. Otherwise it is **not proved**, and the verdict says why.

Takes the reports as plain data; independent of runners and stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from trtpipe.errors import Problem
from trtpipe.json_values import (
    Json,
    JsonObject,
    field_in,
    flag_in,
    integer_in,
    number_in,
    object_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.loader.grammar import listed, nearest
from trtpipe.metrics.metrics import metrics_from_json
from trtpipe.metrics.thresholds import applying_to, failures, judge
from trtpipe.networks.warnings import NAMES, ClassedWarning
from trtpipe.problem_codes import Code
from trtpipe.spec.pipeline import ReadbackSpec, Threshold

Outcome: TypeAlias = Literal["proved", "not proved", "failed"]
TENSOR = "tensor:"
"""How `accept` names tensors; anything else is the name of a warning."""
_READBACK = ("validate", "readback")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class NetworkVerdict:
    """The result of comparing a network with the typed model that it was parsed from."""

    outcome: Outcome
    why: str
    """Why it is not proved; empty otherwise."""
    problems: tuple[Problem, ...] = ()
    not_run: tuple[str, ...] = ()
    record: Mapping[str, Json] = field(default_factory=dict)
    """What a manifest holds of it."""


Called: TypeAlias = Callable[[str], str]
"""A node of the typed model by its name → what its user calls it (`canonical.made_nodes.Caller`)."""


def by_name(name: str) -> str:
    """The node's own name in quotes, for callers without a model."""
    return f"node '{name}'"


def judge_network(
    parsed: JsonObject,
    measured: JsonObject | None,
    asked: ReadbackSpec,
    lacking: str,
    called: Called = by_name,
) -> NetworkVerdict:
    """The verdict. `measured` is the readback's report; where there is none, `lacking` says why. Raises Malformed.

    `called` is used only for problems.
    """
    warnings = [ClassedWarning.from_json(one) for one in objects_in(parsed, "warnings")]
    outputs = _outputs_of(measured, asked.thresholds) if measured is not None else []
    problems = (
        *_of_warnings(warnings, asked.accept),
        *_of_misfits(parsed, asked.accept, called),
        *_located(_departures(outputs, measured, called), measured, called),
    )
    why = "" if problems else lacking if measured is None else _unproved(parsed, measured, outputs)
    outcome: Outcome = "failed" if problems else "not proved" if why else "proved"
    kept = ("layers", "layers_read", "unread_by_type", "unread", "notes", "misfits", "contradictions")
    record: dict[str, Json] = {
        "outcome": outcome,
        "why": why,
        **{name: field_in(parsed, name) for name in kept},
        "warnings": [{**one.to_json(), "accepted": one.name in asked.accept} for one in warnings],
        "outputs": [one.to_json() for one in outputs],
        "twins": object_in(measured, "twins") if measured is not None else {},
        "problems": [one.fact for one in problems],
    }
    return NetworkVerdict(outcome, why, problems, tuple(_not_run(measured)), record)


def unknown_accepted(asked: ReadbackSpec) -> Iterator[Problem]:
    """A problem for each entry of `accept` that names no warning."""
    for index, name in enumerate(asked.accept):
        if name in NAMES or name.startswith(TENSOR):
            continue
        near = nearest(name, NAMES)
        said = f"did you mean {near!r}? " if near else ""
        yield Problem(
            Code.UNKNOWN_VALUE,
            f"{name!r} is not a known warning of TensorRT's parser",
            f"{said}write `{TENSOR}GLOB` or one of {listed(list(NAMES))}",
            path=(*_READBACK, "accept", index),
        )


def worth_telling(parsed: JsonObject) -> Iterator[tuple[str, str]]:
    """TensorRT's warnings that are not known to be harmless: the name, if any, and the text with a count."""
    for record in objects_in(parsed, "warnings"):
        one = ClassedWarning.from_json(record)
        if one.kind != "harmless":
            yield one.name, one.message + (f" ({one.count} times)" if one.count > 1 else "")


# -- problems that fail a build


def _of_warnings(warnings: Sequence[ClassedWarning], accept: Sequence[str]) -> Iterator[Problem]:
    for one in warnings:
        if one.kind == "dangerous" and one.name not in accept:
            remedy = f"{one.meaning}\nto accept it: validate: {{readback: {{accept: [{one.name}]}}}}"
            fact = f"TensorRT's parser warns of '{one.name}': {one.message}"
            yield Problem(Code.PARSER_WARNING, fact, remedy)


def _of_misfits(parsed: JsonObject, accept: Sequence[str], called: Called) -> Iterator[Problem]:
    globs = [one.removeprefix(TENSOR) for one in accept if one.startswith(TENSOR)]
    found = [
        one
        for one in objects_in(parsed, "misfits")
        if not any(fnmatchcase(text_in(one, "name"), glob) for glob in globs)
    ]
    for one in found[:_SHOWN]:
        yield Problem(Code.NETWORK_DIFFERS, _misfit_words(one, called))
    if len(found) > _SHOWN:
        fact = f"{len(found) - _SHOWN} more tensors of TensorRT's network differ from the model"
        yield Problem(Code.NETWORK_DIFFERS, fact)


def _by(called: Called, node: Json) -> str:
    """The producer of a tensor, after its name: ` (node 'conv', Conv)`."""
    return f" ({called(str(node)).replace(' (', ', ').rstrip(')')})" if node else ""


def _misfit_words(one: JsonObject, called: Called) -> str:
    kind, name = text_in(one, "what"), text_in(one, "name")
    node = _by(called, one["node"])
    what = f"the weights '{name}'" if kind == "weights" else f"{kind} '{name}'"
    return f"in the network that TensorRT's parser makes, {what}{node} {text_in(one, 'why')}"


# -- measurements


@dataclass(frozen=True, slots=True)
class _Output:
    """The worst measurement of one output, and its problem."""

    name: str
    node: str | None
    place: str
    error: Json
    bound: float
    thresholds: bool
    """Whether the spec's thresholds judge it, not the bound."""
    problems: tuple[Problem, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "output": self.name,
            "node": self.node,
            "place": self.place,
            "error": self.error,
            "bound": self.bound,
            "by_thresholds": self.thresholds,
            "departs": bool(self.problems),
        }


def _outputs_of(measured: JsonObject, thresholds: Sequence[Threshold]) -> list[_Output]:
    """Each output that was compared, at the place where its error is largest."""
    worst: dict[str, tuple[float, _Output]] = {}
    for place in objects_in(measured, "places"):
        where, outputs = text_in(place, "place"), object_in(place, "outputs")
        for name in outputs:
            one = _judged(name, where, object_in(outputs, name), thresholds)
            size = _size(one)
            if name not in worst or size > worst[name][0]:
                worst[name] = (size, one)
    return [one for _, one in worst.values()]


def _departures(outputs: Sequence[_Output], measured: JsonObject | None, called: Called) -> list[Problem]:
    """The deviations of outputs, and of tensors that were compared with the typed model, in one problem."""
    found = [problem for one in outputs for problem in one.problems]
    places = objects_in(measured, "places") if measured is not None else []
    inner = [one for place in places for one in objects_in(place, "quantized") if one["departs"]]
    if inner and not (outputs and all(one.thresholds for one in outputs)):
        one, names = inner[0], {text_in(one, "tensor") for one in inner}
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        fact = (
            f"TensorRT's parser made a network that quantizes '{text_in(one, 'tensor')}'"
            f"{_by(called, one['node'])}{more} otherwise than the typed model: by up to {one['steps']:.3g} steps"
            if isinstance(one["steps"], float) and not one["misfit"]
            else f"TensorRT's network quantizes a tensor of another shape than '{text_in(one, 'tensor')}'{more}"
        )
        found.append(Problem(Code.NETWORK_DIFFERS, fact))
    return found


def _located(problems: list[Problem], measured: JsonObject | None, called: Called) -> list[Problem]:
    """Adds the first deviating tensor, if known, to the first problem: the parser misread the node that makes it."""
    if not problems or measured is None or problems[0].remedy:
        return problems
    first = object_in(measured, "first") if measured.get("first") is not None else None
    remedy = "`trtpipe debug compare CELL --network` shows where the two part"
    if first is not None:
        tensor, node = text_in(first, "tensor"), _by(called, first["node"])
        remedy = f"the first tensor that departs is '{tensor}'{node}: the parser makes something else of that"
    return [replace(problems[0], remedy=remedy), *problems[1:]]


def _size(one: _Output) -> float:
    """The sort key for the worst place: wrong ones before correct ones."""
    return float(str(one.error)) + (1e300 if one.problems else 0.0)


def _judged(name: str, place: str, found: JsonObject, thresholds: Sequence[Threshold]) -> _Output:
    bound, node = number_in(found, "bound"), found["node"]
    applied = applying_to(name, thresholds)
    problems: list[Problem] = []
    if found["misfit"]:
        fact = (
            f"output '{name}' of TensorRT's network {text_in(found, 'misfit')} of the typed model's ({place})"
        )
        problems = [Problem(Code.NETWORK_DIFFERS, fact)]
    elif applied:
        compared = judge(name, metrics_from_json(object_in(found, "metrics")), applied)
        problems = [
            Problem(one.code, f"TensorRT's network: {one.fact}", one.remedy)
            for one in failures({name: compared}, place)
        ]
    elif flag_in(found, "departs"):
        problems = [Problem(Code.NETWORK_DIFFERS, _departure(name, place, found))]
    return _Output(
        name, str(node) if node else None, place, found["error"], bound, bool(applied), tuple(problems)
    )


def _departure(name: str, place: str, found: JsonObject) -> str:
    error, unequal = found["error"], integer_in(found, "unequal")
    by = f"by {error:.2g}" if isinstance(error, float) else "where it is not finite"
    by = f"in {unequal} elements" if error == 0.0 or (unequal and not isinstance(error, float)) else by
    return (
        f"TensorRT's parser made a network whose output '{name}' departs from the typed model's {by}, where rounding "
        f"allows {found['bound']:.2g} ({place})"
    )


# -- what remains unproved


def _unproved(parsed: JsonObject, measured: JsonObject, outputs: Sequence[_Output]) -> str:
    """Why outputs that agree do not prove the network; empty if they do."""
    if text_in(parsed, "unreadable"):
        return text_in(parsed, "unreadable")
    contradictions = texts_in(parsed, "contradictions")
    compared = {one.name for one in outputs}
    missing = [name for name in texts_in(measured, "outputs") if name not in compared]
    if missing:
        return _why_missing(missing, parsed, measured)
    if contradictions:
        more = f" and {len(contradictions) - 1} more" if len(contradictions) > 1 else ""
        return f"what was read of it is not what TensorRT says: {contradictions[0]}{more}"
    return ""


def _why_missing(missing: Sequence[str], parsed: JsonObject, measured: JsonObject) -> str:
    unread = object_in(parsed, "unread_by_type")
    if unread and set(missing) <= set(texts_in(parsed, "cut")):
        types = ", ".join(f"{kind} {count}" for kind, count in unread.items())
        return f"layers of these types cannot be read: {types}"
    reasons = [text_in(one, "why") for one in objects_in(measured, "not_run")]
    outputs = f"output '{missing[0]}'" if len(missing) == 1 else f"{len(missing)} outputs"
    because = f": {reasons[0]}" if reasons else ""
    return f"{outputs} could not be compared{because}"


def _not_run(measured: JsonObject | None) -> Iterator[str]:
    for one in objects_in(measured, "not_run") if measured is not None else ():
        yield f"TensorRT's network, {text_in(one, 'name')}: {text_in(one, 'why')}"
