"""The data set spec, `calibration/NAME.yaml`: where samples are and how they become inputs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from trtpipe.spec.fields import Number, OneOrMany, SchemaVersion, SpecModel, StaticShape

Floats = Annotated[tuple[Number, ...], OneOrMany]


class RandomSource(SpecModel):
    """Seeded random samples: standard normal floats, integers in `[low, high)`."""

    shapes: dict[str, StaticShape]
    """Input → the shape of one sample, with its batch dimension."""
    low: int = 0
    """The least integer."""
    high: int = 2
    """One more than the largest integer."""


class InputSpec(SpecModel):
    """How one model input is made from an array: `(array * scale - mean) / std`, then layout, then dtype."""

    array: str | None = None
    """The name of the array (a key of the .npz, an entry of `npy`); the input's own name when left out."""
    scale: Number = 1.0
    """What the array is multiplied with first."""
    mean: Floats = (0.0,)
    """One value, or one a channel (of the array's own layout)."""
    std: Floats = (1.0,)
    """One value, or one a channel."""
    layout: Literal["as_is", "nchw_to_nhwc", "nhwc_to_nchw"] = "as_is"
    """How the axes are moved."""
    dtype: str | None = None
    """A NumPy dtype name; the model input's own when left out."""
    constant: bool = False
    """The whole array is fed with every batch (a scalar, a state), not sliced along its first axis."""


class DatasetSpec(SpecModel):
    """Samples and preprocessing; exactly one source."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["npz"]}, {"required": ["npy"]}, {"required": ["random"]}]}
    )

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    npz: str | None = None
    """An .npz file; its arrays' first axis counts samples."""
    npy: dict[str, str] | None = None
    """Array name → .npy file; the first axis counts samples. Read through a memory map."""
    random: RandomSource | None = None
    """Random samples, said out loud."""
    inputs: dict[str, InputSpec] = Field(default_factory=dict)
    """Model input → how it is made; left out, arrays feed the inputs that bear their names."""
    labels: str | None = None
    """The array that holds the class index of each sample."""
    batch: Annotated[int, Field(ge=1)] = 1
    """Samples fed at a time."""
    samples: Annotated[int | None, Field(ge=1)] = None
    """How many samples are used; all when left out (8 when random)."""
    shuffle: bool = False
    """Draw the samples in a seeded random order."""
    seed: Annotated[int, Field(ge=0)] = 0
    """What decides random samples and their order."""
    license: str | None = None
    """Where the data come from and under which terms."""
    description: str | None = None
    """What the samples show, for people."""

    @model_validator(mode="after")
    def _one_source(self) -> DatasetSpec:
        given = [name for name in ("npz", "npy", "random") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of npz, npy and random")
        return self
