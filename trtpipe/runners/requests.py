"""What one validation is asked to do, read from its task: models, data, corners. Knows nothing of running them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets.locating import GivenFiles
from trtpipe.proofs.corners import CORNERS, shapes_at, values_at
from trtpipe.runners.corner_inputs import CornerInputs
from trtpipe.shapes import Shape
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.spec.pipeline import Profile, ProfileInput
from trtpipe.stages.task import Task

MEMORY_LIMIT = 2 << 30
"""Bytes of inputs, outputs and the largest tensor between them above which a corner is not run."""


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
    bound: Mapping[str, Any] = field(default_factory=dict)
    reshaped: tuple[str, ...] = ()
    """Inputs whose shapes the transform has set."""
    threads: int = 0
    memory_limit: int = MEMORY_LIMIT

    @property
    def resolve(self) -> GivenFiles:
        """What finds the data set's files by name."""
        return GivenFiles(self.files)


def request_of(task: Task) -> ValidationRequest:
    """The request that a task's options and inputs hold."""
    options = task.options
    data = options.get("data") or {}
    drawn = data.get("random") if "spec" not in data else None
    spec = data.get("spec")
    return ValidationRequest(
        typed=task.input("typed"),
        reference=task.input("reference"),
        golden=options.get("reference") == "golden",
        dataset=DatasetSpec.model_validate_json(json.dumps(spec)) if spec else None,
        random=(drawn["seed"], drawn["samples"]) if drawn else None,
        files=task.inputs.get("data", {}),
        samples=options.get("samples"),
        profiles=tuple(_profile(profile) for profile in options.get("profiles") or ()),
        corners=bool(options.get("corners", True)),
        bound=(options.get("transform") or {}).get("bind", {}),
        reshaped=tuple((options.get("transform") or {}).get("set_shapes", {})),
        threads=task.local.get("threads", 0),
    )


def _profile(record: Mapping[str, Any]) -> Profile:
    return {name: ProfileInput.model_validate_json(json.dumps(entry)) for name, entry in record.items()}


def dataset_of(request: ValidationRequest, inputs: Sequence[TensorInfo]) -> DatasetSpec | None:
    """The data set to run; random inputs take the shapes of the first profile's opt, 1 where nothing is known."""
    if request.random is None:
        return request.dataset
    seed, samples = request.random
    profile = request.profiles[0] if request.profiles else {}
    known = shapes_at(inputs, profile, "opt")
    shapes = {info.name: list(known.get(info.name) or _ones(info)) for info in inputs}
    record = {"schema": 1, "random": {"shapes": shapes}, "samples": samples, "seed": seed}
    return DatasetSpec.model_validate_json(json.dumps(record))


def _ones(info: TensorInfo) -> Shape:
    return tuple(dim if isinstance(dim, int) else 1 for dim in info.dims or ())


def corners_of(request: ValidationRequest, inputs: Sequence[TensorInfo]) -> list[CornerInputs]:
    """Every corner of every profile; corners of one profile that are equal are run once."""
    found: list[CornerInputs] = []
    for index, profile in enumerate(request.profiles if request.corners else ()):
        same: dict[str, tuple[list[str], CornerInputs]] = {}
        for corner in CORNERS:
            made = CornerInputs("", shapes_at(inputs, profile, corner), values_at(profile, corner))
            same.setdefault(repr((made.shapes, made.values)), ([], made))[0].append(corner)
        found += [
            CornerInputs(f"profile {index} at {', '.join(names)}", made.shapes, made.values)
            for names, made in same.values()
        ]
    return found


def takes_one_sample(request: ValidationRequest, inputs: Sequence[TensorInfo]) -> bool:
    """Whether the model, and some profile if there are any, takes a batch of one."""
    if any(info.dims and isinstance(info.dims[0], int) and info.dims[0] != 1 for info in inputs):
        return False
    least = [[entry.min for entry in profile.values() if entry.min] for profile in request.profiles]
    return not least or any(all(shape[0] <= 1 for shape in shapes) for shapes in least)
