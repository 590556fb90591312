"""Talks to a container registry as OCI's distribution specification 1.1 has it: blobs, manifests, referrers.

`oras` reads the user's Docker configuration and obtains tokens; nothing of a project has a say in either. Requests are
ours, because files are sent from disk a piece at a time and a credential goes to nobody but the registry and the
server of tokens that it names, encrypted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

from trtpipe.errors import PackageError, SpecError, masked
from trtpipe.fleet.places import is_loopback
from trtpipe.json_values import JsonObject, Malformed, read_object
from trtpipe.packages.oci.documents import MANIFEST, Descriptor, Document
from trtpipe.packages.oci.reader import IMAGE_INDEX
from trtpipe.packages.oci.reference import Reference
from trtpipe.problem_codes import Code

Body = Callable[[], BinaryIO | bytes]
"""Opens what is sent, from its beginning, as often as it must be sent."""

_TIMEOUT = (10, 300)  # to connect, and until the registry answers; seconds
_ATTEMPTS = 4
_LARGEST_ANSWER = 4 << 20
_ELSEWHERE = (301, 302, 303, 307, 308)
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the registry answered; read whole, so that the connection is free for the next request."""

    status: int
    reason: str
    headers: Mapping[str, str]
    """Without regard to case."""
    content: bytes
    """At most `_LARGEST_ANSWER` bytes and one."""


class Registry:
    """One repository of a registry."""

    def __init__(self, reference: Reference, wait: Callable[[float], None] = time.sleep) -> None:
        oras_auth, sessions = _oras()
        self.reference = reference
        self._wait = wait
        self._session = sessions.Session()
        self._auth = oras_auth.get_auth_backend("token", self._session, insecure=reference.plain)
        self._header = ""
        self._load_credentials()

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether the repository has these bytes. Raises PackageError.

        A registry that keeps blobs elsewhere says where, after it has looked: that is no place to go to.
        """
        answer = self._send("HEAD", f"{self.reference.base}/blobs/{descriptor.digest}")
        return self._expect(answer, "look for a blob", 200, *_ELSEWHERE, 404).status != 404

    def put_blob(self, descriptor: Descriptor, body: Body) -> None:
        """Sends bytes, which the registry compares with their digest. Raises PackageError."""
        begun = self._send("POST", f"{self.reference.base}/blobs/uploads/", headers={"Content-Length": "0"})
        where = self._location(self._expect(begun, "begin a blob", 202))
        joint = "&" if urlsplit(where).query else "?"
        headers = {"Content-Type": "application/octet-stream"}
        sent = self._send("PUT", f"{where}{joint}digest={descriptor.digest}", body, headers=headers)
        self._expect(sent, "take a blob", 201, 204)

    def put_manifest(self, document: Document, tag: str | None = None) -> bool:
        """Sends a manifest, by its digest or as a tag; returns whether the registry lists what refers to its subject.

        Raises PackageError.
        """
        where = f"{self.reference.base}/manifests/{tag or document.descriptor.digest}"
        headers = {"Content-Type": document.descriptor.media_type}
        answer = self._send("PUT", where, lambda: document.content, headers=headers)
        return "OCI-Subject" in self._expect(answer, "take a manifest", 201, 202).headers

    def image_index(self, tag: str) -> JsonObject | None:
        """The image index of a tag; None when there is no such tag. Raises PackageError."""
        accept = {"Accept": f"{IMAGE_INDEX}, {MANIFEST}"}
        answer = self._send("GET", f"{self.reference.base}/manifests/{tag}", headers=accept)
        if self._expect(answer, "read a tag", 200, 404).status == 404:
            return None
        try:
            if len(answer.content) > _LARGEST_ANSWER:
                raise Malformed("it is too large")
            return read_object(answer.content)
        except Malformed as error:
            raise self._failure(f"its tag {tag} is no image index: {error}") from error

    def _send(
        self, method: str, address: str, body: Body | None = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, repeated when the connection breaks or the registry is busy. Raises PackageError."""
        import requests

        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                answer = self._authorized(method, address, body, dict(headers or {}))
            except requests.RequestException as error:
                if last or not isinstance(error, (requests.ConnectionError, requests.Timeout)):
                    raise self._failure(_said(error)) from error
            else:
                if last or answer.status not in _RETRIED:
                    return answer
            self._wait(2.0**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _authorized(self, method: str, address: str, body: Body | None, headers: dict[str, str]) -> Answer:
        """One request, and again with what the registry asks for when it says that this user may not."""
        answer = self._once(method, address, body, headers)
        if answer.status != 401:
            return answer
        self._header = self._answer_to(answer)
        return self._once(method, address, body, headers) if self._header else answer

    def _once(self, method: str, address: str, body: Body | None, headers: Mapping[str, str]) -> Answer:
        known = {"Authorization": self._header} if self._header and self._is_ours(address) else {}
        content = body() if body is not None else b""
        try:
            # an empty file would be sent in chunks, which not every registry reads
            data = content if isinstance(content, bytes) or os.fstat(content.fileno()).st_size else b""
            with self._session.request(
                method,
                address,
                data=data,
                headers={**headers, **known},
                stream=True,
                allow_redirects=False,
                timeout=_TIMEOUT,
            ) as found:
                read = b"" if method == "HEAD" else found.raw.read(_LARGEST_ANSWER + 1, decode_content=True)
                return Answer(found.status_code, found.reason, found.headers, read)
        finally:
            if not isinstance(content, bytes):
                content.close()

    def _answer_to(self, answer: Answer) -> str:
        """The header that satisfies a refusal, or nothing. Raises PackageError where it would be sent in the clear."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        basic = getattr(self._auth, "_basic_auth", None)
        if challenge.lower().startswith("basic"):
            return f"Basic {basic}" if basic else ""
        realm = _realm_of(challenge)
        if realm and not self._is_private(realm):
            raise self._failure(f"it asks for credentials at {masked(realm)}, which is not encrypted")
        self._auth.token = None  # a token is good for what it was asked for
        headers, changed = self._auth.authenticate_request(answer, {})
        return str(headers.get("Authorization", "")) if changed else ""

    def _location(self, answer: Answer) -> str:
        """Where an upload goes on. Raises PackageError."""
        where = str(urljoin(f"{self.reference.base}/", answer.headers.get("Location", "")))
        if not self._is_private(where):
            raise self._failure(f"it wants the data at {masked(where)}, which is not encrypted")
        return where

    def _is_private(self, address: str) -> bool:
        parts = urlsplit(address)
        return parts.scheme == "https" or (
            parts.scheme == "http"
            and (self.reference.plain and (self._is_ours(address) or _is_local(address)))
        )

    def _is_ours(self, address: str) -> bool:
        mine, other = urlsplit(self.reference.base), urlsplit(address)
        return (mine.scheme, mine.netloc) == (other.scheme, other.netloc)

    def _load_credentials(self) -> None:
        from oras.container import Container

        folder = os.environ.get("DOCKER_CONFIG")
        given = [str(Path(folder) / "config.json")] if folder else None
        try:
            self._auth.load_configs(Container(str(self.reference)), configs=given)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise self._failure(f"your Docker configuration cannot be read: {error}") from error

    def _expect(self, answer: Answer, what: str, *right: int) -> Answer:
        """The answer, if it is one of these. Raises PackageError."""
        if answer.status in right:
            return answer
        if answer.status in (401, 403):
            fact = f"{self.reference.registry} does not let you {what} in {self.reference.repository}"
            remedy = f"log in: docker login {self.reference.registry}"
            raise PackageError(Code.REGISTRY_FAILED, fact, remedy)
        said = answer.content[:2000].decode("utf-8", "replace")
        raise self._failure(f"it did not {what}: {answer.status} {answer.reason} {said}".strip())

    def _failure(self, fact: str) -> PackageError:
        shown = "".join(letter if letter.isprintable() else " " for letter in fact)
        return PackageError(Code.REGISTRY_FAILED, f"cannot push to {self.reference}: {shown}")


def _said(error: Exception) -> str:
    """The innermost reason of a failed connection, without addresses of objects."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    told = str(inner.strerror or "") if isinstance(inner, OSError) else ""
    return (told or str(inner) or type(inner).__name__).lower()


def _realm_of(challenge: str) -> str:
    from oras.auth.utils import parse_auth_header

    return str(parse_auth_header(challenge).realm or "")


def _is_local(address: str) -> bool:
    return is_loopback(urlsplit(address).hostname or "")


def _oras() -> tuple[Any, Any]:
    """The authentication of oras, and the sessions of requests, which oras brings. Raises SpecError."""
    try:
        import oras.auth
        import oras.logger
        import requests
    except ImportError as error:
        raise SpecError(
            Code.MISSING_PACKAGE,
            "pushing to a registry needs the package oras",
            "install it: pip install 'trtpipe[oci]'",
        ) from error
    oras.logger.setup_logger(quiet=True)  # what fails is told once, by us
    return oras.auth, requests
