"""The JSON documents of an OCI image: manifests, an image index, and what refers to them. Pure functions.

Sources: OCI's image specification 1.1 and ModelPack's model specification v1. The same package gives the same bytes:
keys are sorted, and there is neither a time nor a host in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtpipe.digests import canonical_json
from trtpipe.json_values import Json
from trtpipe.packages.index import PackedFile
from trtpipe.packages.oci.reader import IMAGE_INDEX, TITLE

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
EMPTY_BYTES = b"{}"

MODEL_MANIFEST = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
WEIGHT_CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
DOC = "application/vnd.cncf.model.doc.v1.raw"
FILE_PATH = "org.cncf.model.filepath"

PACKAGE = "application/vnd.trtpipe.package.v1+json"
"""The image index of a package, and the manifest that holds the package's own `index.json`."""
PROVENANCE = "application/vnd.in-toto+json"
BILL = "application/vnd.cyclonedx+json"

REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Where some bytes are, by their digest, and what they are."""

    media_type: str
    sha256: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    @property
    def digest(self) -> str:
        """`sha256:HEX`."""
        return f"sha256:{self.sha256}"

    def to_json(self) -> dict[str, Json]:
        """As JSON has it; what is empty is left out."""
        found: dict[str, Json] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            found["artifactType"] = self.artifact_type
        return found | ({"annotations": dict(self.annotations)} if self.annotations else {})


@dataclass(frozen=True, slots=True)
class Document:
    """The bytes of a JSON document, with its descriptor."""

    descriptor: Descriptor
    content: bytes


def document(
    record: Mapping[str, Json],
    media_type: str,
    *,
    annotations: Mapping[str, str] | None = None,
    artifact_type: str = "",
) -> Document:
    """A JSON document, in the one form of its bytes."""
    content = canonical_json(record)
    sha256 = hashlib.sha256(content).hexdigest()
    return Document(Descriptor(media_type, sha256, len(content), annotations or {}, artifact_type), content)


EMPTY_CONFIG = document({}, EMPTY)
"""The configuration of a manifest that has none."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One file of a package as a layer, uncompressed, under its path in the package."""

    path: str
    file: PackedFile
    media_type: str

    @property
    def descriptor(self) -> Descriptor:
        """The layer's descriptor."""
        return Descriptor(self.media_type, self.file.sha256, self.file.bytes, {FILE_PATH: self.path})


def model_config(
    layers: Sequence[Layer], descriptor: Mapping[str, Json], config: Mapping[str, Json]
) -> Document:
    """ModelPack's configuration of a model; a raw layer's content has the layer's own digest."""
    found = [layer.descriptor.digest for layer in layers]
    record = {"descriptor": descriptor, "config": config, "modelfs": {"type": "layers", "diffIds": found}}
    return document(record, MODEL_CONFIG)


def model_manifest(config: Document, layers: Sequence[Layer], annotations: Mapping[str, str]) -> Document:
    """ModelPack's manifest of a model; its annotations stand in its descriptor, too, for those who read the index."""
    record: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": MODEL_MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [layer.descriptor.to_json() for layer in layers],
        "annotations": dict(annotations),
    }
    return document(record, MANIFEST, annotations=annotations, artifact_type=MODEL_MANIFEST)


def artifact_manifest(artifact_type: str, layer: Layer, subject: Descriptor | None = None) -> Document:
    """A manifest that holds one file; with a subject, it refers to that manifest."""
    annotations = {TITLE: layer.path}
    record: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": EMPTY_CONFIG.descriptor.to_json(),
        "layers": [layer.descriptor.to_json()],
        "annotations": annotations,
    }
    if subject is not None:
        plain = Descriptor(subject.media_type, subject.sha256, subject.size)
        record["subject"] = plain.to_json()
    return document(record, MANIFEST, annotations=annotations, artifact_type=artifact_type)


def image_index(
    manifests: Sequence[Descriptor], annotations: Mapping[str, str], artifact_type: str = ""
) -> Document:
    """An image index."""
    record: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "manifests": [one.to_json() for one in manifests],
    }
    if artifact_type:
        record["artifactType"] = artifact_type
    if annotations:
        record["annotations"] = dict(annotations)
    return document(record, IMAGE_INDEX, annotations={}, artifact_type=artifact_type)
