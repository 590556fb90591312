"""The spec of the user's own configuration: what no project may decide."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from trtpipe.spec.fields import AsTuple, SchemaVersion, SpecModel

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
    credentials: dict[str, Annotated[str, Field(pattern=r"^\$\w+$")]] = Field(default_factory=dict)
    """Host of a remote store → the variable with the token that is sent to it."""
    allowed: Annotated[tuple[AllowedProject, ...], AsTuple] = ()
    """What projects may run."""
