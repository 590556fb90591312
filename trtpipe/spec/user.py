"""The spec of the user's own configuration: settings that no project may override."""

from __future__ import annotations

from pathlib import PureWindowsPath
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, OneOrMany, SchemaVersion, SpecModel
from trtpipe.spec.store import (
    IN_PROJECT,
    ProjectOr,
    PublicKeys,
    RemoteAddress,
    StoreDirectorySpec,
    refuse_plain_http,
)

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _whole(text: str) -> str:
    """Rejects relative paths, which would refer to files of whatever project is current."""
    if not text.startswith(("/", "~")) and not PureWindowsPath(text).is_absolute():
        raise WrongValue(
            Code.WRONG_FORM,
            f"{text[:100]!r} is relative and would be another directory in each project; write an absolute path",
        )
    return text


def _own_or_whole(text: str) -> str:
    return text if text == IN_PROJECT else _whole(text)


def _address_or_whole(text: str) -> str:
    return text if "://" in text else _whole(text)


class UserStoreSpec(StoreDirectorySpec):
    """Where artifacts are kept on this machine, for all projects."""

    path: Annotated[str, AfterValidator(_own_or_whole)] | None = None
    """A directory; default: `~/.cache/trtpipe/store`."""
    shared: Annotated[tuple[Annotated[str, AfterValidator(_whole)], ...], AsTuple] = ()
    """Directories of other stores that all your projects may read."""


class AllowedProject(SpecModel):
    """What the user allowed a project to run. `trtpipe allow` writes it."""

    project: str
    """The project's root, absolute."""
    code: Annotated[tuple[Sha256, ...], AsTuple] = ()
    """The digests of what may run."""


class UserSpec(SpecModel):
    """`config.yaml` in `trtpipe` in the user's configuration directory."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    store: Annotated[UserStoreSpec, ProjectOr()] = Field(default_factory=UserStoreSpec)
    """Where artifacts are kept, unless a project sets it; `project` means a store inside each project."""
    remotes: Annotated[
        tuple[Annotated[RemoteAddress, AfterValidator(_address_or_whole)], ...], OneOrMany
    ] = ()
    """Remote stores that all your projects read; the first one also receives results of projects without a remote."""
    trust: PublicKeys = Field(default=())
    """Public keys; if there are any, no project uses results of others unless they are signed with one of them."""
    credentials: dict[str, Annotated[str, Field(pattern=r"^\$\w+$")]] = Field(default_factory=dict)
    """Host of a remote store → the environment variable with its token."""
    scheduler: str = ""
    """The address of the scheduler that `--executor dask` uses: `tls://host:8786`."""
    allowed: Annotated[tuple[AllowedProject, ...], AsTuple] = ()
    """What projects may run."""

    @model_validator(mode="after")
    def _refuse_open_ways(self) -> UserSpec:
        for address in self.remotes:
            refuse_plain_http(address, bool(self.trust))
        return self
