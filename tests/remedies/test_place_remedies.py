"""Where results, stores and links lie, and what commands are asked in vain: what is said is done, and they go on."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.remedies.remedy_places import CHECK, SPEC, Place, Row, apply, asking, rewrite
from tests.remedies.small_models import classifier, net, node, recorded, relu
from tests.remedies.spec_rows import FILES, SET
from tests.remedies.test_command_remedies import BENCH, CELL, X, command, put, run
from tests.remedies.test_data_remedies import png
from trtpipe.calibration.calibrators.measurement.providers import refuse_fallback, session_providers
from trtpipe.fetch.patience import seconds_from
from trtpipe.problem_codes import Code
from trtpipe.spec.variant import CalibrationSpec

# -- on the command line


def pipe(name: str) -> Callable[[Place], None]:
    return lambda place: os.mkfifo(place.root / name)


def small(name: str, value: int = 4) -> Callable[[Place], None]:
    """A limit that is reached at once."""
    return lambda place: place.patch.setattr(name, value)


def run_row(
    name: str,
    code: object,
    argv: object,
    remedy: str,
    right: object,
    files: object = None,
    before: object = None,
) -> Row:
    made = run(name, code, argv, remedy, right, files)
    return Row(name, code, remedy, made.cure, made.files, made.ask, before)


PICTURES = "schema: 1\nimages: {x: a.png}\n"
TWO_PICTURES = "schema: 1\nimages: {x: a.png, y: a.png}\n"
DRAWN = "schema: 1\npython: calibration.draw:draw\n"
IMAGE = {
    "a.png": png,
    "net.onnx": relu(1, 3, 4, 4),
    "calibration/pictures.yaml": PICTURES,
    "calibration/val.yaml": SET,
}


def joined() -> bytes:
    dims = [1, 3, 4, 4]
    return net([node("Add", ["x", "y"], ["z"])], {"x": dims, "y": dims}, {"z": dims})


def _gone(place: Place) -> None:
    (place.root / "gone").mkdir()
    place.patch.chdir(place.root / "gone")
    (place.root / "gone").rmdir()


VALIDATED = {"pipelines/net.yaml": SPEC + "validate: {data: val}\n"}
TWO = {"pipelines/net.yaml": SPEC.replace("fp32: {}", "fp32: {}, h: {precision: fp16}")}
COMMANDS = [
    run_row("a set that is code", Code.DATA_SET_UNUSABLE, ("--data", "drawn"), r"give them with (--input)", X,
            {"calibration/drawn.yaml": DRAWN, "calibration/draw.py": "def draw(): ...\n"}),
    run_row("a set without images", Code.DATA_SET_UNUSABLE, ("--input", "x=a.png", "--data", "val"), r"name a set of images with (--data)",
            ("--input", "x=a.png", "--data", "pictures"), IMAGE),
    run_row("images for which input", Code.WHICH_INPUT, ("--input", "a.png", "--data", "pictures"), r"write NAME=FILE with one of (x)",
            ("--input", "x=a.png", "--input", "y=a.png", "--data", "pictures"),
            {**IMAGE, "net.onnx": joined, "calibration/pictures.yaml": TWO_PICTURES}),
    run_row("images for no input", Code.DATA_SET_UNUSABLE, ("--input", "xx=a.png", "--data", "pictures"), r"did you mean '(\w+)'|inputs: (?P<i>\w+)",
            ("--input", "x=a.png", "--data", "pictures"), IMAGE),
    run_row("a recording with a batch", Code.OPTIONS_EXCLUDE, ("--input", "r.npz", "--batch", "1"), "leave out --data and --batch", ("--input", "r.npz"),
            {"r.npz": recorded}),
    run_row("an output that is a pipe", Code.NOT_A_FILE, (*X, "--output", "y.npz"), "name another place", (*X, "--output", "z.npz"), None, pipe("y.npz")),
    run_row("labels that are a pipe", Code.WRONG_FILE, (*X, "--labels", "l.txt"), "write one name per line", (*X, "--labels", "m.txt"), {"m.txt": "a\nb\nc\n"},
            pipe("l.txt")),
    Row("a bench that is a pipe", Code.NOT_A_FILE, "name another place", asking(*BENCH[:-1], "c.json"), {"net.onnx": relu(1, 3)}, ask=BENCH,
        before=pipe("b.json")),
    Row("a bench that cannot be written", Code.CANNOT_WRITE, r"name another place with --output", asking(*BENCH), {"net.onnx": relu(1, 3), "a": "x"},
        ask=(*BENCH[:-1], "a/b.json")),
    Row("no working directory", Code.NO_SUCH_FILE, "change to one that does", lambda place, _: place.patch.chdir(place.root), {**FILES, "pipelines/net.yaml": SPEC},
        ask=CHECK, before=_gone),
    command("nobody to ask", Code.CODE_NOT_ALLOWED, ("allow",), r"again with (--yes)", ("allow", r"\1"),
            {"calibration/drawn.yaml": DRAWN, "calibration/draw.py": "def draw(): ...\n", "pipelines/net.yaml": SPEC + "validate: {data: drawn}\n"},
            lambda place: (place.patch.delenv("TRTPIPE_ALLOW_PROJECT_CODE", raising=False), place.patch.setenv("XDG_CONFIG_HOME", str(place.root / "home")))),
    command("an unknown base", Code.UNKNOWN_VALUE, ("migrate", "calibration-cache", "c", "net.onnx", "--base", "fp61"), r"did you mean '(\w+)'",
            ("migrate", "calibration-cache", "c", "net.onnx", "--base", r"\1"),
            {"net.onnx": classifier, "c": "TRT-8601-EntropyCalibration2\nx: 3c010a14\nfeatures: 3c010a14\nhidden: 3c010a14\ny: 3c010a14\n"}),
    Row("several pipelines to export", Code.AMBIGUOUS_NAME, "export one at a time", asking("export", "network", "pipelines/net.yaml", "--output", "o/n.yaml"),
        {**FILES, "pipelines/net.yaml": SPEC, "pipelines/b.yaml": SPEC.replace("pipeline: net", "pipeline: b")},
        ask=("export", "network", "pipelines", "--output", "o/n.yaml")),
    command("a rebuild that is forced", Code.OPTIONS_EXCLUDE, ("build", "--check", "--force"), "leave it out", lambda *_: _frozen_or_not()),
    command("a recording that is a directory", Code.NOT_A_FILE, ("golden", CELL, "--output", "d.npz"), r"give another name with (--output)",
            ("golden", CELL, r"\1", "g.npz"), {**VALIDATED, "d.npz/x": b""}),
    command("a recording that is there", Code.EXISTS_ALREADY, ("golden", CELL, "--output", "g.npz"), r"replace it with (--force)",
            ("golden", CELL, "--output", "g.npz", r"\1"), {**VALIDATED, "g.npz": b"x"}),
    command("nothing to propose for", Code.VALIDATES_NOTHING, ("validate", "--propose", CELL, "--seeds", "1"), r"`(validate)`",
            rewrite((SPEC[-10:], SPEC[-10:] + "\\1: {data: val}\n"))),
    command("nothing to compare on", Code.VALIDATES_NOTHING, ("debug", "compare", CELL), r"`(validate)`", rewrite((SPEC[-10:], SPEC[-10:] + "\\1: {data: val}\n"))),
    command("a file of migration that is there", Code.EXISTS_ALREADY, ("migrate", "calibration-cache", "c", "net.onnx", "--output", "o"), r"replace it with (--force)",
            ("migrate", "calibration-cache", "c", "net.onnx", "--output", "o", r"\1"),
            {"net.onnx": classifier, "o": "x", "c": "TRT-8601-EntropyCalibration2\nx: 3c010a14\nfeatures: 3c010a14\nhidden: 3c010a14\ny: 3c010a14\n"}),
]  # fmt: skip


def _frozen_or_not() -> tuple[str, ...]:
    """Without a lockfile there is nothing to check against: that is another problem."""
    return ("build",)


# -- asked for directly


def stored(store: str) -> Callable[[Place], object]:
    from trtpipe.loader.project import Project
    from trtpipe.loader.user import load_user
    from trtpipe.workspace.store_places import place_of_store

    def ask(place: Place) -> None:
        if store:
            place.write("trtpipe.yaml", f"schema: 1\nstore: {store}\n")
        place_of_store(Project(place.root), load_user())

    return ask


def toolchains(_: Place) -> None:
    from trtpipe.toolchains.provision import toolchains_root

    toolchains_root()


def homeless() -> Path:
    raise RuntimeError("no home")


def links(place: Place) -> None:
    from trtpipe.workspace.written_places import refuse_links_outside

    refuse_links_outside(place.root)


def state(place: Place) -> None:
    from trtpipe.workspace.written_places import refuse_committed_state

    refuse_committed_state(place.root)


def git(place: Place, *argv: str) -> None:
    subprocess.run(["git", *argv], cwd=place.root, check=True, capture_output=True)


def committed(place: Place) -> None:
    git(place, "init", "-q")
    git(place, "add", "-f", ".trtpipe")


def uncommitted(place: Place, match: object) -> None:
    git(place, *match[1].split())
    shutil.rmtree(place.root / match[2])


def calibrated_by(**says: str) -> Callable[[Place], object]:
    from trtpipe.building.facts import _provider

    return lambda _: _provider(CalibrationSpec(**says)) and None


def opened(asked: str) -> Callable[[Place], object]:
    return lambda _: session_providers(asked, ["CPUExecutionProvider"]) and None


def fallen_back(asked: str) -> Callable[[Place], object]:
    return lambda _: refuse_fallback(asked, ["CPUExecutionProvider"])


def beside(*names: str) -> Callable[[Place], object]:
    from trtpipe.building.fetched import _unsafe

    return lambda _: list(_unsafe(names, "m.onnx", SimpleNamespace(place=("model", "source"))))


def loose(scheme: str, **pins: str) -> Callable[[Place], object]:
    from trtpipe.building.fetched import _loose

    where = SimpleNamespace(
        place=("model", "source"), remote=SimpleNamespace(scheme=scheme, host="example.org")
    )
    return lambda _: list(_loose(pins, ["w"], where))


def golden(*names: str) -> Callable[[Place], object]:
    from trtpipe.runners.validation.references import read_golden

    return lambda place: read_golden(place.root / "g.npz", names) and None


def recording(place: Place) -> None:
    from trtpipe.runners.validation.recordings import read_recording

    read_recording(place.root / "g.npz")


def profile(wanted: int) -> Callable[[Place], object]:
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.runners.feeds.signature import Signature, profile_for
    from trtpipe.spec.pipeline import ProfileInput

    limits = ProfileInput.model_validate({"min": "1x3", "opt": "1x3", "max": "8x3"})
    signature = Signature((TensorInfo("x", "float32", (None, 3)),), ("y",), ({"x": limits},))
    return lambda _: profile_for(signature, {"x": (2, 3)}, {}, wanted) and None


def lock(place: Place) -> None:
    from trtpipe.lockfile.reader import refuse_no_file

    refuse_no_file(place.root / "trtpipe.lock")


def compressed() -> bytes:
    import io

    import numpy as np

    stream = io.BytesIO()
    x = np.zeros((64, 64), np.float32)
    np.savez_compressed(stream, **{"in:x": x, "out:y": x})
    return stream.getvalue()


def border(keep: bool) -> Callable[[Place], object]:
    from trtpipe.precisions.casts.borders import border_refusal

    return lambda _: [] if keep else [border_refusal("x", 1e6, ("variants", "h", "io"))]


def patience(_: Place) -> None:
    seconds_from("TRTPIPE_FETCH_TIMEOUT", 60)


def without_home(place: Place) -> None:
    place.patch.setenv("XDG_CONFIG_HOME", str(place.root / "config"))
    place.patch.setattr("trtpipe.workspace.store_places.cache_home", lambda: None)


def pinned(model: dict) -> Callable[[Place], object]:
    from trtpipe.loader.remotes import misplaced_pins

    return lambda _: list(misplaced_pins(model, "onnx"))


def header(algorithm: str) -> Callable[[Place], object]:
    from trtpipe.calibration.caches.tensorrt_text import header_of

    return lambda _: header_of("8.6.1", algorithm) and None


def own(place: Place) -> None:
    from trtpipe.loader.user import load_user

    place.patch.setenv("XDG_CONFIG_HOME", str(place.root))
    load_user()


def regular(path: str) -> Callable[[Place], object]:
    from trtpipe.canonical.reader import _require_regular_file

    return lambda place: _require_regular_file((place.root / path).resolve(), place.root)


def known(name: str) -> Callable[[Place], object]:
    from trtpipe.legalization.transforms import _unknown

    return lambda _: _unknown("tensor", [name], ["features"], ("outputs",))


def kept(*globs: str) -> Callable[[Place], object]:
    from trtpipe.precisions.casts.limits import kept_because, refused_keeps

    reasons = {"/norm": kept_because(globs[0])} if globs else {}
    return lambda _: refused_keeps(
        {"/norm": "it overflows"}, reasons, {"fp16": globs}, "float16", ("variants", "h", "keep")
    )


def existing(force: bool) -> Callable[[Place], object]:
    from trtpipe.app.author.export import refuse_existing

    return lambda place: refuse_existing([place.root / "o.yaml"], force)


REMOTE = {"source": "https://example.org/m.onnx"}
SAMPLED = "import numpy as np\ndef draw():\n    yield {'x': np.float32([1, 2, 3])}\n"
DIRECT = [
    Row("a pin of no plain name", Code.MISPLACED_PIN, r"for example (model\.onnx\.data)", lambda _, m: pinned({**REMOTE, "files": {m[1]: "0" * 64}}),
        ask=pinned({**REMOTE, "files": {"../w": "0" * 64}})),
    Row("pins beside a file", Code.MISPLACED_PIN, "leave it out", lambda *_: pinned({"source": "m.onnx"}),
        ask=pinned({"source": "m.onnx", "files": {"w": "0" * 64}})),
    Row("a model outside the directory", Code.OUTSIDE_PROJECT, "move the model into the project",
        lambda place, _: ((place.root / "../m.onnx").rename(place.root / "m.onnx"), regular("m.onnx"))[1], {"../m.onnx": relu(1, 3)}, ask=regular("../m.onnx")),
    Row("no such tensor", Code.UNKNOWN_TENSOR, r"did you mean '(\w+)'", lambda _, m: known(m[1]), ask=known("feature")),
    Row("a node that cannot be kept", Code.CANNOT_KEEP, r"leave out '(/norm)'", lambda *_: kept(), ask=kept("/norm")),
    Row("an export that is there", Code.EXISTS_ALREADY, r"or replace it with --(force)", lambda *_: existing(True), {"o.yaml": ""}, ask=existing(False)),
    Row("no such toolchain to verify", Code.NO_TOOLCHAIN, "there are:", asking("toolchain", "ls"), ask=("toolchain", "verify", "tensorrt_rtx-9.9.9.9")),
    Row("no calibrator of TensorRT's", Code.UNKNOWN_VALUE, r"it has (\w+)", lambda _, m: header(m[1]), ask=header("Entropy")),
    Row("a user's store that is not whole", Code.WRONG_FORM, "write an absolute path", lambda place, _: place.edit("trtpipe/config.yaml", "{path: s}", "{path: /s}"),
        {"trtpipe/config.yaml": "schema: 1\nstore: {path: s}\n"}, ask=own),
    Row("code that is not allowed", Code.CODE_NOT_ALLOWED, r"in CI set (\w+)=(1)", lambda place, m: place.patch.setenv(m[1], m[2]),
        {**FILES, "calibration/drawn.yaml": DRAWN, "calibration/draw.py": SAMPLED, "pipelines/net.yaml": SPEC + "validate: {data: drawn}\n"},
        ask=("data", "preview", "drawn"), ends=-1,
        before=lambda place: (place.patch.delenv("TRTPIPE_ALLOW_PROJECT_CODE", raising=False), place.patch.setenv("XDG_CONFIG_HOME", str(place.root / "home")))),
    Row("no home for the store", Code.NO_HOME, r"`(store: project)`",
        lambda place, m: place.write("config/trtpipe/config.yaml", f"schema: 1\n{m[1]}\n") and None, ask=stored(""), before=without_home),
    Row("no home for the store, named", Code.NO_HOME, r"(TRTPIPE_STORE) to a directory", lambda place, m: place.patch.setenv(m[1], str(place.root / "s")),
        ask=stored(""), before=without_home),
    Row("no home for toolchains", Code.NO_HOME, r"set (TRTPIPE_TOOLCHAINS) to a directory", lambda place, m: place.patch.setenv(m[1], str(place.root)),
        ask=toolchains, before=lambda place: place.patch.setattr("trtpipe.toolchains.provision._cache_directory", homeless)),
    Row("a link that leads out", Code.OUTSIDE_PROJECT, "remove it", lambda place, _: (place.root / ".trtpipe").unlink(), {"../away/x": b""}, ask=links,
        before=lambda place: ((place.root / ".trtpipe").symlink_to("../away"), place.patch.delenv("TRTPIPE_ALLOW_PROJECT_CODE", raising=False))),
    Row("state that is committed", Code.NOT_TRUSTED, r"git (rm -r --cached (\S+)), and remove the directory", uncommitted, {".trtpipe/state.json": "{}"},
        ask=state, before=committed),
    Row("CUDA for a library", Code.NO_CUDA_PROVIDER, "leave out provider", lambda *_: calibrated_by(data="val", backend="onnxruntime"),
        ask=calibrated_by(data="val", backend="onnxruntime", provider="cuda")),
    Row("no CUDA in ONNX Runtime", Code.NO_CUDA_PROVIDER, r"write provider: (cpu)", lambda _, m: opened(m[1]), ask=opened("cuda")),
    Row("CUDA that does not start", Code.NO_CUDA_PROVIDER, r"or write provider: (cpu)", lambda _, m: fallen_back(m[1]), ask=fallen_back("cuda")),
    Row("weights above the model", Code.WEIGHTS_MISPLACED, "in the model's folder or below it", lambda *_: beside("w", "below/w"), ask=beside("../w")),
    Row("weights over plain http", Code.PLAIN_HTTP, r"write (https)://", lambda _, m: loose(m[1]), ask=loose("http")),
    Row("weights over plain http, pinned", Code.PLAIN_HTTP, r"or pin it in model\.files", lambda *_: loose("http", w="0" * 64), ask=loose("http")),
    Row("recorded outputs of another input", Code.REFERENCE, r"'g\.npz' holds '(in:x)'", lambda *_: golden("x"), {"g.npz": recorded}, ask=golden("z")),
    Row("a recording that unpacks to too much", Code.FILE_TOO_LARGE, "save it uncompressed", put("g.npz", recorded()), {"g.npz": compressed},
        ask=recording, before=small("trtpipe.runners.validation.recordings._LARGEST_UNPACKED", 64)),
    Row("no such profile", Code.NO_SUCH_PROFILE, r"choose from (0) to 0", lambda _, m: profile(int(m[1])), ask=profile(5)),
    Row("a directory for a lockfile", Code.NOT_A_FILE, "move it away", lambda place, _: (place.root / "trtpipe.lock").rename(place.root / "away") and None,
        {"trtpipe.lock/x": ""}, ask=lock),
    Row("an input beyond half", Code.BORDER_TYPE, r"keep its type: io: (\{x: keep\})", lambda *_: border(True), ask=border(False)),
    Row("no seconds", Code.BAD_VARIABLE, r"write seconds, for example (\d+)", lambda place, m: place.patch.setenv("TRTPIPE_FETCH_TIMEOUT", m[1]),
        ask=patience, before=lambda place: place.patch.setenv("TRTPIPE_FETCH_TIMEOUT", "soon")),
]  # fmt: skip

ROWS = [*COMMANDS, *DIRECT]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
