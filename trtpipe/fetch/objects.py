"""Downloads from object stores (s3 and gs) through obstore, which is an optional dependency.

Credentials, region and endpoint come from the environment as obstore reads it: `AWS_*`, `GOOGLE_*`. Plain HTTP is
allowed only to an endpoint on this machine, or when `$AWS_ALLOW_HTTP` is set.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from trtpipe.fetch.answers import Answer, Ask, Broken, Other, Refused
from trtpipe.fetch.openers import ACCESS, client_options, first_line, status_in
from trtpipe.spec.remote import RemoteFile

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import ObjectStore

_PIECE = 1 << 20
_DAY = timedelta(days=1)


def asking(remote: RemoteFile, stall: float) -> Ask:
    """The function that requests this file. Raises Refused when obstore is missing or cannot be set up."""
    try:
        from obstore import store as stores
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise Refused("it needs the package obstore", "install it: pip install 'trtpipe[remote]'") from error
    client = client_options(remote.scheme, stall, _DAY)
    kind = stores.S3Store if remote.scheme == "s3" else stores.GCSStore
    try:
        opened = kind(remote.host, client_options=client, retry_config={"max_retries": 0})
    except (BaseError, ValueError) as error:
        raise Refused(f"{first_line(error)}", f"set the credentials: {ACCESS[remote.scheme]}") from error
    return functools.partial(_ask, remote, opened)


@contextmanager
def _ask(remote: RemoteFile, store: ObjectStore, start: int, mark: Mapping[str, str]) -> Iterator[Answer]:
    import obstore

    options: dict[str, object] = {}
    if start:
        options = {"range": {"offset": start}}
        if "etag" in mark:
            options["if_match"] = mark["etag"]
    if start and mark.get("size") == str(start):
        options = {"head": True, **({"if_match": mark["etag"]} if "etag" in mark else {})}
    with _mapped(remote):
        found = obstore.get(store, remote.path, options=options)
        meta = found.meta
        begins = start if options.get("head") else found.range[0]
    now = {"size": str(meta["size"])}
    now |= {"etag": meta["e_tag"]} if meta["e_tag"] else {}
    now |= {"version": meta["version"]} if meta["version"] else {}
    facts = {"version": meta["version"]} if meta["version"] else {}
    pieces = iter(()) if options.get("head") else _pieces(remote, found)
    yield Answer(begins, meta["size"], now, pieces, facts)


def _pieces(remote: RemoteFile, found: GetResult) -> Iterator[bytes]:
    with _mapped(remote):
        stream = iter(found.stream(min_chunk_size=_PIECE))
    while True:
        with _mapped(remote):
            piece = next(stream, None)
        if piece is None:
            return
        yield bytes(piece)


@contextmanager
def _mapped(remote: RemoteFile) -> Iterator[None]:
    """Turns obstore's exceptions into ours; whatever may be temporary is retried."""
    from obstore import exceptions

    access = f"set the credentials: {ACCESS[remote.scheme]}"
    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        raise Refused("there is no such object", "check the bucket and the key") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise Refused("access was denied", access) from error
    except exceptions.PreconditionError as error:
        raise Other("the object has changed") from error
    except exceptions.InvalidPathError as error:
        raise Refused("its key is not valid", "check the key") from error
    except (exceptions.BaseError, OSError, ValueError) as error:
        status = status_in(error)
        if status == 416:
            raise Other("the object is shorter than the part downloaded before") from error
        if 300 <= status < 500 and status not in (408, 425, 429):
            raise Refused(f"the store answered {status}", access) from error
        raise Broken(f"the store answered {status}" if status else first_line(error)) from error
