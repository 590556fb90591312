"""The address of a step: the pipeline, variant and target that it serves, and its stage.

As text, `digits:import` is shared by the whole pipeline, `digits/fp16:quantize` by a variant's targets,
`digits/fp16@tensorrt_rtx-1.7.1.116:parse` by those that one TensorRT builds, and `digits/fp16@ada:build_engine` belongs
to one cell. `digits/fp16@ada` is the name of a cell. Only this module formats and parses these texts; everywhere else
an address is a value with fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, get_args

Stage = Literal[
    "fetch",
    "import",
    "transform",
    "calibrate",
    "evaluate",
    "search",
    "quantize",
    "parse",
    "build_engine",
    "validate",
    "readback",
    "package",
]
STAGES: tuple[Stage, ...] = get_args(Stage)

STAGE_VERSIONS: Mapping[Stage, int] = {
    "fetch": 1,
    "import": 5,
    "transform": 4,
    "calibrate": 2,
    "evaluate": 3,
    "search": 1,
    "quantize": 1,
    "parse": 2,
    "build_engine": 3,
    "validate": 7,
    "readback": 3,
}
"""The stages that make steps today. A version is raised when equal inputs would give other outputs.

`evaluate` makes no step of a plan: a search asks for as many evaluations as it needs, each an action of its own.
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A pipeline, one of its variants, or a cell: `variant` and `target` are empty when a step serves all of them.

    A calibration that several variants share has a name of its own in place of the variant's
    (`ocr-images+entropy`). What all targets of one toolchain share has the toolchain's name as its target
    (`tensorrt_rtx-1.7.1.116`).
    """

    pipeline: str
    variant: str = ""
    target: str = ""

    def __str__(self) -> str:
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.pipeline}{variant}@{self.target}" if self.target else f"{self.pipeline}{variant}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place of a text: `digits`, `digits/fp16` or `digits/fp16@ada`."""
        pipeline, _, rest = text.partition("/")
        variant, _, target = rest.partition("@")
        return cls(pipeline, variant, target)

    @classmethod
    def of_step(cls, text: str) -> Place:
        """The place of a step from its address as text, for any stage: a record may contain stages that this version
        lacks.
        """
        return cls.parse(text.rpartition(":")[0])


@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """A step's place and its stage. Equal, and hashed, by its text, which is made once: plans hold many thousands."""

    place: Place
    stage: Stage
    text: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", f"{self.place}:{self.stage}")

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self.place.pipeline

    @property
    def variant(self) -> str:
        """The variant's name, or a shared calibration's; empty where all variants share the step."""
        return self.place.variant

    @property
    def target(self) -> str:
        """The target's name; empty where all targets share the step."""
        return self.place.target

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __lt__(self, other: Address) -> bool:
        return self.text < other.text

    @classmethod
    def parse(cls, text: str) -> Address:
        """The address of a text, such as `digits/fp16@ada:build_engine`. Raises ValueError when it is invalid."""
        place, colon, stage = text.rpartition(":")
        for known in STAGES:
            if colon and stage == known:
                return cls(Place.parse(place), known)
        raise ValueError(f"{text!r} is not the address of a step")


def address(stage: Stage, pipeline: str, variant: str = "", target: str = "") -> Address:
    """The address of a pipeline's step, of a variant's, or of a cell's."""
    return _made(stage, pipeline, variant, target)


@lru_cache(maxsize=1 << 16)  # cached, because the cells of a plan request the same addresses repeatedly
def _made(stage: Stage, pipeline: str, variant: str, target: str) -> Address:
    return Address(Place(pipeline, variant, target), stage)
