"""Checks that a data set's samples can be fed: they match the model's inputs and at least one profile.

Compares shapes with ranges; independent of files, preprocessing and values.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from trtpipe.canonical.summary import Dim, TensorInfo
from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.scalars import flow_yaml
from trtpipe.problem_codes import Code
from trtpipe.proofs.corners import corner_of
from trtpipe.proofs.dim_names import describe_dims
from trtpipe.proofs.paste import plain_entry
from trtpipe.shapes import Shape, format_shape
from trtpipe.spec.pipeline import Profile, ProfileInput

Batch = Mapping[str, Shape]
"""Input → the shape that is fed."""


@dataclass(frozen=True, slots=True)
class _Misfit:
    """One axis that is outside one profile's range."""

    input: str
    axis: int
    low: int
    high: int


@dataclass(slots=True)
class _Finding:
    """One problem, with every shape that has it and the names of the samples."""

    fact: str
    remedy: str
    shapes: dict[Shape, str]
    entry: ProfileInput | None = None
    input: str = ""

    def problem(self, path: SpecPath) -> Problem:
        more = len(self.shapes) - 1
        fact = self.fact + (f"; {more} more shape{'s' if more > 1 else ''} like that" if more > 0 else "")
        remedy = self.remedy
        if self.entry is not None:
            remedy = f"widen it: {_widened(self.input, self.entry, self.shapes)}"
        return Problem(Code.SAMPLES_MISFIT, fact, remedy, path=path)


def prove_samples(
    batches: Iterable[Batch],
    inputs: Sequence[TensorInfo],
    profiles: tuple[Profile, ...],
    *,
    data: str,
    path: SpecPath = ("validate", "data"),
    samples: Sequence[str] = (),
) -> list[Problem]:
    """All shapes in a data set's batches that the engine would reject, each fact once.

    `data` is the set's name, `path` its place in the spec, `samples` the names of the batches' samples, if they have
    names. Invalid profiles are not reported here.
    """
    found: dict[tuple[Hashable, ...], _Finding] = {}
    seen: set[tuple[tuple[str, Shape], ...]] = set()
    for batch, sample in zip_longest(batches, samples, fillvalue=""):
        assert not isinstance(batch, str), "there are no more samples than batches"
        known = tuple(sorted(batch.items()))
        if known in seen:
            continue
        seen.add(known)
        judged = (
            *_against_model(batch, inputs, data, sample),
            *_against_profiles(batch, inputs, profiles, data, sample),
        )
        for key, finding in judged:
            found.setdefault(key, finding).shapes.update(finding.shapes)
    return [finding.problem(path) for finding in found.values()]


_Keyed = tuple[tuple[Hashable, ...], _Finding]


def _of(sample: str) -> str:
    return f" ({sample})" if sample else ""


def _against_model(batch: Batch, inputs: Sequence[TensorInfo], data: str, sample: str) -> Iterator[_Keyed]:
    known = {info.name: info for info in inputs}
    for name in sorted(batch.keys() - known.keys()):
        fact = f"data set '{data}' feeds '{name}', which is not an input of the model"
        yield (name,), _Finding(fact, choose_from(name, known, "inputs"), {})
    for info in inputs:
        if info.name not in batch:
            fact = f"data set '{data}' feeds nothing to input '{info.name}'"
            yield (info.name,), _Finding(fact, "add it to the set's 'inputs'", {})
        elif info.dims is not None:
            yield from _against_dims(info, info.dims, batch[info.name], data, sample)


def _against_dims(
    info: TensorInfo, dims: Sequence[Dim], shape: Shape, data: str, sample: str
) -> Iterator[_Keyed]:
    declared = f"the model declares {describe_dims(info)}"
    feeds = f"data set '{data}' feeds '{info.name}' with"
    if len(shape) != len(dims):
        fact = f"{feeds} {format_shape(shape)}, which has rank {len(shape)}"
        yield (info.name, "rank"), _Finding(fact, f"{declared}, rank {len(dims)}", {shape: sample})
        return
    for axis, (size, dim) in enumerate(zip(shape, dims, strict=True)):
        if isinstance(dim, int) and dim != size:
            remedy = f"{declared}: write batch: {dim} in the set" if axis == 0 else declared
            fact = f"{feeds} {size} on axis {axis}{_of(sample)}, but it is {dim}"
            yield (info.name, axis, "static"), _Finding(fact, remedy, {shape: sample})


def _against_profiles(
    batch: Batch, inputs: Sequence[TensorInfo], profiles: tuple[Profile, ...], data: str, sample: str
) -> Iterator[_Keyed]:
    if not profiles:
        return
    judged = [(index, profile, list(_misfits(batch, profile))) for index, profile in enumerate(profiles)]
    index, profile, misfits = min(judged, key=lambda item: len(item[2]))
    dynamic = {(info.name, axis) for info in inputs for axis in info.dynamic_axes}
    where = f"profile {index}" if len(profiles) == 1 else f"the nearest, profile {index}"
    for misfit in (m for m in misfits if (m.input, m.axis) in dynamic):
        shape = batch[misfit.input]
        fact = (
            f"data set '{data}' feeds '{misfit.input}' with {format_shape(shape)}{_of(sample)}, which fits no "
            f"profile: axis {misfit.axis} is {_range(misfit)} in {where}"
        )
        entry = profile[misfit.input]
        yield (misfit.input, misfit.axis, index), _Finding(fact, "", {shape: sample}, entry, misfit.input)


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


def _widened(name: str, entry: ProfileInput, shapes: Iterable[Shape]) -> str:
    """The entry, ready to paste, with a range that includes the shapes."""
    assert entry.min is not None and entry.max is not None
    low, high = entry.min, entry.max
    for shape in shapes:
        low, high = tuple(map(min, low, shape)), tuple(map(max, high, shape))
    wider = entry.model_copy(update={"min": low, "max": high})
    return f"{flow_yaml(name)}: {flow_yaml(plain_entry(wider))}"
