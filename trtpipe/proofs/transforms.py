"""Checks a spec's transform against a model's declared inputs, and computes the inputs after it.

Pure functions: the graph itself is changed elsewhere, and only if this check finds no problem.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from trtpipe.canonical.summary import Dim, TensorInfo
from trtpipe.errors import Problem
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.proofs.dim_names import describe_dims
from trtpipe.spec.pipeline import TransformSpec


def inputs_after(inputs: Sequence[TensorInfo], transform: TransformSpec | None) -> tuple[TensorInfo, ...]:
    """The inputs that remain after `bind`, with the dims from `set_shapes`.

    A dimension set to -1 keeps its name, or gets a canonical one.
    """
    if transform is None:
        return tuple(inputs)
    return tuple(
        replace(info, dims=tuple(_dims_after(info, transform.set_shapes[info.name])))
        if info.name in transform.set_shapes
        else info
        for info in inputs
        if info.name not in transform.bind
    )


def _dims_after(info: TensorInfo, shape: Sequence[int]) -> Iterator[Dim]:
    old = info.dims if info.dims is not None and len(info.dims) == len(shape) else (None,) * len(shape)
    for axis, (size, dim) in enumerate(zip(shape, old, strict=True)):
        yield size if size >= 0 else dim if isinstance(dim, str) else f"{info.name}_{axis}"


def prove_transform(
    inputs: Sequence[TensorInfo], tensors: Collection[str], transform: TransformSpec | None
) -> list[Problem]:
    """Names that the model lacks, and contradictions to its ranks. `tensors` are the names of all its values."""
    if transform is None:
        return []
    return [*_bind(inputs, transform), *_outputs(tensors, transform), *_set_shapes(inputs, transform)]


def _bind(inputs: Sequence[TensorInfo], transform: TransformSpec) -> Iterator[Problem]:
    names = [info.name for info in inputs]
    for name in transform.bind:
        path = ("transform", "bind", name)
        if name not in names:
            remedy = choose_from(name, names, "inputs")
            yield Problem(Code.UNKNOWN_INPUT, f"the model has no input '{name}' to bind", remedy, path=path)
        elif name in transform.set_shapes:
            yield Problem(
                Code.KEYS_EXCLUDE,
                f"input '{name}' is both bound and given a shape",
                "drop one of transform.bind and transform.set_shapes", path=path,
            )  # fmt: skip


def _outputs(tensors: Collection[str], transform: TransformSpec) -> Iterator[Problem]:
    for index, name in enumerate(transform.outputs):
        if name not in tensors:
            yield Problem(
                Code.UNKNOWN_TENSOR,
                f"the model has no tensor '{name}' to make an output",
                choose_from(name, sorted(tensors), "tensors"),
                path=("transform", "outputs", index),
            )


def _set_shapes(inputs: Sequence[TensorInfo], transform: TransformSpec) -> Iterator[Problem]:
    known = {info.name: info for info in inputs}
    for name, shape in transform.set_shapes.items():
        path = ("transform", "set_shapes", name)
        info = known.get(name)
        if info is None:
            remedy = choose_from(name, known, "inputs")
            yield Problem(
                Code.UNKNOWN_INPUT, f"the model has no input '{name}' to give a shape", remedy, path=path
            )
        elif info.dims is not None and len(info.dims) != len(shape):
            yield Problem(
                Code.SET_SHAPES_MISFIT,
                f"'{name}' has rank {len(info.dims)}, but the shape set for it has rank {len(shape)}",
                f"the model declares {describe_dims(info)}", path=path,
            )  # fmt: skip
