"""Checks by types and dims whether a feed fits its input. Reads no samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trtpipe.canonical.summary import Dim
from trtpipe.datasets.samples.feeds import Feed, problems_of_images
from trtpipe.errors import Problem
from trtpipe.problem_codes import Code


def feed_problems(feed: Feed) -> Iterator[Problem]:
    """All problems of one feed that types and dims alone reveal."""
    path = ("inputs", feed.info.name)
    if 0 in feed.source.shape:
        yield Problem(
            Code.ARRAY_MISFIT, f"array '{feed.array}' is empty ({dims_text(feed.source.shape)})", path=path
        )
        return
    if feed.sliced and not feed.source.shape:
        remedy = f"write inputs: {{{feed.info.name}: {{constant: true}}}} to feed it with every batch"
        yield Problem(
            Code.ARRAY_MISFIT,
            f"array '{feed.array}' is a scalar: it has no sample axis",
            remedy,
            path=path,
        )
        return
    of_images = list(problems_of_images(feed))
    yield from of_images
    yield from () if of_images else _layout_problems(feed)
    yield from _type_problems(feed)
    if 0.0 in feed.spec.std:
        yield Problem(Code.IMAGE_OPTIONS, f"input '{feed.info.name}' has a std of 0", path=(*path, "std"))


def _layout_problems(feed: Feed) -> Iterator[Problem]:
    path = ("inputs", feed.info.name)
    rank = len(feed.source.shape)
    if feed.axes and rank != 4:
        fact = f"layout {feed.spec.layout} needs an array of rank 4, but '{feed.array}' has rank {rank}"
        yield Problem(Code.IMAGE_OPTIONS, fact, path=(*path, "layout"))
        return
    for field in ("mean", "std"):
        values = getattr(feed.spec, field)
        if len(values) > 1 and len(values) != feed.source.shape[feed.channel_axis()]:
            fact = f"{field} of input '{feed.info.name}' has {len(values)} values, but array '{feed.array}'"
            yield Problem(
                Code.IMAGE_OPTIONS, f"{fact} is {dims_text(feed.source.shape)}", path=(*path, field)
            )
    yield from _shape_problems(feed)


def _shape_problems(feed: Feed) -> Iterator[Problem]:
    dims = feed.info.dims
    if dims is None:
        return
    shape = feed.shape(1)
    found = f"array '{feed.array}' gives {dims_text(shape)}"
    needs = f"input '{feed.info.name}' is {dims_text(dims)}"
    if len(shape) != len(dims):
        yield Problem(
            Code.ARRAY_MISFIT,
            f"{found}, rank {len(shape)}, but {needs}, rank {len(dims)}",
            path=("inputs", feed.info.name),
        )
        return
    first = 1 if feed.sliced and not feed.one_by_one else 0
    wrong = [
        axis
        for axis in range(first, len(dims))
        if isinstance(dims[axis], int) and shape[axis] is not None and dims[axis] != shape[axis]
    ]
    if wrong:
        remedy = _remedy_of_image(feed, wrong[0], dims) if feed.is_image else ""
        yield Problem(
            Code.ARRAY_MISFIT,
            f"{found}, but {needs}: axis {wrong[0]} differs",
            remedy,
            path=("inputs", feed.info.name),
        )


def _remedy_of_image(feed: Feed, axis: int, dims: tuple[Dim, ...]) -> str:
    """How to make images fit the input's dims: the other layout if its channel dim matches, else colour, else size."""
    last = feed.spec.layout == "nhwc"
    here, there = (3, 1) if last else (1, 3)
    if dims[there] in (1, 3) and dims[here] not in (1, 3):
        return f"write layout: {'nchw' if last else 'nhwc'}"
    if axis != here:
        return (
            f"resize to its size, for example resize: {dims_text(dims[2:])}"
            if not last
            else f"resize to its size, for example resize: {dims_text(dims[1:3])}"
        )
    return {1: "write colour: gray", 3: "write colour: rgb or bgr"}.get(dims[here], "")  # type: ignore[arg-type]


def dims_text(dims: tuple[Dim, ...]) -> str:
    """Dims as text, with `?` for unknown ones."""
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


def _type_problems(feed: Feed) -> Iterator[Problem]:
    path = ("inputs", feed.info.name)
    wanted = np.dtype(feed.dtype)
    if wanted.name != feed.info.dtype:
        fact = f"input '{feed.info.name}' is {feed.info.dtype}, but the data set says dtype {wanted.name}"
        yield Problem(
            Code.ARRAY_TYPE, fact, f"write dtype: {feed.info.dtype}, or leave it out", path=(*path, "dtype")
        )
        return
    has = np.dtype(feed.source.dtype)
    if feed.spec.dtype is None and not np.can_cast(has, wanted, "same_kind"):
        fact = f"array '{feed.array}' is {has.name}, but input '{feed.info.name}' is {wanted.name}"
        yield Problem(
            Code.ARRAY_TYPE, fact, f"write dtype: {wanted.name} if the conversion is meant", path=path
        )
