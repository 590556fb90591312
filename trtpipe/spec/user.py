"""The spec of the user's own configuration: what no project may decide."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trtpipe.spec.fields import AsTuple, OneOrMany, SchemaVersion, SpecModel
from trtpipe.spec.store import ProjectOr, PublicKeys, RemoteAddress, StoreDirectorySpec

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class AllowedProject(SpecModel):
    """What the user allowed a project to run. `trtpipe allow` writes it."""

    project: str
    """The project's root, absolute."""
    code: Annotated[tuple[Sha256, ...], AsTuple] = ()
    """The digests of what may run."""


class UserSpec(SpecModel):
    """`config.yaml` in `trtpipe` of the user's configuration directory."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    store: Annotated[StoreDirectorySpec, ProjectOr()] = Field(default_factory=StoreDirectorySpec)
    """Where artifacts are kept, unless a project says otherwise; `project` for a store in each project."""
    remotes: Annotated[tuple[RemoteAddress, ...], OneOrMany] = ()
    """Remote stores that every project of yours reads; the first takes what is built where a project names none."""
    trust: PublicKeys = Field(default=())
    """Public keys; where there are any, no project believes what others made unless one of them signed it."""
    credentials: dict[str, Annotated[str, Field(pattern=r"^\$\w+$")]] = Field(default_factory=dict)
    """Host of a remote store → the variable with the token that is sent to it."""
    allowed: Annotated[tuple[AllowedProject, ...], AsTuple] = ()
    """What projects may run."""
