"""Warm-up requests from a data set's samples, as raw files; without a data set, zeros at each profile's `opt`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtpipe.packages.contents import Contents
from trtpipe.packages.index import PackedEngine, PackedModel
from trtpipe.packages.triton.warmup import FOLDER, Warmup, WarmupInput, zeros
from trtpipe.plan.address import Place
from trtpipe.runners.feeds.feeds import Feed
from trtpipe.runners.feeds.samples import SampleRequest, project_feeds, shape_values
from trtpipe.runners.feeds.signature import Signature, signature_of_manifest
from trtpipe.spec.packaging import WarmupSpec


@dataclass(frozen=True, slots=True)
class WarmupData:
    """Requests, and the files that they name: path in the model's directory → bytes."""

    requests: tuple[Warmup, ...] = ()
    files: Mapping[str, bytes] | None = None


def warmup_data(
    asked: WarmupSpec | None, contents: Contents, model: PackedModel, engine: PackedEngine, most: int
) -> WarmupData:
    """The requests that a spec asks for; `most` is the largest batch. Raises TrtpipeError."""
    if asked is None:
        return WarmupData()
    signature = signature_of_manifest(contents.cells[engine.cell].manifest, contents.root / engine.cell)
    joined = (
        Place.parse(engine.cell).pipeline != model.pipeline
    )  # its inputs are not those of the pipeline's data
    data = asked.data or (None if joined else contents.validation_data(model))
    batch = min(asked.batch or 1, most) if most else 1
    if data is None:
        return _zeros(signature, batching=most > 0)
    project = contents.pipeline_of(model).project
    wanted = SampleRequest(data, asked.samples, 1 if most else None)
    feeds = project_feeds(wanted, project, signature)[: asked.samples]
    return _of_feeds(feeds, signature, batch, batching=most > 0)


def _of_feeds(feeds: list[Feed], signature: Signature, batch: int, *, batching: bool) -> WarmupData:
    requests, files = [], {}
    for index, feed in enumerate(feeds):
        inputs = {}
        for place, info in enumerate(signature.inputs):
            array = feed.arrays[info.name]
            name = f"{index}-{place}-{_file_name(info.name)}"
            files[f"{FOLDER}/{name}"] = array.tobytes()
            shape = tuple(int(size) for size in array.shape)
            inputs[info.name] = WarmupInput(info.dtype, shape[1:] if batching else shape, name)
        requests.append(Warmup(f"sample-{index}", batch, inputs))
    return WarmupData(tuple(requests), files)


def _zeros(signature: Signature, *, batching: bool) -> WarmupData:
    """One request for each profile; shape tensors have their values, for zeros would be no shape."""
    requests, files = [], {}
    for index in range(max(len(signature.profiles), 1)):
        shapes = signature.shapes(index)
        types = {info.name: info.dtype for info in signature.inputs}
        request = zeros(
            index, {name: (types[name], shape) for name, shape in shapes.items()}, batching=batching
        )
        inputs = dict(request.inputs)
        for place, (name, array) in enumerate(shape_values(signature, index).items()):
            file = f"{index}-{place}-{_file_name(name)}"
            files[f"{FOLDER}/{file}"] = array.tobytes()
            inputs[name] = WarmupInput(types[name], tuple(array.shape), file)
        requests.append(Warmup(request.name, request.batch, inputs))
    return WarmupData(tuple(requests), files)


def _file_name(tensor: str) -> str:
    """A tensor's name as a file's: letters that no system takes become `_`."""
    return "".join(
        letter if (letter.isalnum() and letter.isascii()) or letter in "._-" else "_" for letter in tensor
    )
