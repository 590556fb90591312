"""Remote files: their addresses as a spec gives them, and which parts of an address may be shown or stored.

Only splits an address into its parts; `loader/remotes.py` validates addresses and `fetch/` downloads.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields, replace

from trtpipe.digests import key_of
from trtpipe.errors import masked
from trtpipe.json_values import JsonObject, text_in

SCHEMES = ("https", "http", "s3", "gs", "hf")
_REMOTE = re.compile(rf"({'|'.join(SCHEMES)})://", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_LONGEST_NAME = 100
_CREDENTIAL = re.compile(
    r"x-(amz|goog|ms)-.*|awsaccesskeyid|googleaccessid|key-pair-id|policy|expires|"
    r"s[evprtik]|srt?|sig|sk(oid|tid|t|e|s|v)|.*(sign|token|secret|passw|credential|auth|key).*",
    re.IGNORECASE,
)
"""Parameters of presigned addresses: of Amazon, Google, CloudFront and Azure, and what is called a token elsewhere."""


def is_remote(text: str) -> bool:
    """Whether a source is one of the remote kinds."""
    return _REMOTE.match(text) is not None


def is_local_host(host: str) -> bool:
    """Whether `host`, with or without a port, is this machine by one of its own names."""
    return re.sub(r":\d+$", "", host).lower() in _LOCAL_HOSTS


def is_local_address(address: str) -> bool:
    """Whether an address, such as an endpoint from the environment, leads to this machine."""
    return is_local_host(address.partition("://")[2].partition("/")[0])


def is_plain_relative(name: str) -> bool:
    """Whether a name is a relative path that stays below its folder, on every system: no `..`, no drive."""
    parts = name.split("/")
    return (
        0 < len(name) <= 255
        and name.isprintable()
        and not any(char in name for char in '\\:*?"<>|')
        and not any(part in ("", ".", "..") for part in parts)
    )


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file: `https://HOST/PATH?QUERY`, `s3://HOST/PATH`, `gs://HOST/PATH`, `hf://HOST@REVISION/PATH`.

    `host` is a server, a bucket, or ORG/REPO; `path` is percent-encoded for servers and literal elsewhere. `sha256` is
    its pin, empty when it has none.
    """

    scheme: str
    host: str
    path: str
    query: str = ""
    revision: str = ""
    sha256: str = ""

    @property
    def url(self) -> str:
        """The full address, which may contain a credential: only for the request itself."""
        revision = f"@{self.revision}" if self.revision else ""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.host}{revision}/{self.path}{query}"

    @property
    def shown(self) -> str:
        """The address without its query, for messages and files."""
        return masked(self.url)

    @property
    def name(self) -> str:
        """The file's own name, made of letters, digits, `.`, `_` and `-` alone."""
        from urllib.parse import unquote

        last = self.path.rsplit("/", 1)[-1]
        last = unquote(last) if self.scheme in ("http", "https") else last
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", last).lstrip("._-")
        return safe[-_LONGEST_NAME:].lstrip("._-") or "file"

    @property
    def moves(self) -> bool:
        """Whether it names a branch or a tag of a repository, whose content may change."""
        return self.scheme == "hf" and _COMMIT.fullmatch(self.revision) is None

    @property
    def has_credential(self) -> bool:
        """Whether its query seems to contain a credential."""
        return any(_CREDENTIAL.fullmatch(name) for name, _ in self._parameters())

    def identity(self) -> dict[str, str]:
        """The file's identity for a key: without credentials, and with the rest of the query only as a digest."""
        found = {"url": replace(self, query="").url}
        asked = [(name, value) for name, value in self._parameters() if not _CREDENTIAL.fullmatch(name)]
        return found | {"query": key_of(sorted(asked))[:16]} if asked else found

    def beside(self, name: str, sha256: str = "") -> RemoteFile:
        """The file with a relative name in the same folder."""
        from urllib.parse import quote

        folder, slash, _ = self.path.rpartition("/")
        written = quote(name) if self.scheme in ("http", "https") else name
        return replace(self, path=folder + slash + written, sha256=sha256)

    def at_commit(self, commit: str) -> RemoteFile:
        """The same file of a repository at one commit."""
        return replace(self, revision=commit)

    def pinned(self, sha256: str) -> RemoteFile:
        """The same file with a pin."""
        return replace(self, sha256=sha256)

    def _parameters(self) -> list[tuple[str, str]]:
        from urllib.parse import parse_qsl

        return parse_qsl(self.query, keep_blank_values=True)

    def to_json(self) -> dict[str, str]:
        """Its parts as a JSON object, credentials included: for this machine's own processes."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: JsonObject) -> RemoteFile:
        """The file read back. Raises Malformed."""
        return cls(**{one.name: text_in(data, one.name) for one in fields(cls)})
