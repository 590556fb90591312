"""Which store a project has, as its `trtpipe.yaml` and the environment say."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from trtpipe.errors import Problem, SpecError
from trtpipe.loading.project import Project
from trtpipe.loading.user import load_user, user_file
from trtpipe.problem_codes import Code
from trtpipe.spec.store import StoreSpec, refuse_plain_http
from trtpipe.stores.local import LocalStore

if TYPE_CHECKING:
    from trtpipe.stores.buckets import Bucket
    from trtpipe.stores.remote import Remote

_DEFAULT = ".trtpipe/store"
_MODES = ("read-only", "read-write")
_TOKEN = "TRTPIPE_REMOTE_TOKEN"
_WEB = ("http", "https")
_OBJECTS = ("s3", "gs", "az", "http", "https")


def open_store(project: Project) -> LocalStore:
    """The store of a project. Nothing is made and nobody is asked yet. Raises SpecError."""
    asked = project.spec.store if project.spec else StoreSpec()
    named = os.environ.get("TRTPIPE_STORE")
    place = _expanded(named or asked.path or _DEFAULT)
    root = place.absolute() if named else project.root / place
    address = os.environ.get("TRTPIPE_REMOTE", asked.remote or "")
    if not address and not asked.shared:
        return LocalStore(root, project=project.root, lock_files=asked.locks == "files")
    from trtpipe.stores.layered import LayeredStore

    shared = [LocalStore(project.root / _expanded(text), read_only=True) for text in asked.shared]
    store = LayeredStore(root, shared=shared, project=project.root, lock_files=asked.locks == "files")
    if address:
        store.remote = _remote(project, asked, address, store.warnings.append)
    return store


def use_remote(store: LocalStore, *, offline: bool, required: bool) -> None:
    """Say how a command uses the remote: not at all, or not without. Raises SpecError when there is none to require."""
    remote = getattr(store, "remote", None)
    if required and (remote is None or offline):
        fact = (
            "--require-remote and --offline exclude each other"
            if offline
            else "there is no remote to require"
        )
        raise SpecError(
            Code.OPTIONS_EXCLUDE,
            fact,
            "" if offline else "name one in trtpipe.yaml: store: {remote: s3://BUCKET/PREFIX}",
        )
    if remote is not None:
        remote.require(required)
        if offline:
            remote.stop()


def _remote(project: Project, asked: StoreSpec, address: str, warn: Callable[[str], None]) -> Remote:
    from trtpipe.fetching.patience import seconds_from
    from trtpipe.stores.remote import Remote, Terms

    mode = os.environ.get("TRTPIPE_REMOTE_MODE") or asked.mode
    if mode not in _MODES:
        raise SpecError(
            Code.BAD_VARIABLE, f"$TRTPIPE_REMOTE_MODE is {mode!r}", f"write {' or '.join(_MODES)}"
        )
    try:
        StoreSpec(remote=address, trust=asked.trust)
        refuse_plain_http(address, bool(asked.trust))
    except ValueError as error:
        raise SpecError(Code.BAD_VARIABLE, f"$TRTPIPE_REMOTE: {_words(error)}") from None
    stall = seconds_from("TRTPIPE_REMOTE_TIMEOUT", 30.0)
    secret, writes = "", mode == "read-write"
    if writes and asked.sign:
        secret = _secret(project, asked.sign)
        if not secret:
            writes = False
            warn(f"nothing is sent to the remote store: {asked.sign} holds no signing key")
    access = _access(address, warn)
    return Remote(
        lambda: open_bucket(address, project.root, stall, access),
        address,
        Terms(writes, trusted=asked.trust, secret=secret),
        warn,
    )


@dataclass(frozen=True, slots=True)
class Access:
    """What of the user's goes to a remote."""

    token: str = ""
    """For a web server."""
    own: bool = True
    """Whether the user named the address, or its host, and not the project alone."""


def _access(address: str, warn: Callable[[str], None]) -> Access:
    """Credentials go to hosts that the environment or the user's configuration names; a clone names none of them."""
    token = os.environ.get(_TOKEN, "")
    if os.environ.get("TRTPIPE_REMOTE"):
        return Access(token)
    host = urlsplit(address).hostname or "" if "://" in address else ""
    named = load_user().credentials
    if host in named:
        return Access(os.environ.get(named[host][1:], ""))
    if token and urlsplit(address).scheme.lower() in _WEB:
        warn(
            f"the token in ${_TOKEN} is not sent to {host}, which only this project names: write "
            f"credentials: {{{host}: ${_TOKEN}}} into {user_file()}, or set TRTPIPE_REMOTE"
        )
    return Access(own=False)


def open_bucket(address: str, root: Path, stall: float, access: Access | None = None) -> Bucket:
    """The bucket at an address; a relative directory lies in the project. Raises Unusable."""
    access = access or Access()
    scheme = urlsplit(address).scheme.lower() if "://" in address else ""
    if scheme in ("", "file"):
        from trtpipe.stores.buckets.directory import DirectoryBucket

        return DirectoryBucket(
            root / (Path(unquote(urlsplit(address).path)) if scheme else _expanded(address))
        )
    if scheme in _OBJECTS:
        from trtpipe.stores.buckets.objects import ObjectBucket

        return ObjectBucket(address, stall, access.token)
    from trtpipe.stores.buckets.filesystems import FilesystemBucket

    if not access.own:
        from trtpipe.stores.buckets import Unusable

        host = urlsplit(address).hostname or address
        raise Unusable(
            f"only this project names {host}, which would be asked with your own credentials",
            f"set TRTPIPE_REMOTE={address}",
        )
    return FilesystemBucket(address)


def _secret(project: Project, where: str) -> str:
    """The text of a signing key; empty when there is none. Raises SpecError when it is unreadable or no key."""
    if where.startswith("$"):
        text = os.environ.get(where[1:].strip("{}"), "")
    else:
        path = project.root / _expanded(where)
        try:
            text = path.read_text(encoding="ascii")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(
                Problem(Code.SIGNING_KEY, f"cannot read the signing key {path}: {error}")
            ) from error
    if text.strip():
        from trtpipe.stores.signing import public_key

        public_key(text)
    return text.strip()


def _words(error: ValueError) -> str:
    """What pydantic, or a validator, says of one value."""
    errors = getattr(error, "errors", None)
    text = str(errors()[0]["msg"]) if errors is not None else str(error)
    return text.removeprefix("Value error, ")


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise SpecError(Code.NO_HOME, f"the store's path {text!r} names nobody's home directory") from error
