"""Downloads from web servers: https, http and, through the addresses that its hub resolves, hf.

Requests are made with the standard library. This module decides where a redirect may lead and which headers it carries,
how a byte range is requested, which answers are retried, and limits every wait. Certificates are verified. Credentials:
`$HF_TOKEN` is sent to `$HF_ENDPOINT` only. Proxies come from the environment.
"""

from __future__ import annotations

import contextlib
import email.utils
import functools
import http.client
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import ParamSpec

from trtpipe import __version__
from trtpipe.errors import masked
from trtpipe.fetch.answers import Answer, Ask, Broken, Other, Refused
from trtpipe.spec.remote import RemoteFile, is_local_address, is_local_host

P = ParamSpec("P")

_MOST_REDIRECTS = 10
_PIECE = 1 << 18
_HUB = "https://huggingface.co"
_HUB_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?(/[A-Za-z0-9._~/-]*)?")
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)")


def asking(remote: RemoteFile, stall: float) -> Ask:
    """The function that requests this file, waiting at most `stall` seconds for the start and between bytes."""
    url, headers = _hub_request(remote) if remote.scheme == "hf" else (remote.url, {})
    return functools.partial(_ask, remote, url, headers, stall)


def _hub_request(remote: RemoteFile) -> tuple[str, dict[str, str]]:
    """The address that the hub resolves the file to, and the token for it."""
    hub = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    if not _HUB_ADDRESS.fullmatch(hub) or (hub.startswith("http:") and not is_local_address(hub)):
        raise Refused(f"$HF_ENDPOINT is {masked(hub)!r}", f"write an https:// address, for example {_HUB}")
    revision = urllib.parse.quote(urllib.parse.unquote(remote.revision or "main"), safe="")
    url = f"{hub}/{remote.host}/resolve/{revision}/{urllib.parse.quote(remote.path)}"
    token = os.environ.get("HF_TOKEN", "").strip()
    return url, {
        "Authorization": f"Bearer {token}"
    } if token.isascii() and token.isprintable() and token else {}


@contextmanager
def _ask(
    remote: RemoteFile, url: str, secret: Mapping[str, str], stall: float, start: int, mark: Mapping[str, str]
) -> Iterator[Answer]:
    headers = {
        "User-Agent": f"trtpipe/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        **_range_headers(start, mark),
    }
    facts: dict[str, str] = {}
    with _mapped():
        response = _follow(remote, url, headers, secret, stall, facts)
    with contextlib.closing(response):
        yield _answer(remote, response, start, facts)


def _range_headers(start: int, mark: Mapping[str, str]) -> dict[str, str]:
    """Headers for the bytes from `start` on; the server sends the whole file if it has changed meanwhile."""
    if not start:
        return {}
    # If-Range takes strong validators only (RFC 9110, 13.1.5): a weak ETag does not promise equal bytes.
    etag = mark.get("etag", "")
    strong = etag if etag and not etag.startswith("W/") else mark.get("modified", "")
    return {"Range": f"bytes={start}-", **({"If-Range": strong} if strong else {})}


def _follow(
    remote: RemoteFile,
    url: str,
    headers: Mapping[str, str],
    secret: Mapping[str, str],
    stall: float,
    facts: dict[str, str],
) -> http.client.HTTPResponse:
    """The response after redirects. The secret is sent to the first server only."""
    first = urllib.parse.urlsplit(url)
    for _ in range(_MOST_REDIRECTS + 1):
        here = urllib.parse.urlsplit(url)
        own = secret if (here.scheme, here.netloc) == (first.scheme, first.netloc) else {}
        response = _open(url, {**headers, **own}, stall)
        if remote.scheme == "hf" and own == secret and (commit := response.headers.get("X-Repo-Commit")):
            facts |= {"commit": commit} if re.fullmatch(r"[0-9a-f]{40}", commit) else {}
        if response.status not in _REDIRECTS:
            return response
        location = response.headers.get("Location", "")
        response.close()
        url = _next(remote, url, location)
    raise Refused(f"the server redirects more often than {_MOST_REDIRECTS} times")


def _next(remote: RemoteFile, url: str, location: str) -> str:
    """The target of a redirect. Raises Refused unless it is as safe as the address that redirected."""
    target = urllib.parse.quote(urllib.parse.urljoin(url, location), safe="/%:@!$&'()*+,;=~?#[]")
    parts = urllib.parse.urlsplit(target)
    shown = masked(target)[:200]
    if not location or parts.scheme not in ("https", "http") or not parts.hostname:
        raise Refused(f"the server redirects to {shown!r}, which is not an https:// address")
    if parts.username is not None or parts.password is not None:
        raise Refused(f"the server redirects to {shown!r}, an address with a user name")
    if parts.scheme == "http":
        was_plain = urllib.parse.urlsplit(url).scheme == "http"
        safe = remote.sha256 if not is_local_host(parts.netloc) else True
        if not was_plain or not safe:
            raise Refused(
                f"the server redirects to {shown!r}, which is plain http and can be altered in transit"
            )
    return target


def _answer(
    remote: RemoteFile, response: http.client.HTTPResponse, start: int, facts: Mapping[str, str]
) -> Answer:
    status, headers = response.status, response.headers
    mark = {
        name: headers[key] for name, key in (("etag", "ETag"), ("modified", "Last-Modified")) if headers[key]
    }
    if headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise Refused(
            f"the server sends it as {headers['Content-Encoding']!r}, although that was not requested"
        )
    if status == 206:
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if not start or found is None or found[1] is None:
            raise Other("the server sent another part than requested")
        total = int(found[2]) if found[2] != "*" else None
        return Answer(int(found[1]), total, mark, _pieces(response), facts)
    if status == 416 and start:
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        if found is not None and found[2] == str(start):
            return Answer(start, start, mark, iter(()), facts)
        raise Other("the file on the server is shorter than the part downloaded before")
    if status != 200:
        raise _no(remote, response)
    length = headers.get("Content-Length", "")
    chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
    said = chunked or (length.isascii() and length.isdecimal() and len(length) <= 18)
    if not said and (length or not remote.sha256):
        fact = (
            f"the server reports its length as {length[:40]!r}"
            if length
            else "the server does not report its length"
        )
        raise Refused(
            fact,
            "pin it, because otherwise a broken connection could look like the end of the file: sha256: 4c3f…",
        )
    total = int(length) if length and not chunked else None
    return Answer(0, total, mark, _pieces(response), facts)


def _no(remote: RemoteFile, response: http.client.HTTPResponse) -> Broken | Refused:
    """The exception for a status that delivers no file."""
    status = response.status
    words = http.client.responses.get(status, "")
    fact = f"the server answered {status} {words}".rstrip().lower()
    if status in _PASSING:
        return Broken(fact, _seconds(response.headers.get("Retry-After", "")))
    remedy = {
        404: "check the address: there is no such file",
        410: "the file was removed: look for it elsewhere",
    }.get(status, "")
    if status in (401, 403) or (status == 404 and remote.scheme == "hf"):
        remedy = {
            "hf": "check the address; for a private or gated repository set $HF_TOKEN to a token that may read it",
        }.get(remote.scheme, "it may need a login or a new signed address")
    return Refused(fact, remedy)


def _seconds(text: str) -> float:
    """The value of `Retry-After`, in seconds."""
    if text.isascii() and text.isdecimal():
        return float(text[:6])
    with contextlib.suppress(TypeError, ValueError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return 0.0


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _mapped():
            piece = response.read1(_PIECE)
        if not piece:
            return
        yield piece


@contextmanager
def _mapped() -> Iterator[None]:
    """Turns network errors into Broken, which is retried; only a bad certificate is permanent."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"its certificate is not valid: {error.verify_message}", "check the address") from error
    except TimeoutError as error:
        raise Broken("the server stopped responding") from error
    except http.client.IncompleteRead as error:
        raise Broken("the connection ended too early") from error
    except http.client.HTTPException as error:
        raise Broken(f"the server does not speak HTTP: {type(error).__name__}") from error
    except (OSError, ValueError) as error:
        raise _unconnected(getattr(error, "reason", error)) from error


def _unconnected(reason: object) -> Refused | Broken:
    """Why no connection could be made."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        fact = f"its certificate is not valid: {reason.verify_message}"
        return Refused(fact, "check the address, or set $SSL_CERT_FILE to the trusted certificates")
    if isinstance(reason, socket.gaierror):
        return Broken("its host is unknown")
    if isinstance(reason, TimeoutError):
        return Broken("the server did not answer in time")
    words = getattr(reason, "strerror", None) or str(reason)
    return Broken(f"no connection: {masked(words)[:200].lower()}")


class _Watched:
    """Makes connections that another thread can close, because a server may send its headers a byte a minute."""

    def __init__(self) -> None:
        self._last: http.client.HTTPConnection | None = None
        self.was_cut = False

    def watching(
        self, connect: Callable[P, http.client.HTTPConnection]
    ) -> Callable[P, http.client.HTTPConnection]:
        """The same connection factory, remembering the last connection so that it can be closed."""

        def watched(*args: P.args, **how: P.kwargs) -> http.client.HTTPConnection:
            self._last = connect(*args, **how)
            return self._last

        return watched

    def cut(self) -> None:
        self.was_cut = True
        with contextlib.suppress(OSError, AttributeError):
            assert self._last is not None
            self._last.sock.shutdown(socket.SHUT_RDWR)


@functools.cache
def _verified() -> ssl.SSLContext:
    """A TLS context that verifies certificates and host names; loading the system's authorities takes a while."""
    return ssl.create_default_context()


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, watched: _Watched) -> None:
        super().__init__()
        self._watched = watched

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._watched.watching(http.client.HTTPConnection), req)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, watched: _Watched) -> None:
        super().__init__()
        self._watched = watched

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._watched.watching(http.client.HTTPSConnection), req, context=_verified())


def _open(url: str, headers: Mapping[str, str], stall: float) -> http.client.HTTPResponse:
    """Makes one request without following redirects or raising on error statuses; only http and https are supported."""
    watched = _Watched()
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Plain(watched), _Secure(watched)):
        opener.add_handler(handler)
    timer = threading.Timer(stall, watched.cut)
    timer.daemon = True
    timer.start()
    try:
        response = opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=stall)  # noqa: S310
    except (OSError, http.client.HTTPException) as error:
        if watched.was_cut:
            raise TimeoutError from error
        raise
    finally:
        timer.cancel()
    if watched.was_cut:  # http.client would take the headers received so far for all of them
        raise TimeoutError
    assert isinstance(response, http.client.HTTPResponse)
    return response
