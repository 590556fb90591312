"""The canonical model of a pipeline, for whoever must see it before a plan runs: `check`, `inspect`, `export`.

An ONNX source is read as it stands. Any other is imported as a build would do it, once, and kept in the store: the
build then finds that step done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.digests import Digest
from trtpipe.errors import SpecError, StepFailed, StoreError
from trtpipe.executors.local import LocalExecutor
from trtpipe.loading.specs import LoadedPipeline
from trtpipe.plan.graph import Step, action_of
from trtpipe.plan.ports import Observer
from trtpipe.planning import MODEL_FILES, import_step
from trtpipe.stores.local import LocalStore
from trtpipe.stores.state import ProjectState
from trtpipe.system.facts import FactFinder, model_files
from trtpipe.system.performing import Performer
from trtpipe.system.targets import TargetResolver

if TYPE_CHECKING:
    import onnx


class _Silent:
    """Hears events for nobody."""

    def emit(self, event: Mapping[str, object]) -> None:
        """Nothing."""


@contextmanager
def readable_model(
    pipeline: LoadedPipeline,
    store: LocalStore,
    state: ProjectState,
    *,
    observer: Observer | None = None,
    offline: bool = False,
) -> Iterator[onnx.ModelProto]:
    """The pipeline's model as a skeleton: an ONNX source as it is, checked; of others, what they are imported as.

    Its weights may be read while the context lasts. Raises SpecError, ModelError and what importing raises.
    """
    from trtpipe.canonical.checking import check_model
    from trtpipe.canonical.reading import read_skeleton
    from trtpipe.frontends import frontend_called

    if pipeline.spec.model.parser == "onnx":
        files = model_files(pipeline)
        proto = frontend_called("onnx").read(files, pipeline.options, Path())
        check_model(proto)
        yield proto
        return
    with tempfile.TemporaryDirectory(prefix="trtpipe-model-") as folder:
        path = canonical_model(pipeline, store, state, Path(folder), observer=observer, offline=offline)
        yield read_skeleton(path).proto


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
    finder = FactFinder(state, TargetResolver())
    facts = finder.model_of(pipeline)
    if facts is None:
        raise SpecError(finder.problems)
    usable = _usable(store, folder)
    outputs = _perform(import_step(pipeline.spec, facts), usable, state, observer or _Silent(), offline)
    for name in MODEL_FILES:
        if name in outputs:
            usable.fetch(outputs[name], folder / name)
    return folder / MODEL_FILES[0]


def _usable(store: LocalStore, folder: Path) -> LocalStore:
    """The store, or one in `folder` where it cannot be written to: seeing a model must not need more."""
    try:
        store.open()
    except StoreError:
        store = LocalStore(folder / "store")
        store.open()
    return store


def _perform(
    step: Step, store: LocalStore, state: ProjectState, observer: Observer, offline: bool
) -> Mapping[str, Digest]:
    performer = Performer(store, observer, state.digest, offline)
    executor = LocalExecutor(store, performer, jobs=1, observer=observer)
    try:
        return executor.submit(action_of(step, {})).result().trace.outputs
    except StepFailed as error:
        raise SpecError(error.problems) from error
    except KeyboardInterrupt:
        executor.cancel(now=True)
        raise
    finally:
        executor.close()
