"""A package as an OCI image: a manifest for each cell under one image index, with provenance and BOM as referrers.

A layer's path is the file's path in the package, so that all layers together, unpacked into one directory, are the
package itself, which `trtpipe select` and a verifier read. Pure: what the index says is all that is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from trtpipe.packages.index import INDEX, Index, PackedEngine, PackedFile, PackedModel
from trtpipe.packages.index_file import digest_of, index_bytes
from trtpipe.packages.oci.documents import (
    BILL,
    DOC,
    EMPTY_CONFIG,
    PACKAGE,
    PROVENANCE,
    WEIGHT,
    WEIGHT_CONFIG,
    Document,
    Layer,
    artifact_manifest,
    image_index,
    model_config,
    model_manifest,
)
from trtpipe.packages.oci.reader import TITLE

PREFIX = "trtpipe."
"""What our annotations begin with."""


@dataclass(frozen=True, slots=True)
class Image:
    """The documents of an image, each after those that it names, and the files that they name."""

    configs: tuple[Document, ...]
    """Blobs that are not files of the package."""
    manifests: tuple[Document, ...]
    """One for each cell, and that of the package's index."""
    referrers: tuple[tuple[Document, Document], ...]
    """A manifest, and one that refers to it."""
    top: Document
    """The image index, which a tag names."""
    files: Mapping[str, PackedFile]
    """Path in the package → digests, for every layer."""
    package_index: bytes
    """The package's own `index.json`, which is a layer, too."""
    package_sha256: str


def image_of(index: Index, precisions: Mapping[str, str]) -> Image:
    """The image of a package. `precisions`: cell → what it is mostly computed in."""
    configs, manifests, referrers = [EMPTY_CONFIG], [], []
    for model in index.models:
        for engine in model.engines:
            config, manifest = _cell(index, model, engine, precisions.get(engine.cell, ""))
            configs.append(config)
            manifests.append(manifest)
            for path, kind in ((engine.provenance, PROVENANCE), (engine.bom, BILL)):
                layer = Layer(path, index.files[path], kind)
                referrers.append((manifest, artifact_manifest(kind, layer, manifest.descriptor)))
    own = index_bytes(index)
    file = PackedFile(digest_of(index).hex, hashlib.sha256(own).hexdigest(), len(own))
    manifests.append(artifact_manifest(PACKAGE, Layer(INDEX, file, DOC)))
    top = image_index([one.descriptor for one in manifests], _of_package(index, file), PACKAGE)
    return Image(tuple(configs), tuple(manifests), tuple(referrers), top, index.files, own, file.sha256)


def _cell(
    index: Index, model: PackedModel, engine: PackedEngine, precision: str
) -> tuple[Document, Document]:
    """The configuration and the manifest of one cell."""
    layers = list(_layers(index, model, engine))
    about = {"name": engine.cell, "family": model.pipeline}
    technical = {"format": engine.flavour} | ({"precision": precision} if precision else {})
    config = model_config(layers, about, technical)
    return config, model_manifest(config, layers, annotations_of(index, model, engine))


def _layers(index: Index, model: PackedModel, engine: PackedEngine) -> Iterator[Layer]:
    """The engine, the typed model of its variant, labels, and the manifest."""
    yield Layer(engine.file, index.files[engine.file], WEIGHT)
    for one in model.fallbacks:
        if one.variant == engine.variant:
            for path in filter(None, (one.file, one.external_data)):
                yield Layer(path, index.files[path], WEIGHT)
    for path in sorted(set(model.labels.values())):
        yield Layer(path, index.files[path], WEIGHT_CONFIG)
    yield Layer(engine.manifest, index.files[engine.manifest], DOC)


def annotations_of(index: Index, model: PackedModel, engine: PackedEngine) -> dict[str, str]:
    """What a machine must have to run a cell's engine, for tools that read nothing but an image index."""
    file = index.files[engine.file]
    found = {
        "cell": engine.cell,
        "model": model.name,
        "target": engine.target,
        "variant": engine.variant,
        "flavour": engine.flavour,
        "tensorrt": engine.tensorrt,
        "compute-capabilities": ",".join(engine.compute_capabilities),
        "gpu": engine.gpu,
        "hardware-compatibility": engine.hardware_compatibility,
        "version-compatible": "true" if engine.version_compatible else "false",
        "os": engine.os,
        "architecture": engine.architecture,
        "driver": engine.driver,
        "plugins": ",".join(engine.plugins),
        "validated": engine.validated,
        "run-on-gpu": engine.run_on_gpu,
        "engine.sha256": file.sha256,
        "engine.blake3": file.blake3,
    }
    said = {f"{PREFIX}{name}": value for name, value in found.items() if value}
    return {**said, TITLE: engine.cell}


def _of_package(index: Index, file: PackedFile) -> dict[str, str]:
    found = {"package": index.package, "bundle": index.bundle, "index.blake3": file.blake3}
    return {**{f"{PREFIX}{name}": value for name, value in found.items() if value}, TITLE: index.package}
