"""The materials of an engine as one list: sources, samples, plugins, wheels. Derived from traces alone.

The statement and the bill of materials are both written from it. Independent of their formats; reads no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from trtpipe.digests import Digest, key_of
from trtpipe.json_values import JsonObject
from trtpipe.plan.address import Stage
from trtpipe.plan.trace import Trace

Origins = Mapping[str, Mapping[str, str]]
"""Fetched file -> its `url`, and its `sha256` where that is known."""
Kind = Literal["model", "calibration data", "validation data", "reference", "weights", "plugin", "toolchain"]

_KINDS: Mapping[tuple[Stage, str], Kind] = {
    ("import", "source"): "model",
    ("import", "files"): "weights",
    ("transform", "files"): "weights",
    ("transform", "beside"): "weights",
    ("calibrate", "data"): "calibration data",
    ("calibrate", "cache"): "calibration data",
    ("validate", "data"): "validation data",
    ("validate", "reference"): "reference",
    ("build_engine", "plugins"): "plugin",
}
"""Slots of stages that come from outside; everything else was made by another step."""

MOST_FILES = 32
"""Files of a data set that are named one by one; of more, the list's digest stands for them."""


@dataclass(frozen=True, slots=True)
class Material:
    """One input of an engine: its kind and name, its digests by algorithm, and where it was fetched from, if at all."""

    kind: Kind
    name: str
    digests: Mapping[str, str]
    nbytes: int | None = None
    url: str = ""
    facts: JsonObject = field(default_factory=dict)


def materials_of(traces: Mapping[Stage, Trace], sha256: Mapping[str, str]) -> list[Material]:
    """Everything from outside that the traces name, in the order of the stages; each file once.

    `sha256` gives the SHA-256 of files by their BLAKE3, as far as they are known.
    """
    found: dict[tuple[str, str], Material] = {}
    origins = traces["fetch"].summary.get("files", {}) if "fetch" in traces else {}
    for (stage, slot), kind in _KINDS.items():
        if stage not in traces:
            continue
        files = traces[stage].fingerprint["inputs"].get(slot, {})
        if kind == "reference" and _is_made(files, traces):
            continue
        for one in _of_slot(kind, files, origins, sha256):
            found.setdefault((one.digests["blake3"], _plain(one.name)), one)
    wheels = traces["build_engine"].summary.get("wheels", ())
    return [*found.values(), *(_wheel(one) for one in wheels)]


def _is_made(files: Mapping[str, str], traces: Mapping[Stage, Trace]) -> bool:
    """Whether a reference is the output of an earlier step, and so not a material."""
    made = {str(digest) for trace in traces.values() for digest in trace.outputs.values()}
    return set(files.values()) <= made


def _of_slot(
    kind: Kind, files: Mapping[str, str], origins: Origins, sha256: Mapping[str, str]
) -> Iterator[Material]:
    if len(files) > MOST_FILES:
        sizes = sum(Digest.parse(text).size for text in files.values())
        facts: JsonObject = {"files": len(files), "digest_of": "the JSON object of file names and digests"}
        yield Material(kind, f"{kind}: {len(files)} files", {"blake3": key_of(dict(files))}, sizes, "", facts)
        return
    for name, text in files.items():
        digest = Digest.parse(text)
        origin = origins.get(f"source/{name}", origins.get(f"files/{name}", {}))
        known = origin.get("sha256") or sha256.get(digest.hex)
        digests = {**({"sha256": known} if known else {}), "blake3": digest.hex}
        yield Material(kind, _plain(name), digests, digest.size, address(origin.get("url", "")))


def address(url: str) -> str:
    """An address without query and user name, which are never shown."""
    scheme, mark, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.rpartition('@')[2]}{slash}{path}"


def _plain(name: str) -> str:
    """The name inside the project; of a file outside it, which has an absolute name, the last part."""
    absolute = name.startswith(("/", "~")) or name[1:3] in (":\\", ":/")
    return name.replace("\\", "/").rpartition("/")[2] if absolute else name


def _wheel(wheel: Mapping[str, str]) -> Material:
    name, version = wheel["name"].replace("_", "-"), wheel["version"]
    digests = {"sha256": wheel["sha256"]} if wheel.get("sha256") else {}
    facts = {"contents_sha256": wheel["contents"]} if wheel.get("contents") else {}
    facts |= {"version": version, "package": name}
    url = f"pkg:pypi/{name}@{version}"
    return Material("toolchain", wheel.get("file", f"{name} {version}"), digests, None, url, facts)
