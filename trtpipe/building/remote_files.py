"""Lists a pipeline's remote files as facts for the plan, and describes them once they are downloaded.

Reads the spec only; downloads nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtpipe.errors import Problem, SpecPath
from trtpipe.loader.scalars import flow_yaml
from trtpipe.loader.specs import LoadedPipeline
from trtpipe.plan.address import address
from trtpipe.plan.fingerprint import Record
from trtpipe.plan.graph import FromStep, Input
from trtpipe.plan.planner.facts import FILES_FOLDER, SOURCE_FOLDER, FetchFacts
from trtpipe.problem_codes import Code
from trtpipe.spec.remote import RemoteFile


def fetch_facts(pipeline: LoadedPipeline) -> FetchFacts:
    """The files to download for a pipeline's model, and their places in the spec."""
    model = pipeline.spec.model
    files: dict[str, RemoteFile] = {}
    places: dict[str, SpecPath] = {}
    source = pipeline.remotes.get(("model", "source"))
    if source is not None:
        name = f"{SOURCE_FOLDER}model.{model.parser}"
        files[name], places[name] = source, ("model", "source")
    for place, (path, file) in sorted(pipeline.option_remotes().items()):
        files[FILES_FOLDER + place], places[FILES_FOLDER + place] = file, path
    beside = source is not None and model.parser == "onnx"
    return FetchFacts(files, places, beside, model.files)


def with_fetched(
    pipeline: LoadedPipeline, slots: Mapping[str, tuple[Input, ...]]
) -> dict[str, tuple[Input, ...]]:
    """The slots, extended by the outputs of the fetch step."""
    fetch, found = address("fetch", pipeline.spec.pipeline), dict(slots)
    if ("model", "source") in pipeline.remotes:
        found["source"] = (
            FromStep(fetch, (f"model.{pipeline.spec.model.parser}",), SOURCE_FOLDER, rest=True),
        )
    places = tuple(sorted(pipeline.option_remotes()))
    if places:
        found["files"] = (*slots["files"], FromStep(fetch, places, FILES_FOLDER))
    return found


def name_plainly(options: dict[str, Any], pipeline: LoadedPipeline) -> None:
    """Replaces a downloaded file's address in the options by its name; the address is only in the fetch step's key."""
    for path, file in pipeline.option_remotes().values():
        *way, last = path[2:]
        held: Any = options
        for step in way:
            held = held[step]
        held[last] = file.name


def unpinned(pipeline: LoadedPipeline, origins: Mapping[str, Record]) -> Iterator[Problem]:
    """A warning for each file that could change unnoticed; `origins` is the fetch step's information about each."""
    fetch = fetch_facts(pipeline)
    loose = [(name, file) for name, file in fetch.files.items() if name in origins]
    for name, file in loose:
        path, sha256 = fetch.places[name], origins[name]["sha256"]
        if not file.sha256:
            yield Problem(
                Code.NOT_PINNED,
                f"{file.shown} is not pinned",
                _how(path, file, sha256),
                path=path,
                severity="warning",
            )
        if file.moves and (commit := origins[name].get("commit")):
            fact = f"{file.revision or 'the default branch'!r} may change: it is commit {commit} now"
            yield Problem(
                Code.NOT_PINNED, fact, f"write {file.at_commit(commit).shown}", path=path, severity="warning"
            )
    beside = {name: origin for name, origin in origins.items() if name not in fetch.files}
    loose_beside = {
        name.removeprefix(SOURCE_FOLDER): one["sha256"] for name, one in beside.items() if not one["pinned"]
    }
    if loose_beside:
        lines = [
            "pin it in model:",
            "  files:",
            *(f"    {flow_yaml(name)}: {pin}" for name, pin in loose_beside.items()),
        ]
        fact = f"files next to the model are not pinned: {', '.join(loose_beside)}"
        yield Problem(Code.NOT_PINNED, fact, "\n".join(lines), path=("model", "source"), severity="warning")


def _how(path: SpecPath, file: RemoteFile, sha256: str) -> str:
    """The pin to paste into the spec."""
    if path == ("model", "source"):
        return f"pin it in model:\n  sha256: {sha256}"
    return f"pin it: {path[-1]}: {{source: {flow_yaml(file.shown)}, sha256: {sha256}}}"
