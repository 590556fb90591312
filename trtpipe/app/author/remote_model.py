"""A first spec for a remote model: downloaded into the store, recognised by its content, pinned to its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtpipe.app.author.proposal import Recognised, hints_of
from trtpipe.building.canonical_models import brought
from trtpipe.errors import SpecError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.recognition import options_of, propose
from trtpipe.inspection.init_spec import ModelHead
from trtpipe.plan.planner import fetch_step
from trtpipe.plan.planner.facts import SOURCE_FOLDER, FetchFacts
from trtpipe.plan.ports import Observer
from trtpipe.problem_codes import Code
from trtpipe.spec.remote import RemoteFile
from trtpipe.workspace.workspace import Workspace


def recognise_remote(
    remote: RemoteFile, workspace: Workspace, folder: Path, observer: Observer
) -> Recognised:
    """Finds the frontend for a remote model; its files are put into `folder`. Raises SpecError or ModelError."""
    name = SOURCE_FOLDER + remote.name
    origin = _fetch(FetchFacts({name: remote}), workspace, folder, observer)[name]
    pins: dict[str, str] = {}

    def fetch_beside() -> None:
        about = _fetch(FetchFacts({name: remote}, beside=True), workspace, folder, observer)
        pins.update({one.removeprefix(SOURCE_FOLDER): about[one]["sha256"] for one in about if one != name})

    frontend, proposal = propose(folder / name, fetch_beside)
    if proposal.source != folder / name or any(isinstance(one, Path) for one in proposal.options.values()):
        fact = f"{remote.shown} is one of several files that make up a model for the parser {frontend.name!r}"
        raise SpecError(Code.PARSER_OPTIONS, fact)
    options = options_of(frontend, proposal.options)
    if remote.moves and "commit" in origin:
        remote = remote.at_commit(origin["commit"])
    head = ModelHead(
        remote.url,
        frontend.name,
        dict(proposal.options),
        proposal.comment,
        origin["sha256"],
        pins,
        hints_of(proposal),
    )
    files = ModelFiles(folder / name, {}, folder / SOURCE_FOLDER)
    return Recognised(frontend, head, files, options)


def _fetch(
    facts: FetchFacts, workspace: Workspace, folder: Path, observer: Observer
) -> Mapping[str, Mapping[str, Any]]:
    """Fetch the files into the store and put them into `folder`; returns what the server said about each."""
    store = workspace.store
    trace = brought([fetch_step("init", facts)], workspace.site, observer=observer)
    for name, digest in trace.outputs.items():
        store.fetch(digest, folder / name)
    found: Mapping[str, Mapping[str, Any]] = trace.summary["files"]
    return found
