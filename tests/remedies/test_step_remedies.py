"""Steps, their data and their records: what breaks them is done to them, and what the remedy says mends them."""
# ruff: noqa: E501, PLR0917 (a row is as long as what it writes)

from __future__ import annotations

import importlib
import io
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from tests.remedies.remedy_places import (
    CHECK,
    SPEC,
    Place,
    Question,
    Row,
    apply,
    asking,
    assert_extra_brings,
    rewrite,
)
from tests.remedies.small_models import net, node, relu
from tests.remedies.spec_rows import QUANTIZED
from tests.remedies.test_command_remedies import command
from tests.remedies.test_data_remedies import png
from tests.remedies.test_import_remedies import PRODUCT, WITH
from tests.remedies.test_import_remedies import net as caffe_net
from tests.remedies.test_model_remedies import without_rank
from trtpipe.problem_codes import Code, ProblemCode
from trtpipe.runners.feeds.given import read_npz

sys.path += [str(Path(__file__).resolve().parents[1] / one) for one in ("calibration", "runners")]


def direct(name: str, code: ProblemCode, ask: object, remedy: str, cure: object, files: object = None, before: object = None) -> Row:  # fmt: skip
    return Row(name, code, remedy, cure, files or {}, ask=ask, before=before)


def then(ask: Callable[..., object], *given: object) -> Callable[[Place, re.Match[str]], Question]:
    """A cure that is another question: what the remedy says, asked for."""
    return lambda place, match: lambda _: ask(place, *given)


# -- which is meant

BOTH = {"pipelines/net.yaml": SPEC, "pipelines/b.yaml": SPEC.replace("pipeline: net", "pipeline: b")}
TWO = SPEC.replace("fp32: {}", "fp32: {}, h: {precision: fp16}")
AUTO = SPEC.replace(
    "fp32: {}", "fp32: {}, a: {precision: auto, calibration: val, budget: {metric: cosine, min: 0.9}}"
)


def two_of(digits: str) -> Callable[[Place], object]:
    """Engines whose digests begin alike, as a lockfile and a store have them."""

    def ask(place: Place) -> object:
        from trtpipe.app.look import which

        place.patch.setattr(which, "_locked_engines", lambda _: {"a": "ab" * 32, "b": "ab" * 31 + "cd"})
        return which._whole(digits, place.root) and None

    return ask


def stored_twice(digits: str) -> Callable[[Place], object]:
    from trtpipe.app.store import retention

    def ask(place: Place) -> object:
        for name in ("ab" * 32, "ab" * 31 + "cd"):
            place.write(f"store/objects/ab/{name}", "x")
        cache = SimpleNamespace(store=SimpleNamespace(root=place.root / "store"))
        return retention.artifact_called(cache, digits, "engine") and None

    return ask


CHOICES = [
    Row("several pipelines for a set", Code.AMBIGUOUS_NAME, "name one of them", asking("data", "preview", "pictures", "--spec", "pipelines/net.yaml"),
        {**BOTH, "net.onnx": relu(1, 3, 4, 4), "a.png": png, "calibration/pictures.yaml": "schema: 1\nimages: {x: a.png}\n"}, ask=("data", "preview", "pictures", "--spec", "pipelines")),
    command("several variants to measure", Code.AMBIGUOUS_NAME, ("golden", "net/*"), r"name one of (net/fp32@t)", ("golden", r"\1"),
            {"pipelines/net.yaml": TWO + "validate: {data: val}\n"}),
    command("several cells to debug", Code.AMBIGUOUS_NAME, ("debug", "repro", "net/*@t", "--step", "quantize"), r"name one of (net/fp32@t)",
            ("debug", "repro", r"\1", "--step", "quantize"), {"pipelines/net.yaml": TWO}),
    direct("a digest of several engines", Code.AMBIGUOUS_NAME, two_of("ab" * 4), "write more digits", lambda *_: two_of("ab" * 31 + "c")),
    direct("a digest of several artifacts", Code.AMBIGUOUS_NAME, stored_twice("ab" * 4), "give more digits", lambda *_: stored_twice("ab" * 31 + "c")),
    command("a search has no thresholds", Code.NOTHING_TO_MEASURE, ("validate", "--propose", "net/a@t", "--seeds", "1"), "name another cell",
            ("validate", "--propose", "net/fp32@t", "--seeds", "1"), {**QUANTIZED, "pipelines/net.yaml": AUTO + "validate: {data: val}\n"}),
    command("nothing to rank layers by", Code.VALIDATES_NOTHING, ("sensitivity", "net/h@t"), "give the spec a `(validate)` with data",
            rewrite(("targets:", "\\1: {data: val}\ntargets:")), {**QUANTIZED, "pipelines/net.yaml": TWO}),
]  # fmt: skip


# -- what is written, and what was


def kept(name: str, output: str = "") -> Callable[[Place], object]:
    """Keep a result of `bench`."""
    from trtpipe.app.engines import bench_files

    return lambda place: (
        bench_files.keep(SimpleNamespace(folder=place.root), {"subject": "engine"}, place.root / name)
        and None
    )


def pipe(name: str) -> Callable[[Place], object]:
    return lambda place: os.mkfifo(place.root / name)


def saved(name: str) -> Callable[[Place], object]:
    from trtpipe.app.engines.results import save_arrays

    return lambda place: save_arrays({"y": np.zeros(3)}, place.root / name)


def task(place: Place) -> object:
    from trtpipe.app.debug.repro import read_task

    return read_task(place.root / "task.json") and None


def task_text(stage: str) -> str:
    return json.dumps({"stage": stage, "options": {}, "inputs": {}, "out": "out", "local": {}})


def whole_task(place: Place, _: re.Match[str]) -> None:
    place.write("task.json", task_text("quantize"))


def of_its_trtpipe(place: Place, _: re.Match[str]) -> None:
    """The trtpipe that wrote it has the stage."""
    from trtpipe.stages import bodies

    place.patch.setattr(bodies, "BODIES", {**bodies.BODIES, "brew": lambda _: None})


def upgraded(output: str) -> Callable[[Place], object]:
    from trtpipe.app.upgrade import upgrade

    old = SimpleNamespace
    return lambda place: upgrade._refuse_taken(place.root / output, old(root=place.root))


WRITTEN = [
    direct("a bench in a pipe", Code.NOT_A_FILE, kept("b.json"), "name another place with --output", lambda *_: kept("c.json"), before=pipe("b.json")),
    direct("a bench in a pipe, moved", Code.NOT_A_FILE, kept("b.json"), "move it away", lambda place, _: (place.root / "b.json").rename(place.root / "c") and None, before=pipe("b.json")),
    direct("no place for outputs", Code.CANNOT_WRITE, saved("a/y.npz"), "name another place with --output", lambda *_: saved("y.npz"), {"a": "x"}),
    direct("half a reproduction", Code.RECORD_DAMAGED, task, "copy the whole directory again", whole_task, {"task.json": "{"}),
    direct("a reproduction of a later trtpipe", Code.RECORD_DAMAGED, task, "use the trtpipe that wrote it", of_its_trtpipe, {"task.json": task_text("brew")}),
    direct("an upgrade into what is there", Code.EXISTS_ALREADY, upgraded("mine"), "give a new one with --output", lambda *_: upgraded("new"), {"mine/x": "x"}),
    direct("an upgrade into a file", Code.CANNOT_WRITE, upgraded("mine"), "give another directory with --output", lambda *_: upgraded("new"), {"mine": "x"}),
]  # fmt: skip


# -- what changes, or is missing


def scales_that_change(place: Place) -> object:
    """Take committed scales; the first time, they change while they are read."""
    from trtpipe.building.calibration import Calibration
    from trtpipe.digests import digest_file

    right = place.write("scales.json", "{}")
    digest = digest_file(right)
    times = iter(["changed", *["{}"] * 9])
    scales = SimpleNamespace(put=lambda _, file: file.write_text(next(place.times)))
    place.times = getattr(place, "times", times)
    folder = place.root / f"scratch{len(list(place.root.iterdir()))}"
    (folder).mkdir()
    made = Calibration(SimpleNamespace(scales=scales), None, anew=False, frozen=False)
    return made._taken(SimpleNamespace(scales=digest), folder) and None


def source_that_changed(place: Place) -> object:
    """Hold a source against the digest that it had when the plan was made."""
    from trtpipe.building.performer import Performer
    from trtpipe.digests import digest_file

    digest = getattr(place, "digest", None) or digest_file(place.root / "net.onnx")
    site = SimpleNamespace(state=SimpleNamespace(digest=digest_file))
    place.write("net.onnx", "changed")
    performer = Performer(site, None, None, None, None)
    performer._refuse_changed([SimpleNamespace(path=place.root / "net.onnx", digest=digest)])


def again_after_the_change(place: Place, _: re.Match[str]) -> None:
    from trtpipe.digests import digest_file

    place.digest = digest_file(place.root / "net.onnx")


def missing(extra: str) -> Callable[[Place], object]:
    from trtpipe.building import facts

    return lambda place: facts.refuse_missing("parser 'pytorch'", ["torch"], extra)


def without_torch(place: Place) -> None:
    place.hidden = None
    place.patch.setattr("trtpipe.building.facts.is_installed", lambda name: name != "torch")


def with_extra(package: str) -> Callable[[Place, re.Match[str]], None]:
    """What pip would bring: the extra that the line names has the package."""

    def cure(place: Place, match: re.Match[str]) -> None:
        assert_extra_brings(match[1], package)
        place.patch.setattr("trtpipe.building.facts.is_installed", lambda _: True)
        if place.hidden is not None:
            place.patch.setitem(sys.modules, ED25519, place.hidden)

    return cure


ED25519 = "cryptography.hazmat.primitives.asymmetric"


def without_cryptography(place: Place) -> None:
    place.hidden = importlib.import_module(ED25519)
    place.patch.setitem(sys.modules, ED25519, None)


def signing(_: Place) -> None:
    from trtpipe.stores.signatures import _ed25519

    _ed25519()


def old_add(opset: int) -> bytes:
    """An addition that broadcasts as opset 6 does, and an operator that no converter knows."""
    nodes = [onnx.helper.make_node("Strange", ["x"], ["s"], "odd", domain="d")]
    more = {"axis": 1, "broadcast": 1} if opset < 7 else {}
    nodes.append(onnx.helper.make_node("Add", ["s", "b"], ["y"], "sum", **more))
    proto = onnx.ModelProto.FromString(
        net(nodes, {"x": [1, 3]}, {"y": [1, 3]}, {"b": np.ones(3, np.float32)}, opset=opset)
    )
    proto.opset_import.append(onnx.helper.make_opsetid("d", 1))
    return proto.SerializeToString()


CHANGED = [
    direct("scales that change while they are read", Code.MODEL_CHANGED, scales_that_change, "run it again", lambda *_: None),
    direct("a model that changes while it is built", Code.MODEL_CHANGED, source_that_changed, "run it again", again_after_the_change, {"net.onnx": relu(1, 3)}),
    direct("a parser without its packages", Code.MISSING_PACKAGE, missing("pytorch"), r"pip install 'trtpipe\[(\w+)\]'", with_extra("torch"), before=without_torch),
    direct("no package for signatures", Code.MISSING_PACKAGE, signing, r"pip install 'trtpipe\[(\w+)\]'", with_extra("cryptography"), before=without_cryptography),
]  # fmt: skip


# -- pins


CAFFE = SPEC.replace(
    "source: net.onnx",
    "source: net.prototxt, parser: caffe, options: {weights: {source: w.caffemodel, sha256: '%s'}}",
)


def loose_repository(**changed: object) -> Callable[[Place], object]:
    """What is said of a model of a repository, whose address names a branch."""
    from trtpipe.building import remote_files
    from trtpipe.spec.remote import RemoteFile

    def ask(_: Place) -> object:
        file = RemoteFile("hf", "org/repo", "net.onnx", revision="main", sha256="0" * 64)
        file = parsed(str(changed["address"])) if "address" in changed else file
        model = SimpleNamespace(parser="onnx", files=changed.get("files", {}))
        pipeline = SimpleNamespace(
            remotes={("model", "source"): file}, spec=SimpleNamespace(model=model), option_remotes=dict
        )
        name = f"{remote_files.SOURCE_FOLDER}model.onnx"
        origins = {name: {"sha256": "0" * 64, "commit": "ab" * 20}}
        if "files" in changed:
            beside = f"{remote_files.SOURCE_FOLDER}net.data"
            origins[beside] = {"sha256": "1" * 64, "pinned": "net.data" in changed["files"]}
        return list(remote_files.unpinned(pipeline, origins))

    return ask


def parsed(address: str) -> object:
    from dataclasses import replace

    from trtpipe.loader.remotes import remote_file

    return replace(remote_file(address), sha256="0" * 64)


PINS = [
    Row("an option's file that is another", Code.PIN_MISMATCH, r"then pin this digest: sha256: (\w{64})", rewrite(("0" * 64, r"\1")),
        {"pipelines/net.yaml": CAFFE % ("0" * 64), "net.prototxt": caffe_net(PRODUCT, (1, 3)), "w.caffemodel": WITH}, ask=CHECK),
    direct("an address that moves", Code.NOT_PINNED, loose_repository(), r"write (hf://\S+)", lambda _, m: loose_repository(address=m[1])),
    direct("what lies beside a model", Code.NOT_PINNED, loose_repository(files={}), r"pin it in model:\n  files:\n    (\S+): (\w{64})",
           lambda _, m: loose_repository(files={m[1]: m[2]}, address="hf://org/repo@" + "ab" * 20 + "/net.onnx")),
]  # fmt: skip


# -- samples and calibration


def calibrated(backend: str, method: str = "entropy", factor: float = 1.0) -> Callable[[Place], object]:
    from tests.calibration.small_nets import request_for, samples_of
    from trtpipe.calibration.calibrators import find_calibrator

    def ask(place: Place) -> None:
        folder = next(one for n in range(9) if not (one := place.root / f"calibration{n}").exists())
        folder.mkdir()
        samples = samples_of(4)
        samples[0] *= np.float32(factor)
        find_calibrator(backend).calibrate(request_for(folder, samples, method))

    return ask


LIBRARY = "trtpipe.calibration.calibrators.libraries.onnxruntime_quantization"


def failing_library(place: Place) -> None:
    def fail(*_: object) -> None:
        raise ValueError("the library is at its end")

    place.patch.setattr(f"{LIBRARY}._calibrator", fail)


def blind_library(place: Place) -> None:
    place.patch.setattr(f"{LIBRARY}._largest", lambda found: float("nan"))
    scales_of = importlib.import_module(LIBRARY).scales_of
    place.patch.setattr(f"{LIBRARY}.scales_of", lambda amax, *more: scales_of({}, *more))


def given_cache(place: Place) -> object:
    """Hold the cache that is there against a lockfile that was written when the model was another."""
    from trtpipe.checks.calibration_caches import CacheProver
    from trtpipe.digests import digest_file
    from trtpipe.lockfile import load_lock, render_lock, shown_digest

    cache = place.root / "net.cache"
    lock = place.root / "trtpipe.lock"
    if not lock.exists():
        entry = {"key": "ab" * 32, "source": "0" * 8, "calibration_cache": shown_digest(digest_file(cache))}
        lock.write_text(render_lock({"net/q@t": entry}, {}))
    pipeline = SimpleNamespace(model_file=place.root / "net.onnx", spec=SimpleNamespace(pipeline="net"))
    site = SimpleNamespace(lock=load_lock(lock))
    workspace = SimpleNamespace(lockfile=lock, site=site, state=SimpleNamespace(digest=digest_file))
    return list(CacheProver(pipeline, workspace)._drifted("q", cache, ()))


def damaged() -> bytes:
    """A model in which the tag of a field, the node's name, is of no wire type."""
    return relu(1, 3)().replace(b"\x1a\x04relu", b"\xc7\x04relu")


def read(place: Place) -> None:
    from trtpipe.canonical.reader import read_skeleton

    read_skeleton(place.root / "net.onnx")


def much(place: Place) -> None:
    place.patch.setattr("trtpipe.runners.feeds.given.MOST_BYTES", 8)


def archived() -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.ones((1, 3), np.float32))
    return stream.getvalue()


SAMPLES = [
    direct("a library that fails", Code.CALIBRATION_FAILED, calibrated("onnxruntime"), r"try backend: (\w+)", lambda _, m: calibrated(m[1]), before=failing_library),
    direct("a library that finds nothing", Code.CALIBRATION_FAILED, calibrated("onnxruntime"), r"try backend: (\w+)", lambda _, m: calibrated(m[1]), before=blind_library),
    direct("samples that overflow in a library", Code.NONFINITE_TENSORS, calibrated("onnxruntime", "max", 5e37), "look for unsuitable samples",
           lambda *_: calibrated("onnxruntime", "max")),
    direct("samples that overflow", Code.NONFINITE_TENSORS, calibrated("trtpipe", "entropy", 5e37), "look for unsuitable samples", lambda *_: calibrated("trtpipe")),
    direct("a cache of an older model", Code.CACHE_OUTDATED, given_cache, "calibrat", lambda place, _: place.write("net.cache", "calibrated again") and None,
           {"net.onnx": relu(1, 3), "net.cache": "of the older model"}),
    direct("arrays that unpack to too much", Code.FILE_TOO_LARGE, lambda place: read_npz(place.root / "r.npz", "r.npz") and None, r"give the arrays as (\.npy) files",
           lambda place, m: (np.save(place.root / f"x{m[1]}", np.ones((1, 3), np.float32)), ("run", "net.onnx", "--input", f"x=x{m[1]}"))[1],
           {"net.onnx": relu(1, 3), "r.npz": archived}, much),
]  # fmt: skip


def cornered(most: int) -> Callable[[Place], object]:
    """Validate a model that fixes its batch, at the corners of a profile."""
    from tests.runners.test_validation import FIXED, npz_data, saved, validated

    def ask(place: Place) -> object:
        folder = next(one for n in range(9) if not (one := place.root / f"validated{n}").exists())
        folder.mkdir()
        model = saved(folder / "m.onnx", FIXED, k=np.array([8]))
        data = npz_data(folder, batch=2, x=np.ones((4, 4), np.float32))
        profile = {"x": {"min": [2, 4], "opt": [2, 4], "max": [most, 4]}}
        return validated(folder, model, model, data=data, profiles=[profile]) and None

    return ask


CORNERS = [
    direct("a corner at which neither model runs", Code.PROFILE_IMPOSSIBLE, cornered(8), "give a profile that leaves such shapes out", lambda *_: cornered(2)),
]  # fmt: skip


# -- what a model is declared as


def declared(place: Place) -> None:
    """The model as declared layers, as `export network` writes it, in this process."""
    from trtpipe.building.canonical_models import transformed_model
    from trtpipe.canonical.reader import read_skeleton
    from trtpipe.layers.from_onnx.model import declare
    from trtpipe.workspace.workspace import open_workspace

    workspace = open_workspace(["pipelines/net.yaml"])
    (pipeline,) = workspace.pipelines
    folder = next(one for n in range(9) if not (one := place.root / f"declared{n}").exists())
    folder.mkdir()
    declare(read_skeleton(transformed_model(pipeline, workspace.store, workspace.state, folder)).proto)


def transformed(text: str) -> Callable[[Place, re.Match[str]], None]:
    return lambda place, match: place.write("pipelines/net.yaml", SPEC + match.expand(text)) and None


def squeezing() -> bytes:
    return net([node("Squeeze", ["x"], ["y"], "squeeze")], {"x": ["n", 1, 3]}, {"y": [None, None]})


def determinant() -> bytes:
    nodes = [node("Relu", ["x"], ["before"], "relu"), node("Det", ["before"], ["y"], "det")]
    return net(nodes, {"x": [2, 3, 3]}, {"y": [2]})


def grafted(place: Place) -> None:
    """Bring a model to the opset that a layer needs which is appended to it."""
    from trtpipe.layers.grafts import _raise_opset
    from trtpipe.spec.network.pointwise import Activation

    layer = Activation.model_validate({"layer": "activation", "name": "z", "type": "gelu_erf", "input": "y"})
    model = onnx.ModelProto.FromString((place.root / "net.onnx").read_bytes())
    _raise_opset(model, SimpleNamespace(prepend={}, append=[layer]))


def formed(place: Place) -> object:
    from trtpipe.proofs.refused_forms import refused_forms

    model = onnx.ModelProto.FromString((place.root / "net.onnx").read_bytes())
    return refused_forms(model, [one for one in model.graph.node if one.op_type == "Add"])


def exported(opset: int) -> Callable[[Place, re.Match[str]], None]:
    return lambda place, _: place.write("net.onnx", old_add(opset)) and None


def text_with(loader: str) -> Callable[[Place], object]:
    import yaml

    from trtpipe.loader import yaml_reader

    def ask(place: Place) -> object:
        place.patch.setattr(yaml_reader, "_Loader", getattr(yaml, loader))
        return yaml_reader.read_document(place.root / "a.yaml").problems

    return ask


def document(name: str) -> Callable[[Place], object]:
    from trtpipe.loader.yaml_reader import read_document

    return lambda place: read_document(place.root / name) and None


def conflicting(*built: str) -> Callable[[Place], object]:
    """Write the results of a build into a lockfile that holds a merge conflict about two cells."""
    from trtpipe.lockfile import Update, render_lock, update_lock

    def ask(place: Place) -> None:
        entries = [{"key": one * 32} for one in ("ab", "cd")]
        ours, theirs = (render_lock({"net/a@t": one, "b/a@t": one}, {}) for one in entries)
        path = place.write("trtpipe.lock", f"<<<<<<< ours\n{ours}=======\n{theirs}>>>>>>> theirs\n")
        results = dict.fromkeys(built, entries[0])
        update_lock(path, Update(results, {}, set(built), {name.partition("/")[0] for name in built}))

    return ask


def outside(place: Place) -> object:
    from trtpipe.loader.project import find_project
    from trtpipe.loader.user import load_user
    from trtpipe.workspace.store_places import place_of_store

    place.patch.setenv("XDG_CONFIG_HOME", str(place.root / "home"))
    place.write("trtpipe.yaml", "schema: 1\nstore: {path: ../out}\n")
    return place_of_store(find_project(place.root), load_user()) and None


MODELS = [
    Row("no form for an operator", Code.NOT_DECLARABLE, r"cut the graph before it with transform: (outputs)", transformed(r"transform: {\1: [before]}" "\n"),
        {"net.onnx": determinant, "pipelines/net.yaml": SPEC}, ask=declared),
    Row("an input without a rank", Code.NOT_DECLARABLE, r"give it a shape with transform: (set_shapes)", transformed(r"transform: {\1: {x: 1x3}}" "\n"),
        {"net.onnx": without_rank, "pipelines/net.yaml": SPEC}, ask=declared),
    Row("a form for fixed dims", Code.NOT_DECLARABLE, r"fix the input's dims with transform: (set_shapes)", transformed(r"transform: {\1: {x: 2x1x3}}" "\n"),
        {"net.onnx": squeezing, "pipelines/net.yaml": SPEC}, ask=declared),
    direct("a model too old for a layer", Code.OPSET_TOO_OLD, grafted, "export the model with a newer opset", exported(20), {"net.onnx": lambda: old_add(6)}),
    direct("a model too old to be raised", Code.OPERATOR_NOT_BUILT, formed, "export it again with opset 13 or later", exported(13), {"net.onnx": lambda: old_add(6)}),
    direct("a model that is damaged inside", Code.NOT_ONNX, read, "download or export the model again", lambda place, _: place.write("net.onnx", relu(1, 3)()) and None,
           {"net.onnx": damaged}),
    direct("half of a surrogate pair", Code.NOT_UTF8, text_with("SafeLoader"), "write the character itself", lambda place, _: place.write("a.yaml", 'a: "\U0001f600"\n') and None,
           {"a.yaml": 'a: "\\ud83d"\n'}),
    direct("a document that is a pipe", Code.NOT_A_FILE, document("a.yaml"), "name a YAML file", lambda *_: document("b.yaml"), {"b.yaml": "a: 1\n"}, pipe("a.yaml")),
    direct("a conflict about what is not built", Code.LOCK_CONFLICT, conflicting("net/a@t"), "run `trtpipe build` for them as well", lambda *_: conflicting("net/a@t", "b/a@t")),
    direct("a store outside that is not allowed", Code.CODE_NOT_ALLOWED, outside, r"in CI set (\w+)=(1)", lambda place, m: place.patch.setenv(m[1], m[2]),
           before=lambda place: place.patch.delenv("TRTPIPE_ALLOW_PROJECT_CODE", raising=False)),
]  # fmt: skip


ROWS = [*CHOICES, *WRITTEN, *CHANGED, *PINS, *SAMPLES, *CORNERS, *MODELS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    if row.name == "no package for signatures":
        pytest.importorskip("cryptography", reason="not run: needs the extra remote")
    apply(row, place)
