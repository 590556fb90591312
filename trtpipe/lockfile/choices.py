"""The choices that the lockfile holds: of precision searches, and of kernels (tactics) by TensorRT; and whether a
search's trace agrees with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trtpipe.lockfile.entries import KEEP, Entry
from trtpipe.lockfile.recipes import recipe_of
from trtpipe.plan.trace import Trace


def choices_in(entries: Iterable[Entry]) -> dict[str, dict[str, Any]]:
    """The recipe of each search whose choice the cells hold → `precision`, `base`, `keep` and what was `reached`.

    A search whose cells contradict each other is left out, because somebody edited one of them.
    """
    found: dict[str, dict[str, Any]] = {}
    contradicted = set()
    for entry in entries:
        key = entry.get("search")
        if isinstance(key, str) and entry.get("precision"):
            keep = {
                name.removeprefix(KEEP): list(fact) for name, fact in entry.items() if name.startswith(KEEP)
            }
            one = {"precision": entry["precision"], "base": entry.get("base"), "keep": keep}
            one["reached"] = entry.get("reached", "")
            if found.setdefault(key, one) != one:
                contradicted.add(key)
    return {key: one for key, one in found.items() if key not in contradicted}


def tactics_in(entries: Iterable[Entry]) -> dict[str, dict[str, str]]:
    """An engine's key → the tactics that the cells hold for it."""
    return {
        str(entry["key"]): dict(tactics)
        for entry in entries
        if isinstance(tactics := entry.get("tactics"), Mapping) and entry.get("key")
    }


def gpu_in(cells: Mapping[str, Entry], pipeline: str, target: str) -> Mapping[str, str]:
    """The GPU that the engines of a target are tied to, by the first of its cells; empty if none says it."""
    for name, entry in cells.items():
        gpu = entry.get("gpu")
        if name.startswith(f"{pipeline}/") and name.endswith(f"@{target}") and isinstance(gpu, Mapping):
            return gpu
    return {}


def agrees(trace: Trace, choices: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a search's trace agrees with the lockfile's choice for its key.

    A choice that was found here is valid unless the lockfile has another one. A choice that was taken from a lockfile
    is valid only while the lockfile has it: an edited choice must not survive the edit, or spread by a shared store.
    """
    known = choices.get(recipe_of(trace.fingerprint))
    if known is None:
        return bool(trace.summary["from"] == "a search")
    one = trace.summary["choice"]
    told = {name: sorted(globs) for name, globs in known["keep"].items()}
    found = {name: sorted(globs) for name, globs in one["keep"].items()}
    return bool((known["precision"], known["base"], told) == (one["precision"], one["base"], found))
