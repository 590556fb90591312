"""Applies a pipeline's transform, with its graft if there is one, to a canonical model's file, or for proofs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import ModelError
from trtpipe.plan.options import TransformOptions
from trtpipe.spec.pipeline import TransformSpec

if TYPE_CHECKING:
    import onnx

    from trtpipe.legalization.legalize import Changes
    from trtpipe.legalization.transforms import Graft
    from trtpipe.loader.specs import LoadedPipeline


def transform_model(
    source: Path, out: Path, options: TransformOptions, files: Mapping[str, Path], root: Path | None
) -> Changes:
    """Transforms the canonical model in `source` into `out`; returns what changed.

    `options` are those of the transform step; `files` maps places in the graft to the files named there. Raises
    ModelError.
    """
    from trtpipe.legalization.transforms import Transform, transform_file

    with tempfile.TemporaryDirectory(prefix=".graft-", dir=out.parent) as workplace:
        _, changes = transform_file(
            source,
            out,
            Transform(
                options.simplify,
                options.bind,
                options.outputs,
                options.set_shapes,
                graft_of(options.graft, files, root, Path(workplace)),
            ),
        )
    return changes


def graft_of(written: object, files: Mapping[str, Path], root: Path | None, workplace: Path) -> Graft | None:
    """What puts declared layers into a model, as `transform.graft` has them; None if there are none."""
    if not written:
        return None
    from trtpipe.layers.grafts import graft, placed
    from trtpipe.layers.network import weight_files
    from trtpipe.loader.specs import (
        GRAFT,
    )  # here, because importing it takes long and most models have no graft
    from trtpipe.spec.network.network import GraftSpec

    spec = GraftSpec.model_validate(written)

    def apply(model: onnx.ModelProto) -> None:
        try:
            graft(model, spec, weight_files(files), root=root, workplace=workplace)
        except ModelError as error:
            raise ModelError(placed(error.problems, GRAFT)) from error

    return apply


def grafted(
    pipeline: LoadedPipeline, model: onnx.ModelProto, workplace: Path
) -> tuple[LoadedPipeline, onnx.ModelProto]:
    """The pipeline and its model with the graft inserted, as far as that is possible without evaluating anything.

    The returned pipeline's transform only binds inputs to constants. Raises ModelError, located in the spec.
    """
    from trtpipe.legalization.transforms import outline_transform

    transform = pipeline.spec.transform
    assert transform is not None
    root = pipeline.project.root.resolve()
    graft = graft_of(transform.graft, pipeline.graft_files(), root, workplace)
    assert graft is not None
    made = type(model)()
    made.CopyFrom(model)
    try:
        outline_transform(made, outputs=transform.outputs, set_shapes=transform.set_shapes, graft=graft)
    except ModelError as error:
        raise ModelError([pipeline.locate(problem) for problem in error.problems]) from error
    left = pipeline.spec.model_copy(update={"transform": TransformSpec(bind=transform.bind)})
    return replace(pipeline, spec=left), made
