"""A validation request, read from its task: models, data, corners; and the inputs for the corners. Runs nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets.locations import GivenFiles
from trtpipe.plan.task import Task
from trtpipe.proofs.corners import CORNERS, nbytes_of_info, shapes_at, values_at
from trtpipe.proofs.index_ranges import index_ranges
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.validation.corner_inputs import CornerInputs, corner_feed
from trtpipe.shapes import Shape, format_size
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.spec.pipeline import Profile, ProfileInput

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.json_values import JsonObject

MEMORY_LIMIT = 2 << 30
"""Bytes of inputs, outputs and the largest tensor between them above which a corner is not run."""

_FLOATS = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True)
class ValidationRequest:
    """Everything that a validation's measurements depend on."""

    typed: Path
    reference: Path
    golden: bool
    dataset: DatasetSpec | None
    random: tuple[int, int] | None
    """Seed and number of samples, when random inputs were asked for."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The data set's files, by their names in it."""
    samples: int | None = None
    profiles: tuple[Profile, ...] = ()
    corners: bool = True
    """Whether to run every profile at min, opt and max besides the data."""
    bound: JsonObject = field(default_factory=dict)
    reshaped: tuple[str, ...] = ()
    """Inputs whose shapes the transform has set."""
    wide: bool = False
    """Whether the reference should be in float64."""
    threads: int = 0
    memory_limit: int = MEMORY_LIMIT

    @property
    def resolve(self) -> GivenFiles:
        """A function that finds the data set's files by name."""
        return GivenFiles(self.files)


def request_of(task: Task) -> ValidationRequest:
    """The request that a task's options and inputs hold."""
    return request_with(task, task.input("reference"), golden=task.options.get("reference") == "golden")


def request_with(task: Task, reference: Path, *, golden: bool) -> ValidationRequest:
    """The request with another reference than a validation's; a recording if it is `golden`."""
    options = task.options
    data = options.get("data") or {}
    drawn = data.get("random") if "spec" not in data else None
    spec = data.get("spec")
    return ValidationRequest(
        typed=task.input("typed"),
        reference=reference,
        golden=golden,
        dataset=DatasetSpec.model_validate_json(json.dumps(spec)) if spec else None,
        random=(drawn["seed"], drawn["samples"]) if drawn else None,
        files=task.inputs.get("data", {}),
        samples=options.get("samples"),
        profiles=tuple(profile_of(profile) for profile in options.get("profiles") or ()),
        corners=bool(options.get("corners", True)),
        bound=(options.get("transform") or {}).get("bind", {}),
        reshaped=tuple((options.get("transform") or {}).get("set_shapes", {})),
        wide=options.get("reference") == "float64",
        threads=task.local.get("threads", 0),
    )


def profile_of(record: JsonObject) -> Profile:
    """A profile as the plan's record has it. Raises ValueError."""
    return {name: ProfileInput.model_validate_json(json.dumps(entry)) for name, entry in record.items()}


def dataset_of(
    request: ValidationRequest, inputs: Sequence[TensorInfo], model: RunnableModel
) -> DatasetSpec | None:
    """The data set to run; random inputs take the shapes of the first profile's opt, 1 where nothing is known.

    Random indices stay within their table, unless the data set defines the range itself.
    """
    spec = request.dataset
    if request.random is not None:
        seed, samples = request.random
        profile = request.profiles[0] if request.profiles else {}
        known = shapes_at(inputs, profile, "opt")
        shapes = {info.name: list(known.get(info.name) or _ones(info)) for info in inputs}
        record = {"schema": 1, "random": {"shapes": shapes}, "samples": samples, "seed": seed}
        spec = DatasetSpec.model_validate_json(json.dumps(record))
    if spec is None or spec.random is None or spec.random.model_fields_set & {"low", "high", "ranges"}:
        return spec
    ranges = index_ranges(model.proto)
    return spec.model_copy(update={"random": spec.random.model_copy(update={"ranges": ranges})})


def _ones(info: TensorInfo) -> Shape:
    return tuple(dim if isinstance(dim, int) else 1 for dim in info.dims or ())


def corners_of(request: ValidationRequest, inputs: Sequence[TensorInfo]) -> list[CornerInputs]:
    """Every corner of every profile, if corners are requested."""
    return all_corners(request.profiles, inputs) if request.corners else []


def all_corners(profiles: Sequence[Profile], inputs: Sequence[TensorInfo]) -> list[CornerInputs]:
    """Every corner of every profile; equal corners of one profile are run once."""
    found: list[CornerInputs] = []
    for index, profile in enumerate(profiles):
        same: dict[str, tuple[list[str], CornerInputs]] = {}
        for corner in CORNERS:
            made = CornerInputs("", shapes_at(inputs, profile, corner), values_at(profile, corner))
            same.setdefault(repr((made.shapes, made.values)), ([], made))[0].append(corner)
        found += [
            CornerInputs(f"profile {index} at {', '.join(names)}", made.shapes, made.values, index)
            for names, made in same.values()
        ]
    return found


def too_much(
    model: RunnableModel, inputs: Sequence[TensorInfo], corner: CornerInputs, limit: int = MEMORY_LIMIT
) -> str:
    """Why a corner takes too much memory to run, or an empty text."""
    inferred = infer_at(model.proto, corner.shapes, corner.values)
    ends = [*(info.name for info in inputs), *model.outputs()]
    sizes = {name: nbytes_of_info(info) or 0 for name, info in inferred.values.items()}
    needed = sum(sizes.get(name, 0) for name in ends) + max(sizes.values(), default=0)
    if needed <= limit:
        return ""
    return (
        f"its inputs, outputs and largest tensor take {format_size(needed)}, more than {format_size(limit)}"
    )


def as_in_source(source: TensorInfo | None, info: TensorInfo) -> TensorInfo:
    """The input with the source's float type, because the data are made for that."""
    both = source is not None and source.dtype in _FLOATS and info.dtype in _FLOATS
    return replace(info, dtype=source.dtype) if source is not None and both else info


def value_inputs(inputs: Sequence[TensorInfo], values: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Shape tensors with a profile's values."""
    shaped = {info.name: info for info in inputs if info.name in values}
    dtypes = {name: np.dtype(info.dtype) for name, info in shaped.items()}
    made = corner_feed({}, CornerInputs("", {}, values), dtypes)
    return {name: array.reshape(()) if shaped[name].dims == () else array for name, array in made.items()}


def feed_at(
    corner: CornerInputs, inputs: Sequence[TensorInfo], samples: Mapping[str, Array]
) -> dict[str, Array]:
    """Inputs at a corner, made from samples."""
    known = {name: array for name, array in samples.items() if name not in corner.values}
    made = corner_feed(known, CornerInputs("", corner.shapes, {}), {})
    return {**made, **value_inputs(inputs, corner.values)}


def rows_at(corners: Sequence[CornerInputs]) -> int:
    """How many samples the largest of some corners needs."""
    return max((shape[0] for corner in corners for shape in corner.shapes.values() if shape), default=1)


def takes_one_sample(profiles: Sequence[Profile], inputs: Sequence[TensorInfo]) -> bool:
    """Whether the model, and at least one profile if there are any, accepts a batch of one."""
    if any(info.dims and isinstance(info.dims[0], int) and info.dims[0] != 1 for info in inputs):
        return False
    least = [[entry.min for entry in profile.values() if entry.min] for profile in profiles]
    return not least or any(all(shape[0] <= 1 for shape in shapes) for shapes in least)
