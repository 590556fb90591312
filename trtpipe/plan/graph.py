"""Steps, their inputs, and the plan they make; and actions, which are steps whose inputs are all known.

A step's address says where it stands: `digits:import` is shared by the whole pipeline, `digits/fp16:quantize` by a
variant's targets, `digits/fp16@ada:build_engine` belongs to one cell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from trtpipe.digests import Digest
from trtpipe.errors import PlanError
from trtpipe.plan.fingerprint import Fingerprint, Record

Stage = Literal[
    "fetch",
    "import",
    "transform",
    "calibrate",
    "evaluate",
    "search",
    "quantize",
    "build_engine",
    "validate",
    "package",
]

STAGE_VERSIONS: Mapping[Stage, int] = {
    "fetch": 1,
    "import": 1,
    "transform": 1,
    "calibrate": 1,
    "evaluate": 1,
    "search": 1,
    "quantize": 1,
    "build_engine": 3,
    "validate": 3,
}
"""The stages that make steps today. A version is raised when equal inputs would give other outputs.

`evaluate` makes no step of a plan: a search asks for as many evaluations as it needs, each an action of its own.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A file outside the store, whose digest is known before anything runs."""

    name: str
    path: Path
    digest: Digest


@dataclass(frozen=True, slots=True)
class FromStep:
    """Outputs of another step: those of `names` that it yields, which must be at least one.

    With a `folder` (`source/`) they are outputs in it, taken under their names there; with `rest`, all others in it
    follow.
    """

    address: str
    names: tuple[str, ...]
    folder: str = ""
    rest: bool = False

    def taken_from(self, outputs: Mapping[str, Digest]) -> dict[str, Digest]:
        """What is taken of a step's outputs, by the names that it is taken under."""
        inside = {
            name.removeprefix(self.folder): digest
            for name, digest in outputs.items()
            if name.startswith(self.folder)
        }
        others = sorted(inside.keys() - set(self.names)) if self.rest else ()
        return {name: inside[name] for name in (*self.names, *others) if name in inside}


Input = Source | FromStep


@dataclass(frozen=True, slots=True)
class Step:
    """One stage for one place in a plan."""

    address: str
    stage: Stage
    options: Record
    tools: Record
    inputs: Mapping[str, tuple[Input, ...]]
    local: Record = field(default_factory=dict)
    """What the step needs on this machine and the key must not see: interpreters, paths, limits."""

    def upstream(self) -> Iterator[str]:
        """The addresses of the steps it takes outputs from."""
        for refs in self.inputs.values():
            yield from (ref.address for ref in refs if isinstance(ref, FromStep))


@dataclass(frozen=True, slots=True)
class Action:
    """A step whose inputs are all digests: serialisable, fingerprinted, executed anywhere."""

    step: Step
    fingerprint: Fingerprint
    key: str

    @property
    def address(self) -> str:
        """The step's address."""
        return self.step.address


@dataclass(frozen=True, slots=True)
class Cell:
    """Variant × target: one engine. The addresses of the steps that make and prove it."""

    name: str
    pipeline: str
    variant: str
    target: str
    steps: Mapping[Stage, str]
    facts: Record = field(default_factory=dict)
    """What the manifest says of it: GPUs, toolchain, precision, profiles."""

    @property
    def directory(self) -> str:
        """Where its files go, under the build directory."""
        return f"{self.pipeline}/{self.variant}@{self.target}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in an order in which every step stands behind those it needs, and the cells they serve."""

    steps: Mapping[str, Step]
    cells: tuple[Cell, ...]

    def needed_by(self, address: str) -> tuple[str, ...]:
        """The steps that take something from this one."""
        return tuple(step.address for step in self.steps.values() if address in step.upstream())


def action_of(step: Step, outputs: Mapping[str, Mapping[str, Digest]]) -> Action:
    """The action of a step, given the outputs of every step before it."""
    inputs = {slot: dict(_resolve(refs, outputs)) for slot, refs in step.inputs.items()}
    fingerprint = Fingerprint(step.stage, STAGE_VERSIONS[step.stage], step.options, step.tools, inputs)
    return Action(step, fingerprint, fingerprint.key)


def _resolve(
    refs: tuple[Input, ...], outputs: Mapping[str, Mapping[str, Digest]]
) -> Iterator[tuple[str, Digest]]:
    for ref in refs:
        if isinstance(ref, Source):
            yield ref.name, ref.digest
            continue
        found = ref.taken_from(outputs[ref.address])
        assert found, f"{ref.address} yields none of {ref.names}"
        yield from found.items()


def plan_of(steps: Mapping[str, Step], cells: tuple[Cell, ...]) -> Plan:
    """The plan, with steps sorted so that each follows what it needs. Raises PlanError on a cycle."""
    ordered: dict[str, Step] = {}
    trail: list[str] = []

    def visit(address: str) -> None:
        if address in ordered:
            return
        if address in trail:
            raise PlanError(
                "steps need each other: " + " -> ".join([*trail[trail.index(address) :], address])
            )
        trail.append(address)
        for before in steps[address].upstream():
            visit(before)
        trail.pop()
        ordered[address] = steps[address]

    for address in steps:
        visit(address)
    return Plan(ordered, cells)


def json_ready(value: Any) -> Any:
    """A value with tuples as lists, as it would come back from JSON."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(inner) for inner in value]
    return value
