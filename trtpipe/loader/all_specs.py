"""Loads all spec files that a command means: pipelines, bundles, and the pipelines that bundles need beside those.

A file is a bundle if it has the key `bundle`, else a pipeline. Nothing about bundles is imported for projects without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import Problem, SpecError
from trtpipe.loader.grammar import KnownNames
from trtpipe.loader.marks import Document
from trtpipe.loader.project import Project, find_root, load_project
from trtpipe.loader.specs import LoadedPipeline, complete_document, pipeline_in
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.loader.bundles import LoadedBundle

BUNDLE = "bundle"


@dataclass(slots=True)
class Loaded:
    """What the files hold, and everything that is wrong with the others, file by file."""

    pipelines: list[LoadedPipeline] = field(default_factory=list)
    bundles: list[LoadedBundle] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    named: tuple[str, ...] = ()
    """The pipelines whose files were named; the others were loaded because a bundle needs them."""


def load_all(paths: Sequence[Path], known: KnownNames) -> Loaded:
    """Every pipeline and bundle that can be loaded, and all problems."""
    reading = _Reading(known)
    for path in paths:
        reading.add(path)
    found = reading.found
    found.named = tuple(one.spec.pipeline for one in found.pipelines)
    found.problems += _shared_names(found.pipelines)
    if found.bundles:
        _join(found, reading)
    found.problems = list({(one.where, one.fact): one for one in found.problems}.values())
    return found


@dataclass(slots=True)
class _Reading:
    """Files that are being read."""

    known: KnownNames
    found: Loaded = field(default_factory=Loaded)
    projects: dict[Path, Project | None] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Load one file, and keep its problems."""
        try:
            project = self._project(find_root(path))
            if project is not None:
                self._load(complete_document(path), path, project)
        except SpecError as error:
            self.found.problems += error.problems

    def _project(self, root: Path) -> Project | None:
        """The project; None if it is broken, which was said before."""
        if root not in self.projects:
            self.projects[root] = None
            self.projects[root] = load_project(root)
        return self.projects[root]

    def _load(self, document: Document, path: Path, project: Project) -> None:
        if BUNDLE not in document.data:
            self.found.pipelines.append(pipeline_in(document, path, project, self.known))
            return
        if "pipeline" in document.data:
            remedy = "take one of them out: a pipeline and a bundle are files of their own"
            raise SpecError(
                document.problem(
                    Code.KEYS_EXCLUDE, "both 'pipeline' and 'bundle'", remedy, (BUNDLE,), key=True
                )
            )
        from trtpipe.loader.bundles import load_bundle

        self.found.bundles.append(load_bundle(document, path, project))


def _join(found: Loaded, reading: _Reading) -> None:
    """Give bundles their pipelines, of which those that were not named are loaded now."""
    from trtpipe.loader.bundles import member_problems

    _load_members(found, reading)
    by_name = {(one.project.root, one.spec.pipeline): one for one in found.pipelines}
    broken = {problem.where.file for problem in found.problems if problem.where is not None}
    for index, bundle in enumerate(found.bundles):
        root = bundle.project.root
        own = {name: one for (place, name), one in by_name.items() if place == root}
        used = {member.pipeline for member in bundle.spec.members.values()}
        joined = replace(bundle, pipelines={name: own[name] for name in used & own.keys()})
        found.bundles[index] = joined
        if used <= own.keys() or not broken:  # else what is wrong with the pipeline was said
            found.problems += member_problems(joined, own)
    found.bundles = [one for one in found.bundles if _is_whole(one)]
    found.problems += _names_of_bundles(found)


def _load_members(found: Loaded, reading: _Reading) -> None:
    from trtpipe.loader.bundles import files_of_pipelines

    read = {one.path.resolve() for one in found.pipelines}
    for bundle in list(found.bundles):
        have = {one.spec.pipeline for one in found.pipelines if one.project.root == bundle.project.root}
        lacking = {member.pipeline for member in bundle.spec.members.values()} - have
        for path in files_of_pipelines(sorted(lacking), bundle.path, bundle.project.root):
            if path.resolve() not in read:
                read.add(path.resolve())
                reading.add(path)


def _is_whole(bundle: LoadedBundle) -> bool:
    return all(member.pipeline in bundle.pipelines for member in bundle.spec.members.values())


def _names_of_bundles(found: Loaded) -> Iterator[Problem]:
    taken: dict[str, str] = {one.spec.pipeline: one.document.file for one in found.pipelines}
    for one in found.bundles:
        if one.name in taken:
            fact = f"the name {one.name!r} is also in {taken[one.name]}"
            yield one.document.problem(
                Code.NAME_TAKEN, fact, "give each pipeline and bundle a name of its own", (BUNDLE,)
            )
        taken.setdefault(one.name, one.document.file)
        for member in one.joined:
            name = one.pipeline_name(member)
            if name in taken:
                fact = f"member {member!r} is built as {name!r}, which is also in {taken[name]}"
                remedy = "give the member or the pipeline another name"
                yield one.document.problem(Code.NAME_TAKEN, fact, remedy, ("members", member), key=True)


def _shared_names(loaded: Iterable[LoadedPipeline]) -> Iterator[Problem]:
    first: dict[str, LoadedPipeline] = {}
    for one in loaded:
        other = first.setdefault(one.spec.pipeline, one)
        if other is not one:
            fact = f"pipeline {one.spec.pipeline!r} is also in {other.document.file}"
            yield one.document.problem(
                Code.NAME_TAKEN, fact, "give each pipeline a name of its own", ("pipeline",)
            )
