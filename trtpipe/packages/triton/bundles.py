"""A package's bundle as ensembles: one, or one for each target where targets share a compute capability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from trtpipe.errors import PackageError
from trtpipe.json_values import text_in
from trtpipe.packages.index import Index
from trtpipe.packages.triton.config import ModelConfig
from trtpipe.packages.triton.ensemble import Ensemble, Step
from trtpipe.packages.triton.models import Served
from trtpipe.problem_codes import Code

Edges = Sequence[tuple[str, str]]


def refuse_driver(bundle: str, pipelines: Sequence[str]) -> None:
    """Raises PackageError: an ensemble has no loops, and runs no code of a project."""
    raise PackageError(
        Code.NOT_SERVABLE,
        f"bundle {bundle!r} has a Python driver, and a Triton ensemble runs models and nothing else",
        f"package its pipelines alone: trtpipe package {' '.join(pipelines)} --to triton",
    )


def ensembles_of(
    index: Index, outputs: Sequence[str], served: Sequence[Served], configs: Mapping[str, ModelConfig]
) -> list[Ensemble]:
    """A bundle's ensembles; none for anything else. `outputs`: what it yields although an edge takes it, too."""
    if index.bundle is None:
        return []
    edges = [(text_in(edge, "from"), text_in(edge, "to")) for edge in index.edges]
    found = []
    for name, chosen in _choices(index, served).items():
        steps = tuple(Step(member, configs[chosen[member]]) for member in _in_order(index, edges))
        found.append(Ensemble(name, steps, edges, tuple(_outputs(steps, edges, outputs))))
    return found


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


def _in_order(index: Index, edges: Edges) -> Iterator[str]:
    """The members, each after those that it consumes from."""
    sorter: TopologicalSorter[str] = TopologicalSorter({model.name: () for model in index.models})
    for source, target in edges:
        sorter.add(target.partition(".")[0], source.partition(".")[0])
    return iter(sorter.static_order())


def _outputs(steps: Sequence[Step], edges: Sequence[tuple[str, str]], also: Sequence[str]) -> Iterator[str]:
    """What no edge takes, and what the bundle names."""
    taken = {source for source, _ in edges} - set(also)
    everything = (f"{step.member}.{one.name}" for step in steps for one in step.model.outputs)
    return (name for name in everything if name not in taken)
