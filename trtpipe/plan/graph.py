"""Plans and actions: a plan is a graph of steps; an action is a step whose inputs are all known.

A plan is made on this machine and refers to its files. An action is what is left of a step when it is about to run:
plain data, with digests in place of files, that can be sent to another process or machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from trtpipe.digests import Digest
from trtpipe.errors import ArtifactMissing, PlanError
from trtpipe.json_values import Json, JsonObject, Malformed, object_in, text_in
from trtpipe.plan.address import STAGE_VERSIONS, Address, Place, Stage
from trtpipe.plan.fingerprint import Fingerprint, Record, RecordPath
from trtpipe.plan.options import Options
from trtpipe.plan.origins import (
    FORM,
    NO_INPUT,
    PACKAGE,
    STAGE,
    FromMaker,
    InFile,
    Nowhere,
    Origin,
    Parts,
    inside,
)
from trtpipe.plan.requirements import (
    NOTHING_REQUIRED,
    Requirements,
    requirements_from_json,
    requirements_json,
)
from trtpipe.problem_codes import Code

Outputs: TypeAlias = Mapping[str, Digest]
"""What a step yielded: name → digest."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file outside the store, whose digest is known before anything runs."""

    name: str
    path: Path
    digest: Digest


@dataclass(frozen=True, slots=True)
class FromStep:
    """Outputs of another step: those of `names` that it produces, of which there must be at least one.

    With a `folder` (`source/`) they are outputs in it, with their names relative to it; with `rest`, all others in
    it follow.
    """

    address: Address
    names: tuple[str, ...]
    folder: str = ""
    rest: bool = False

    def taken_from(self, outputs: Mapping[str, Digest]) -> dict[str, Digest]:
        """The outputs that are taken from a step, by the names under which they are taken."""
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

    address: Address
    options: Options
    tools: Record
    inputs: Mapping[str, tuple[Input, ...]]
    requirements: Requirements = NOTHING_REQUIRED
    tools_from: Origin | Parts = PACKAGE
    """Where the versions in `tools` come from."""
    after: tuple[Address, ...] = ()
    """Steps that must have succeeded before this one starts, when they are in the plan; it takes nothing from them, so
    its key does not know them."""

    @property
    def stage(self) -> Stage:
        """What kind of work it is."""
        return self.address.stage

    def sources(self) -> dict[str, dict[str, Source]]:
        """Its inputs that are files outside the store: slot → name → file."""
        return {
            slot: {ref.name: ref for ref in refs if isinstance(ref, Source)}
            for slot, refs in self.inputs.items()
        }

    def upstream(self) -> Iterator[Address]:
        """The addresses of the steps it takes outputs from."""
        for refs in self.inputs.values():
            yield from (ref.address for ref in refs if isinstance(ref, FromStep))

    def awaited(self) -> Iterator[Address]:
        """The addresses of the steps that must end before it starts: those whose outputs it takes, and `after`."""
        yield from self.upstream()
        yield from self.after

    def origin(self, path: RecordPath) -> Origin:
        """The origin of the value at a path of its fingerprint record; also for a value that was removed since."""
        match path:
            case ("options", _, *_):
                return self.options.origin(path[1:])
            case ("tools", *_):
                return inside(self.tools_from, path[1:])
            case ("inputs", str(slot), *rest):
                return self._origin_of_input(slot, str(rest[0]) if rest else "")
            case ("inputs" | "options",):
                return Nowhere(f"the step has no {path[0]}")
            case ("version",):
                return STAGE
            case _:
                return FORM

    def _origin_of_input(self, slot: str, name: str) -> Origin:
        refs = self.inputs.get(slot, ())
        for ref in refs:
            if isinstance(ref, Source) and ref.name == name:
                return InFile(ref.path)
        for ref in refs:
            if isinstance(ref, FromStep):
                return FromMaker(ref.address)
        return NO_INPUT


@dataclass(frozen=True, slots=True)
class Action:
    """A step whose inputs are all digests: plain data that can run anywhere, by the code of its stage."""

    address: Address
    fingerprint: Fingerprint
    requirements: Requirements = NOTHING_REQUIRED
    key: str = field(init=False)
    """The fingerprint's digest: it finds the trace of what the action yields."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.fingerprint.key)

    @property
    def stage(self) -> Stage:
        """The stage whose code runs the action."""
        return self.address.stage

    def to_json(self) -> dict[str, Json]:
        """The action as a JSON object, to hand to another process or machine."""
        return {
            "address": str(self.address),
            "fingerprint": self.fingerprint.record(),
            "requirements": requirements_json(self.requirements),
        }

    @classmethod
    def from_json(cls, record: JsonObject) -> Action:
        """The action read back. Raises ValueError when it is damaged, or of another version of a stage."""
        address = Address.parse(text_in(record, "address"))
        fingerprint = Fingerprint.from_record(object_in(record, "fingerprint"))
        if (fingerprint.stage, fingerprint.version) != (address.stage, STAGE_VERSIONS.get(address.stage)):
            raise Malformed(f"stage {fingerprint.stage} of version {fingerprint.version} is not known here")
        return cls(address, fingerprint, requirements_from_json(object_in(record, "requirements")))


@dataclass(frozen=True, slots=True)
class Cell:
    """A variant for a target: one engine. Holds the addresses of the steps that build and check it."""

    name: str
    pipeline: str
    variant: str
    target: str
    steps: Mapping[Stage, Address]
    facts: Record = field(default_factory=dict)
    """What the manifest says of it: GPUs, toolchain, precision, profiles."""

    @property
    def place(self) -> Place:
        """Its place in the plan."""
        return Place(self.pipeline, self.variant, self.target)

    @property
    def directory(self) -> str:
        """The directory for its files, under the build directory."""
        return f"{self.pipeline}/{self.variant}@{self.target}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in topological order, and the cells that they serve."""

    steps: Mapping[Address, Step]
    cells: tuple[Cell, ...]

    def upto(self, addresses: Collection[Address]) -> Plan:
        """These steps with all steps that they depend on, in the plan's order, and the cells that are then complete."""
        wanted = with_upstream(self.steps, addresses)
        steps = {address: step for address, step in self.steps.items() if address in wanted}
        return Plan(steps, tuple(cell for cell in self.cells if wanted.issuperset(cell.steps.values())))

    def actions(self, outputs: Mapping[Address, Outputs]) -> dict[Address, Action]:
        """The action of every step all of whose inputs are among these outputs."""
        return {
            address: action_of(step, outputs)
            for address, step in self.steps.items()
            if all(up in outputs for up in step.upstream())
        }


def with_upstream(steps: Mapping[Address, Step], addresses: Collection[Address]) -> set[Address]:
    """The addresses, and those of all steps that they depend on, directly or indirectly."""
    found, pending = set(addresses), list(addresses)
    while pending:
        for up in steps[pending.pop()].upstream():
            if up not in found:
                found.add(up)
                pending.append(up)
    return found


def action_of(step: Step, outputs: Mapping[Address, Outputs]) -> Action:
    """The action of a step, given the outputs of every step before it."""
    return Action(step.address, _fingerprint(step, step.inputs, outputs), step.requirements)


def is_known(ref: Input, outputs: Mapping[Address, Outputs]) -> bool:
    """Whether the digests of an input are known, given the outputs of some steps."""
    return isinstance(ref, Source) or ref.address in outputs


def known_record(step: Step, outputs: Mapping[Address, Outputs]) -> dict[str, Any]:
    """The known part of a step's fingerprint record: inputs from steps with unknown outputs are left out."""
    known = {slot: tuple(ref for ref in refs if is_known(ref, outputs)) for slot, refs in step.inputs.items()}
    return _fingerprint(step, known, outputs).record()


def _fingerprint(
    step: Step, inputs: Mapping[str, tuple[Input, ...]], outputs: Mapping[Address, Outputs]
) -> Fingerprint:
    resolved = {slot: dict(_resolve(refs, outputs)) for slot, refs in inputs.items()}
    return Fingerprint(step.stage, STAGE_VERSIONS[step.stage], step.options.record(), step.tools, resolved)


def _resolve(refs: tuple[Input, ...], outputs: Mapping[Address, Outputs]) -> Iterator[tuple[str, Digest]]:
    for ref in refs:
        if isinstance(ref, Source):
            yield ref.name, ref.digest
            continue
        found = ref.taken_from(outputs[ref.address])
        # names come from a trace, which is untrusted: in a shared store anybody may have written it
        if not found:
            raise ArtifactMissing(
                Code.NO_ARTIFACT,
                f"{ref.address} yielded no {' or '.join(ref.names)}: the record of it is damaged",
                "make it again: trtpipe build --force",
            )
        yield from found.items()


def plan_of(steps: Mapping[Address, Step], cells: tuple[Cell, ...]) -> Plan:
    """The plan, with steps sorted so that each follows what it needs. Raises PlanError on a cycle."""
    ordered: dict[Address, Step] = {}
    trail: list[Address] = []

    def visit(address: Address) -> None:
        if address in ordered:
            return
        if address in trail:
            raise PlanError(
                Code.STEPS_CYCLE,
                "steps need each other: " + " -> ".join(map(str, [*trail[trail.index(address) :], address])),
            )
        trail.append(address)
        for before in steps[address].awaited():
            if before in steps:
                visit(before)
        trail.pop()
        ordered[address] = steps[address]

    for address in steps:
        visit(address)
    return Plan(ordered, cells)


def json_ready(value: Mapping[str, object]) -> dict[str, Json]:
    """A record with tuples as lists, as it would come back from JSON."""
    return {str(key): _ready(inner) for key, inner in value.items()}


def _ready(value: object) -> Json:
    if isinstance(value, Mapping):
        return json_ready(value)
    if isinstance(value, (list, tuple)):
        return [_ready(inner) for inner in value]
    assert value is None or isinstance(value, (bool, int, float, str)), f"{value!r} is not a value of JSON"
    return value
