"""Writes an OCI image layout: `oci-layout`, `index.json` and `blobs/sha256/`.

Each blob is written once, whatever names it, and its digest is checked on the way. A file is copied a piece at a time,
so that memory does not depend on its size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from trtpipe.digests import canonical_json
from trtpipe.packages.contents import Source, packed_file
from trtpipe.packages.index import INDEX
from trtpipe.packages.oci.documents import REF_NAME, Descriptor, Document
from trtpipe.packages.oci.image import Image
from trtpipe.packages.oci.reader import BLOBS, IMAGE_INDEX, LAYOUT
from trtpipe.packages.places import write_files

_VERSION = {"imageLayoutVersion": "1.0.0"}


def write_layout(image: Image, sources: Mapping[str, Source], name: str, folder: Path) -> None:
    """Writes the layout as a new directory. Raises PackageError for a file that changed meanwhile, or OSError."""
    named = replace(image.top.descriptor, annotations={REF_NAME: name})
    referrers = [one.descriptor for _, one in image.referrers]
    record = {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "manifests": [one.to_json() for one in (named, *referrers)],
    }
    small = {
        f"{BLOBS}/{one.descriptor.sha256}": one.content for one in (*image.configs, *documents_of(image))
    }
    small |= {f"{BLOBS}/{image.package_sha256}": image.package_index}
    small |= {INDEX: canonical_json(record), LAYOUT: canonical_json(_VERSION)}
    large = {f"{BLOBS}/{file.sha256}": (sources[path], file) for path, file in image.files.items()}
    written: dict[str, Source] = {path: source for path, (source, _) in large.items()}
    files = {path: file for path, (_, file) in large.items()}
    write_files(
        folder, {**written, **small}, {**files, **{path: packed_file(one) for path, one in small.items()}}
    )


def blobs_of(image: Image, sources: Mapping[str, Source]) -> Iterator[tuple[Descriptor, Source]]:
    """Every blob but the manifests, each once, and where its bytes come from."""
    seen = set()
    everything: list[tuple[Descriptor, Source]] = [(one.descriptor, one.content) for one in image.configs]
    own = Descriptor("", image.package_sha256, len(image.package_index))
    everything.append((own, image.package_index))
    everything += [
        (Descriptor("", file.sha256, file.bytes), sources[path]) for path, file in sorted(image.files.items())
    ]
    for descriptor, source in everything:
        if descriptor.sha256 not in seen:
            seen.add(descriptor.sha256)
            yield descriptor, source


def documents_of(image: Image) -> Iterator[Document]:
    """Every manifest, each after what it names."""
    yield from image.manifests
    yield from (one for _, one in image.referrers)
    yield image.top
