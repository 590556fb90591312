"""Makes feeds of a model from a data set's samples, and from images prepared as the data set prepares its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.datasets import runs_code
from trtpipe.datasets.locations import Files
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.errors import Problem, SpecError, TrtpipeError
from trtpipe.loader.grammar import choose_from
from trtpipe.loader.project import Project
from trtpipe.loader.specs import load_dataset
from trtpipe.problem_codes import Code
from trtpipe.runners.feeds.feeds import Feed, converted
from trtpipe.runners.feeds.signature import Signature
from trtpipe.runners.inference.tensors import element_type
from trtpipe.spec.dataset import SOURCES, DatasetSpec

if TYPE_CHECKING:
    from trtpipe.arrays import Array
    from trtpipe.canonical.summary import TensorInfo


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Which samples of a data set are wanted."""

    data: str
    """The data set's name."""
    samples: int | None = None
    """Default: all."""
    batch: int | None = None
    """Default: the set's own."""
    profile: int = 0
    """The profile whose `opt` gives shape tensors their values, which no data set has."""


def project_feeds(asked: SampleRequest, project: Project, signature: Signature) -> list[Feed]:
    """Samples of a project's data set, and shape tensors' values with each. Raises SpecError."""
    loaded = load_dataset(project.dataset(asked.data), project)
    try:
        feeds = sampled_feeds(
            asked.data,
            loaded.spec,
            ProjectFiles(project),
            signature,
            samples=asked.samples,
            batch=asked.batch,
        )
    except TrtpipeError as error:
        error.problems = tuple(loaded.locate(one) if one.path else one for one in error.problems)
        raise
    values = shape_values(signature, asked.profile)
    return [Feed({**feed.arrays, **values}, feed.rows, feed.labels) for feed in feeds]


def shape_values(signature: Signature, profile: int) -> Mapping[str, Array]:
    """Shape tensors with the values of the profile's opt."""
    import numpy as np

    return {
        name: np.asarray(numbers, element_type(signature.input(name).dtype)).reshape(
            () if signature.input(name).dims == () else (-1,)
        )
        for name, numbers in signature.values(profile).items()
        if name in signature.names
    }


def sampled_feeds(
    name: str,
    spec: DatasetSpec,
    files: Files,
    signature: Signature,
    *,
    samples: int | None,
    batch: int | None,
) -> list[Feed]:
    """The first samples of a data set, `batch` at a time or in the set's own batch size. Raises SpecError."""
    if runs_code(spec):
        fact = f"data set {name!r} runs code of the project, which only a build does"
        raise SpecError(
            Code.DATA_SET_UNUSABLE, fact, "save its samples as .npy or .npz and give them with --input"
        )
    inputs = _fed_by_values(signature)
    asked = spec.model_copy(update={"batch": batch}) if batch else spec
    with open_dataset(asked, files, inputs, samples=samples) as data:
        return [*_feeds(data, inputs)]


def _fed_by_values(signature: Signature) -> list[TensorInfo]:
    """All inputs but shape tensors, which a profile gives values."""
    valued = signature.values(0)
    return [info for info in signature.inputs if info.name not in valued]


def _feeds(data: object, inputs: Sequence[TensorInfo]) -> Iterator[Feed]:
    from trtpipe.datasets.samples.batches import Dataset

    assert isinstance(data, Dataset)
    kinds = {info.name: element_type(info.dtype) for info in inputs}
    named = next((feed for feed in data.feeds if feed.is_image), data.feeds[0])
    start = 0
    for arrays, labels in data:
        indices = data.order[start : start + data.batch]
        start += data.batch
        yield Feed(
            {name: converted(array, kinds[name]) for name, array in arrays.items()},
            tuple(named.source.name_of(int(index)).strip("'") for index in indices),
            tuple(int(label) for label in labels) if labels is not None else (),
        )


def image_feeds(
    name: str,
    spec: DatasetSpec,
    images: Mapping[str | None, Sequence[str]],
    signature: Signature,
    cwd: Path,
    *,
    batch: int | None,
) -> list[Feed]:
    """Images as a data set would feed them, in the order of their paths; inputs that they do not feed are left out.

    `images`: input → files, None for the only input that the set feeds with images. Raises SpecError.
    """
    by_input = _for_inputs(name, spec, images, signature)
    infos = [info for info in signature.inputs if info.name in by_input]
    count = max(len(set(files)) for files in by_input.values())
    limit = batch or _most(signature, infos)
    derived = _derived(spec, by_input, min(count, limit) if limit else count)
    try:
        with ExitStack() as stack:
            data = stack.enter_context(open_dataset(derived, cwd.joinpath, infos))
            if data.dropped:
                raise SpecError(
                    Code.TOO_FEW_SAMPLES,
                    f"{count} images do not fill batches of {data.batch}, which the model requires",
                )
            return [*_feeds(data, infos)]
    except SpecError as error:
        # not one of the given image files
        error.problems = tuple(Problem(one.code, one.fact, one.remedy) for one in error.problems)
        raise


def _for_inputs(
    name: str, spec: DatasetSpec, images: Mapping[str | None, Sequence[str]], signature: Signature
) -> dict[str, list[str]]:
    """Input → images. Raises SpecError for one that the set does not feed with images."""
    fed = [info.name for info in signature.inputs if _by_images(spec, info.name, signature)]
    if not fed:
        remedy = "name a set of images with --data, or give the input as .npy"
        raise SpecError(
            Code.DATA_SET_UNUSABLE,
            f"data set {name!r} makes no input from images, so it cannot load image files",
            remedy,
        )
    found: dict[str, list[str]] = {}
    for input_, files in images.items():
        if input_ is None and len(fed) > 1:
            raise SpecError(
                Code.WHICH_INPUT,
                "which input are the images for?",
                f"write NAME=FILE with one of {', '.join(fed)}",
            )
        wanted = fed[0] if input_ is None else input_
        if wanted not in fed:
            fact = f"data set {name!r} does not make input {wanted!r} from images"
            raise SpecError(Code.DATA_SET_UNUSABLE, fact, choose_from(wanted, fed, "inputs"))
        found.setdefault(wanted, []).extend(files)
    return found


def _by_images(spec: DatasetSpec, input_: str, signature: Signature) -> bool:
    arrays = spec.images or {}
    given = spec.inputs.get(input_)
    if given is not None and given.array is not None:
        return given.array in arrays
    return input_ in arrays or (len(arrays) == 1 and (given is not None or len(signature.inputs) == 1))


def _most(signature: Signature, infos: Sequence[TensorInfo]) -> int | None:
    """The most images in one run that every input's first dim, or the widest profile, allows."""
    limits = []
    for info in infos:
        first = info.dims[0] if info.dims else None
        if isinstance(first, int):
            limits.append(first)
            continue
        tops = [entry.max[0] for one in signature.profiles if (entry := one.get(info.name)) and entry.max]
        limits += [max(tops)] if tops else []
    return max(min(limits), 1) if limits else None


def _derived(spec: DatasetSpec, by_input: Mapping[str, Sequence[str]], batch: int) -> DatasetSpec:
    """The set's preprocessing applied to other images; each input's images are an array of its name."""
    inputs = {
        name: spec.inputs[name].model_copy(update={"array": name}) for name in by_input if name in spec.inputs
    }
    images = {name: tuple(files) for name, files in by_input.items()}
    plain = dict.fromkeys((*SOURCES, "labels", "samples"))
    changed = {**plain, "files": (), "images": images, "inputs": inputs, "batch": batch, "shuffle": False}
    return spec.model_copy(update=changed)
