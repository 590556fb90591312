"""Checks shape tensors' values in profiles: present where required, of the right length, min ≤ opt ≤ max."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.scalars import flow_yaml
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import CORNERS
from trtpipe.proofs.value_inputs import ShapeUse
from trtpipe.spec.pipeline import ProfileInput, ShapeValues


def values_length(info: TensorInfo) -> int | None:
    """How many values a shape tensor holds: 1 for a scalar; None when its own length is dynamic."""
    assert info.dims is not None and len(info.dims) <= 1
    size = info.dims[0] if info.dims else 1
    return size if isinstance(size, int) else None


def prove_values(
    info: TensorInfo, entry: ProfileInput, uses: Mapping[str, ShapeUse], path: SpecPath
) -> Iterator[Problem]:
    """The problems of one input's values; `uses` tells which inputs are shape tensors and why."""
    use = uses.get(info.name)
    if use is None:
        if entry.values is not None:
            known = ", ".join(f"'{name}'" for name in uses) or "none"
            yield Problem(
                Code.SHAPE_TENSOR_VALUES,
                f"'{info.name}' is not a shape tensor: no shape depends on its values",
                f"take 'values' out; this model's shape tensors: {known}", path=(*path, "values"),
            )  # fmt: skip
        return
    length = values_length(info)
    if length is None:
        yield Problem(
            Code.SHAPE_TENSOR_VALUES,
            f"the values of '{info.name}' set a shape at {use}, but how many there are is not fixed",
            f"fix it, e.g. transform: {{set_shapes: {{{flow_yaml(info.name)}: [4]}}}}", path=path,
        )  # fmt: skip
    elif entry.values is None:
        yield Problem(
            Code.SHAPE_TENSOR_VALUES,
            f"the values of '{info.name}' set a shape at {use}, but the profile gives none",
            f"give {length} for each of values: {{min: […], opt: […], max: […]}}", path=path,
        )  # fmt: skip
    else:
        yield from _corners(info.name, length, entry.values, (*path, "values"))


def _corners(name: str, length: int, values: ShapeValues, path: SpecPath) -> Iterator[Problem]:
    named = [(corner, tuple(getattr(values, corner))) for corner in CORNERS]
    for corner, numbers in named:
        if len(numbers) != length:
            yield Problem(
                Code.SHAPE_TENSOR_VALUES,
                f"'{name}' holds {length} values, but values.{corner} has {len(numbers)}",
                f"give {length} in each of min, opt and max",
                path=(*path, corner),
            )
    for (low, smaller), (high, larger) in pairwise(named):
        for index, (a, b) in enumerate(zip(smaller, larger, strict=False)):
            if a > b:
                yield Problem(
                    Code.PROFILE_ORDER,
                    f"value {index} of '{name}' is {a} in {low}, more than {b} in {high}",
                    "every value needs min ≤ opt ≤ max", path=(*path, high),
                )  # fmt: skip
