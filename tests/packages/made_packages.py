"""Packages made of plain data: engines are stand-ins whose bytes mean nothing, as nobody loads them here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.packages import small_packages
from trtpipe.packages.contents import Contents, Source, packed_file
from trtpipe.packages.index import Fallback, Index, PackedEngine, PackedModel, Tensor

IMAGE = Tensor("image", "float32", (-1, 3, 32, 32))
SCORES = Tensor("scores", "float32", (-1, 10))
PROFILE = {
    "image": {"min": [1, 3, 32, 32], "opt": [4, 3, 32, 32], "max": [8, 3, 32, 32], "values": None},
}


def engine(cell: str, capability: str = "8.9", **changes: Any) -> PackedEngine:
    """An engine of the flavour tensorrt, said to be built for one compute capability."""
    plain = small_packages.engine(
        cell,
        flavour="tensorrt",
        tensorrt="11.4.0.106",
        compute_capabilities=(capability,),
        gpu="NVIDIA L4",
        os="linux",
        architecture="x86_64",
        device_memory=None,
        inputs=(IMAGE,),
        outputs=(SCORES,),
        profiles=(PROFILE,),
    )
    return replace(plain, **changes)


def model(name: str, *engines: PackedEngine, fallback: bytes | None = None) -> PackedModel:
    """A model with these engines, and a typed model of the first one's variant."""
    first = engines[0]
    fallbacks = (
        (
            Fallback(
                first.variant, f"models/{name}/{first.variant}/model.onnx", None, first.inputs, first.outputs
            ),
        )
        if fallback is not None
        else ()
    )
    return PackedModel(name, name, first.inputs, first.outputs, {}, fallbacks, engines)


def contents(*models: PackedModel, bundle: str | None = None, **files: bytes) -> Contents:
    """A package of these models; the bytes of a file are its path unless they are given, by the file's name."""
    paths = [path for one in models for path in one.files]
    sources: dict[str, Source] = {}
    for path in paths:
        name = path.rpartition("/")[2].replace(".", "_")
        sources[path] = files.get(name, path.encode())
    index = Index(
        package=bundle or "+".join(one.name for one in models),
        bundle=bundle,
        made_by="trtpipe 0",
        models=models,
        edges=(),
        targets=small_packages.targets_of(models),
        files={path: packed_file(source) for path, source in sources.items()},
    )
    return Contents(index, sources, Path("/nonexistent"), {}, {})
