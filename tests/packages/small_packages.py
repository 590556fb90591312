"""Packages of a few bytes, made without a project: the rules for files are the same for engines of a gigabyte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trtpipe.packages.contents import Contents, packed_file
from trtpipe.packages.index import Fallback, Index, PackedEngine, PackedModel, Tensor

X = Tensor("x", "float32", (-1, 3))
Y = Tensor("y", "float32", (-1, 2))


def engine(cell: str = "net/fp16@ada", **changes: Any) -> PackedEngine:
    """An engine of TensorRT-RTX for sm89."""
    place, _, target = cell.partition("@")
    pipeline, _, variant = place.partition("/")
    home = f"models/{pipeline}/{variant}@{target}"
    made = PackedEngine(
        cell=cell,
        target=target,
        variant=variant,
        file=f"{home}/model.engine",
        flavour="tensorrt_rtx",
        tensorrt="1.7.1.116",
        compute_capabilities=("8.9",),
        gpu=None,
        hardware_compatibility="none",
        version_compatible=False,
        os=None,
        architecture=None,
        driver="525",
        device_memory=1 << 20,
        inputs=(X,),
        outputs=(Y,),
        profiles=({"x": {"min": [1, 3], "opt": [4, 3], "max": [8, 3]}},),
        validated="passed",
        run_on_gpu="not run",
        plugins=(),
        manifest=f"{home}/manifest.json",
        provenance=f"{home}/provenance.json",
        bom=f"{home}/model.cdx.json",
    )
    return replace(made, **changes)


def model(name: str, engines: Iterable[PackedEngine], *, fallbacks: bool = True) -> PackedModel:
    """A model with these engines, and a typed model for each of their variants."""
    made = tuple(engines)
    variants = dict.fromkeys(one.variant for one in made) if fallbacks else ()
    typed = tuple(Fallback(one, f"models/{name}/{one}/model.onnx", None, (X,), (Y,)) for one in variants)
    return PackedModel(name, name, (X,), (Y,), {}, typed, made)


def index(*models: PackedModel, bundle: str | None = None, targets: Any = None) -> Index:
    """An index with the digests of its files, whose bytes are their paths."""
    found = models or (model("net", [engine()]),)
    chosen = targets if targets is not None else targets_of(found)
    made = Index(bundle or found[0].name, bundle, "trtpipe 0.0", tuple(found), (), chosen, {})
    return replace(made, files={path: packed_file(source) for path, source in sources_of(made).items()})


def targets_of(models: Iterable[PackedModel]) -> Mapping[str, Mapping[str, str]]:
    """Target → model → its cell."""
    targets: dict[str, dict[str, str]] = {}
    for one in models:
        for made in one.engines:
            targets.setdefault(made.target, {}).setdefault(one.name, made.cell)
    return targets


def sources_of(made: Index) -> dict[str, bytes]:
    return {path: f"the bytes of {path}".encode() for one in made.models for path in one.files}


def contents(made: Index | None = None) -> Contents:
    """What is to be written, without a project around it."""
    whole = made or index()
    return Contents(whole, sources_of(whole), Path("/nowhere"), {}, {})
