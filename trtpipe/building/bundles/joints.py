"""Members of bundles with a reshape or a cast in front of them, as pipelines of their own: `BUNDLE.MEMBER`.

Their engines have other inputs than the pipeline's, so they have cells of their own. What is known of the producers'
outputs is read from their models once, and noted in the project's state until these change.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.digests import key_of
from trtpipe.loader.specs import Joint, LoadedPipeline
from trtpipe.plan.graph import json_ready
from trtpipe.workspace.workspace import Workspace

if TYPE_CHECKING:
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.loader.bundles import LoadedBundle
    from trtpipe.plan.ports import Observer
    from trtpipe.proofs.model import ModelView

Ends = tuple[Mapping[str, "TensorInfo"], Mapping[str, "TensorInfo"]]
"""Inputs and outputs of a model, by name."""


def with_joints(workspace: Workspace) -> Workspace:
    """The workspace, with the pipelines of such members. Raises TrtpipeError if a model cannot be read."""
    joined = [one for bundle in workspace.bundles for one in _joined(bundle, workspace)]
    return workspace.with_pipelines((*workspace.pipelines, *joined)) if joined else workspace


def _joined(bundle: LoadedBundle, workspace: Workspace) -> Iterator[LoadedPipeline]:
    if not bundle.joined:
        return
    from trtpipe.proofs.bundles.joints import graft_for, profiles_for

    ports = _outputs(bundle, workspace)
    for member in bundle.joined:
        pipeline = bundle.pipeline_of(member)
        targets = {bundle.target_of(member, target) for target in bundle.targets}
        own = {
            "pipeline": bundle.pipeline_name(member),
            "profiles": profiles_for(bundle, member, ports),
            "variants": {name: pipeline.spec.variants[name] for name in bundle.variants_of(member)},
            "targets": {name: one for name, one in pipeline.spec.targets.items() if name in targets},
        }
        spec = pipeline.spec.model_copy(update=own)
        joint = Joint(pipeline.spec.pipeline, graft_for(bundle, member, ports))
        yield replace(pipeline, spec=spec, joint=joint)


def _outputs(bundle: LoadedBundle, workspace: Workspace) -> dict[str, TensorInfo]:
    """The outputs that are changed on their way, as `member.output`."""
    sources = {source for member in bundle.joined for source, _ in bundle.changes_into(member)}
    found: dict[str, TensorInfo] = {}
    for producer in {source.partition(".")[0] for source in sources}:
        _, outputs = ends_of(bundle.pipeline_of(producer), workspace)
        found |= {f"{producer}.{name}": info for name, info in outputs.items()}
    return {name: info for name, info in found.items() if name in sources}


def ends_of(pipeline: LoadedPipeline, workspace: Workspace) -> Ends:
    """A pipeline's inputs and outputs, from a note if its model and transform are those of the last time."""
    model = pipeline.model_file
    transform = pipeline.spec.transform
    if model is None or not model.is_file() or pipeline.graft is not None:
        return _read(_found(pipeline, workspace))
    asked = json_ready(transform.model_dump(mode="json")) if transform is not None else {}
    about = f"inputs and outputs {key_of({'parser': pipeline.spec.model.parser, 'transform': asked})[:16]}"
    return _read(workspace.state.noted_texts(model, about, lambda: _found(pipeline, workspace)))


def _read(texts: list[str]) -> Ends:
    from trtpipe.canonical.summary import TensorInfo

    ends: tuple[dict[str, TensorInfo], dict[str, TensorInfo]] = ({}, {})
    for text in texts:
        which, name, dtype, dims = json.loads(text)
        ends[which][name] = TensorInfo(name, dtype, None if dims is None else tuple(dims))
    return ends


def _found(pipeline: LoadedPipeline, workspace: Workspace) -> list[str]:
    view = view_of(pipeline, workspace)
    told = [(0, info) for info in view.inputs] + [(1, info) for info in view.outputs]
    return [json.dumps([which, info.name, info.dtype, info.dims]) for which, info in told]


def view_of(
    pipeline: LoadedPipeline,
    workspace: Workspace,
    *,
    offline: bool = False,
    observer: Observer | None = None,
) -> ModelView:
    """A pipeline's model as the proofs see it, with its graft. Raises TrtpipeError."""
    from trtpipe.building.canonical_models import readable_model
    from trtpipe.files import temporary_folder
    from trtpipe.proofs.model import view_model
    from trtpipe.stages.transforms import grafted

    store, state = workspace.store, workspace.state
    with readable_model(pipeline, store, state, observer=observer, offline=offline) as proto:
        if pipeline.graft is None:
            return view_model(proto, pipeline.spec.transform)
        with temporary_folder("graft") as folder:
            whole, model = grafted(pipeline, proto, Path(folder))
            return view_model(model, whole.spec.transform)
