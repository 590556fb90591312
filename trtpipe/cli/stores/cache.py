"""`trtpipe cache ls|stats|gc|verify|path|adopt`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trtpipe.app.store.retention import Cache, artifact_called, open_cache
from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size, parse_size

_DAY = 24 * 3600
_UNITS = {"m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY}
_DEFAULT_AGE = 30 * _DAY


def list_command(*, as_json: bool) -> int:
    """Print every trace: its key, its step, its outputs and when it was last used."""
    from trtpipe.stores.survey import stage_of, survey
    from trtpipe.text.tables import render_table

    store = open_cache().store
    traces = sorted(survey(store).traces.values(), key=lambda one: -one.used)
    if as_json:
        say_json(
            [
                {
                    "key": one.trace.key,
                    "address": one.trace.address,
                    "stage": stage_of(one.trace),
                    "from": one.place or None,
                    "used": round(one.used, 3),
                    "outputs": {name: str(digest) for name, digest in one.trace.outputs.items()},
                }
                for one in traces
            ]
        )
    elif not traces:
        say(f"the store {store.root} is empty")
    else:
        now = time.time()
        rows = [
            (
                one.trace.key[:12],
                one.trace.address,
                format_size(sum(digest.size for digest in one.trace.outputs.values())),
                _age(now - one.used),
                " ".join(f"{name}={digest.short}" for name, digest in sorted(one.trace.outputs.items()))
                + (f" (from {one.place})" if one.place else ""),
            )
            for one in traces
        ]
        say(render_table(("key", "step", "size", "used", "artifacts"), rows))
    return EXIT_DONE


def stats_command(*, as_json: bool) -> int:
    """Print how much the store holds."""
    from trtpipe.stores.collector import Limits, collect
    from trtpipe.stores.survey import survey

    cache = open_cache()
    found, projects = survey(cache.store), cache.projects()
    judged = collect(cache.store, cache.roots(), Limits(older_than=0.0, grace=-1.0), dry_run=True)
    _tell(cache)
    aside = [path for path in (cache.store.root / "quarantine").glob("*") if path.is_file()]
    stats: dict[str, Any] = {
        "store": str(cache.store.root),
        "traces": len(found.traces),
        "artifacts": len(found.artifacts),
        "bytes": sum(one.size for one in found.artifacts.values()),
        "needed": judged.needed,
        "quarantined": len(aside),
        "projects": [str(path) for path in projects],
    }
    if as_json:
        say_json(stats)
        return EXIT_DONE
    say(f"store        {stats['store']}")
    say(f"traces       {stats['traces']}")
    say(f"artifacts    {stats['artifacts']}, {format_size(stats['bytes'])}")
    say(f"needed       {format_size(stats['needed'])}, by {_count(projects, 'project')}")
    say(f"quarantined  {_count(aside, 'file')}")
    return EXIT_DONE


def gc_command(
    roots: Sequence[Path], older_than: str | None, max_size: str | None, *, dry_run: bool, as_json: bool
) -> int:
    """Remove what is not needed."""
    from trtpipe.stores.collector import Limits, collect

    age = _seconds(older_than) if older_than is not None else None if max_size is not None else _DEFAULT_AGE
    limits = Limits(age, _size(max_size) if max_size is not None else None)
    cache = open_cache()
    found = collect(cache.store, cache.roots(roots), limits, dry_run=dry_run)
    _tell(cache)
    if as_json:
        told = {"dry_run": dry_run, "traces": found.traces, "artifacts": found.artifacts}
        say_json(
            {**told, "freed": found.freed, "kept": found.kept, "needed": found.needed, "young": found.young}
        )
        return EXIT_DONE
    went = "would go" if dry_run else "went"
    say(
        f"{_count(found.artifacts, 'artifact')} and {_count(found.traces, 'trace')} {went}, "
        f"{format_size(found.freed)}; "
        f"{format_size(found.kept)} stay, {format_size(found.needed)} of it needed by lockfiles and last builds"
    )
    if limits.max_size is not None and found.kept > limits.max_size:
        young = f" ({format_size(found.young)} came within the last hour)" if found.young else ""
        note(f"warning: what must stay is more than {format_size(limits.max_size)}{young}")
    return EXIT_DONE


def verify_command(*, as_json: bool) -> int:
    """Read everything again. 1 when something is damaged."""
    from trtpipe.stores.verification import verify

    found = verify(open_cache().store)
    if as_json:
        told = {"artifacts": found.artifacts, "traces": found.traces, "bytes": found.bytes}
        say_json({**told, "damaged": found.damaged, "incomplete": found.incomplete})
    else:
        for text in found.damaged:
            note(text)
        if found.incomplete:
            incomplete = _count(found.incomplete, "trace")
            note(f"{incomplete} without all artifacts: they are fetched or made again when needed")
        say(
            f"verified {_count(range(found.artifacts), 'artifact')} ({format_size(found.bytes)}) and "
            f"{_count(range(found.traces), 'trace')}: "
            + (f"{len(found.damaged)} damaged and quarantined" if found.damaged else "all are whole")
        )
    return EXIT_FAILED if found.damaged else EXIT_DONE


def adopt_command(*, as_json: bool) -> int:
    """Move the project's former store into the user's store."""
    from dataclasses import asdict

    from trtpipe.workspace.former_stores import adopt

    cache = open_cache()
    found = adopt(cache.project, cache.store)
    if as_json:
        say_json({"store": str(cache.store.root), **asdict(found)})
        return EXIT_DONE
    say(
        f"{_count(range(found.artifacts), 'artifact')} ({format_size(found.bytes)}) and "
        f"{_count(range(found.traces), 'trace')} went into {cache.store.root}; only this project trusts them"
        + (f"; {_count(range(found.left_out), 'trace')} left out" if found.left_out else "")
    )
    return EXIT_DONE


def path_command(what: str, name: str) -> int:
    """Print the path of one artifact."""
    cache = open_cache()
    path = cache.store.path(artifact_called(cache, what, name))
    say(str(path))
    return EXIT_DONE


def _tell(cache: Cache) -> None:
    for text in cache.store.warnings:
        note(f"warning: {text}")
    cache.store.warnings.clear()


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if match is None:
        raise SpecError(Code.BAD_ARGUMENT, f"not an age: {text!r}", "write it as 30d, 12h, 8w or 90m")
    return float(int(match[1]) * _UNITS[match[2]])


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise SpecError(Code.BAD_ARGUMENT, str(error)) from None


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def _age(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit in ("w", "d", "h", "m"):
        if seconds >= 2 * _UNITS[unit]:
            return f"{int(seconds // _UNITS[unit])}{unit} ago"
    return "now"
