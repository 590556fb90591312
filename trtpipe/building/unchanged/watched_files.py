"""The files that a plan depends on: those of each pipeline, and those that all pipelines of a project share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trtpipe.building.unchanged.seen_files import Known
from trtpipe.homes import user_file
from trtpipe.stores.state import changed_at, signature_of

if TYPE_CHECKING:
    from trtpipe.building.planned import Planned
    from trtpipe.loader.specs import LoadedPipeline
    from trtpipe.plan.planner.facts import PipelineFacts
    from trtpipe.spec.pipeline import PipelineSpec

_PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime")
_CODE = (
    "plan/graph.py",
    "plan/planner/__init__.py",
    "provenance/manifest.py",
    "lockfile/entries.py",
    "frontends",
    "precisions",
    "datasets",
    "toolchains",
    "calibration/calibrators",
    "search",
    "checks",
    "proofs",
    "targets",
    "canonical",
)
"""The code of trtpipe itself that decides keys and manifests, for its developers."""


def shared_files(planned: Planned) -> Known | None:
    """What every plan reads, but for the lockfile; None if some of it was changed since the plan was begun."""
    return known_of(_shared(planned), planned.workspace.opened)


def files_of(planned: Planned, pipeline: LoadedPipeline) -> Known | None:
    """What the plan of a pipeline reads; None if some of it was changed since, or something else than files matters."""
    facts = planned.facts[pipeline.spec.pipeline]
    if not _only_files_matter(pipeline.spec, facts):
        return None
    return known_of(_own(planned, pipeline, facts), planned.workspace.opened)


def folders_of_specs(specs: Iterable[Path], root: Path, since: int) -> Known | None:
    """The folders in which a new spec could appear; None if one may have appeared since that time."""
    return known_of((home for one in specs for home in _homes(one, root) if home != root), since)


def delivered_files(planned: Planned, cells: Iterable[str]) -> Known:
    """The files of cells, with the signatures with which they were delivered; folders are relative to the root."""
    return dict(map(planned.workspace.state.delivered_files, cells))


def known_of(paths: Iterable[Path], since: int) -> Known | None:
    """The signatures of files; None if one was changed since that time."""
    known: Known = {}
    for path in paths:
        signature = signature_of(str(path))
        if signature is not None and changed_at(signature) >= since:
            return None
        known.setdefault(str(path.parent), {})[path.name] = signature
    return known


def _only_files_matter(spec: PipelineSpec, facts: PipelineFacts) -> bool:
    if any("this" in target.gpu for target in spec.targets.values()):
        return False
    if any(toolchain.python is not None for toolchain in spec.toolchains.values()):
        return False
    # the keys of flavour tensorrt contain this machine's GPU and driver, which are not files
    return all(target.toolchain["flavour"] != "tensorrt" for target in facts.targets.values())


def _shared(planned: Planned) -> Iterator[Path]:
    workspace = planned.workspace
    yield from workspace.project.datasets.values()
    yield workspace.root / "calibration"
    yield workspace.root / "trtpipe.yaml"
    if (own := user_file()) is not None:  # the user configuration says which signers are trusted
        yield own
    yield from installed(_PACKAGES)
    code = Path(__file__).resolve().parents[2]
    yield from (code / name for name in _CODE)


def _own(planned: Planned, pipeline: LoadedPipeline, facts: PipelineFacts) -> Iterator[Path]:
    root = planned.workspace.root
    yield pipeline.path
    for home in _homes(pipeline.path, root):  # a nearer project file could appear
        yield home / "trtpipe.yaml"
        if home != root:
            yield home / "trtpipe.lock"
    yield from pipeline.files.values()
    for sources in (facts.model.files(), facts.data_sources, facts.golden, facts.plugins):
        yield from (source.path for source in sources)
    for calibration in facts.calibrations.values():
        yield from (source.path for source in calibration.sources)
        yield from folders_of_samples(planned, calibration.record)
    yield from folders_of_samples(planned, facts.data or {})
    if facts.model.directory:
        yield from {source.path.parent for source in facts.model.files()}
    yield from installed(_packages(facts))


def folders_of_samples(planned: Planned, record: Mapping[str, Any]) -> Iterator[Path]:
    """The folders in which new samples of a data set could appear."""
    from trtpipe.datasets.locations.projects import ProjectFiles

    files = ProjectFiles(planned.workspace.project)
    spec = record.get("spec", {})
    for patterns in (*spec.get("images", {}).values(), spec.get("files", ()), spec.get("parquet", ())):
        for pattern in patterns:
            yield from files.folders(pattern)


def _homes(path: Path, root: Path) -> Iterator[Path]:
    """The folders from a spec up to the root."""
    for home in path.absolute().parents:
        yield home
        if home == root:
            return


def _packages(facts: PipelineFacts) -> Iterator[str]:
    yield from facts.model.tools
    yield from (facts.data or {}).get("packages", ())
    for one in facts.calibrations.values():
        yield from one.record.get("packages", ())
    for target in facts.targets.values():
        yield from target.found.libraries


def installed(names: Iterable[str]) -> Iterator[Path]:
    """The metadata folders of packages; their names contain the versions, so an upgrade changes them."""
    yield from (path for name in dict.fromkeys(names) if (path := _metadata_of(name)) is not None)


@cache  # because finding one takes as long as calling stat on a hundred files
def _metadata_of(name: str) -> Path | None:
    from importlib import metadata

    try:
        found: Any = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None
    return Path(str(found._path)) if hasattr(found, "_path") else Path(str(found.locate_file("")))
