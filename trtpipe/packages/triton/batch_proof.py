"""Proves that a model's outputs have the batch as their first dimension: by ONNX's shape inference at two batch sizes.

Reads a typed model's graph and no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.json_values import JsonObject, Malformed, integers_in, object_in
from trtpipe.packages.index import Tensor
from trtpipe.packages.triton.batches import Follows


def outputs_follow(
    model: Path | None, inputs: Sequence[Tensor], outputs: Sequence[Tensor], profiles: Sequence[JsonObject]
) -> Follows:
    """Output → whether its first dimension is the batch; None where inference does not tell."""
    unknown: Follows = {one.name: None for one in outputs}
    if model is None or not profiles or any(not one.shape or one.shape[0] != -1 for one in inputs):
        return unknown
    try:
        seen = [_first_dims(model, inputs, outputs, profiles[0], batch) for batch in (2, 3)]
    except (ModelError, Malformed):
        return unknown
    found: dict[str, bool | None] = {}
    for index, one in enumerate(outputs):
        two, three = (dims[index] for dims in seen)
        known = isinstance(two, int) and isinstance(three, int)
        found[one.name] = (two, three) == (2, 3) if known else None
    return found


def _first_dims(
    model: Path,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    profile: JsonObject,
    batch: int,
) -> list[object]:
    """Each output's first dimension when the inputs have this batch and are else at the profile's opt."""
    from trtpipe.canonical.inference import infer_at
    from trtpipe.canonical.reader import read_skeleton

    shapes = {one.name: (batch, *integers_in(object_in(profile, one.name), "opt")[1:]) for one in inputs}
    inferred = infer_at(read_skeleton(model).proto, shapes)
    dims = [inferred.shape(one.name) for one in outputs]
    return [found[0] if found else None for found in dims]
