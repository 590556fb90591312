"""The spec of `trtpipe.yaml`: the defaults that a project's pipelines share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trtpipe.spec.fields import AsTuple, Name, SchemaVersion, SpecModel
from trtpipe.spec.pipeline import BuilderSpec, TargetSpec, ToolchainSpec


class StoreSpec(SpecModel):
    """Where artifacts are kept."""

    path: str | None = None
    """A directory; `.trtpipe/store` in the project when left out. `$TRTPIPE_STORE` overrides it."""
    locks: Literal["system", "files"] = "system"
    """How builds that share the store keep out of each other's way: `files` for a network file system without locks."""


class ProjectSpec(SpecModel):
    """`trtpipe.yaml`: defaults that a project's pipelines share."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    targets: dict[Name, TargetSpec] = Field(default_factory=dict)
    """For pipelines that name a target without describing it (`targets: {ada: }`)."""
    toolchains: dict[Name, ToolchainSpec] = Field(default_factory=dict)
    """TensorRT versions that pipelines may name."""
    builder: BuilderSpec | None = None
    """The builder options of every pipeline that has none of its own."""
    store: StoreSpec = Field(default_factory=StoreSpec)
    """Where artifacts are kept."""
    reach: Annotated[tuple[str, ...], AsTuple] = ()
    """Directories outside the project from which models and data may be read."""
