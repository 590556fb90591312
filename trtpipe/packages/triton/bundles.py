"""A package's bundle as ensembles: one, or one for each target where targets share a compute capability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from trtpipe.errors import PackageError
from trtpipe.json_values import JsonObject, text_in
from trtpipe.packages.index import Index, Tensor
from trtpipe.packages.triton.config import ModelConfig
from trtpipe.packages.triton.ensemble import Ensemble, Step
from trtpipe.packages.triton.glue import GIVEN, TAKEN, Glue, changes, glue_of
from trtpipe.packages.triton.models import Served
from trtpipe.problem_codes import Code


@dataclass(frozen=True, slots=True)
class Wiring:
    """The ensembles of a bundle, and the models that only its edges need."""

    ensembles: tuple[Ensemble, ...] = ()
    glue: tuple[Glue, ...] = ()


@dataclass(slots=True)
class _Part:
    """One ensemble as it is put together."""

    steps: dict[str, Step]
    edges: list[tuple[str, str]] = field(default_factory=list)
    glue: list[Glue] = field(default_factory=list)


def refuse_driver(bundle: str, cells: Sequence[str]) -> None:
    """Raises PackageError: an ensemble has no loops, and runs no code of a project."""
    raise PackageError(
        Code.NOT_SERVABLE,
        f"bundle {bundle!r} has a Python driver, and a Triton ensemble runs models and nothing else",
        f"package its models alone: trtpipe package {' '.join(cells)} --to triton",
    )


def wiring_of(
    index: Index, outputs: Sequence[str], served: Sequence[Served], configs: Mapping[str, ModelConfig]
) -> Wiring:
    """A bundle's ensembles; none for anything else. `outputs`: what it yields although an edge takes it, too."""
    if index.bundle is None:
        return Wiring()
    ensembles, glue = [], []
    for name, chosen in _choices(index, served).items():
        part = _Part({member: Step(member, configs[model]) for member, model in chosen.items()})
        for number, edge in enumerate(index.edges):
            _connect(part, edge, f"{name}.edge{number}")
        steps = tuple(_in_order(part))
        ensembles.append(Ensemble(name, steps, part.edges, tuple(_outputs(steps, part.edges, outputs))))
        glue += part.glue
    return Wiring(tuple(ensembles), tuple(glue))


def _connect(part: _Part, edge: JsonObject, name: str) -> None:
    """Adds an edge: a name that two steps share, or a step between them."""
    source, target = text_in(edge, "from"), text_in(edge, "to")
    if not changes(edge):
        part.edges.append((source, target))
        return
    giver, taker = _step(part, source), _step(part, target)
    given = _tensor(giver.model.outputs, source)
    taken = _tensor(taker.model.inputs, target)
    batch = min(giver.model.max_batch_size, taker.model.max_batch_size)
    found = glue_of(edge, name, given, taken, batch)
    between = f"{source}>{target}"  # no member has such a name
    part.steps[between] = Step(between, found.config)
    part.edges += [(source, f"{between}.{GIVEN}"), (f"{between}.{TAKEN}", target)]
    part.glue.append(found)


def _step(part: _Part, port: str) -> Step:
    return part.steps[port.partition(".")[0]]


def _tensor(tensors: Sequence[Tensor], port: str) -> Tensor:
    return next(one for one in tensors if one.name == port.partition(".")[2])


def _choices(index: Index, served: Sequence[Served]) -> dict[str, dict[str, str]]:
    """Ensemble → member → the model of the repository that is its step."""
    assert index.bundle is not None, "only a bundle has ensembles"
    if not any(one.target for one in served):
        return {index.bundle: {one.model.name: one.name for one in served}}
    by_cell = {(one.model.name, engine.cell): one.name for one in served for engine in one.engines}
    return {
        f"{index.bundle}-{target}": {member: by_cell[member, cell] for member, cell in chosen.items()}
        for target, chosen in index.targets.items()
    }


def _in_order(part: _Part) -> Iterator[Step]:
    """The steps, each after those that it consumes from."""
    owner = {f"{name}.{one.name}": name for name, step in part.steps.items() for one in _ports(step)}
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(part.steps, ()))
    for source, target in part.edges:
        sorter.add(owner[target], owner[source])
    return (part.steps[name] for name in sorter.static_order())


def _ports(step: Step) -> tuple[Tensor, ...]:
    return (*step.model.inputs, *step.model.outputs)


def _outputs(steps: Sequence[Step], edges: Sequence[tuple[str, str]], also: Sequence[str]) -> Iterator[str]:
    """What no edge takes, and what the bundle names."""
    taken = {source for source, _ in edges} - set(also)
    everything = (f"{step.member}.{one.name}" for step in steps for one in step.model.outputs)
    return (name for name in everything if name not in taken)
