"""Data sets: what a remedy says is written into the set, or done to its files, and every sample is read."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from tests.remedies.remedy_places import Cure, Place, Row, apply, rewrite
from trtpipe.canonical.summary import TensorInfo
from trtpipe.datasets import source_files
from trtpipe.datasets.locations import GivenFiles
from trtpipe.datasets.locations.projects import ProjectFiles
from trtpipe.datasets.samples.batches import open_dataset
from trtpipe.loader.project import Project
from trtpipe.loader.specs import load_dataset
from trtpipe.problem_codes import Code, ProblemCode

SET = "calibration/val.yaml"
Content = bytes | str


def npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array))
    return stream.getvalue()


def npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **{name: np.asarray(array) for name, array in arrays.items()})
    return stream.getvalue()


def png(height: int = 4, width: int = 4, seed: int = 0) -> bytes:
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def deep_png() -> bytes:
    image = pytest.importorskip("PIL.Image")
    stream = io.BytesIO()
    image.fromarray(np.arange(16, dtype=np.uint16).reshape(4, 4)).save(stream, "PNG")
    return stream.getvalue()


def parquet(**columns: object) -> bytes:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    stream = io.BytesIO()
    files.write_table(arrow.table(columns), stream)
    return stream.getvalue()


def reading(*dims: int | None, name: str = "x", dtype: str = "float32", more: tuple[TensorInfo, ...] = ()):
    """Read the set whole for a model with this input."""

    def ask(place: Place) -> None:
        project = Project(place.root)
        spec = load_dataset(place.root / SET, project).spec
        files = GivenFiles(source_files(spec, ProjectFiles(project)))
        with open_dataset(spec, files, [TensorInfo(name, dtype, dims), *more]) as data:
            assert list(data)

    return ask


FLOATS = npy(np.float32([[1, 2, 3], [4, 5, 6]]))
X3 = reading(None, 3)
PICTURE = reading(None, 3, 4, 4)
OF_X = "npy: {x: x.npy}\n"
OF_IMAGES = "images: p\n"


def data(
    name: str,
    code: ProblemCode,
    wrong: str,
    remedy: str,
    right: str | Cure,
    files: Mapping[str, object] | None = None,
    ask: Callable[[Place], None] = X3,
) -> Row:
    cure = rewrite((wrong, right), file=SET) if isinstance(right, str) else right
    given = {"x.npy": FLOATS, **(files or {}), SET: f"schema: 1\n{wrong}"}
    return Row(name, code, remedy, cure, given, ask=ask)


def put(name: str, content: Content | Callable[[], bytes]) -> Cure:
    """Another file in its place."""
    return lambda place, _: place.write(name, content() if callable(content) else content) and None


def away(name: str) -> Cure:
    return lambda place, _: (place.root / name).unlink()


ARRAYS = [
    data("no such array", Code.UNKNOWN_ARRAY, "npy: {xs: x.npy}\n", r"the arrays are '(\w+)'|did you mean '(?P<near>\w+)'",
         "npy: {xs: x.npy}\ninputs: {x: {array: xs}}\n"),
    data("no such input", Code.UNKNOWN_INPUT, OF_X + "inputs: {xx: {scale: 1}}\n", r"the model's inputs are '(\w+)'",
         OF_X + r"inputs: {\1: {scale: 1}}" "\n"),
    data("a scalar", Code.ARRAY_MISFIT, OF_X + "inputs: {}\n", r"write (inputs: \{x: \{constant: true\}\})",
         OF_X + r"\1" "\n",
         {"x.npy": npy(np.float32(3))}, reading(more=())),
    data("another type is said", Code.ARRAY_TYPE, OF_X + "inputs: {x: {dtype: float64}}\n", r"write (dtype: float32), or leave",
         OF_X + r"inputs: {x: {\1}}" "\n"),
    data("another type is said, left out", Code.ARRAY_TYPE, OF_X + "inputs: {x: {dtype: float64}}\n", "or leave it out", OF_X),
    data("floats for integers", Code.ARRAY_TYPE, OF_X, r"write (dtype: int64)", OF_X + r"inputs: {x: {\1}}" "\n",
         ask=reading(None, 3, dtype="int64")),
    data("NaN", Code.ARRAY_VALUES, OF_X, "clean the data", put("x.npy", FLOATS), {"x.npy": npy(np.float32([[1, np.nan, 3]]))}),
    data("one value", Code.ARRAY_VALUES, OF_X, r"or write (inputs: \{x: \{allow_constant: true\}\})", OF_X + r"\1" "\n",
         {"x.npy": npy(np.ones((2, 16), np.float32))}, reading(None, 16)),
    data("too many samples", Code.TOO_FEW_SAMPLES, OF_X + "samples: 9\n", r"write (samples: 2) or less", OF_X + r"\1" "\n"),
    data("a batch for a fixed one", Code.BATCH_SIZE, OF_X + "batch: 3\n", r"write (batch: 2)", OF_X + r"\1" "\n",
         ask=reading(2, 3)),
    data("a batch for a fixed one, left out", Code.BATCH_SIZE, OF_X + "batch: 3\n", "or leave it out", OF_X, ask=reading(2, 3)),
    data("a batch of random batches", Code.BATCH_SIZE, "random: {shapes: {x: 2x3}}\nbatch: 2\n", "leave out batch",
         "random: {shapes: {x: 2x3}}\n"),
    data("other counts", Code.SAMPLE_COUNTS, "npy: {x: x.npy, y: y.npy}\n", r"needs (constant: true)",
         "npy: {x: x.npy, y: y.npy}\n" r"inputs: {y: {\1}}" "\n", {"y.npy": npy(np.float32([[1, 2, 3]]))},
         reading(None, 3, more=(TensorInfo("y", "float32", (1, 3)),))),
    data("no labels", Code.LABELS, OF_X + "labels: l\n", r"the arrays are '(\w+)'|did you mean", OF_X),
    data("labels misspelt", Code.LABELS, "npy: {x: x.npy, labels: l.npy}\nlabels: label\n", r"did you mean '(\w+)'",
         "npy: {x: x.npy, labels: l.npy}\n" r"labels: \1" "\n", {"l.npy": npy([0, 1])}),
    data("an array twice", Code.WEIGHTS_TWICE, "npy: {x: x.npy}\nnpz: a.npz\n", "give each array a name of its own",
         "npy: {other: x.npy}\nnpz: a.npz\n", {"a.npz": npz(x=np.float32([[1, 2, 3]]))},
         reading(None, 3)),
    data("a layout of images", Code.IMAGE_OPTIONS, OF_X + "inputs: {x: {layout: nchw}}\n", r"write (layout: nhwc_to_nchw)",
         OF_X + r"inputs: {x: {\1}}" "\n", {"x.npy": npy(np.random.default_rng(0).random((2, 4, 4, 3), np.float32))}, PICTURE),
    data("cut short", Code.NOT_NPY, OF_X, "copy or download it again", put("x.npy", FLOATS), {"x.npy": FLOATS[:-4]}),
]  # fmt: skip

CSV = OF_IMAGES + "labels: l.csv\n"
IMAGES = [
    data("no images", Code.NO_SAMPLES, OF_IMAGES, r"names must end in (\.png)", put("p/a.png", png), {"p/a.txt": b"x"}, PICTURE),
    data("too small", Code.IMAGE_OPTIONS, OF_IMAGES + "inputs: {x: {center_crop: 8}}\n", "crop less",
         OF_IMAGES + "inputs: {x: {center_crop: 4}}\n", {"p/a.png": png}, reading(None, 3, None, None)),
    data("too small, resized", Code.IMAGE_OPTIONS, OF_IMAGES + "inputs: {x: {center_crop: 8}}\n", r"resize with (mode: fit_short) first",
         OF_IMAGES + r"inputs: {x: {center_crop: 8, resize: {size: 8, \1}}}" "\n", {"p/a.png": png}, reading(None, 3, 8, 8)),
    data("another size", Code.ARRAY_MISFIT, OF_IMAGES + "inputs: {x: {resize: 6}}\n", r"for example (resize: 8x8)", OF_IMAGES + r"inputs: {x: {\1}}" "\n",
         {"p/a.png": png}, reading(None, 3, 8, 8)),
    data("another size, channels last", Code.ARRAY_MISFIT, OF_IMAGES + "inputs: {x: {layout: nhwc, resize: 6}}\n",
         r"for example (resize: 8x8)", OF_IMAGES + r"inputs: {x: {layout: nhwc, \1}}" "\n", {"p/a.png": png},
         reading(None, 8, 8, 3)),
    data("another layout", Code.ARRAY_MISFIT, OF_IMAGES, r"write (layout: nhwc)", OF_IMAGES + r"inputs: {x: {\1}}" "\n",
         {"p/a.png": png}, reading(None, 4, 4, 3)),
    data("another colour", Code.ARRAY_MISFIT, OF_IMAGES, r"write (colour: gray)", OF_IMAGES + r"inputs: {x: {\1}}" "\n",
         {"p/a.png": png}, reading(None, 1, 4, 4)),
    data("a layout of numbers", Code.UNKNOWN_VALUE, OF_IMAGES + "inputs: {x: {layout: nhwc_to_nchw}}\n", r"write (layout: nchw)",
         OF_IMAGES + r"inputs: {x: {\1}}" "\n", {"p/a.png": png}, PICTURE),
    data("no image", Code.IMAGE_UNREADABLE, OF_IMAGES, "remove it, or save it again", put("p/a.png", png),
         {"p/a.png": b"no image"}, PICTURE),
    data("deep colours", Code.IMAGE_UNREADABLE, OF_IMAGES, "save it with 8 bits", put("p/a.png", png), {"p/a.png": deep_png},
         PICTURE),
    data("sizes that differ", Code.BATCH_SIZE, OF_IMAGES + "batch: 2\n", "resize them to the same size, or leave out batch", OF_IMAGES,
         {"p/a.png": png, "p/b.png": lambda: png(6, 6)}, reading(None, 3, None, None)),
    data("sizes that differ, resized", Code.BATCH_SIZE, OF_IMAGES + "batch: 2\n", "resize them to the same size",
         OF_IMAGES + "batch: 2\ninputs: {x: {resize: 8x8}}\n",
         {"p/a.png": png, "p/b.png": lambda: png(6, 6)}, reading(None, 3, None, None)),
    data("an image of no class", Code.LABELS, OF_IMAGES + "labels: folders\n", "move it into one",
         lambda place, _: ((place.root / "p/b.png").rename(place.root / "p/dog/b.png"), None)[1],
         {"p/cat/a.png": png, "p/dog/c.png": png, "p/b.png": png}, PICTURE),
    data("an image without a line", Code.LABELS, CSV, "write a line path,class for each image", put("l.csv", "a.png,0\nb.png,1\n"),
         {"p/a.png": png, "p/b.png": png, "l.csv": "a.png,0\n"}, PICTURE),
    data("no list of classes", Code.CANNOT_READ, CSV, "write lines path,class", put("l.csv", "a.png,0\n"),
         {"p/a.png": png, "l.csv": "path,class\na.png;0\n"}, PICTURE),
]  # fmt: skip

OF_PARQUET = "parquet: a.parquet\n"
CODE = "calibration/draw.py"
OF_CODE = "python: calibration.draw:draw\n"
GOOD = "import numpy as np\ndef draw():\n    yield {'x': np.float32([1, 2, 3])}\n"


def table(*rows: object, **more: object) -> Callable[[], bytes]:
    return lambda: parquet(x=list(rows), **more)


OTHERS = [
    data("no Parquet files", Code.NO_SAMPLES, "parquet: q\n", r"names must end in (\.parquet)",
         put("q/a.parquet", table([1.0, 2.0])), {"q/a.txt": b"x"}, reading(None, None, dtype="float64")),
    data("a null", Code.PARQUET_COLUMNS, OF_PARQUET, "leave such rows out", put("a.parquet", table([1.0, 2.0])),
         {"a.parquet": table([1.0, 2.0], None)}, reading(None, None, dtype="float64")),
    data("no Parquet", Code.PARQUET_COLUMNS, OF_PARQUET, "copy or write it again", put("a.parquet", table([1.0, 2.0])),
         {"a.parquet": b"PAR1"}, reading(None, None, dtype="float64")),
    data("files of two schemas", Code.PARQUET_COLUMNS, "parquet: [a.parquet, b.parquet]\n", "use files with the same schema", OF_PARQUET,
         {"a.parquet": table([1.0, 2.0]), "b.parquet": lambda: parquet(y=[1.0])}, reading(None, None, dtype="float64")),
    data("a function of another name", Code.UNKNOWN_NAME, "python: calibration.draw:drew\n", r"did you mean '(\w+)'",
         r"python: calibration.draw:\1" "\n", {CODE: GOOD}),
    data("no mapping", Code.DATA_CODE, OF_CODE, "yield a mapping: array name → array", put(CODE, GOOD),
         {CODE: GOOD.replace("{'x': np.float32([1, 2, 3])}", "np.float32([1, 2, 3])")}),
    data("other arrays", Code.DATA_CODE, OF_CODE, "yield the same arrays for every sample", put(CODE, GOOD),
         {CODE: GOOD + "    yield {'y': np.float32([1, 2, 3])}\n"}),
    data("a file that the set does not name", Code.DATA_CODE_FILES, OF_CODE, r"(files: \[.*\])", OF_CODE + r"\1" "\n",
         {CODE: "import numpy as np\ndef draw():\n    yield {'x': np.loadtxt('w.txt', dtype=np.float32)}\n", "w.txt": "1 2 3\n"}),
]  # fmt: skip

CODES = {Code.NOT_A_FILE, Code.LINKED_FOLDER, Code.NOT_UTF8}
ROWS = [*ARRAYS, *IMAGES, *OTHERS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)


def test_a_pipe_can_be_taken_out(place: Place):
    place.write("p/a.png", png())
    os.mkfifo(place.root / "p/pipe.png")
    apply(data("a pipe", Code.NOT_A_FILE, OF_IMAGES, "take it out", away("p/pipe.png"), {}, PICTURE), place)


def test_a_linked_folder_can_be_named(place: Place):
    """The link is the problem; the folder that it leads to is what is named."""
    place.write("p/a.png", png())
    place.write("q/b.png", png())
    (place.root / "p/linked").symlink_to("../q")
    apply(
        data(
            "a link",
            Code.LINKED_FOLDER,
            "images: [p]\n",
            "name that folder itself",
            "images: [q]\n",
            {},
            PICTURE,
        ),
        place,
    )


def test_a_name_that_is_no_text_can_be_changed(place: Place):
    bad = place.root / "p" / "\udcff.png"
    place.write("p/a.png", png())
    bad.write_bytes(png())
    row = data(
        "a name",
        Code.NOT_UTF8,
        OF_IMAGES,
        "rename it",
        lambda *_: (bad.rename(place.root / "p/b.png"), None)[1],
        {},
        PICTURE,
    )
    apply(row, place)
