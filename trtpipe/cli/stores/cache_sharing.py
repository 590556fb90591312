"""`trtpipe cache push|pull|keygen`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.problem_codes import Code
from trtpipe.shapes import format_size
from trtpipe.workspace.stores import use_remote

if TYPE_CHECKING:
    from trtpipe.stores.layered import LayeredStore
    from trtpipe.stores.remote import Traffic


def push_command(*, everything: bool, as_json: bool) -> int:
    """Send what the remote lacks. Raises StoreError when it cannot be reached, SpecError when it is only read."""
    from trtpipe.app.store.retention import open_cache, roots_of
    from trtpipe.stores.collector import needed_keys
    from trtpipe.stores.survey import survey

    cache = open_cache()
    store = _shared(cache.store)
    assert store.remote is not None
    if not store.remote.terms.writes:
        why = store.warnings[0] if store.warnings else "the remote store is only read"
        raise SpecError(
            Code.NO_REMOTE_STORE,
            why,
            "write store: {mode: read-write}, or set TRTPIPE_REMOTE_MODE=read-write",
        )
    found = survey(store)
    names = found.traces.keys() if everything else needed_keys(found, roots_of([cache.project.root]))
    own = [found.traces[name].trace for name in sorted(names) if not found.traces[name].place]
    for trace in own:  # traces of others are not sent, because they would be signed as one's own
        store.push(trace)
    store.settle()
    traffic = store.remote.traffic
    return _told(
        traffic,
        f"sent {_things(traffic.traces_sent, 'trace')} and {_things(traffic.sent, 'artifact')}, "
        f"{format_size(traffic.bytes_sent)}, of {_things(len(own), 'trace')}",
        as_json=as_json,
    )


def pull_command(specs: Sequence[str], only: Sequence[str], *, as_json: bool) -> int:
    """Bring here what the remote has for some cells. Raises StoreError when it cannot be reached."""
    from trtpipe.building.planned import make_plan
    from trtpipe.plan.decisions import Restore, UpToDate
    from trtpipe.workspace.workspace import open_workspace

    workspace = open_workspace(specs, only)
    store = _shared(workspace.store)
    assert store.remote is not None
    decisions = make_plan(workspace).decisions.values()
    known = [one for one in decisions if isinstance(one, (UpToDate, Restore))]
    store.pull([digest for one in known for digest in one.outputs.values()])
    lacking = len(decisions) - len(known)
    traffic = _together([one.traffic for one in store.remotes])
    rest = f"; {_things(lacking, 'step')} must be built" if lacking else ""
    return _told(
        traffic,
        f"received {_things(traffic.traces_received, 'trace')} and {_things(traffic.received, 'artifact')}, "
        f"{format_size(traffic.bytes_received)}{rest}",
        as_json=as_json,
    )


def keygen_command(file: Path) -> int:
    """Write a secret key that only its owner may read; never replaces a file."""
    from trtpipe.stores.signatures import new_key

    secret, public = new_key()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"{file} exists already",
            "an existing file is never replaced: name another file",
        ) from None
    except OSError as error:
        raise SpecError(
            Code.CANNOT_WRITE, f"cannot write {file}: {(error.strerror or str(error)).lower()}"
        ) from error
    with os.fdopen(handle, "w") as stream:
        stream.write(secret + "\n")
    note(f"wrote {file}: keep it secret, and out of the repository")
    say(public)
    return EXIT_DONE


def _shared(store: object) -> LayeredStore:
    """The store with its remote, whose failure is an error here. Raises SpecError when there is none."""
    from trtpipe.stores.layered import LayeredStore

    if not isinstance(store, LayeredStore) or store.remote is None:
        raise SpecError(
            Code.NO_REMOTE_STORE,
            "there is no remote store",
            "name one in trtpipe.yaml: store: {remote: s3://BUCKET/PREFIX}",
        )
    use_remote(store, offline=False, required=True)
    return store


def _together(traffics: Sequence[Traffic]) -> Traffic:
    """The transfers of all remotes, added up."""
    from trtpipe.stores.remote import Traffic

    counts = [asdict(one) for one in traffics]
    return Traffic(**{name: sum(one[name] for one in counts) for name in counts[0]})


def _told(traffic: Traffic, line: str, *, as_json: bool) -> int:
    if as_json:
        say_json(asdict(traffic))
    else:
        say(line)
    return EXIT_DONE


def _things(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
