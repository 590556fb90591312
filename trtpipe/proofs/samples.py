"""Proves that the samples of a data set can be fed: they fit the model's inputs, and at least one profile.

Holds shapes against ranges; knows nothing of files, preprocessing or values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtpipe.canonical.summary import TensorInfo
from trtpipe.errors import Problem, SpecPath
from trtpipe.loading.grammar import choose_from
from trtpipe.loading.scalars import flow_yaml
from trtpipe.proofs.corners import corner_of
from trtpipe.proofs.dim_names import describe_dims
from trtpipe.proofs.pasting import plain_entry
from trtpipe.shapes import Shape, format_shape
from trtpipe.spec.pipeline import Profile, ProfileInput

Batch = Mapping[str, Shape]
"""Input → the shape that is fed."""


@dataclass(frozen=True, slots=True)
class _Misfit:
    """One axis that lies outside one profile's range."""

    input: str
    axis: int
    low: int
    high: int


def prove_samples(
    batches: Iterable[Batch],
    inputs: Sequence[TensorInfo],
    profiles: tuple[Profile, ...],
    *,
    data: str,
    path: SpecPath = ("validate", "data"),
) -> list[Problem]:
    """Everything in the shapes of a data set's batches that the engine would not take; each fact once.

    `data` is the set's name, `path` where the spec names it. Profiles that are wrong in themselves are not judged here.
    """
    problems: dict[str, Problem] = {}
    for batch in dict.fromkeys(tuple(sorted(batch.items())) for batch in batches):
        found = [
            *_against_model(dict(batch), inputs, data),
            *_against_profiles(dict(batch), inputs, profiles, data),
        ]
        problems |= {fact: Problem(fact, remedy, path=path) for fact, remedy in found}
    return list(problems.values())


def _against_model(batch: Batch, inputs: Sequence[TensorInfo], data: str) -> Iterator[tuple[str, str]]:
    known = {info.name: info for info in inputs}
    for name in sorted(batch.keys() - known.keys()):
        fact = f"data set '{data}' feeds '{name}', which is no input of the model"
        yield fact, choose_from(name, known, "inputs")
    for info in inputs:
        if info.name not in batch:
            yield f"data set '{data}' feeds nothing to input '{info.name}'", "add it to the set's 'inputs'"
        elif info.dims is not None:
            yield from _against_dims(info, batch[info.name], data)


def _against_dims(info: TensorInfo, shape: Shape, data: str) -> Iterator[tuple[str, str]]:
    assert info.dims is not None
    declared = f"the model declares {describe_dims(info)}"
    if len(shape) != len(info.dims):
        fact = (
            f"data set '{data}' feeds '{info.name}' with {format_shape(shape)}, which has rank {len(shape)}"
        )
        yield fact, f"{declared}, rank {len(info.dims)}"
        return
    for axis, (size, dim) in enumerate(zip(shape, info.dims, strict=True)):
        if isinstance(dim, int) and dim != size:
            remedy = f"{declared}; set the set's 'batch'" if axis == 0 else declared
            yield f"data set '{data}' feeds '{info.name}' with {size} on axis {axis}, but it is {dim}", remedy


def _against_profiles(
    batch: Batch, inputs: Sequence[TensorInfo], profiles: tuple[Profile, ...], data: str
) -> Iterator[tuple[str, str]]:
    if not profiles:
        return
    judged = [(index, profile, list(_misfits(batch, profile))) for index, profile in enumerate(profiles)]
    index, profile, misfits = min(judged, key=lambda item: len(item[2]))
    dynamic = {(info.name, axis) for info in inputs for axis in info.dynamic_axes}
    where = f"profile {index}" if len(profiles) == 1 else f"the nearest, profile {index}"
    for misfit in (m for m in misfits if (m.input, m.axis) in dynamic):
        shape = batch[misfit.input]
        yield (
            f"data set '{data}' feeds '{misfit.input}' with {format_shape(shape)}, which fits no profile: "
            f"axis {misfit.axis} is {_range(misfit)} in {where}",
            f"widen it: {_widened(misfit.input, profile[misfit.input], shape)}",
        )


def _range(misfit: _Misfit) -> str:
    return str(misfit.low) if misfit.low == misfit.high else f"{misfit.low} to {misfit.high}"


def _misfits(batch: Batch, profile: Profile) -> Iterator[_Misfit]:
    for name, entry in profile.items():
        low, high, shape = corner_of(entry, "min"), corner_of(entry, "max"), batch.get(name)
        if low is None or high is None or shape is None or not len(low) == len(high) == len(shape):
            continue
        for axis, (least, most, size) in enumerate(zip(low, high, shape, strict=True)):
            if not least <= size <= most:
                yield _Misfit(name, axis, least, most)


def _widened(name: str, entry: ProfileInput, shape: Shape) -> str:
    """The entry, ready to paste, with a range that takes the shape too."""
    assert entry.min is not None and entry.max is not None
    low = tuple(map(min, entry.min, shape))
    high = tuple(map(max, entry.max, shape))
    wider = entry.model_copy(update={"min": low, "max": high})
    return f"{flow_yaml(name)}: {flow_yaml(plain_entry(wider))}"
