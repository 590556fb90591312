"""Metadata that a model file states about itself: producer, licence, author. Read before conversion drops it.

Only well-known keys are kept, shortened, and no value that contains a path of somebody's machine, because these claims
are published with every engine. They are shown, never relied on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_NAMES = {
    "license": "license", "licence": "license", "licenses": "license",
    "author": "author", "authors": "author", "model_author": "author",
    "organization": "publisher", "publisher": "publisher", "company": "publisher",
    "description": "description", "version": "version", "task": "task",
    "docs": "url", "url": "url", "homepage": "url",
}  # fmt: skip
"""Keys of `metadata_props` in the wild → the claim that each makes."""
_LONGEST = 500
_LOCAL = re.compile(r"(?:^|[\s'\"=(,])(?:~|/[\w.+-]+)/[\w.+-]|(?<![A-Za-z])[A-Za-z]:\\|\\\\\w|file://")
"""An absolute path of Unix or Windows, a path in a home directory, a share."""


def claims_of(model: onnx.ModelProto) -> dict[str, str]:
    """`producer`, `domain`, `description`, `license`, `author`, `publisher`, `version`, `task`, `url`: those given."""
    found: dict[str, str] = {}
    producer = " ".join(filter(None, (_text(model.producer_name), _text(model.producer_version))))
    said = [("producer", producer), ("domain", _text(model.domain)), ("description", _text(model.doc_string))]
    if model.model_version:
        said.append(("version", str(model.model_version)))
    for name, value in (*_metadata(model.metadata_props), *said):
        if value and not _LOCAL.search(value):
            found.setdefault(name, value)
    return dict(sorted(found.items()))


def _metadata(entries: Iterable[onnx.StringStringEntryProto]) -> Iterable[tuple[str, str]]:
    for entry in entries:
        name = _NAMES.get(_text(entry.key).strip().lower())
        if name is not None:
            yield name, _text(entry.value)


def _text(said: str | bytes) -> str:
    """One line of at most 500 characters; protobuf returns text that is not UTF-8 as bytes."""
    text = said if isinstance(said, str) else said[: 4 * _LONGEST].decode(errors="replace")
    line = " ".join(text[: 4 * _LONGEST].split())
    return "".join(one for one in line if one.isprintable())[:_LONGEST]
