"""Writes a package as an OCI image layout, and pushes it if that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trtpipe.json_values import text_in
from trtpipe.packages.contents import Contents
from trtpipe.packages.directory import Written
from trtpipe.packages.index_file import digest_of
from trtpipe.packages.oci.image import Image, image_of
from trtpipe.packages.oci.layout import blobs_of, documents_of, write_layout
from trtpipe.packages.oci.push import Pushed, push_image
from trtpipe.packages.oci.reader import is_layout
from trtpipe.packages.oci.reference import Reference
from trtpipe.packages.places import new_place, settle
from trtpipe.shapes import format_size


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """An image layout that was written, and where it was pushed to."""

    written: Written
    image: Image
    pushed: Pushed | None = None


def write_image(
    contents: Contents,
    out: Path,
    *,
    force: bool = False,
    push: Reference | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> WrittenImage:
    """Writes the layout, then pushes it. Raises PackageError, SpecError."""
    precisions = {name: text_in(cell.manifest, "precision") for name, cell in contents.cells.items()}
    image = image_of(contents.index, precisions)
    with new_place(out, is_layout, force=force) as place:
        write_layout(image, contents.sources, contents.index.package, place)
        settle(place)
    blobs = [descriptor.size for descriptor, _ in blobs_of(image, contents.sources)]
    blobs += [one.descriptor.size for one in documents_of(image)]
    digest = digest_of(contents.index)
    told = (f"image {image.top.descriptor.digest}",)
    found = Written(out, "oci", digest, len(blobs) + 2, sum(blobs), contents.index, notes=told)
    return WrittenImage(found, image, _push(image, contents, push, tell) if push else None)


def _push(image: Image, contents: Contents, reference: Reference, tell: Callable[[str], None]) -> Pushed:
    from trtpipe.packages.oci.registry import Registry

    registry = Registry(reference)
    try:
        return push_image(image, contents.sources, registry, tell)
    finally:
        registry.close()


def pushed_words(pushed: Pushed, reference: Reference) -> Iterator[str]:
    """What a push did, in lines."""
    yield f"pushed to {reference}"
    yield f"  {pushed.digest}"
    sent = f"{pushed.sent} blobs sent, {format_size(pushed.sent_bytes)}"
    yield f"  {sent}; {pushed.present} were there"
    if pushed.referrers_tag:
        yield "  provenance and BOM are listed under tags, for the registry does not list referrers itself"
