"""Asking an object store: s3 and gs, through obstore, an extra.

Credentials, region and endpoint come from the environment as obstore reads it: `AWS_*`, `GOOGLE_*`. Plain HTTP is
allowed to an endpoint on this machine, or where `$AWS_ALLOW_HTTP` says so.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from trtpipe.errors import masked
from trtpipe.fetching.answers import Answer, Broken, Other, Refused
from trtpipe.spec.remote import RemoteFile, is_local_address

_PIECE = 1 << 20
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
}
_DAY = timedelta(days=1)
_WHERE = {
    "s3": "$AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_REGION, or AWS_SKIP_SIGNATURE=true for a public one",
    "gs": "$GOOGLE_SERVICE_ACCOUNT, or GOOGLE_SKIP_SIGNATURE=true for a public one",
}


def asking(remote: RemoteFile, stall: float) -> Callable[[int, Mapping[str, Any]], Any]:
    """What asks an object store for this file. Raises Refused when obstore is missing or cannot be set up."""
    try:
        from obstore import store as stores
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise Refused("it needs the package obstore", "install it: pip install 'trtpipe[remote]'") from error
    client: Any = {
        "timeout": _DAY,
        "connect_timeout": timedelta(seconds=stall),
        "read_timeout": timedelta(seconds=stall),
    }
    if any(is_local_address(os.environ.get(name, "")) for name in _ENDPOINTS[remote.scheme]):
        client["allow_http"] = True
    kind = stores.S3Store if remote.scheme == "s3" else stores.GCSStore
    try:
        opened = kind(remote.host, client_options=client, retry_config={"max_retries": 0})
    except (BaseError, ValueError) as error:
        raise Refused(f"{_first(error)}", f"its access comes from {_WHERE[remote.scheme]}") from error
    return functools.partial(_ask, remote, opened)


@contextmanager
def _ask(remote: RemoteFile, store: Any, start: int, mark: Mapping[str, str]) -> Iterator[Answer]:
    import obstore

    options: Any = {}
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


def _pieces(remote: RemoteFile, found: Any) -> Iterator[bytes]:
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
    """What obstore raises, in words; whatever may pass is worth another try."""
    from obstore import exceptions

    access = f"its access comes from {_WHERE[remote.scheme]}"
    try:
        yield
    except (exceptions.NotFoundError, FileNotFoundError) as error:
        raise Refused("there is no such object", "look at the bucket and the key") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise Refused("access was denied", access) from error
    except exceptions.PreconditionError as error:
        raise Other("the object has changed") from error
    except exceptions.InvalidPathError as error:
        raise Refused("its key is none that can be asked for", "look at the key") from error
    except (exceptions.BaseError, OSError, ValueError) as error:
        words = str(error)
        status = int(found[1]) if (found := _STATUS.search(words)) else 0
        if status == 416:
            raise Other("the object is shorter than what was fetched") from error
        if 300 <= status < 500 and status not in (408, 425, 429):
            raise Refused(f"the store says {status}", access) from error
        raise Broken(f"the store says {status}" if status else _first(error)) from error


_STATUS = re.compile(r"\bstatus:? ?(?:code:? ?)?(\d{3})\b", re.IGNORECASE)


def _first(error: Exception) -> str:
    """The first line of what obstore says, which may go on with the insides of its error."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return masked(lines[0])[:200].lower()
