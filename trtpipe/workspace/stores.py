"""Opens a project's store: its place, the other stores whose traces it trusts, and the keys that must have signed them.

A project trusts the stores that its user's configuration names, and those that the project names itself; the latter
only in that project, as no other project names them. If the user has trusted keys, traces of every store must be signed
by one of them; a project can only leave some of these keys out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trtpipe.errors import SpecError
from trtpipe.homes import user_file
from trtpipe.json_values import JsonObject
from trtpipe.loader.project import Project
from trtpipe.loader.user import load_user
from trtpipe.problem_codes import Code
from trtpipe.spec.store import StoreSpec, refuse_plain_http
from trtpipe.spec.user import UserSpec
from trtpipe.stores.kept import Kept
from trtpipe.stores.local import LocalStore
from trtpipe.stores.verified_files import VerifiedFiles
from trtpipe.workspace.signing_keys import secret_key
from trtpipe.workspace.store_places import (
    directory_of,
    may_send,
    may_use,
    place_of_store,
    shared_directories,
    store_spec,
)

if TYPE_CHECKING:
    from pathlib import Path

    from trtpipe.stores.buckets import Bucket
    from trtpipe.stores.remote import Remote

_MODES = ("read-only", "read-write")
_TOKEN = "TRTPIPE_REMOTE_TOKEN"
_WEB = ("http", "https")
_OBJECTS = ("s3", "gs", "az", "http", "https")


def open_store(project: Project) -> LocalStore:
    """The store of a project. Nothing is created and no server is asked yet. Raises SpecError."""
    user = load_user()
    return _Opening(project, store_spec(project), user).open()


def former_place(project: Project) -> str:
    """The identity of the project's former store."""
    return f"the former store of {os.path.realpath(project.root)}"


@dataclass(slots=True)
class _Opening:
    """Everything needed to open a store."""

    project: Project
    asked: StoreSpec
    user: UserSpec

    def open(self) -> LocalStore:
        place = place_of_store(self.project, self.user)
        said: list[str] = []
        trusted, names = self._trusted(said.append), self._addresses()
        shared = shared_directories(self.project, self.user, said.append)
        former = [one for one in [Kept.of(place.root, former_place(self.project))] if one.folder.is_dir()]
        if trusted is None:
            shared, former, names = [], [], []
        store = LocalStore(place.root, project=self.project.root, lock_files=place.lock_files)
        if shared or former or names:
            from trtpipe.stores.layered import LayeredStore

            layered = LayeredStore(
                place.root,
                shared=shared,
                former=former,
                trusted=trusted or (),
                project=self.project.root,
                lock_files=place.lock_files,
            )
            for remote in self._remotes(names, trusted or (), layered.warnings.append):
                layered.add_remote(remote)
            store = layered
        store.warnings += said
        store.sign = self._signer()
        store.verified = VerifiedFiles.of(place.root) if place.own else None
        return store

    def _trusted(self, warn: Callable[[str], None]) -> tuple[str, ...] | None:
        """The keys of which one must have signed others' traces; empty: no signature needed; None: none accepted."""
        both = [key for key in self.asked.trust if key in self.user.trust]
        if not self.asked.trust or not self.user.trust:
            return self.asked.trust or self.user.trust
        if not both:
            warn(
                "nothing that others made is used: you trust none of the keys that trtpipe.yaml trusts; "
                f"trust in {user_file()} is where you would"
            )
            return None
        return tuple(both)

    def _addresses(self) -> list[str]:
        """The remotes; the one that new results are sent to comes first."""
        named = os.environ.get("TRTPIPE_REMOTE")
        if named is not None:
            return [named] if named else []
        own = [self.asked.remote] if self.asked.remote else []
        return list(dict.fromkeys([*own, *self.user.remotes]))

    def _remotes(
        self, addresses: list[str], trusted: tuple[str, ...], warn: Callable[[str], None]
    ) -> Iterator[Remote]:
        for number, address in enumerate(addresses):
            if self._may_ask(address, warn):
                yield _remote(self.project, self.asked, address, trusted, warn, takes=number == 0)

    def _may_ask(self, address: str, warn: Callable[[str], None]) -> bool:
        if os.environ.get("TRTPIPE_REMOTE") or address in self.user.remotes:
            return True
        directory = directory_of(address, self.project.root)
        return directory is None or may_use(self.project, directory, f"the remote store {address}", warn)

    def _signer(self) -> Callable[[JsonObject], JsonObject] | None:
        """Signs recorded traces if the key is available, because others may read the store's directory."""
        secret = secret_key(self.project, self.asked.sign, needed=False) if self.asked.sign else ""
        if not secret:
            return None
        from trtpipe.stores.signatures import signed

        return lambda data: signed(data, secret)


def use_remote(store: LocalStore, *, offline: bool, required: bool) -> None:
    """Set how a command uses the remote: not at all, or required. Raises SpecError when there is none to require."""
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
    for one in getattr(store, "remotes", ()) if offline else ():
        one.stop()


def _remote(
    project: Project,
    asked: StoreSpec,
    address: str,
    trusted: tuple[str, ...],
    warn: Callable[[str], None],
    *,
    takes: bool,
) -> Remote:
    """A remote that is read from, and that new results are sent to if `takes` and its mode allow it."""
    from trtpipe.fetch.patience import seconds_from
    from trtpipe.stores.remote import Remote, Terms

    mode = _mode(asked)
    try:
        StoreSpec(remote=address, trust=trusted)
        refuse_plain_http(address, bool(trusted))
    except ValueError as error:
        raise SpecError(Code.BAD_VARIABLE, f"$TRTPIPE_REMOTE: {_words(error)}") from None
    stall = seconds_from("TRTPIPE_REMOTE_TIMEOUT", 30.0)
    secret, writes = "", takes and mode == "read-write"
    if writes and asked.sign:
        secret = secret_key(project, asked.sign, needed=True)
        if not secret:
            writes = False
            warn(f"nothing is sent to the remote store: {asked.sign} holds no signing key")
    access = _access(address, warn)
    if writes and not _may_send(project, address):
        writes = False
        warn(
            f"nothing is sent to the remote store {address}, which only this project names: `trtpipe allow` shows it "
            "and asks you; or set TRTPIPE_REMOTE_MODE=read-write"
        )
    return Remote(
        lambda: open_bucket(address, project.root, stall, access),
        address,
        Terms(writes, trusted=trusted, secret=secret),
        warn,
        place=_identity(project, address),
    )


def _mode(asked: StoreSpec) -> str:
    mode = os.environ.get("TRTPIPE_REMOTE_MODE") or asked.mode
    if mode not in _MODES:
        raise SpecError(
            Code.BAD_VARIABLE, f"$TRTPIPE_REMOTE_MODE is {mode!r}", f"write {' or '.join(_MODES)}"
        )
    return mode


def _may_send(project: Project, address: str) -> bool:
    """Whether the user, and not only the project, allows sending results there; a directory is allowed as a whole."""
    by_user = os.environ.get("TRTPIPE_REMOTE_MODE") or os.environ.get("TRTPIPE_REMOTE")
    own = by_user or address in load_user().remotes
    return bool(own) or directory_of(address, project.root) is not None or may_send(address)


def _identity(project: Project, address: str) -> str:
    """A remote's identity; empty for a directory in the project, as another project may be at that path later."""
    directory = directory_of(address, project.root)
    if directory is None:
        return address
    real = directory.resolve()
    return "" if real.is_relative_to(project.root.resolve()) else str(real)


@dataclass(frozen=True, slots=True)
class Access:
    """The user's credentials for a remote."""

    token: str = ""
    """For a web server."""
    own: bool = True
    """Whether the user named the address or its host, and not the project alone."""


def _access(address: str, warn: Callable[[str], None]) -> Access:
    """The credentials for a remote. Sent only to hosts that the environment or the user's configuration names."""
    token = os.environ.get(_TOKEN, "")
    if os.environ.get("TRTPIPE_REMOTE"):
        return Access(token)
    host = urlsplit(address).hostname or "" if "://" in address else ""
    user = load_user()
    if host in user.credentials:
        return Access(os.environ.get(user.credentials[host][1:], ""))
    if address in user.remotes:
        return Access()
    if token and urlsplit(address).scheme.lower() in _WEB:
        warn(
            f"the token in ${_TOKEN} is not sent to {host}, which only this project names: write "
            f"credentials: {{{host}: ${_TOKEN}}} into {user_file()}, or set TRTPIPE_REMOTE"
        )
    return Access(own=False)


def open_bucket(address: str, root: Path, stall: float, access: Access | None = None) -> Bucket:
    """The bucket at an address; a relative directory is in the project. Raises Unusable."""
    access = access or Access()
    scheme = urlsplit(address).scheme.lower() if "://" in address else ""
    directory = directory_of(address, root)
    if directory is not None:
        from trtpipe.stores.buckets.directory import DirectoryBucket

        return DirectoryBucket(directory)
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


def _words(error: ValueError) -> str:
    """The message of pydantic or a validator about one value."""
    errors = getattr(error, "errors", None)
    text = str(errors()[0]["msg"]) if errors is not None else str(error)
    return text.removeprefix("Value error, ")
