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
"""The array name of a set's images, unless they have names."""
FOLDERS = "folders"
"""The value of `labels` for images whose folders are their classes."""
PYTHON_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
LONGEST_SIDE = 65_535
"""Pixels: the largest size of a JPEG image, and more than networks use."""
IMAGE_FIELDS = (
    "resize", "center_crop", "pad_to_multiple", "pad_value", "colour", "orientation",
)  # fmt: skip
"""The fields of an input that apply only to images."""


class RandomSource(SpecModel):
    """Seeded random samples: standard normal floats, integers in `[low, high)`, indices within their table."""

    shapes: dict[str, StaticShape]
    """Input → the shape of one sample, with its batch dimension."""
    low: int = 0
    """The smallest integer."""
    high: int = 2
    """The largest integer plus one."""
    ranges: dict[str, tuple[int, int]] | None = None
    """Input → its own `[low, high)`; its values are integers even if its type is not."""


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
    """`stretch`: resize to exactly this size; `fit_short`, `fit_long`: scale so that the shorter or longer side has
    this size; `letterbox`: fit inside it and pad with `pad_value`."""
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    """The filter. `nearest` uses the pixel that contains the centre of the new one."""
    antialias: bool = True
    """true: the filter grows with the scale when shrinking (Pillow, torchvision on PIL images); false: it does not
    (OpenCV's INTER_LINEAR and INTER_CUBIC, torchvision's antialias=False)."""
    anchor: Literal["center", "top_left"] = "center"
    """The position of a letterboxed image: in the middle, or at the top left (YOLOX)."""

    @model_validator(mode="after")
    def _goes_together(self) -> ResizeSpec:
        if self.mode in ("fit_short", "fit_long") and len(self.size) != 1:
            raise WrongValue(
                Code.WRONG_FORM, f"mode {self.mode} needs a single number; write size: {self.size[0]}"
            )
        if self.interpolation == "lanczos" and not self.antialias:
            raise WrongValue(
                Code.KEYS_EXCLUDE, "lanczos is always antialiased; leave out antialias, or use bicubic"
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
    """The factor that the array is multiplied with first; 0.00392156862745098 is 1/255."""
    mean: Floats = (0.0,)
    """One value, or one per channel (in the array's own layout), in units of the scaled array."""
    std: Floats = (1.0,)
    """One value, or one per channel."""
    layout: Literal["as_is", "nchw_to_nhwc", "nhwc_to_nchw", "nchw", "nhwc"] | None = None
    """The layout to convert to; default: as_is. Images become `nchw` (the default) or `nhwc`."""
    dtype: str | None = None
    """A NumPy dtype name; default: the model input's type."""
    constant: bool = False
    """Feed the whole array with every batch (a scalar, a state), instead of slices along its first axis."""
    allow_constant: bool = False
    """Accept constant samples (masks, states); otherwise a constant float sample or image of 16 values or more is an
    error."""
    orientation: Literal["exif", "as_stored"] | None = None
    """Images: `exif` (the default) applies the EXIF orientation, as OpenCV does; `as_stored` keeps the pixels as
    stored, as Pillow and torchvision do."""
    colour: Literal["rgb", "bgr", "gray"] | None = None
    """Images: the order of the channels; default: rgb. gray is one channel, (299 R + 587 G + 114 B) / 1000. Alpha is
    dropped."""
    resize: Resize | None = None
    """Images: how they are resized; a plain size means `stretch`. Without it they keep their own sizes."""
    center_crop: PixelSize | None = None
    """Images: crop `HEIGHTxWIDTH` from the middle of the resized image; the crop begins at `round((size - crop) / 2)`,
    halves to even, as in torchvision's CenterCrop. A smaller image is an error."""
    pad_to_multiple: Annotated[int | None, Field(ge=1, le=LONGEST_SIDE)] = None
    """Images: pad at the bottom and right with `pad_value` until height and width are multiples of this."""
    pad_value: Pixels | None = None
    """Images: the padding value, 0 to 255, one or one per channel; default: 0 (ultralytics uses 114)."""


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
    """Image files: a folder (with its subfolders), a glob (`photos/**/*.jpg`) or a file, or a list of these; or a
    mapping from array name to these, for several inputs. Samples are in the order of their sorted paths."""
    npz: str | None = None
    """An .npz file; its arrays' first axis counts samples."""
    npy: dict[str, str] | None = None
    """Array name → .npy file; the first axis counts samples. Read through a memory map."""
    safetensors: str | None = None
    """A .safetensors file; its tensors' first axis counts samples. Read through a memory map."""
    parquet: Annotated[tuple[str, ...], OneOrMany] | None = None
    """Parquet files: a file, a folder, a glob, or a list of these. Columns of numbers, lists of numbers or encoded
    images are arrays; rows are samples, in the order of the files' sorted paths."""
    python: Annotated[str | None, Field(pattern=PYTHON_PATTERN)] = None
    """`package.module:function` of the project: a function without parameters that yields samples, each a mapping from
    array name to array, without a batch dimension. It runs in a stage's own process, in the project's root; its
    samples must depend only on its source and `files`."""
    files: Annotated[tuple[str, ...], AsTuple] = ()
    """The files that the function of `python` reads and imports: files, folders and globs in the project. Reading
    undeclared ones is an error."""
    random: RandomSource | None = None
    """Random samples, requested explicitly."""
    inputs: dict[str, InputSpec] = Field(default_factory=dict)
    """Model input → how it is made; default: arrays feed the inputs with their names."""
    labels: str | None = None
    """The array that holds the class index of each sample. With images: a .csv file of lines `path,class`, or
    `folders`: the first folder below the image folder is the class, numbered in sorted order."""
    batch: Annotated[int, Field(ge=1)] = 1
    """The number of samples per batch."""
    samples: Annotated[int | None, Field(ge=1)] = None
    """The number of samples to use; default: all (8 for random samples)."""
    shuffle: bool = False
    """Use the samples in a seeded random order."""
    seed: Annotated[int, Field(ge=0)] = 0
    """The seed of random samples and of the random order."""
    license: str | None = None
    """The origin of the data and their licence."""
    description: str | None = None
    """A description of the samples, for people."""

    @model_validator(mode="after")
    def _sources(self) -> DatasetSpec:
        given = self.kinds()
        listed = f"{', '.join(SOURCES[:-1])} and {SOURCES[-1]}"
        if not given:
            raise WrongValue(Code.KEY_NEEDED, f"no samples: give one of {listed}")
        if self.files and self.python is None:
            raise WrongValue(Code.KEYS_EXCLUDE, "files apply only to a python function; leave them out")
        if "random" in given and len(given) > 1:
            others = " and ".join(one for one in given if one != "random")
            raise WrongValue(
                Code.KEYS_EXCLUDE,
                f"random samples cannot be combined with others; leave out random, or {others}",
            )
        return self

    def kinds(self) -> tuple[str, ...]:
        """The kinds of sources that the data set has."""
        return tuple(name for name in SOURCES if getattr(self, name) is not None)
