"""Reads the files beside a delivered engine as untrusted input: network.json, and records that name the engine.

Their size is limited, and only the fields that are used are checked. Records about another engine are ignored.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from trtpipe.digests import Digest
from trtpipe.errors import ModelError
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    as_object,
    list_in,
    objects_in,
    text_in,
    texts_in,
)
from trtpipe.problem_codes import Code

MANIFEST, NETWORK, ENGINE = "manifest.json", "network.json", "model.engine"
LARGEST_JSON = 256 << 20
_RECORDS = ("proof.json", "bench.json")


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """A layer of the network that TensorRT was given: outputs are name, dtype and shape, where known."""

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, str, tuple[int, ...]], ...]

    def to_json(self) -> dict[str, Json]:
        """This layer in the form of network.json."""
        outputs: list[Json] = [
            {"name": name, "dtype": dtype, "shape": list(shape)} for name, dtype, shape in self.outputs
        ]
        return {"name": self.name, "type": self.type, "inputs": list(self.inputs), "outputs": outputs}


def read_json(path: Path) -> object:
    """The JSON in a file of at most 256 MiB. Raises ModelError."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_JSON + 1)
        if len(raw) > LARGEST_JSON:
            raise ModelError(
                Code.FILE_TOO_LARGE,
                f"'{path}' has more than {LARGEST_JSON >> 20} MiB, more than any record of trtpipe",
            )
        return json.loads(raw)
    except OSError as error:
        raise ModelError(
            Code.CANNOT_READ, f"cannot read '{path}': {(error.strerror or str(error)).lower()}"
        ) from error
    except (ValueError, RecursionError) as error:
        said = "nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise ModelError(Code.RECORD_DAMAGED, f"'{path}' is damaged: {said}") from error


def read_network(folder: Path) -> tuple[NetworkLayer, ...] | None:
    """The layers in a directory's network.json, None where there is none. Raises ModelError."""
    path = folder / NETWORK
    if not path.is_file():
        return None
    try:
        return tuple(map(_layer, objects_in(as_object(read_json(path), NETWORK), "layers")))
    except Malformed as error:
        raise ModelError(Code.RECORD_DAMAGED, f"'{path}' contains no layers") from error


def _layer(record: JsonObject) -> NetworkLayer:
    outputs = tuple(
        (text_in(one, "name"), text_in(one, "dtype"), _sizes(one)) for one in objects_in(record, "outputs")
    )
    inputs = tuple(texts_in(record, "inputs"))
    return NetworkLayer(text_in(record, "name"), text_in(record, "type"), inputs, outputs)


def _sizes(record: JsonObject) -> tuple[int, ...]:
    sizes = [one for one in list_in(record, "shape") if isinstance(one, int)]
    if len(sizes) != len(list_in(record, "shape")):
        raise Malformed("an entry of shape is not an integer")
    return tuple(sizes)


def types_of(layers: tuple[NetworkLayer, ...]) -> dict[str, int]:
    """The number of layers per type, by their first output."""
    return dict(sorted(Counter(one.outputs[0][1] for one in layers if one.outputs).items()))


def kinds_of(layers: tuple[NetworkLayer, ...]) -> dict[str, int]:
    """How many layers of each type there are."""
    return dict(sorted(Counter(one.type for one in layers).items()))


def records_beside(folder: Path, digest: Digest) -> tuple[dict[str, Json], list[str]]:
    """The contents of proof.json and bench.json for the engine with this digest, and notes on ignored ones."""
    found: dict[str, Json] = {}
    notes = []
    for name in _RECORDS:
        path = folder / name
        if not path.is_file():
            continue
        try:
            record = read_json(path)
        except ModelError as error:
            notes.append(error.problems[0].fact)
            continue
        if not isinstance(record, dict) or record.get("engine") != digest.hex:
            notes.append(f"'{path}' is about another engine and is ignored")
        else:
            found[name.removesuffix(".json")] = record
    return found, notes
