"""The canonical model of a pipeline, for commands that need it before a plan runs: `check`, `inspect`, `export`.

An ONNX source is read directly. Any other format is imported once, exactly as a build would, and kept in the store, so
the build finds that step done. The same applies to files that must be downloaded first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.building.facts import FactFinder, model_files
from trtpipe.building.performer import Terms
from trtpipe.building.remote_files import fetch_facts
from trtpipe.building.silent import Unheard
from trtpipe.building.steps import open_steps
from trtpipe.errors import ModelError, SpecError, StepFailed, StoreError
from trtpipe.files import temporary_folder
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import Step, action_of, plan_of
from trtpipe.plan.planner import fetch_step, import_step, transform_options
from trtpipe.plan.planner.facts import MODEL_FILES, SOURCE_FOLDER, ModelFacts
from trtpipe.plan.ports import Observer
from trtpipe.plan.trace import Trace
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.workspace.site import HereOf, Site, site_of
from trtpipe.workspace.target_facts import TargetResolver

_UNNAMED = "main"

if TYPE_CHECKING:
    import onnx

    from trtpipe.frontends import ModelFiles


@contextmanager
def readable_model(
    pipeline: LoadedPipeline,
    store: LocalStore,
    state: ProjectState,
    *,
    observer: Observer | None = None,
    offline: bool = False,
) -> Iterator[onnx.ModelProto]:
    """The pipeline's model without its weights: a checked ONNX source with named nodes, else the imported model.

    Operators that importing decomposes without looking at types are decomposed in it.

    Its weights may be read while the context lasts. Raises SpecError, ModelError and what importing raises.
    """
    from trtpipe.canonical.checks import check_model
    from trtpipe.canonical.edits import sort_nodes
    from trtpipe.canonical.names import name_nodes
    from trtpipe.canonical.opsets import normalize_domains
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.frontends import frontend_called
    from trtpipe.legalization.rewrites import rewrite_as_imported

    with temporary_folder("model") as name:
        folder = Path(name)
        if pipeline.spec.model.parser != "onnx":
            path = canonical_model(pipeline, store, state, folder, observer=observer, offline=offline)
            yield read_skeleton(path).proto
            return
        files = model_files(pipeline)
        if pipeline.remotes:
            files = fetched_files(pipeline, store, state, folder, observer=observer, offline=offline)
        proto = frontend_called("onnx").read(files, pipeline.options, folder)
        normalize_domains(proto)  # importing does all this before it asks whether the model is valid
        proto.graph.name = proto.graph.name or _UNNAMED
        rewrite_as_imported(proto)
        sort_nodes(proto)
        name_nodes(proto)
        check_model(proto)
        yield proto


def fetched_files(
    pipeline: LoadedPipeline,
    store: LocalStore,
    state: ProjectState,
    folder: Path,
    *,
    observer: Observer | None = None,
    offline: bool = False,
) -> ModelFiles:
    """A remote model and the files beside it, put into `folder`; downloaded now unless the store has them."""
    from trtpipe.frontends import ModelFiles

    facts = _facts_of(pipeline, state)
    assert facts.fetch is not None, "the model is remote"
    step = fetch_step(pipeline.spec.pipeline, facts.fetch)
    site = site_of(pipeline.project, _usable(store, folder), state)
    trace = brought([step], site, observer=observer, offline=offline)
    for name, digest in trace.outputs.items():
        site.store.fetch(digest, folder / name)
    return ModelFiles(
        folder / SOURCE_FOLDER / f"model.{pipeline.spec.model.parser}", {}, folder / SOURCE_FOLDER
    )


def canonical_model(
    pipeline: LoadedPipeline,
    store: LocalStore,
    state: ProjectState,
    folder: Path,
    *,
    observer: Observer | None = None,
    offline: bool = False,
) -> Path:
    """The canonical model, put into `folder`; imported now unless the store has it. Raises TrtpipeError."""
    facts = _facts_of(pipeline, state)
    steps = [import_step(pipeline.spec, facts)]
    if facts.fetch is not None:
        steps.insert(0, fetch_step(pipeline.spec.pipeline, facts.fetch))
    site = site_of(pipeline.project, _usable(store, folder), state)
    outputs = brought(steps, site, observer=observer, offline=offline).outputs
    for name in MODEL_FILES:
        if name in outputs:
            site.store.fetch(outputs[name], folder / name)
    return folder / MODEL_FILES[0]


def transformed_model(
    pipeline: LoadedPipeline, store: LocalStore, state: ProjectState, folder: Path, *, offline: bool = False
) -> Path:
    """The canonical model after the pipeline's transform, put into `folder`. Raises TrtpipeError."""
    path = canonical_model(pipeline, store, state, folder, offline=offline)
    options = transform_options(pipeline.spec.transform)
    if not options.record():
        return path
    from trtpipe.stages.transforms import transform_model

    out = folder / "transformed.onnx"
    try:
        transform_model(path, out, options, pipeline.graft_files(), pipeline.project.root.resolve())
    except ModelError as error:
        raise SpecError([pipeline.locate(problem) for problem in error.problems]) from error
    return out


def origins_of(pipeline: LoadedPipeline, store: LocalStore) -> Mapping[str, Record]:
    """The recorded origin of a pipeline's downloaded files, by output name; empty before they are downloaded."""
    step = fetch_step(pipeline.spec.pipeline, fetch_facts(pipeline))
    trace = store.trace(action_of(step, {}).key)
    return trace.summary["files"] if trace is not None else {}


def _facts_of(pipeline: LoadedPipeline, state: ProjectState) -> ModelFacts:
    finder = FactFinder(state, TargetResolver())
    facts = finder.model_of(pipeline)
    if facts is None:
        raise SpecError(finder.problems)
    return facts


def _usable(store: LocalStore, folder: Path) -> LocalStore:
    """The store, or a temporary one in `folder` if it is read-only: reading a model must not need write access."""
    try:
        store.open()
    except StoreError:
        store = LocalStore(folder.absolute() / "store")  # absolute, because stages change directory
        store.open()
    return store


def brought(
    steps: Sequence[Step], site: Site, *, observer: Observer | None = None, offline: bool = False
) -> Trace:
    """The trace of the last of these steps, which may depend only on each other; those not yet done run now.

    Raises SpecError for what is wrong with the model, and what running a step raises.
    """
    plan = plan_of({step.address: step for step in steps}, ())
    here = HereOf(site.root, site.reach, plan.steps, {})
    last = steps[-1].address
    try:
        with open_steps(plan, site, here, observer or Unheard(), Terms(offline=offline)) as run:
            run.bring([last])
            return run.trace(last)
    except StepFailed as error:
        raise SpecError(error.problems) from error
