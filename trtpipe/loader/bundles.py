"""Loads bundle files, and checks what they say of pipelines, targets, edges and files.

Does every check that needs no model; whether tensors fit each other is checked in `proofs/`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.labels import label_files, named_labels
from trtpipe.loader.marks import Document
from trtpipe.loader.named_sets import unknown_set
from trtpipe.loader.project import PIPELINES, Project, beginning, holding, specs_in
from trtpipe.loader.refusals import in_file_order, stop_at, validated
from trtpipe.loader.scalars import shortened
from trtpipe.loader.specs import LoadedPipeline, unresolved
from trtpipe.problem_codes import Code
from trtpipe.spec.bundle import BundleSpec, EdgeSpec, MemberSpec, port
from trtpipe.spec.dataset import DatasetSpec


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle, where it was written, the files that it names, and the pipelines of its members."""

    path: Path
    spec: BundleSpec
    project: Project
    document: Document
    files: Mapping[SpecPath, Path]
    """Path in the spec → the existing file that it names, e.g. ("validate", "golden")."""
    pipelines: Mapping[str, LoadedPipeline] = field(default_factory=dict)
    """The pipelines of its members, by name."""

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.spec.bundle

    @property
    def targets(self) -> tuple[str, ...]:
        """What the bundle is made for: its own list, or every target name that all members' pipelines have."""
        if self.spec.targets:
            return self.spec.targets
        free = [self.pipeline_of(name) for name, one in self.spec.members.items() if one.target is None]
        if not free:
            return tuple(dict.fromkeys(one.target for one in self.spec.members.values() if one.target))
        first, *others = free
        return tuple(
            name for name in first.spec.targets if all(name in other.spec.targets for other in others)
        )

    def pipeline_of(self, member: str) -> LoadedPipeline:
        """A member's pipeline."""
        return self.pipelines[self.spec.members[member].pipeline]

    @property
    def joined(self) -> tuple[str, ...]:
        """The members that are built with a reshape or cast in front of them."""
        found = {port(edge.to)[0] for _, edge in self.spec.all_edges() if edge.changes}
        return tuple(name for name in self.spec.members if name in found)

    def changes_into(self, member: str) -> list[tuple[str, EdgeSpec]]:
        """The edges into a member that change what they carry, with their outputs."""
        every = self.spec.all_edges()
        return [(source, edge) for source, edge in every if edge.changes and port(edge.to)[0] == member]

    def pipeline_name(self, member: str) -> str:
        """The first part of the names of a member's cells: its pipeline, or `BUNDLE.MEMBER` if it is joined."""
        return f"{self.name}.{member}" if member in self.joined else self.spec.members[member].pipeline

    def variants_of(self, member: str) -> tuple[str, ...]:
        """The variants that a member may have, the preferred first."""
        return self.spec.members[member].variants or tuple(self.pipeline_of(member).spec.variants)

    def target_of(self, member: str, target: str) -> str:
        """The name of the member's own target that serves a target of the bundle."""
        return self.spec.members[member].target or target

    def cells_of(self, member: str, target: str) -> tuple[str, ...]:
        """The cells that may be the member's for a target, the preferred first."""
        pipeline, own = self.pipeline_name(member), self.target_of(member, target)
        return tuple(f"{pipeline}/{variant}@{own}" for variant in self.variants_of(member))

    @property
    def cells(self) -> tuple[str, ...]:
        """Every cell that may be a member's, each once."""
        found = (
            cell
            for target in self.targets
            for one in self.spec.members
            for cell in self.cells_of(one, target)
        )
        return tuple(dict.fromkeys(found))

    def label_files(self) -> dict[str, Path]:
        """Globs of outputs → the file with the names of their classes; the last match counts."""
        return label_files(self.files)

    def locate(self, problem: Problem) -> Problem:
        """The problem with its place in the bundle's file."""
        return problem if problem.where else problem.at(self.document.locate(problem.path))


def load_bundle(document: Document, path: Path, project: Project) -> LoadedBundle:
    """The bundle in a document that was read, without its pipelines. Raises SpecError with all its problems."""
    spec, refused = validated(BundleSpec, document, document.data)
    files: dict[SpecPath, Path] = {}
    problems = [*document.problems, *refused]
    wrong = [*unresolved(_files(document.data), project, files), *_unknown_data(document.data, project)]
    if spec is not None:
        wrong += [*_wrong_edges(spec), *_wrong_names(spec)]
    problems += [problem.at(document.locate(problem.path)) for problem in wrong]
    stop_at(in_file_order(problems))
    assert spec is not None, "a spec without problems is valid"
    return LoadedBundle(path, spec, project, document, files)


def files_of_pipelines(names: Collection[str], bundle: Path, root: Path) -> list[Path]:
    """The files beside a bundle, or in the project's `pipelines/`, that begin pipelines of these names."""
    near = dict.fromkeys([*specs_in(bundle.parent), *specs_in(root / PIPELINES)])
    return holding((path for path in near if path != bundle), beginning("pipeline", names)) if names else []


def member_problems(bundle: LoadedBundle, valid: Iterable[str]) -> list[Problem]:
    """What is wrong with the members and targets, when the pipelines are known; `valid` are all pipelines' names."""
    found: list[Problem] = []
    for name, member in bundle.spec.members.items():
        place: SpecPath = ("members", name)
        pipeline = bundle.pipelines.get(member.pipeline)
        if member.pipeline == bundle.name:
            fact = f"member {name!r} is the bundle itself, not a pipeline"
            found.append(Problem(Code.UNKNOWN_NAME, fact, path=place))
        elif pipeline is None:
            fact = f"member {name!r}: no pipeline {shortened(member.pipeline)!r}"
            remedy = choose_from(member.pipeline, sorted(valid), "pipelines")
            found.append(Problem(Code.UNKNOWN_NAME, fact, remedy, path=place))
        else:
            found += _unknown_parts(name, member, pipeline)
    if not found:
        found += _wrong_targets(bundle)
    return [bundle.locate(problem) for problem in found]


def _unknown_parts(name: str, member: MemberSpec, pipeline: LoadedPipeline) -> Iterator[Problem]:
    place: SpecPath = ("members", name)
    for variant in member.variants:
        if variant not in pipeline.spec.variants:
            fact = f"member {name!r}: pipeline {member.pipeline!r} has no variant {shortened(variant)!r}"
            remedy = choose_from(variant, pipeline.spec.variants, "variants")
            yield Problem(Code.UNKNOWN_NAME, fact, remedy, path=place)
    if member.target is not None and member.target not in pipeline.spec.targets:
        fact = f"member {name!r}: pipeline {member.pipeline!r} has no target {shortened(member.target)!r}"
        remedy = choose_from(member.target, pipeline.spec.targets, "targets")
        yield Problem(Code.UNKNOWN_NAME, fact, remedy, path=place)


def _wrong_targets(bundle: LoadedBundle) -> Iterator[Problem]:
    free = [name for name, member in bundle.spec.members.items() if member.target is None]
    for index, target in enumerate(bundle.spec.targets):
        for member in free:
            own = bundle.pipeline_of(member).spec
            if target not in own.targets:
                fact = f"target {target!r}: member {member!r} has no such target in pipeline {own.pipeline!r}"
                remedy = choose_from(target, own.targets, "targets")
                yield Problem(Code.UNKNOWN_NAME, fact, remedy, path=("targets", index))
    if not bundle.targets:
        listed = "; ".join(f"{name}: {', '.join(bundle.pipeline_of(name).spec.targets)}" for name in free)
        fact = f"the members have no target in common ({listed})"
        remedy = "give their pipelines a target of the same name, or write member: PIPELINE/VARIANT@TARGET"
        yield Problem(Code.UNKNOWN_NAME, fact, remedy, path=("members",))


def _wrong_names(spec: BundleSpec) -> Iterator[Problem]:
    for key, named in (("targets", spec.targets), ("outputs", spec.outputs)):
        for name in sorted({name for name in named if named.count(name) > 1}):
            fact = f"{key[:-1]} {shortened(name)!r} is listed twice"
            yield Problem(Code.LISTED_TWICE, fact, "list it once", path=(key,))
    for index, text in enumerate(spec.outputs):
        yield from _unknown_member(text, spec, ("outputs", index))


def _wrong_edges(spec: BundleSpec) -> Iterator[Problem]:
    """Edges from or to unknown members, two into one input, and edges in a circle where no driver walks it."""
    fed: dict[str, str] = {}
    broken = False
    for source, path, target in edge_places(spec):
        wrong = [*_unknown_member(source, spec, path), *_unknown_member(target, spec, path)]
        if not wrong and target in fed:
            both = f"from {shortened(fed[target])!r} and {shortened(source)!r}"
            fact = f"two edges lead into {shortened(target)!r}: {both}"
            wrong.append(Problem(Code.LISTED_TWICE, fact, "keep one of them", path=path))
        fed.setdefault(target, source)
        broken = broken or bool(wrong)
        yield from wrong
    circle = None if broken or spec.python else _circle(spec)
    if circle:
        names = " → ".join([*circle, circle[0]])
        path = next(path for source, path, to in edge_places(spec) if _joins(source, to, circle))
        fact = f"the edges lead in a circle: {names}"
        remedy = "remove one of them, or write a driver for the loop: python: module:function"
        yield Problem(Code.STEPS_CYCLE, fact, remedy, path=path)


def _joins(source: str, to: str, circle: Sequence[str]) -> bool:
    return (port(source)[0], port(to)[0]) == (circle[0], circle[1 % len(circle)])


def edge_places(spec: BundleSpec) -> Iterator[tuple[str, SpecPath, str]]:
    """Every edge: its output, its place in the spec, its input."""
    for source, edges in spec.edges.items():
        for index, edge in enumerate(edges):
            yield source, ("edges", source, *([index] if len(edges) > 1 else [])), edge.to


def _unknown_member(text: str, spec: BundleSpec, path: SpecPath) -> Iterator[Problem]:
    member = port(text)[0]
    if member not in spec.members:
        fact = f"no member {shortened(member)!r} in {shortened(text)!r}"
        yield Problem(Code.UNKNOWN_NAME, fact, choose_from(member, spec.members, "members"), path=path)


def _circle(spec: BundleSpec) -> list[str] | None:
    """Members that need each other's outputs, in the edges' direction; None if there are none."""
    after = _followers(spec)
    left = set(spec.members)
    while True:
        ends = {name for name in left if not after[name] & left}
        if not ends:
            break
        left -= ends
    if not left:
        return None
    walk = [min(left)]
    while True:
        following = min(after[walk[-1]] & left)
        if following in walk:
            return walk[walk.index(following) :]
        walk.append(following)


def _followers(spec: BundleSpec) -> dict[str, set[str]]:
    """Member → the members that consume an output of it."""
    found: dict[str, set[str]] = {name: set() for name in spec.members}
    for source, edge in spec.all_edges():
        found[port(source)[0]].add(port(edge.to)[0])
    return found


def in_order(spec: BundleSpec) -> list[str]:
    """The members so that each comes after those whose outputs it consumes; in the file's order otherwise."""
    after, found = _followers(spec), list[str]()
    left = list(spec.members)
    while left:
        free = [name for name in left if not any(name in after[other] for other in left)]
        assert free, "edges in a circle are refused when the bundle is loaded"
        found.append(free[0])
        left.remove(free[0])
    return found


def _files(data: Mapping[str, object]) -> Iterator[tuple[SpecPath, str]]:
    validate, package, python = data.get("validate"), data.get("package"), data.get("python")
    golden = validate.get("golden") if isinstance(validate, dict) else None
    if isinstance(golden, str):
        yield ("validate", "golden"), golden
    if isinstance(python, str) and ":" in python:
        yield ("python",), python.partition(":")[0].replace(".", "/") + ".py"
    yield from named_labels(data, ())
    yield from named_labels(package, ("package",))


def _unknown_data(data: Mapping[str, object], project: Project) -> tuple[Problem, ...]:
    validate = data.get("validate")
    name = validate.get("data") if isinstance(validate, dict) else None
    return unknown_set(name, ("validate", "data"), project) if isinstance(name, str) else ()


def driver_spec(spec: BundleSpec) -> DatasetSpec:
    """A driver as the data set with the same function and files: both are found, digested and allowed alike."""
    return DatasetSpec(schema=1, python=spec.python, files=spec.files)
