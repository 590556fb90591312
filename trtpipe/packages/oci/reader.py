"""Reads a package's own index in an OCI image layout, which may be somebody else's: sizes are limited, digests checked.

Light, because `select` reads it where engines run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trtpipe.errors import PackageError
from trtpipe.files import read_regular
from trtpipe.json_values import JsonObject, Malformed, objects_in, read_object, text_in
from trtpipe.packages.index import INDEX, Index, PackedModel
from trtpipe.packages.index_file import LARGEST_INDEX, parse_index, reason_of
from trtpipe.problem_codes import Code

LAYOUT = "oci-layout"
BLOBS = "blobs/sha256"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
TITLE = "org.opencontainers.image.title"
_HEX = frozenset("0123456789abcdef")


def is_layout(path: Path) -> bool:
    """Whether a directory looks like an OCI image layout."""
    return (path / LAYOUT).is_file()


def read_package_index(folder: Path) -> Index:
    """The package's own index in a layout. Raises PackageError."""
    try:
        found = [
            one
            for one in objects_in(_read(folder / INDEX), "manifests")
            if one.get("mediaType") == IMAGE_INDEX
        ]
        top = _document(folder, _only(found, "image index"))
        holder = _document(
            folder, _only([one for one in objects_in(top, "manifests") if _holds_index(one)], INDEX)
        )
        layer = _only(objects_in(holder, "layers"), INDEX)
        return parse_index(_blob(folder, layer), str(folder))
    except Malformed as error:
        raise PackageError(Code.PACKAGE_DAMAGED, f"'{folder}' is no package of trtpipe: {error}") from error
    except OSError as error:
        raise PackageError(Code.PACKAGE_DAMAGED, f"cannot read '{folder}': {reason_of(error)}") from error


def index_of_layout(folder: Path) -> Index:
    """The index of a layout's package; its files have the paths of their blobs. Raises PackageError."""
    index = read_package_index(folder)
    where = {path: f"{BLOBS}/{file.sha256}" for path, file in index.files.items()}
    models = tuple(_placed(model, where) for model in index.models)
    return replace(index, models=models, files={where[path]: file for path, file in index.files.items()})


def _placed(model: PackedModel, where: Mapping[str, str]) -> PackedModel:
    engines = tuple(
        replace(
            one,
            file=where[one.file],
            manifest=where[one.manifest],
            provenance=where[one.provenance],
            bom=where[one.bom],
        )
        for one in model.engines
    )
    fallbacks = tuple(
        replace(one, file=where[one.file], external_data=one.external_data and where[one.external_data])
        for one in model.fallbacks
    )
    labels = {output: where[path] for output, path in model.labels.items()}
    return replace(model, engines=engines, fallbacks=fallbacks, labels=labels)


def _holds_index(descriptor: JsonObject) -> bool:
    """By its title and not by the artifact's type, which tools older than OCI 1.1 leave out of what they copy."""
    said = descriptor.get("annotations")
    return isinstance(said, Mapping) and said.get(TITLE) == INDEX


def _only(found: list[JsonObject], what: str) -> JsonObject:
    if len(found) != 1:
        raise Malformed(f"it has {len(found) or 'no'} {what}")
    return found[0]


def _document(folder: Path, descriptor: JsonObject) -> JsonObject:
    return read_object(_blob(folder, descriptor))


def _blob(folder: Path, descriptor: JsonObject) -> bytes:
    """The bytes that a descriptor names, which are what it says. Raises Malformed, OSError."""
    algorithm, _, hex_ = text_in(descriptor, "digest").partition(":")
    if algorithm != "sha256" or len(hex_) != 64 or not set(hex_) <= _HEX:
        raise Malformed("a digest is not one of sha256")
    content = read_regular(folder / BLOBS / hex_, LARGEST_INDEX)
    if hashlib.sha256(content).hexdigest() != hex_:
        raise Malformed(f"blob {hex_[:12]} is not what its digest says")
    return content


def _read(path: Path) -> JsonObject:
    return read_object(read_regular(path, LARGEST_INDEX))
