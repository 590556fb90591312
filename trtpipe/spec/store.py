"""The spec of `store`, for a project and for a user: where artifacts are kept and with whom they are shared."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from trtpipe.errors import WrongValue, masked
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, SpecModel
from trtpipe.spec.public_keys import is_small_order, raw_key
from trtpipe.spec.remote import is_local_host

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

IN_PROJECT = ".trtpipe/store"
"""Where a project's own store is, below its root."""
_OURS = ("s3", "gs", "az", "https", "http", "file")
_FORM = "write s3://BUCKET/PREFIX or a directory"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def _remote(text: str) -> str:
    """Rejects addresses with parts that must not be in a committed file, such as passwords."""
    found = _SCHEME.match(text)
    if found is None:
        if ":" in text.partition("/")[0] or not text.strip() or not text.isprintable():
            raise WrongValue(
                Code.BAD_ADDRESS,
                f"not an address: {masked(text)[:100]!r}; {_FORM}",
            )
        return text
    try:
        parts = urlsplit(text)
        host, asked = parts.hostname, (parts.username, parts.password, parts.query, parts.fragment)
    except ValueError:
        raise WrongValue(Code.BAD_ADDRESS, f"not an address: {masked(text)[:100]!r}; {_FORM}") from None
    if any(asked):
        raise WrongValue(
            Code.BAD_ADDRESS,
            "the address holds a name, a password or a query; remove it: credentials come from the environment",
        )
    if not host and found[1].lower() != "file":
        raise WrongValue(
            Code.BAD_ADDRESS,
            f"the address {text[:100]!r} names no bucket or server; {_FORM}",
        )
    if not text.isprintable() or any(part == ".." for part in parts.path.split("/")):
        raise WrongValue(Code.BAD_ADDRESS, f"not an address: {text[:100]!r}; {_FORM}")
    return text


def _public_key(text: str) -> str:
    raw = raw_key(text)
    if raw is None:
        raise WrongValue(
            Code.WRONG_FORM,
            f"not a public key: {text[:60]!r}; write ed25519:… as `trtpipe cache keygen` prints it",
        )
    if is_small_order(raw):
        raise WrongValue(
            Code.SIGNING_KEY,
            f"signatures can be forged for the public key {text[:60]!r}; make another one: trtpipe cache keygen FILE",
        )
    return text


def _trusted(value: object) -> object:
    return (value,) if isinstance(value, str) else value


PublicKeys = Annotated[
    tuple[Annotated[str, AfterValidator(_public_key)], ...], AsTuple, BeforeValidator(_trusted)
]
"""Public keys, as printed by `trtpipe cache keygen`; a single key may be written without a list."""

RemoteAddress = Annotated[str, AfterValidator(_remote)]
"""The address of a remote store, without secrets, because the file is committed."""


def _short(value: object) -> object:
    """`project` means the default place of a project's own store."""
    return {"path": IN_PROJECT} if value == "project" else value


class StoreDirectorySpec(SpecModel):
    """Where artifacts are kept on this machine."""

    path: str | None = None
    """A directory; default: the user's store, `~/.cache/trtpipe/store`. `$TRTPIPE_STORE` overrides it."""
    locks: Literal["system", "files"] = "system"
    """How builds that share the store lock it: `files` for a network file system without working locks."""
    shared: Annotated[tuple[str, ...], AsTuple] = ()
    """Directories of other stores, which are read when the own store lacks something, and never written."""


class StoreSpec(StoreDirectorySpec):
    """Where artifacts are kept, and with whom they are shared."""

    remote: RemoteAddress | None = None
    """A store that is shared with others: `s3://`, `gs://`, `az://` or `https://` with a prefix, or a directory."""
    mode: Literal["read-only", "read-write"] = "read-only"
    """Whether results that are built here are sent to the remote. `$TRTPIPE_REMOTE_MODE` overrides it."""
    sign: str | None = None
    """The key that traces are signed with: `$NAME` of an environment variable, or a file outside the repository."""
    trust: PublicKeys = Field(default=())
    """Public keys; if there are any, results of others are used only if signed with one of them."""

    @model_validator(mode="after")
    def _refuse_open_ways(self) -> StoreSpec:
        refuse_plain_http(self.remote, bool(self.trust))
        return self


class ProjectOr:
    """Lets the word `project` stand for a store in the project, in a spec and in its JSON Schema."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_before_validator_function(_short, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"const": "project"}, handler(schema)]}


def refuse_plain_http(remote: str | None, signed: bool) -> None:
    """Raise ValueError for plain HTTP, whose content can be altered in transit, unless traces are `signed`."""
    plain = remote is not None and remote.lower().startswith("http://")
    if plain and not signed and not is_local_host(urlsplit(remote or "").netloc):
        raise WrongValue(
            Code.PLAIN_HTTP, "plain http can be altered in transit; write https://, or trust signed traces"
        )
