"""Reads and writes `index.json`: the same package has the same bytes, and what was written elsewhere is not believed.

Every file of a package has its digest in the index. The index has a checksum of its own text, so that a byte that
changed by accident is noticed there too; against intention there are signatures. An index is data of somebody else: its
size, its depth and its numbers are limited, each path stays inside the package, and every file that a model names must
be among `files`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from trtpipe.digests import Digest, digest_bytes
from trtpipe.errors import PackageError
from trtpipe.files import read_regular
from trtpipe.json_values import JsonObject, Malformed, integer_in, read_object
from trtpipe.packages.index import INDEX, SCHEMA, Index, PackedFile, as_json
from trtpipe.problem_codes import Code

LARGEST_INDEX = 16 << 20
MOST_MODELS, MOST_ENGINES, MOST_FILES = 1_000, 10_000, 60_000
LONGEST_PATH, DEEPEST_PATH = 400, 12
LARGEST_FILE = 1 << 40
_HEX = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[^/\\:\x00-\x1f\x7f<>\"|?*]+(?<![. ])")
"""What a name may be on Linux and on Windows."""
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices."""
CHECKSUM = "checksum"
_ZEROS = "0" * 64
_SEAL = re.compile(rb'\n  "checksum": "([0-9a-f]{64})"')
"""The checksum at the top of the record: no text in JSON has a line feed of its own."""
SIGNATURE = "model.sig"
"""The package's signature beside the index, in the form of OpenSSF Model Signing."""
UNLISTED = frozenset({INDEX, SIGNATURE})
"""What stands at the top of a package and not among its index's files."""


def index_bytes(index: Index) -> bytes:
    """The text of `index.json`: sorted keys, indented by two, UTF-8, with a final newline."""
    record = as_json(index)
    assert isinstance(record, dict), "a dataclass becomes an object"
    return sealed(record)


def sealed(record: JsonObject) -> bytes:
    """The text of a record with its checksum: BLAKE3 of the text that has zeros in the checksum's place."""
    whole = {**record, CHECKSUM: _ZEROS}
    text = json.dumps(whole, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    place = _SEAL.search(text)
    assert place is not None, "it was just written"
    return text[: place.start(1)] + digest_bytes(text).hex.encode() + text[place.end(1) :]


def digest_of(index: Index) -> Digest:
    """The digest of the whole package: that of its index, which has a digest of every other file."""
    return digest_bytes(index_bytes(index))


def read_index(package: Path) -> Index:
    """The index of a package's directory. Raises PackageError."""
    path = package / INDEX
    try:
        text = read_regular(path, LARGEST_INDEX)
    except FileNotFoundError:
        raise PackageError(Code.PACKAGE_DAMAGED, f"'{package}' has no {INDEX}, so it is no package") from None
    except OSError as error:
        raise PackageError(Code.PACKAGE_DAMAGED, f"cannot read '{path}': {reason_of(error)}") from error
    return parse_index(text, str(package))


def reason_of(error: OSError) -> str:
    """The system's words for an error, as they stand in the middle of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def parse_index(text: bytes, name: str) -> Index:
    """The index in this text; `name` is the package's in messages. Raises PackageError."""
    try:
        record = read_object(text)
        _refuse_schema(integer_in(record, "schema"), name)
        _refuse_unsealed(text)
        index = Index.from_json(record)
        _refuse_odd(index)
    except Malformed as error:
        raise PackageError(
            Code.PACKAGE_DAMAGED, f"{INDEX} of package '{name}' is damaged: {error}"
        ) from error
    return index


def _refuse_unsealed(text: bytes) -> None:
    """Raises Malformed for a text that is not the one of its checksum."""
    found = _SEAL.search(text)
    if found is None:
        raise Malformed(f"{CHECKSUM} is missing")
    blank = text[: found.start(1)] + _ZEROS.encode() + text[found.end(1) :]
    if digest_bytes(blank).hex.encode() != found[1]:
        raise Malformed("it is not the text that its checksum describes")


def refuse_path(path: str) -> None:
    """Raises Malformed for a path that leads out of a package, or that not every system can have."""
    parts = path.split("/")
    if len(os.fsencode(path)) > LONGEST_PATH or len(parts) > DEEPEST_PATH:
        raise Malformed(f"the path {path[:60]!r}… is too long")
    if not all(_PART.fullmatch(part) and not _DEVICE.fullmatch(part) for part in parts):
        raise Malformed(f"{path!r} is no path inside a package")


def refuse_alike(paths: Iterable[str]) -> None:
    """Raises Malformed for two paths that are one file where case does not count, or a file and its own folder."""
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(path.casefold(), path)
        if other is not path:
            raise Malformed(f"{other!r} and {path!r} are one file on some systems")
    folders = {folder for path in seen for folder in _folders(path)}
    for path in seen.keys() & folders:
        raise Malformed(f"{seen[path]!r} is both a file and a folder")


def _folders(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _refuse_schema(schema: int, name: str) -> None:
    if schema != SCHEMA:
        instead = (
            "a newer trtpipe wrote it" if schema > SCHEMA else "it was written before there were packages"
        )
        fact = f"package '{name}' has an index of schema {schema}, and this trtpipe reads schema {SCHEMA}: {instead}"
        raise PackageError(Code.PACKAGE_SCHEMA, fact)


def _refuse_odd(index: Index) -> None:
    """Raises Malformed for what no package of ours contains."""
    engines = sum(len(model.engines) for model in index.models)
    for count, most, what in (
        (len(index.models), MOST_MODELS, "models"),
        (engines, MOST_ENGINES, "engines"),
        (len(index.files), MOST_FILES, "files"),
    ):
        if count > most:
            raise Malformed(f"it has {count} {what}, more than {most}")
    for path, file in index.files.items():
        _refuse_file(path, file)
    refuse_alike([*index.files, *UNLISTED])
    _refuse_unlisted(index)
    _refuse_dangling(index)


def _refuse_file(path: str, file: PackedFile) -> None:
    refuse_path(path)
    if not _HEX.fullmatch(file.blake3) or not _HEX.fullmatch(file.sha256):
        raise Malformed(f"the digest of {path!r} is none")
    if not 0 <= file.bytes <= LARGEST_FILE:
        raise Malformed(f"the size of {path!r} is none")


def _refuse_unlisted(index: Index) -> None:
    """Raises Malformed for a file that a model names and `files` does not."""
    for model in index.models:
        for name in model.files:
            if name not in index.files:
                raise Malformed(f"{name!r} of model {model.name!r} is not among its files")


def _refuse_dangling(index: Index) -> None:
    """Raises Malformed for two models of one name, and for a target that names what is not there."""
    names = [model.name for model in index.models]
    if len(set(names)) < len(names):
        raise Malformed("two models have one name")
    cells = {(model.name, engine.cell) for model in index.models for engine in model.engines}
    for target, chosen in index.targets.items():
        for pair in chosen.items():
            if pair not in cells:
                raise Malformed(f"target {target!r} names {pair[1]!r} of {pair[0]!r}, which is not there")
