"""Builds that are interrupted, records that are lost, searches and exports: each is brought about, and then done as the remedy says."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import yaml

from tests.remedies.remedy_places import SPEC, Place, Question, Row, apply, asking
from tests.remedies.small_models import classifier
from tests.remedies.spec_rows import QUANTIZED
from tests.remedies.test_layer_remedies import npy
from tests.remedies.test_store_remedies import (  # noqa: F401 - the fixture of a project that was built
    BUILD,
    CELL,
    FROZEN,
    HALF,
    LOCK,
    MANIFEST,
    MEASURED,
    TWO,
    _done,
    _edit,
    after,
    built,
    copied,
    row,
)
from trtpipe.building.performer import Performer
from trtpipe.errors import Interrupted
from trtpipe.problem_codes import Code
from trtpipe.stores.local import LocalStore

pytestmark = pytest.mark.engine


@pytest.fixture
def place(
    built: Path,  # noqa: F811 - the fixture that is imported
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Place:
    return copied(built, tmp_path, monkeypatch, request.module.__name__)


AGAIN = after("build", "--force", CELL)


def manifest_with(**changed: object) -> Callable[[Place], None]:
    """A manifest in which fields are damaged."""

    def before(place: Place) -> None:
        record = json.loads((place.root / MANIFEST).read_bytes())
        place.write(MANIFEST, json.dumps({**record, **changed}))

    return before


def write(*files: tuple[str, object]) -> Callable[[Place], None]:
    def before(place: Place) -> None:
        for name, content in files:
            place.write(name, content() if callable(content) else content)

    return before


def validated(place: Place) -> None:
    place.write("pipelines/net.yaml", TWO + "validate: {data: val}\n")
    _done(place.ask(BUILD))


def with_damaged_thresholds(place: Place) -> None:
    validated(place)
    record = json.loads((place.root / MANIFEST).read_bytes())["validation"]
    manifest_with(validation={**record, "thresholds": [{"metric": 5}]})(place)


def with_another_recording(place: Place) -> None:
    """What was recorded is of another model, and the manifest says that it is whole."""
    from trtpipe.digests import digest_file

    validated(place)
    golden = place.root / f"build/{CELL}/golden.npz"
    golden.chmod(0o644)
    x = np.zeros((1, 3), np.float32)
    np.savez(golden, **{"in:other": x, "out:y": x})
    record = json.loads((place.root / MANIFEST).read_bytes())["validation"]
    recorded = {**record["recorded"], "blake3": digest_file(golden).hex}
    manifest_with(validation={**record, "recorded": recorded})(place)


def with_another_gpu(place: Place) -> None:
    """The step that built the engine says of its GPU what cannot be."""
    record = json.loads((place.root / MANIFEST).read_bytes())
    record["steps"]["build_engine"]["fingerprint"]["options"]["gpu"] = 5
    place.write(MANIFEST, json.dumps(record))


def needed(place: Place) -> object:
    """What the engine needs of an agent."""
    from trtpipe.app.prove.fleet_validation import need_of
    from trtpipe.app.prove.validate import HowToValidate

    facts = SimpleNamespace(manifest=json.loads((place.root / MANIFEST).read_bytes()))
    return need_of(facts, HowToValidate()) and None  # type: ignore[arg-type]


def reported(folder: str) -> Callable[[Place], object]:
    from trtpipe.app.report.reports import report_directory

    return lambda place: report_directory(place.root / folder) and None


RECORDS = [
    row("capabilities of no GPU", Code.MANIFEST_DAMAGED, manifest_with(compute_capabilities=["sm"]), ("run", CELL, "--random"), "build the cell again", AGAIN),
    row("a manifest with a GPU that is none", Code.MANIFEST_DAMAGED, with_another_gpu, needed, "build the cell again", AGAIN),
    row("a manifest without steps", Code.MANIFEST_DAMAGED, manifest_with(steps=5), MEASURED, "build the cell again", AGAIN, ends=-1),
    row("thresholds of no metric", Code.MANIFEST_DAMAGED, with_damaged_thresholds, MEASURED, "build the cell again", AGAIN, ends=-1),
    row("a recording of another model", Code.MANIFEST_DAMAGED, with_another_recording, MEASURED, "build the cell again", AGAIN, ends=-1),
    row("a directory without an engine", Code.NO_ENGINE, None, reported("pipelines"), "give a folder with a manifest", lambda *_: reported(f"build/{CELL}")),
]  # fmt: skip


# -- interrupted


def once(place: Place, act: Callable[[], object]) -> None:
    """Something happens when the first step runs."""
    perform = Performer._perform
    left = [act]

    def performed(self: Performer, *given: object) -> object:
        if left:
            left.pop()()
        return perform(self, *given)

    place.patch.setattr(Performer, "_perform", performed)


def pressed(place: Place) -> None:
    once(place, lambda: os.kill(os.getpid(), signal.SIGINT))


def pressed_early(place: Place) -> None:
    """Nothing is known of the steps before the engines."""
    shutil.rmtree(place.root / ".trtpipe")
    pressed(place)


def ended(place: Place) -> None:
    def end() -> None:
        raise Interrupted(Code.INTERRUPTED, "a signal came")

    once(place, end)


FORCED, CHECKED = ("build", "--force", CELL), ("build", "--check", CELL)
INTERRUPTED = [
    row("Ctrl-C in a build", Code.INTERRUPTED, pressed, FORCED, "run it again to continue", lambda *_: None),
    row("Ctrl-C in a check of steps", Code.INTERRUPTED, pressed_early, CHECKED, "run it again", lambda *_: None),
    row("Ctrl-C in a check", Code.INTERRUPTED, pressed, CHECKED, "run it again", lambda *_: None),
    row("a step that is ended from outside", Code.INTERRUPTED, ended, FORCED, "build again", lambda *_: None),
]  # fmt: skip


# -- lost, damaged, full


def losing(caller: str) -> Callable[[Place], None]:
    """Another process removes a trace just before a function asks for it, until the problem was told."""

    def before(place: Place) -> None:
        place.lost = True
        ask = LocalStore.trace

        def trace(self: LocalStore, key: str) -> object:
            here = sys._getframe(1).f_code
            if place.lost and caller in f"{here.co_filename}:{here.co_name}":
                self.trace_path(key).unlink(missing_ok=True)
            return ask(self, key)

        place.patch.setattr(LocalStore, "trace", trace)

    return before


def nobody_removes(place: Place, _: re.Match[str]) -> None:
    place.lost = False


def forgetting(place: Place) -> None:
    """The same of a step that is up to date, of which nothing but its key is held."""
    from trtpipe.building.steps import Steps

    losing("steps.py:trace")(place)
    validated(place)
    ask = Steps.trace

    def trace(self: Steps, address: object) -> object:
        if place.lost:
            self.results[address] = replace(self.results[address], trace=None)
        return ask(self, address)

    place.patch.setattr(Steps, "trace", trace)


def undelivered(place: Place) -> None:
    shutil.rmtree(place.root / "build")
    losing("delivery/cells.py")(place)


def recorded(place: Place, stage: str, **changed: object) -> None:
    """The store's record of a step of the cell, damaged."""
    steps = json.loads((place.root / MANIFEST).read_bytes())["steps"]
    store = LocalStore(place.root / ".trtpipe/store")
    trace = store.trace(steps[stage]["key"])
    assert trace is not None
    store.record(replace(trace, **changed))
    shutil.rmtree(place.root / "build")
    (place.root / ".trtpipe/state.json").unlink()


def full(place: Place) -> None:
    """The disk of the store is full: steps that work there fail."""
    perform = Performer._perform

    def performed(self: Performer, action: object, scratch: Path, control: object) -> object:
        if place.root / ".trtpipe" in scratch.absolute().parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(scratch))
        return perform(self, action, scratch, control)

    place.patch.setattr(Performer, "_perform", performed)


def full_store(place: Place) -> None:
    """The same, seen when a trace is recorded."""
    from trtpipe.stores import local

    whole = local.write_whole

    def written(path: Path, *given: object, **named: object) -> object:
        if place.root / ".trtpipe" in path.absolute().parents:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(path, *given, **named)

    place.patch.setattr(local, "write_whole", written)


def read_only(place: Place) -> None:
    """A store that may not be written."""
    access = os.access
    place.patch.setattr(os, "access", lambda path, mode: ".trtpipe" not in str(path) and access(path, mode))


def another_store(place: Place, match: re.Match[str]) -> None:
    place.patch.setenv(match[1], str(place.root / "other"))


def other_result(place: Place) -> None:
    """A step yields other bytes here than where the lockfile was written."""
    perform = Performer._perform

    def performed(self: Performer, action: object, scratch: Path, control: object) -> object:
        result = perform(self, action, scratch, control)
        if action.stage == "quantize":
            model = onnx.load(result.files["model.onnx"])
            model.doc_string = "made elsewhere"
            onnx.save(model, result.files["model.onnx"])
        return result

    place.patch.setattr(Performer, "_perform", performed)
    shutil.rmtree(place.root / ".trtpipe")
    shutil.rmtree(place.root / "build")


LOST = [
    row("a trace that is lost while a command runs", Code.NO_ARTIFACT, forgetting, ("golden", CELL, "--output", "g.npz"), "run it again", nobody_removes),
    row("a trace that is lost before delivery", Code.NO_ARTIFACT, undelivered, BUILD, "build again", nobody_removes),
    row("a record of a step without outputs", Code.NO_ARTIFACT, lambda place: recorded(place, "import", outputs={}), BUILD,
        r"make it again: trtpipe (build --force)", lambda place, m: m[1].split()),
    row("no room for a step", Code.DISK_FULL, full, FORCED, r"point \$(TRTPIPE_STORE) to another disk, and build again", another_store),
    row("no room in the store", Code.DISK_FULL, full_store, FORCED, r"point \$(TRTPIPE_STORE) to another disk, and build again", another_store),
    row("a store that may not be written", Code.STORE_REFUSED, read_only, FORCED, r"point \$(TRTPIPE_STORE) to a directory that you may write", another_store),
    row("another result than the lockfile's", Code.LOCK_DIFFERS, other_result, FROZEN, r"or run `trtpipe (build --force)` and commit what it writes",
        lambda place, m: _done(place.ask(m[1].split()))),
]  # fmt: skip


# -- searches, thresholds, profiles

WIDE = np.concatenate([np.full((4, 64), 0.5), np.full((4, 64), 3e4)]).astype(np.float32) * np.linspace(0.5, 1, 64, dtype=np.float32)  # fmt: skip
AUTO = SPEC.replace("fp32: {}", "a: {precision: auto, try: [fp16], budget: {%s}}")
SEARCHED = (
    ("net.onnx", classifier),
    ("w.npy", lambda: npy(WIDE)),
    ("calibration/val.yaml", "schema: 1\nnpy: {x: w.npy}\nbatch: 4\n"),
)


def searched(budget: str) -> Callable[[Place], None]:
    text = AUTO % budget + "validate: {data: val}\n"
    return write(*SEARCHED, ("pipelines/net.yaml", text))


def edited(old: str, new: str) -> Callable[[Place, re.Match[str]], None]:
    return lambda place, match: place.edit("pipelines/net.yaml", old, match.expand(new))


COUNTED = """<ir_version: 9, opset_import: ["" : 17]> g (float[N,S] x) => (float[N,S,4] y) {
    e = Equal(x, x)  c = Cast<to=7>(e)  p = CumSum(c, one)  h = Gather(table, p)  y = Tanh(h) }"""


def parsed(text: str, **weights: object) -> Callable[[], bytes]:
    def make() -> bytes:
        proto = onnx.parser.parse_model(text)
        stored = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
        proto.graph.initializer.extend(stored)
        return proto.SerializeToString()

    return make


counted = parsed(COUNTED, one=np.int64(1), table=np.ones((200, 4), np.float32))
LONG = SPEC + "profiles: [{x: {min: 1x1, opt: 1x128, max: 1x256}}]\nvalidate: {random: {}}\n"
PLAIN = "validate: {data: val, thresholds: [{metric: accuracy, min: 0.5}]}\n"


LIMITS = [
    row("a budget on few samples", Code.OVER_BUDGET, searched("metric: cosine, min: 0.9, samples: 4"), BUILD, r"raise (budget\.samples)", edited("samples: 4", "samples: 8")),
    row("a search that stops early", Code.OUT_OF_REACH, searched("metric: max_abs, max: 0, max_seconds: 0.001"), BUILD, r"raise (max_seconds)",
        edited("max_seconds: 0.001", r"\1: 100")),
    row("a threshold that cannot be measured", Code.NOT_MEASURED, write(("pipelines/net.yaml", SPEC + PLAIN)), BUILD, "remove the threshold",
        edited(", thresholds: [{metric: accuracy, min: 0.5}]", "")),
    row("a corner at which the model fails", Code.PROFILE_IMPOSSIBLE, write(("net.onnx", counted), ("pipelines/net.yaml", LONG)), BUILD,
        "give a profile that leaves such shapes out", edited("max: 1x256", "max: 1x190")),
]  # fmt: skip


# -- what fails is looked at

BROKEN = SPEC.replace("fp32: {}", "q: {precision: int8, calibration: broken}")
NARROW = (("net.onnx", classifier), ("pipelines/net.yaml", BROKEN), ("w.npy", lambda: npy(np.full((4, 64), np.inf, np.float32))),
          ("calibration/broken.yaml", "schema: 1\nnpy: {x: w.npy}\nbatch: 4\n"))  # fmt: skip
FAILING = "net/q@t"
LOOKED = [
    row("a failure before the engine", Code.NOTHING_FAILS, write(*NARROW), ("debug", "reduce", FAILING), r"`trtpipe (debug repro \S+)` writes it as a directory",
        lambda place, m: m[1].split()),
    row("a failure before the step", Code.NOT_REPRODUCIBLE, write(*NARROW), ("debug", "repro", FAILING, "--step", "build_engine"), "leave --step out",
        asking("debug", "repro", FAILING)),
]  # fmt: skip


# -- exports

BLACKWELL = SPEC.replace("sm86", "sm120").replace("fp32: {}", "fp32: {}, h: {precision: fp16, keep: {fp32: [/body/relu]}}, q: {precision: nvfp4, calibration: val}")  # fmt: skip
TYPED = (
    ("net.onnx", classifier),
    ("pipelines/net.yaml", BLACKWELL),
    ("calibration/val.yaml", QUANTIZED["calibration/val.yaml"]),
)


def export(variant: str) -> tuple[str, ...]:
    return ("export", "network", f"net/{variant}@t", "--parsed", "--output", "out")


def of_plain_types(variant: str) -> Callable[[Place, re.Match[str]], Question]:
    """The cell of the fp32 variant is exported, and the exported spec gets the variant that the cell has."""

    def cure(place: Place, _: re.Match[str]) -> Question:
        _done(place.ask(export("fp32")))
        (made,) = (place.root / "out").glob("*.yaml")
        written = yaml.safe_load(BLACKWELL)["variants"][variant]
        text = made.read_text()
        assert "  fp32: {}" in text
        shown = yaml.safe_dump({variant: written}, default_flow_style=True).strip()[1:-1]
        place.write("pipelines/exported.yaml", text.replace("  fp32: {}", f"  {shown}"))
        for file in (place.root / "out").glob("*.safetensors"):
            file.rename(place.root / "pipelines" / file.name)
        place.edit("pipelines/exported.yaml", "out/", "pipelines/")
        return ("check", "--no-parse", "pipelines/exported.yaml")

    return cure


def that_keeps_nothing(place: Place) -> None:
    write(*TYPED)(place)
    place.patch.setattr("trtpipe.app.author.declared_types._kept", lambda *_: iter(()))


REFERENCE = "validate: {data: val, reference: {variant: fp32}}\n"
EXPORTS = [
    row("a quantized network", Code.NOT_DECLARABLE, write(*TYPED), export("q"), "export the cell of a variant that quantizes nothing, such as fp32", of_plain_types("q")),
    row("types that no variant keeps", Code.NOT_DECLARABLE, that_keeps_nothing, export("h"), "export the cell of an fp32 variant", of_plain_types("h")),
    row("a cell that refers to another", Code.BAD_ARGUMENT, write(*TYPED[::2], ("pipelines/net.yaml", BLACKWELL + REFERENCE)), export("h"),
        r"leave validate\.reference out while you export", edited(", reference: {variant: fp32}", "")),
]  # fmt: skip


# -- upgrades

OTHER = (
    SPEC
    + "toolchains: {o: {flavour: tensorrt, version: '10.13.0.35'}, r: {flavour: tensorrt_rtx, version: '1.6.1.120'}}\n"
)


def upgraded(name: str) -> Callable[[Place], object]:
    from trtpipe.app.upgrade.upgrade import open_upgrade
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.workspace.workspace import open_workspace

    def ask(place: Place) -> object:
        place.write("pipelines/net.yaml", OTHER)

        def found(_: object, spec: object, **at: object) -> Toolchain:
            flavour, version = (spec.flavour, spec.version) if spec else ("tensorrt_rtx", "1.7.1.116")
            return Toolchain(flavour, version, (sys.executable,), (), "3.11")

        place.patch.setattr("trtpipe.toolchains.resolve.locate_toolchain", found)
        return open_upgrade(open_workspace(["pipelines/net.yaml"]), name, place.root / "up") and None

    return ask


UPGRADES = [
    row("a toolchain of no target", Code.UNKNOWN_NAME, None, upgraded("o"), "name a toolchain of the targets' flavour", lambda *_: upgraded("r")),
]  # fmt: skip


# -- first specs

FIRST = "pipelines/first.yaml"


def began(text: str, **weights: object) -> Callable[[Place], None]:
    """A model for `init`, which prints what it finds as a warning: it is noted like other problems."""

    def before(place: Place) -> None:
        from trtpipe.app.author import first_spec

        tried = first_spec._tried

        def noted(fit: object) -> object:
            place.told += (found := list(tried(fit)))
            return iter(found)

        place.patch.setattr(first_spec, "_tried", noted)
        place.write("first.onnx", parsed(text, **weights)())

    return before


def on_data(place: Place, samples: object) -> Question:
    """The spec that `init` wrote validates on a data set."""
    np.save(place.root / "w.npy", samples)
    place.write("calibration/first.yaml", "schema: 1\nnpy: {x: w.npy}\nbatch: 1\n")
    text = (place.root / FIRST).read_text()
    kept = re.split(r"(?m)^validate:", text)[0]
    place.write(FIRST, f"{kept}validate: {{data: first}}\n")
    return ("build", FIRST)


INIT = ("init", "first.onnx", "--name", "first")
HEAD = '<ir_version: 9, opset_import: ["" : 17]> g '
SAMPLES = np.arange(1, 33, dtype=np.float32).reshape(4, 8)
CHAOS = "(float[1,8] x) => (float[1,8] y) { a = Mul(x, k)  r = Round(a)  s = Mul(r, w)  y = Sin(s) }"
FEW = """(float[1,S] x) => (float[1,S] y) { e = Equal(x, x)  c = Cast<to=7>(e)  p = CumSum(c, one)  m = ReduceMax<keepdims=0>(p)
    i = Sub(m, five)  h = Gather(table, i)  y = Mul(x, h) }"""
FIRSTS = [
    row("NaN on random inputs", Code.THRESHOLD_MISSED, began(HEAD + "(float[1,8] x) => (float[1,8] y) { y = Log(x) }"), INIT,
        r"validate on a data set, `validate: \{data: NAME\}`", lambda place, _: on_data(place, SAMPLES)),
    row("rounding that decides everything", Code.NOTHING_TO_EXPECT, began(HEAD + CHAOS, k=np.float32(1e7), w=np.float32(1.3)), INIT,
        r"validate on a data set, `validate: \{data: NAME\}`", lambda place, _: on_data(place, SAMPLES)),
    row("a model that runs at few sizes", Code.PROFILE_IMPOSSIBLE, began(HEAD + FEW, one=np.int64(1), five=np.int64(5), table=np.float32([1, 2, 3])), INIT,
        "write a profile with shapes at which the model runs",
        lambda place, _: (place.write(FIRST, re.sub(r"(?m)^  - x: .*$", "  - x: {min: 1x4, opt: 1x5, max: 1x6}", (place.root / FIRST).read_text())), ("build", FIRST))[1]),
]  # fmt: skip


ROWS = [*RECORDS, *INTERRUPTED, *LOST, *LIMITS, *LOOKED, *EXPORTS, *UPGRADES, *FIRSTS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
