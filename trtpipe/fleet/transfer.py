"""Brings an action's inputs to an agent and its results back: by one of three routes, chosen once for each agent.

- A store that both share (one machine, or a network file system): nothing is moved.
- The store's remote, if client and agent use the same one: the client uploads what it lacks, the agent downloads.
- Directly: the client dials the agent's object server, which keeps what it has received for later actions.

Every artifact is named by its digest, and whoever receives it computes the digest again before it is stored.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trtpipe.digests import Digest
from trtpipe.errors import FleetError
from trtpipe.fleet.connection import SeenAgent
from trtpipe.fleet.object_client import USE_A_REMOTE, Peer
from trtpipe.plan.graph import Action, Source
from trtpipe.problem_codes import Code
from trtpipe.stores.layered import LayeredStore
from trtpipe.stores.local import LocalStore
from trtpipe.stores.marks import store_id
from trtpipe.stores.remote import Remote

if TYPE_CHECKING:
    import ssl

PathOf = Callable[[Digest], Path]
"""Where the bytes of an artifact are on this machine. Raises ArtifactMissing."""


class Route(Protocol):
    """How artifacts reach one agent, and come back."""

    @property
    def through(self) -> str:
        """The remote that the agent uses for them; empty if it uses none."""

    @property
    def shared(self) -> bool:
        """Whether the agent works in the client's own store."""

    def greet(self) -> None:
        """Make sure that this route works. Raises StoreError."""

    def send(self, digests: Iterable[Digest], path_of: PathOf) -> None:
        """Make artifacts available to the agent. Raises StoreError."""

    def receive(self, digests: Iterable[Digest]) -> None:
        """Bring artifacts from the agent into the client's store. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class SharedStore:
    """Client and agent use one store; only files that are not in it yet are put there."""

    store: LocalStore
    through: str = ""
    shared: bool = True

    def greet(self) -> None:
        """Nothing to do: the store is open."""

    def send(self, digests: Iterable[Digest], path_of: PathOf) -> None:
        """Copy source files into the store."""
        for digest in digests:
            if not self.store.has_here(digest):
                put_copy(self.store, path_of(digest))

    def receive(self, digests: Iterable[Digest]) -> None:
        """Nothing to do: the agent has put them there."""


@dataclass(frozen=True, slots=True)
class ThroughRemote:
    """Client and agent use one remote store."""

    remote: Remote
    through: str
    shared: bool = False

    def greet(self) -> None:
        """Nothing to do: a remote that cannot be used is noticed when it is."""

    def send(self, digests: Iterable[Digest], path_of: PathOf) -> None:
        """Upload what the remote lacks."""
        self.remote.send_artifacts(digests, path_of)

    def receive(self, digests: Iterable[Digest]) -> None:
        """Note that the remote has them: they are downloaded when they are needed."""
        self.remote.expect(digests)


@dataclass(frozen=True, slots=True)
class Direct:
    """The client dials the agent's object server."""

    peer: Peer
    store: LocalStore
    through: str = ""
    shared: bool = False

    def greet(self) -> None:
        """Dial the agent."""
        self.peer.greet()

    def send(self, digests: Iterable[Digest], path_of: PathOf) -> None:
        """Send what the agent lacks."""
        wanted = list(dict.fromkeys(digests))
        missing = self.peer.missing(wanted)
        for digest in wanted:
            if digest in missing:
                self.peer.send_file(digest, path_of(digest))

    def receive(self, digests: Iterable[Digest]) -> None:
        """Fetch what this store lacks."""
        for digest in dict.fromkeys(digests):
            if not self.store.has_here(digest):
                self.peer.receive(digest, self.store)


@dataclass
class Routes:
    """The route to each agent. `context` is the client's side of TLS; None for an unencrypted fleet."""

    store: LocalStore
    context: ssl.SSLContext | None
    is_there: Callable[[SeenAgent], bool] = lambda agent: True
    """Whether an agent is still connected: one that is not need not be dialled again."""
    _known: dict[str, Route] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def to(self, agent: SeenAgent) -> Route:
        """The route to an agent. Raises FleetError when there is none."""
        with self._mutex:
            if agent.address not in self._known:
                self._known[agent.address] = self._route(agent)
            return self._known[agent.address]

    def _route(self, agent: SeenAgent) -> Route:
        said = agent.labels.exchange
        if _is_same_store(self.store, said.store, said.store_root):
            return SharedStore(self.store)
        remote = self.store.remote if isinstance(self.store, LayeredStore) else None
        if remote is not None and remote.is_up and remote.terms.writes and remote.shown == said.remote:
            return ThroughRemote(remote, remote.shown)
        if not said.address:
            raise FleetError(
                Code.FLEET_UNREACHABLE,
                f"{agent.name} serves no objects, and uses no remote store that this project writes to",
                USE_A_REMOTE,
            )
        return Direct(
            Peer(said.address, self.context, said.token or None, is_there=lambda: self.is_there(agent)),
            self.store,
        )


def inputs_of(action: Action, sources: Mapping[str, Mapping[str, Source]], store: LocalStore) -> PathOf:
    """Where the inputs of an action are: source files where they are, artifacts in the store."""
    files = {one.digest: one.path for named in sources.values() for one in named.values()}

    def path_of(digest: Digest) -> Path:
        return files[digest] if digest in files else store.path(digest)

    return path_of


def put_copy(store: LocalStore, path: Path) -> None:
    """Put a copy of a file into a store; the file stays where it is."""
    import shutil

    with store.scratch() as scratch:
        shutil.copyfile(path, scratch / "copy")
        store.put(scratch / "copy")


def _is_same_store(store: LocalStore, identity: str, root: str) -> bool:
    """Whether a store's directory is, with the same `store.json`, also this machine's."""
    try:
        return bool(identity) and store_id(store.root) == identity and Path(root).samefile(store.root)
    except OSError:
        return False
