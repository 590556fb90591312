"""What a benchmark came to, as `bench.json` holds it: read and checked, and two of them compared.

A result of another machine, subject or shape is not compared, and that is said. Knows nothing of how it was measured.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trtpipe.errors import ModelError
from trtpipe.files import is_special
from trtpipe.measuring.differences import difference, words

SCHEMA = 1
NAME = "bench.json"
PARTS = ("compute", "copies_in", "copies_out", "total", "host")
COMPARED = ("compute", "total", "host")
"""The parts by which two results are compared: host only where nothing else was measured."""
_LARGEST = 64 << 20
_MOST_BLOCKS = 1 << 16


def read_record(path: Path) -> dict[str, Any]:
    """A result of `trtpipe bench`, checked as far as it is used here. Raises ModelError."""
    try:
        if is_special(path) or path.stat().st_size > _LARGEST:
            raise ValueError("it is no file, or too large")
        record = json.loads(path.read_bytes())
        _check(record)
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"'{path}' is no result of trtpipe bench", "it is written as bench.json") from error
    found: dict[str, Any] = record
    return found


def _check(record: Any) -> None:
    """Raises whatever a wrong record makes it raise."""
    if record["schema"] != SCHEMA or not all(isinstance(record[key], str) for key in ("cell", "subject")):
        raise ValueError("schema")
    machine = record["machine"]
    if not isinstance(machine["cpu"], str) or not isinstance(record["how"], dict):
        raise TypeError("machine")
    if machine["gpu"] is not None and not isinstance(machine["gpu"]["name"], str):
        raise TypeError("gpu")
    if not isinstance(record["measurements"], list):
        raise TypeError("measurements")
    for one in record["measurements"]:
        if not isinstance(one["shapes"], dict) or not isinstance(one["graph"], str):
            raise TypeError("measurement")
        for part, summary in one["latency"].items():
            if part in PARTS:
                _check_summary(summary)


def _check_summary(summary: Any) -> None:
    numbers = [summary["p50_us"], *summary["block_medians_us"]]
    right = all(
        isinstance(number, (int, float)) and math.isfinite(number) and number >= 0 for number in numbers
    )
    if not right or len(numbers) > _MOST_BLOCKS:
        raise ValueError("times")


def compared(this: Mapping[str, Any], that: Mapping[str, Any], what: str, within: float) -> dict[str, Any]:
    """How two results differ, by measurement and part: `this` against `that`, which is called `what`."""
    about = {"with": what, "cell": that["cell"], "engine": that.get("engine")}
    why_not = _differ(this, that)
    if why_not:
        return {**about, "why_not": why_not, "measurements": []}
    found = [*_pairs(this["measurements"], that["measurements"])]
    if not found:
        return {**about, "why_not": "it has none of these shapes and graphs", "measurements": []}
    return {
        **about,
        "why_not": "",
        "measurements": [
            {"shapes": ours["shapes"], "graph": ours["graph"], **_by_part(ours, theirs, within)}
            for ours, theirs in found
        ],
    }


def _differ(this: Mapping[str, Any], that: Mapping[str, Any]) -> str:
    """Why two results cannot be compared; empty when they can."""
    if this["subject"] != that["subject"]:
        return f"it is of the {that['subject']}"
    gpus = [(one["machine"]["gpu"] or {}).get("name") for one in (this, that)]
    if gpus[0] != gpus[1]:
        return f"it was measured on {gpus[1]}"
    on_cpu = gpus[0] is None
    if on_cpu and this["machine"]["cpu"] != that["machine"]["cpu"]:
        return f"it was measured on {that['machine']['cpu']}"
    threads = [one["how"].get("threads") for one in (this, that)]
    return f"it was measured with {threads[1]} threads" if on_cpu and threads[0] != threads[1] else ""


def _pairs(
    ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    for one in ours:
        for other in theirs:
            if (one["shapes"], one["graph"]) == (other["shapes"], other["graph"]):
                yield one, other
                break


def _by_part(ours: Mapping[str, Any], theirs: Mapping[str, Any], within: float) -> dict[str, Any]:
    parts = [part for part in COMPARED if _timed(ours, part) and _timed(theirs, part)]
    parts = [part for part in parts if part != "host"] or parts
    found = {part: difference(ours["latency"][part], theirs["latency"][part], within) for part in parts}
    return {"parts": {part: {**one.to_json(), "words": words(one)} for part, one in found.items()}}


def _timed(measurement: Mapping[str, Any], part: str) -> bool:
    """Whether a part took time that can be compared; an event's clock has ticks."""
    summary = measurement["latency"].get(part)
    return summary is not None and min(summary["p50_us"], *summary["block_medians_us"]) > 0
