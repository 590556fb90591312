"""The spec of `trtpipe.yaml`: defaults that all pipelines of a project share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trtpipe.spec.fields import AsTuple, Name, SchemaVersion, SpecModel
from trtpipe.spec.pipeline import BuilderSpec, TargetSpec, ToolchainSpec
from trtpipe.spec.store import ProjectOr, StoreSpec


class ProjectSpec(SpecModel):
    """`trtpipe.yaml`: defaults that a project's pipelines share."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    targets: dict[Name, TargetSpec] = Field(default_factory=dict)
    """For pipelines that name a target without describing it (`targets: {ada: }`)."""
    toolchains: dict[Name, ToolchainSpec] = Field(default_factory=dict)
    """TensorRT versions that pipelines may name."""
    builder: BuilderSpec | None = None
    """The builder options of pipelines without their own."""
    store: Annotated[StoreSpec, ProjectOr()] = Field(default_factory=StoreSpec)
    """Where artifacts are kept and with whom they are shared; `project` means a store inside the project."""
    executor: Literal["local", "dask"] = "local"
    """Where steps run if the command does not say: on this machine, or on the user's fleet."""
    reach: Annotated[tuple[str, ...], AsTuple] = ()
    """Directories outside the project from which models and data may be read."""
