"""Fingerprints: the record of everything an action depends on. The key is the record's digest.

Both are kept: the key finds a trace, and the record explains why one was found or not. Reasons come from a generic
comparison of two records, so a field that is added here is explained without further code.

| field      | what it holds                                                                              |
|------------|--------------------------------------------------------------------------------------------|
| `schema`   | version of this record's own form                                                          |
| `stage`    | the kind of work, from the closed set                                                      |
| `version`  | the stage's integer version, raised when the same inputs would give other outputs          |
| `options`  | the stage's options after defaults: precision, profiles, builder options, compute capabilities |
| `tools`    | versions that can change the result: TensorRT's flavour and version for `build_engine`, and |
|            | the interpreter unless it is proved to change nothing (`targets/interpreters.py`); onnx,   |
|            | onnx-ir, onnxruntime for the stages that rewrite or run models                             |
| `inputs`   | slot → name → digest of every input's bytes                                                |

Deliberately not in the key:

- absolute paths, the project's location and the host's name: a checkout that moves, or another machine, must
  hit the same traces; the worker runs in a scratch directory under a constant relative path;
- mtimes and inodes: only the stat cache uses them, and it may be deleted at any time;
- job count, verbosity, progress, `--keep-going`, time and memory limits: they decide whether a step finishes, not what
  it produces (failures are never recorded);
- the timing cache: it makes a build faster and lives beside the store;
- the names of pipeline, variant and target, except `network_name`, which TensorRT writes into the engine and
  which is the same constant for all: two cells that ask for the same engine share it;
- the credentials of an address: a fetch step's key holds the address without its query, and a digest of the part of
  the query that does not look like a credential; no other step's key holds an address at all;
- the kind of processor: it may change scales, but the lockfile's scales are used (`workspace/locked_scales.py`);
- whether address randomisation could be switched off, and whether TensorRT could be kept at fixed addresses: where it
  could not, generated names and, of some networks, offsets and order change, not what the engine computes. The
  result records both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from trtpipe.digests import Digest, key_of
from trtpipe.json_values import JsonObject, Malformed, integer_in, object_in, text_in

SCHEMA = 1
Record = Mapping[str, Any]

RecordPath: TypeAlias = tuple[str | int, ...]
"""A way into a record: the keys of mappings and the indices of lists."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Everything that one action depends on; `options` and `tools` are JSON values."""

    stage: str
    version: int
    options: Record
    tools: Record
    inputs: Mapping[str, Mapping[str, Digest]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The JSON form whose digest is the key."""
        return {
            "schema": SCHEMA,
            "stage": self.stage,
            "version": self.version,
            "options": dict(self.options),
            "tools": dict(self.tools),
            "inputs": {
                slot: {name: str(digest) for name, digest in files.items()}
                for slot, files in self.inputs.items()
            },
        }

    @classmethod
    def from_record(cls, record: JsonObject) -> Fingerprint:
        """The fingerprint of a record. Raises ValueError when it is damaged or of another schema."""
        if integer_in(record, "schema") != SCHEMA:
            raise Malformed(f"a fingerprint of schema {record['schema']!r}")
        slots = object_in(record, "inputs")
        inputs = {slot: object_in(slots, slot) for slot in slots}
        return cls(
            text_in(record, "stage"),
            integer_in(record, "version"),
            object_in(record, "options"),
            object_in(record, "tools"),
            {
                slot: {name: Digest.parse(text_in(files, name)) for name in files}
                for slot, files in inputs.items()
            },
        )

    @property
    def key(self) -> str:
        """BLAKE3-256, in hex, of the record."""
        return key_of(self.record())


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs between two records; a side is None if it lacks the field.

    `field` is its name for people, `options.profiles[0].image.opt`; `path` is the same, already parsed.
    """

    field: str
    old: object
    new: object
    path: RecordPath = dataclasses.field(default=(), compare=False, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The change as a JSON object."""
        return {"field": self.field, "old": self.old, "new": self.new}


def changes_between(old: Record, new: Record) -> tuple[Change, ...]:
    """Every leaf that differs, in the order of the field's dotted path."""
    before, after = dict(leaves(old)), dict(leaves(new))
    named = sorted((shown_path(path), path) for path in before.keys() | after.keys())
    return tuple(
        Change(name, before.get(path), after.get(path), path)
        for name, path in named
        if before.get(path) != after.get(path)
    )


def leaves(value: object, path: RecordPath = ()) -> Iterator[tuple[RecordPath, object]]:
    """Every leaf value of a record, with its path; a list of plain values counts as one leaf."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def shown_path(path: RecordPath) -> str:
    """A path as people read it: `options.profiles[0].image.opt`."""
    names = (f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return "".join(names).removeprefix(".")
