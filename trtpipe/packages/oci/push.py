"""Pushes an image: what the registry has is not sent again, and the tag is set last, when everything is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from trtpipe.errors import PackageError
from trtpipe.json_values import Json, JsonObject, Malformed, objects_in
from trtpipe.packages.contents import Source
from trtpipe.packages.oci.documents import Descriptor, Document, document
from trtpipe.packages.oci.image import Image
from trtpipe.packages.oci.layout import blobs_of
from trtpipe.packages.oci.reader import IMAGE_INDEX
from trtpipe.packages.oci.registry import Registry
from trtpipe.problem_codes import Code


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    digest: str
    """The image index, `sha256:HEX`: the name that never means anything else."""
    sent: int
    """Blobs that were sent."""
    sent_bytes: int
    present: int
    """Blobs that the registry had."""
    referrers_tag: bool
    """Whether referrers were listed under tags, because the registry does not list them itself."""


def push_image(
    image: Image, sources: Mapping[str, Source], registry: Registry, tell: Callable[[str], None]
) -> Pushed:
    """Pushes to the registry's tag. After an interruption, only what is missing is sent. Raises PackageError."""
    sent = sent_bytes = present = 0
    for descriptor, source in blobs_of(image, sources):
        if registry.has_blob(descriptor):
            present += 1
            continue
        registry.put_blob(descriptor, partial(_opened, source))
        sent, sent_bytes = sent + 1, sent_bytes + descriptor.size
        tell(f"sent blob {descriptor.sha256[:12]}, {descriptor.size} bytes")
    for one in image.manifests:
        registry.put_manifest(one)
    unlisted: dict[str, list[Document]] = {}
    for subject, referrer in image.referrers:
        if not registry.put_manifest(referrer):
            unlisted.setdefault(subject.descriptor.sha256, []).append(referrer)
    for sha256, referrers in unlisted.items():
        _list_under_tag(registry, f"sha256-{sha256}", [one.descriptor for one in referrers])
    registry.put_manifest(image.top)
    registry.put_manifest(image.top, registry.reference.tag)
    return Pushed(image.top.descriptor.digest, sent, sent_bytes, present, bool(unlisted))


def _opened(source: Source) -> BinaryIO | bytes:
    return source if isinstance(source, bytes) else source.open("rb")


def _list_under_tag(registry: Registry, tag: str, referrers: list[Descriptor]) -> None:
    """Adds referrers to the image index that stands for a missing referrers API: OCI's referrers tag schema."""
    found = registry.image_index(tag)
    try:
        listed = [dict(one) for one in objects_in(found, "manifests")] if found is not None else []
    except Malformed as error:
        raise PackageError(
            Code.REGISTRY_FAILED, f"tag {tag} of {registry.reference} is damaged: {error}"
        ) from error
    known = {one.get("digest") for one in listed}
    missing = [one.to_json() for one in referrers if one.digest not in known]
    if missing:
        registry.put_manifest(_index_of([*listed, *missing]), tag)


def _index_of(manifests: list[dict[str, Json]]) -> Document:
    record: JsonObject = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}
    return document(record, IMAGE_INDEX)
