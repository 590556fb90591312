"""The data set spec, `calibration/NAME.yaml`: where the samples are and how they are turned into model inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, Number, OneOrMany, SchemaVersion, SpecModel, StaticShape

if TYPE_CHECKING:
    from pydantic.json_schema import JsonSchemaValue

Floats = Annotated[tuple[Number, ...], OneOrMany]
Pixels = Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], OneOrMany]
Paths = Annotated[tuple[str, ...], OneOrMany]

SOURCES = ("images", "npy", "npz", "parquet", "python", "random", "safetensors")
"""The keys that hold samples: a set has one or more of them, `random` only by itself."""
IMAGES = "images"
"""What a set's images are called as an array, unless they are given names."""
FOLDERS = "folders"
"""What `labels` says for images whose folders are their classes."""
PYTHON_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
LONGEST_SIDE = 65_535
"""Pixels: the most that JPEG can hold, and more than a network is fed with."""
IMAGE_FIELDS = (
    "resize", "center_crop", "pad_to_multiple", "pad_value", "colour", "orientation",
)  # fmt: skip
"""What of an input's fields is said of images only."""


class RandomSource(SpecModel):
    """Seeded random samples: standard normal floats, integers in `[low, high)`, indices within their table."""

    shapes: dict[str, StaticShape]
    """Input → the shape of one sample, with its batch dimension."""
    low: int = 0
    """The least integer."""
    high: int = 2
    """One more than the largest integer."""
    ranges: dict[str, tuple[int, int]] | None = None
    """Input → its own `[low, high)`; its values are integers, whatever its type."""


def _in_pixels(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(value) not in (1, 2) or not all(1 <= side <= LONGEST_SIDE for side in value):
        raise WrongValue(Code.WRONG_FORM, "not a size in pixels; write 224, or HEIGHTxWIDTH such as 480x640")
    return value


PixelSize = Annotated[StaticShape, AfterValidator(_in_pixels)]
"""Pixels: `224`, or `HEIGHTxWIDTH`."""


def _resize(value: object) -> object:
    """A plain size means `stretch` to this size."""
    return {"size": value} if isinstance(value, (int, str, list)) else value


class _SizeOr:
    """Says in the JSON Schema that a size may stand where a mapping is expected."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        size = {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "array"}]}
        return {"anyOf": [*size["anyOf"], handler(schema)]}


class ResizeSpec(SpecModel):
    """How images are resized, one of `h` × `w` pixels to `size`, which is `H` × `W` (equal when it is one number):

    - `stretch`: to H × W, ignoring the aspect ratio (torchvision's `Resize((H, W))`).
    - `fit_short`: the shorter side to `size`, the other to `floor(size * longer / shorter)` (torchvision's
      `Resize(size)`, DALI's `resize_shorter`).
    - `fit_long`: the longer side to `size`, the other to `floor(size * shorter / longer)`, at least 1 (DALI's
      `resize_longer`).
    - `letterbox`: by `r = min(H / h, W / w)` to `round(h * r)` × `round(w * r)`, halves to even, then padded with
      `pad_value` to H × W; the smaller half of an odd padding is at the top and left (as in
      ultralytics).
    """

    size: PixelSize
    """Pixels: one number, or `HEIGHTxWIDTH` for stretch and letterbox."""
    mode: Literal["stretch", "fit_short", "fit_long", "letterbox"] = "stretch"
    """`stretch` to the size; bring the shorter (`fit_short`) or longer (`fit_long`) side to it; `letterbox`: fit
    inside it and pad with `pad_value`."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """The filter. `nearest` takes the pixel in which the centre of the new one lies."""
    antialias: bool = True
    """true: the filter grows with the scale when shrinking (Pillow, torchvision on PIL images); false: it does not
    (OpenCV's INTER_LINEAR and INTER_CUBIC, torchvision's antialias=False)."""
    anchor: Literal["center", "top_left"] = "center"
    """Where a letterboxed image stands: in the middle, or at the top left (YOLOX)."""

    @model_validator(mode="after")
    def _goes_together(self) -> ResizeSpec:
        if self.mode in ("fit_short", "fit_long") and len(self.size) != 1:
            raise WrongValue(
                Code.WRONG_FORM, f"mode {self.mode} takes one number; write size: {self.size[0]}"
            )
        if self.interpolation == "lanczos" and not self.antialias:
            raise WrongValue(
                Code.KEYS_EXCLUDE, "lanczos is antialiased; leave out antialias, or take bicubic"
            )
        return self


Resize = Annotated[ResizeSpec, BeforeValidator(_resize), _SizeOr()]


class InputSpec(SpecModel):
    """How one model input is made from an array: `(array * scale - mean) / std`, then layout, then dtype.

    Images are first processed in this order: `orientation`, `colour`, `resize`, `center_crop`, `pad_to_multiple`. The
    result is an array of unsigned bytes, 0 to 255, whose last axis is the channels; the rest is computed as above.
    """

    array: str | None = None
    """The name of the array (a key of the .npz, an entry of `npy` or `images`); when left out, the input's own name,
    or the set's only images."""
    scale: Number = 1.0
    """What the array is multiplied with first; 0.00392156862745098 is 1/255."""
    mean: Floats = (0.0,)
    """One value, or one a channel (of the array's own layout), in units of the scaled array."""
    std: Floats = (1.0,)
    """One value, or one a channel."""
    layout: Literal["as_is", "nchw_to_nhwc", "nhwc_to_nchw", "nchw", "nhwc"] | None = None
    """How the axes are moved: as_is when left out. Images are made `nchw` (when left out) or `nhwc`."""
    dtype: str | None = None
    """A NumPy dtype name; the model input's own when left out."""
    constant: bool = False
    """The whole array is fed with every batch (a scalar, a state), not sliced along its first axis."""
    allow_constant: bool = False
    """Take samples that hold one value only (masks, states): otherwise float samples and images of 16 values or more
    must not be constant."""
    orientation: Literal["exif", "as_stored"] | None = None
    """Images: `exif` (when left out) turns them as their EXIF orientation says, as OpenCV does; `as_stored` takes
    pixels as they lie in the file, as Pillow and torchvision do."""
    colour: Literal["rgb", "bgr", "gray"] | None = None
    """Images: the order of the channels, rgb when left out. gray is one channel, (299 R + 587 G + 114 B) / 1000. Alpha
    is dropped."""
    resize: Resize | None = None
    """Images: how they are resized; a size alone is stretched to. They keep their own sizes when left out."""
    center_crop: PixelSize | None = None
    """Images: the middle, `HEIGHTxWIDTH`, of the resized image; it begins at `round((size - crop) / 2)`, halves to the
    even number, as torchvision's CenterCrop does. A smaller image is refused."""
    pad_to_multiple: Annotated[int | None, Field(ge=1, le=LONGEST_SIDE)] = None
    """Images: pad at the bottom and right with `pad_value` until height and width are multiples of it."""
    pad_value: Pixels | None = None
    """Images: what is padded with, 0 to 255, one value or one a channel; 0 when left out (114 in ultralytics)."""


def _by_name(value: object) -> object:
    """Images without a name get the name `images`."""
    return value if isinstance(value, dict) else {IMAGES: value}


class _PathsOr:
    """Says in the JSON Schema that one path, or a list of paths, may stand where a mapping of them is expected."""

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(source)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        many = {"type": "array", "items": {"type": "string"}}
        return {"anyOf": [{"type": "string"}, many, handler(schema)]}


Images = Annotated[dict[str, Paths], BeforeValidator(_by_name), _PathsOr()]


class DatasetSpec(SpecModel):
    """Samples and preprocessing, from one source or more."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["random"]},
                {"anyOf": [{"required": [name]} for name in SOURCES if name != "random"]},
            ]
        }
    )

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    images: Images | None = None
    """Image files: a folder (with what is below it), a glob (`photos/**/*.jpg`) or a file, or a list of these; or array
    name → these, for inputs with images of their own. Samples are in the order of their sorted paths."""
    npz: str | None = None
    """An .npz file; its arrays' first axis counts samples."""
    npy: dict[str, str] | None = None
    """Array name → .npy file; the first axis counts samples. Read through a memory map."""
    safetensors: str | None = None
    """A .safetensors file; its tensors' first axis counts samples. Read through a memory map."""
    parquet: Annotated[tuple[str, ...], OneOrMany] | None = None
    """Parquet files: a file, a folder, a glob, or a list of these. Columns of numbers, of lists of them and of encoded
    images are arrays; rows are samples, in the order of their files' sorted paths."""
    python: Annotated[str | None, Field(pattern=PYTHON_PATTERN)] = None
    """`package.module:function` of the project: a function without parameters that yields samples, each a mapping from
    array name to array, without a batch dimension. It runs in a stage's own process, in the project's root; what it
    yields must depend on nothing but its source and `files`."""
    files: Annotated[tuple[str, ...], AsTuple] = ()
    """What the function of `python` reads and imports: files, folders and globs in the project. Undeclared ones are
    refused."""
    random: RandomSource | None = None
    """Random samples, said out loud."""
    inputs: dict[str, InputSpec] = Field(default_factory=dict)
    """Model input → how it is made; left out, arrays feed the inputs that bear their names."""
    labels: str | None = None
    """The array that holds the class index of each sample. With images: a .csv file of lines `path,class`, or
    `folders`: the first folder below the images' is the class, numbered in sorted order."""
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
    def _sources(self) -> DatasetSpec:
        given = self.kinds()
        listed = f"{', '.join(SOURCES[:-1])} and {SOURCES[-1]}"
        if not given:
            raise WrongValue(Code.KEY_NEEDED, f"no samples: give one of {listed}")
        if self.files and self.python is None:
            raise WrongValue(Code.KEYS_EXCLUDE, "files are those of a python function; leave them out")
        if "random" in given and len(given) > 1:
            others = " and ".join(one for one in given if one != "random")
            raise WrongValue(Code.KEYS_EXCLUDE, f"random samples stand alone; leave out random, or {others}")
        return self

    def kinds(self) -> tuple[str, ...]:
        """The kinds of sources that the data set has."""
        return tuple(name for name in SOURCES if getattr(self, name) is not None)
