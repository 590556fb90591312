"""A delivered engine: its file, and the manifest beside it that says what it is and which TensorRT runs it.

A directory that holds both is all that a machine with a GPU needs: no store, no spec, no source.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from trtpipe.errors import ModelError
from trtpipe.files import is_special
from trtpipe.json_values import JsonObject, Malformed, as_object, object_in, text_in, texts_in
from trtpipe.problem_codes import Code
from trtpipe.runners.inference.requests import BuiltFor
from trtpipe.runners.inference.trust import TrustedEngine, trusted_engine
from trtpipe.targets.toolchain import FLAVOURS, Flavour
from trtpipe.toolchains.header import read_engine_header

ENGINE = "model.engine"
MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 64 << 20


@dataclass(frozen=True, slots=True)
class DeliveredEngine:
    """An engine that may be deserialized, and what is known of it."""

    engine: TrustedEngine
    flavour: Flavour
    built_for: BuiltFor
    """With the version that built it, which is the one to run it with."""
    manifest: JsonObject | None


def delivered_engine(place: Path, *, vouched: Collection[str] = ()) -> DeliveredEngine:
    """The engine in a directory, or a file; its manifest vouches for it as `vouched` (BLAKE3 in hex) does.

    Without a manifest, the facts come from its header, which the flavour tensorrt lacks. Raises ModelError.
    """
    path = place / ENGINE if place.is_dir() else place
    manifest = read_manifest(path.with_name(MANIFEST))
    told = Told.from_json(manifest) if manifest is not None else None
    engine = trusted_engine(path, {*vouched, *((told.blake3,) if told else ())})
    if told is not None and engine.digest.hex == told.blake3:
        return DeliveredEngine(engine, told.flavour, told.built_for, manifest)
    header = read_engine_header(path)
    return DeliveredEngine(engine, "tensorrt_rtx", BuiltFor(header.capabilities, header.version), None)


@dataclass(frozen=True, slots=True)
class Told:
    """The parts of a manifest that are needed to run its engine."""

    blake3: str
    flavour: Flavour
    built_for: BuiltFor

    @classmethod
    def from_json(cls, manifest: JsonObject) -> Told:
        """Raises Malformed."""
        toolchain = object_in(manifest, "toolchain")
        named = text_in(toolchain, "flavour")
        flavour = next((one for one in FLAVOURS if one == named), None)
        if flavour is None:
            raise Malformed("flavour is none")
        built_for = BuiltFor(tuple(texts_in(manifest, "compute_capabilities")), text_in(toolchain, "version"))
        return cls(text_in(object_in(manifest, "engine"), "blake3"), flavour, built_for)


def read_manifest(path: Path) -> JsonObject | None:
    """The needed parts of a manifest, or None when there is no such file. Raises ModelError."""
    try:
        if not path.exists():
            return None
        if is_special(path) or path.stat().st_size > _LARGEST_MANIFEST:
            raise Malformed("it is not a file, or too large")
        record = as_object(json.loads(path.read_bytes()), "the manifest")
        Told.from_json(record)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            Code.MANIFEST_DAMAGED, f"{path} is a damaged manifest", "build the cell again, or copy it again"
        ) from error
    return record
