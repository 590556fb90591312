"""`trtpipe build --check`: rebuilds what the lockfile holds in scratch directories and grades how equal it is.

    identical           the same bytes
    generated names     the same but for names that TensorRT's compiler numbers (the normalised digest)
    same tactics        the same layers with the same tactics: what the flavour tensorrt can promise
    same outputs        the same outputs on a GPU, bit by bit: not measured yet, and named as not run
    within tolerance    outputs within the variant's thresholds: likewise
    different           none of these, as far as it is known

Nothing is replaced: no artifact, no delivered file, not the lockfile. Steps that were never done here run as in any
build; those that were done, engines included, run again in a scratch directory.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trtpipe.digests import digest_file
from trtpipe.errors import ModelError, StoreError
from trtpipe.json_values import JsonObject
from trtpipe.lockfile.cell_facts import tactic_facts
from trtpipe.lockfile.entries import Entry, shown_digest
from trtpipe.metrics.engines import header_differences, io_differences, layer_differences, same_tactics
from trtpipe.plan.events import RebuildGraded
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult
from trtpipe.stores.local import LocalStore
from trtpipe.toolchains.header import read_engine_header

if TYPE_CHECKING:
    from trtpipe.plan.trace import Trace

Grade = Literal[
    "identical", "generated names", "same tactics", "same outputs", "within tolerance", "different"
]
GRADES: tuple[Grade, ...] = (
    "identical",
    "generated names",
    "same tactics",
    "same outputs",
    "within tolerance",
    "different",
)
"""From best to worst."""
OUTPUTS = "whether outputs are equal or within tolerance: both engines would have to run on their GPU"
"""Grades that need outputs, which are not compared yet; until then such engines count as different."""
_CHUNK = 1 << 20


@dataclass(slots=True)
class Graded:
    """A cell or a step, and its grade; without a grade, `not_run` says why."""

    name: str
    grade: Grade | None = None
    passed: bool = False
    details: list[str] = field(default_factory=list)
    """What differs, a line each."""
    not_run: list[str] = field(default_factory=list)
    failed: bool = False
    """Whether it is not graded because a step failed or the lockfile says otherwise: that is no excuse."""
    seconds: float = 0.0

    def event(self) -> RebuildGraded:
        """The grade as an event for an observer."""
        details, not_run = tuple(self.details), tuple(self.not_run)
        return RebuildGraded(self.name, self.grade, self.passed, details, not_run, self.seconds)


def grade_outputs(name: str, locked: Mapping[str, str], result: ActionResult) -> Graded:
    """Grades a step before the engines: its outputs either are those of the lockfile or not."""
    graded = Graded(name)
    for output, text in locked.items():
        path = result.files.get(output)
        now = shown_digest(digest_file(path)) if path is not None else "(none)"
        if now != text:
            graded.details.append(f"{output}: {text} -> {now}")
    graded.grade = "different" if graded.details else "identical"
    graded.passed = not graded.details
    return graded


def grade_engine(name: str, action: Action, locked: Entry, result: ActionResult, store: LocalStore) -> Graded:
    """Grades a rebuilt engine by its lockfile entry; the store's copy, if there is one, shows what differs."""
    flavour = action.fingerprint.tools["toolchain"]["flavour"]
    graded = Graded(name)
    old = _locked_trace(store, action.key, locked)
    engine = result.files["model.engine"]
    if shown_digest(digest_file(engine)) == locked.get("engine"):
        graded.grade, graded.passed = "identical", True
        return graded
    if result.summary["normalised"] == locked.get("normalised"):
        graded.grade = "generated names"
        graded.passed = flavour == "tensorrt" or _addresses_vary(locked, result.summary, old)
        if not graded.passed:
            graded.details.append(
                "addresses were fixed in both builds: generated names should have been equal"
            )
    elif flavour == "tensorrt" and _same_tactics(locked, result, old, store):
        graded.grade, graded.passed = "same tactics", True
    else:
        graded.grade = "different"
        graded.not_run.append(OUTPUTS)
    graded.details += _what_differs(result, old, store)
    return graded


def _locked_trace(store: LocalStore, key: str, locked: Entry) -> Trace | None:
    """The trace of the build that the lockfile describes; another trace of the same key cannot be used."""
    trace = store.trace(key)
    if trace is None or shown_digest(trace.outputs["model.engine"]) != locked.get("engine"):
        return None
    return trace


def _addresses_vary(locked: Entry, now: Mapping[str, Any], old: Trace | None) -> bool:
    """Whether address randomisation may have been on for one of the builds, or the addresses differed."""
    before = old.summary if old is not None else {}
    randomised = {locked.get("address_randomisation"), now.get("address_randomisation")}
    varying = {before.get("addresses"), now.get("addresses")}
    return bool(randomised - {"off"}) or "varying" in varying


def _same_tactics(locked: Entry, result: ActionResult, old: Trace | None, store: LocalStore) -> bool:
    if locked.get("tactics"):
        return tactic_facts(result.summary).get("tactics") == locked["tactics"]
    if old is None:
        return False
    return same_tactics(*_layers(result, old, store))


def _what_differs(result: ActionResult, old: Trace | None, store: LocalStore) -> list[str]:
    if old is None:
        return ["the locked engine is not in the store, so the differences are unknown"]
    lines = header_differences(old.summary.get("header"), _header_of(result.files["model.engine"]))
    before, now = _stored_json(store, old, "network.json"), _own_json(result, "network.json")
    if isinstance(before, dict) and isinstance(now, dict):
        lines += io_differences(_objects(before.get("io")), _objects(now.get("io")))
        layers = _objects(before.get("layers")), _objects(now.get("layers"))
        lines += layer_differences(*layers, "network layer")
    lines += layer_differences(*_layers(result, old, store))
    with contextlib.suppress(StoreError, OSError):
        lines += _byte_differences(store.path(old.outputs["model.engine"]), result.files["model.engine"])
    return lines


def _header_of(engine: Path) -> dict[str, Any] | None:
    try:
        return read_engine_header(engine).to_json()
    except ModelError:
        return None


def _layers(
    result: ActionResult, old: Trace, store: LocalStore
) -> tuple[Sequence[JsonObject], Sequence[JsonObject]]:
    """The layers of the locked build and of this one, from TensorRT's inspector."""
    stored, own = _stored_json(store, old, "layers.json"), _own_json(result, "layers.json")
    return _objects(stored), _objects(own)


def _objects(value: object) -> list[JsonObject]:
    """A list of objects; empty where it is anything else."""
    found = value if isinstance(value, list) else []
    return [one for one in found if isinstance(one, dict)]


def _stored_json(store: LocalStore, trace: Trace, name: str) -> object:
    """The content of a JSON file of the locked build; None when the store no longer has it."""
    try:
        return _json_in(store.path(trace.outputs[name]))
    except (StoreError, KeyError):
        return None


def _own_json(result: ActionResult, name: str) -> object:
    path = result.files.get(name)
    return _json_in(path) if path is not None else None


def _json_in(path: Path) -> object:
    """The content of a JSON file; None when it is not valid JSON."""
    try:
        found: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found


def _byte_differences(old: Path, new: Path) -> Iterator[str]:
    """Differing sizes, or how many bytes differ between which offsets: weights are contiguous, names scattered."""
    sizes = old.stat().st_size, new.stat().st_size
    if sizes[0] != sizes[1]:
        yield f"size: {sizes[0]} -> {sizes[1]} bytes"
        return
    count, first, last = 0, -1, -1
    with _mapped(old) as before, _mapped(new) as now:
        for start in range(0, sizes[0], _CHUNK):
            one, other = before[start : start + _CHUNK], now[start : start + _CHUNK]
            if one == other:
                continue
            at = [
                start + index for index, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]
            ]
            count, first, last = count + len(at), at[0] if first < 0 else first, at[-1]
    yield f"bytes: {count} of {sizes[0]} differ, the first at {first}, the last at {last}"


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


@contextlib.contextmanager
def timed(graded: Graded) -> Iterator[None]:
    """Records in `graded` how long the context lasted."""
    began = time.perf_counter()
    try:
        yield
    finally:
        graded.seconds = time.perf_counter() - began
