"""Packages: what is said of a package that cannot be made is done, and it is made."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.remedies.remedy_places import SPEC, Place, Row, apply, asking, rewrite
from tests.remedies.small_models import relu
from tests.test_dependencies import EXTRAS
from trtpipe.app.prove.bundles import validate_bundles
from trtpipe.app.prove.validate import HowToValidate, this_machine
from trtpipe.packages import signatures
from trtpipe.problem_codes import Code

FILES = {
    "net.onnx": relu(1, 3),
    "pipelines/net.yaml": SPEC.replace("{t: {gpu: sm86}}", "{t: {gpu: sm86}, u: {gpu: sm89}}"),
}
BUNDLE = {
    **FILES,
    "pipelines/two.yaml": "schema: 1\nbundle: two\nmembers: {a: net, b: net}\nedges: {a.y: b.x}\ntargets: [t]\n",
}
RECORDED = {
    **BUNDLE,
    "g.npz": "not read",
    "pipelines/two.yaml": f"{BUNDLE['pipelines/two.yaml']}validate: {{golden: g.npz}}\n",
}
PACKAGE = ("package", "net")
CELL = "build/net/fp32@t"
ENGINES = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="not run: needs a tensorrt_rtx wheel"
)


def built(place: Place, match: re.Match[str]) -> None:
    """Runs the build that a remedy names."""
    done = place.ask(shlex.split(match[1]))
    assert done.code == 0, done.err


def after_build(change: Callable[[Place], object], *asked: str) -> Callable[[Place], None]:
    def before(place: Place) -> None:
        done = place.ask(("build", *asked))
        assert done.code == 0, done.err
        change(place)

    return before


def another_engine(place: Place) -> None:
    path = place.root / CELL / "model.engine"
    path.unlink()  # a link into the store
    path.write_bytes(b"another")


def another_model(place: Place) -> None:
    path = place.root / CELL / "manifest.json"
    record = json.loads(path.read_text())
    record["model"]["model.onnx"]["blake3"] = "0" * 64
    path.write_text(json.dumps(record))


def as_a_whole(place: Place) -> None:
    """Validates the bundle's engines as a whole."""
    (found,) = validate_bundles(["two"], place.root, HowToValidate(), this_machine())
    if found.error is not None:
        raise found.error


def without_library(place: Place) -> None:
    place.patch.setitem(sys.modules, "model_signing", None)


def with_extra(place: Place, match: re.Match[str]) -> None:
    assert any(line.startswith("model-signing") for line in EXTRAS[match[1]])
    place.patch.setitem(sys.modules, "model_signing", ModuleType("model_signing"))


ROWS = [
    Row("a package of what is not there", Code.NO_MATCH, "did you mean '(net)'", asking("package", r"\1"), FILES, ask=("package", "nett"), ends=-1),
    Row("a package of what is not built", Code.NOT_BUILT, r"run `trtpipe (build net/fp32@t net/fp32@u)`", built, FILES, ask=PACKAGE),
    Row("an engine that is not the manifest's", Code.NOT_BUILT, r"run `trtpipe (build net/fp32@t)`", built, FILES, ask=PACKAGE,
        before=after_build(another_engine)),
    Row("typed models of several builds", Code.NOT_BUILT, r"run `trtpipe (build net/fp32@t net/fp32@u)`", built, FILES, ask=PACKAGE,
        before=after_build(another_model)),
    Row("a package that is there", Code.EXISTS_ALREADY, r"or replace the package there with (--force)", asking(*PACKAGE, r"\1"), FILES, ask=PACKAGE,
        before=after_build(lambda place: place.ask(PACKAGE))),
    Row("a package of a bundle that is not built", Code.NOT_BUILT, r"run `trtpipe (build two)`", built, BUNDLE, ask=("package", "two")),
    Row("engines of a bundle that is not built", Code.NO_ENGINE, r"run `trtpipe (build two)`", built, BUNDLE, ask=as_a_whole),
    Row("a recording of a bundle that validates nothing", Code.VALIDATES_NOTHING, "give the spec a `validate`",
        rewrite(("targets: [t]\n", "targets: [t]\nvalidate: {random: {}}\n"), file="pipelines/two.yaml"), BUNDLE, ask=("golden", "two")),
    Row("a recording for a bundle's reference", Code.REFERENCE, "take `golden` out of the spec",
        rewrite(("golden: g.npz", "random: {}"), file="pipelines/two.yaml"), RECORDED, ask=("golden", "two")),
    Row("no library for signatures of packages", Code.MISSING_PACKAGE, r"pip install 'trtpipe\[(\w+)\]'", with_extra,
        ask=lambda _: signatures._require_library(), before=without_library),
]  # fmt: skip


@ENGINES
@pytest.mark.engine
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
