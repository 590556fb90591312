"""Remedies of the precisions, of what is fetched, of records and of git, asked for where they are made."""
# ruff: noqa: E501 (a row is as long as what it writes)

from __future__ import annotations

import io
import re
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir
import pytest
import yaml

from tests.fetch import servers
from tests.remedies.remedy_places import SPEC, Place, Row, apply, asking, assert_extra_brings, rewrite
from tests.remedies.small_models import classifier, relu
from tests.remedies.spec_rows import FILES
from tests.remedies.test_data_remedies import png
from tests.remedies.test_import_remedies import PLAIN, UFF, uff, uff_row  # noqa: F401 - the writers of UFF files
from tests.remedies.test_layer_remedies import CONV, W, lowering, network, npz, safetensors
from trtpipe import datasets
from trtpipe.calibration.calibrators.measurement.providers import provider_of
from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.overflow import Overflow, refusal
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.errors import Problem

# -- precision


def narrowed(keep: dict[str, list[str]] | None = None, weight: float = 1e6):
    """What fp16 says of a product whose weight is too large."""

    def ask(_: Place) -> list[Problem]:
        proto = onnx.ModelProto.FromString(classifier())
        proto.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(np.full((64, 64), weight, np.float32), "w")
        )
        model = onnx_ir.from_proto(proto)
        half = find_precision("fp16")
        return list(half.rewrite(model, half.plan_types(model, keep)).warnings)

    return ask


def kept(text: str):
    """What still overflows of the node, when a variant has these lines."""
    model = onnx_ir.from_proto(onnx.ModelProto.FromString(classifier()))
    plan = find_precision("fp16").plan_types(model, yaml.safe_load(text)["keep"])
    in_half = plan.nodes["/body/matmul"].dtype != "float32"
    return lambda place: overflows(place) if in_half else []


def overflows(_: Place) -> list[Problem]:
    return [refusal({"/body/matmul": Overflow("features", 1e6)}, ("variants", "h"))]


def cuda(provider: str):
    return lambda _: provider_of(provider, gpu_package=True, driver=False)


def audited(least: float):
    from trtpipe.precisions.audit import _problems

    return lambda _: list(
        _problems(
            "fp16", least, (0.05, 0.5), "layers", {"float32": 19, "float16": 1}, {"relu": "keep says so"}
        )
    )


PRECISION = [
    Row("a weight beyond half", Code.STAYS_WIDE, r"keep the node by name: keep: (\{fp32: \[.*\]\})",
        lambda _, m: narrowed(yaml.safe_load(m[1])), ask=narrowed()),
    Row("a weight beyond half, rescaled", Code.STAYS_WIDE, "rescale the weight in the model", lambda *_: narrowed(weight=1.0), ask=narrowed()),
    Row("an overflow", Code.OVERFLOWS_HALF, r"(keep: \{fp32: \[.*\]\})", lambda _, m: kept(m[1]), ask=overflows),
    Row("CUDA without a driver", Code.NO_CUDA_PROVIDER, r"write provider: (cpu)", lambda _, m: cuda(m[1]), ask=cuda("cuda")),
    Row("too little in half", Code.NOT_IN_PRECISION, "lower min_low_precision if this is meant", lambda *_: audited(0.01), ask=audited(0.1)),
]  # fmt: skip


# -- packages


def without(package: str):
    """A machine that lacks a package."""
    known = datasets._version
    return lambda place: place.patch.setattr(
        datasets, "_version", lambda name: None if name == package else known(name)
    )


def installed(place: Place, match: re.Match[str]) -> None:
    """What pip would bring: the extra that the line names must ask for what was missing."""
    assert_extra_brings(match[1], "pillow")
    place.patch.undo()
    place.patch.chdir(place.root)


def opened(place: Place) -> object:
    from trtpipe.loader.project import Project
    from trtpipe.loader.specs import load_dataset

    return (
        datasets.readers_of(load_dataset(place.root / "calibration/val.yaml", Project(place.root)).spec)
        and None
    )


PACKAGES = [
    Row("no Pillow", Code.MISSING_PACKAGE, r"pip install 'trtpipe\[(\w+)\]'", installed, {"calibration/val.yaml": "schema: 1\nimages: p\n"},
        ask=opened, before=without("pillow")),
]  # fmt: skip

# -- what is fetched


@pytest.fixture
def server() -> Iterator[servers.Server]:
    with servers.running() as one:
        yield one


def remote(server: servers.Server, model: bytes, more: str = "") -> str:
    url = server.put("/models/net.onnx", model)
    return SPEC.replace("model: {source: net.onnx}", f"model:\n  source: {url}{more}")


CHECK = ("check", "--no-parse")


def fetched(place: Place, spec: str, row: Row) -> None:
    place.write("pipelines/net.yaml", spec)
    apply(row, place)


def test_a_file_that_is_not_pinned_is_pinned_by_the_lines_that_are_printed(
    place: Place, server: servers.Server
):
    cure = rewrite(("net.onnx\n", "net.onnx\n  \\1\n"))
    row = Row("not pinned", Code.NOT_PINNED, r"pin it in model:\n  (sha256: \w{64})", cure, ask=CHECK)
    fetched(place, remote(server, relu(1, 3)()), row)


def test_another_file_than_was_pinned_is_pinned_as_the_remedy_says(place: Place, server: servers.Server):
    spec = remote(server, relu(1, 3)(), "\n  sha256: " + "0" * 64)
    cure = rewrite(("sha256: " + "0" * 64, "\\1"))
    fetched(place, spec, Row("pin", Code.FETCH_FAILED, r"pin this digest: (sha256: \w{64})", cure, ask=CHECK))


def test_what_is_not_in_the_store_is_fetched_by_a_build_without_offline(place: Place, server: servers.Server):
    def cure(place: Place, match: re.Match[str]) -> None:
        assert place.ask(CHECK).code == 0  # `check` fetches as `build` does, and builds nothing

    row = Row(
        "offline",
        Code.NOT_FETCHED,
        "run `trtpipe build` once without --offline",
        cure,
        ask=(*CHECK, "--offline"),
    )
    fetched(place, remote(server, relu(1, 3)()), row)


def test_a_pin_of_no_file_is_left_out(place: Place, server: servers.Server):
    spec = remote(server, relu(1, 3)(), "\n  files: {w.bin: " + "0" * 64 + "}")
    cure = rewrite(("\n  files: {w.bin: " + "0" * 64 + "}", ""))
    fetched(place, spec, Row("misplaced", Code.MISPLACED_PIN, "it has no external data", cure, ask=CHECK))


def test_what_a_frozen_build_wants_pinned_is_pinned_by_the_line_that_check_prints(
    place: Place, server: servers.Server
):
    def unpinned(_: Place) -> None:
        from trtpipe.building.lock_refusals import refuse_unpinned
        from trtpipe.building.planned import make_plan
        from trtpipe.workspace.workspace import open_workspace

        refuse_unpinned(make_plan(open_workspace(["pipelines/net.yaml"])))

    def cure(place: Place, match: re.Match[str]) -> None:
        printed = place.ask([match[1], "--no-parse"])
        line = re.search(r"sha256: \w{64}", printed.err + printed.out)
        assert line is not None, printed.err
        place.edit("pipelines/net.yaml", "net.onnx\n", f"net.onnx\n  {line[0]}\n")

    name = "what a frozen build wants pinned"
    fetched(
        place,
        remote(server, relu(1, 3)()),
        Row(name, Code.NOT_PINNED, r"`trtpipe (check)` prints the sha256 line to paste", cure, ask=unpinned),
    )


# -- git, records, archives


@contextmanager
def repository(place: Place) -> Iterator[None]:
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *command], cwd=place.root, check=True)
    yield


def test_a_file_that_git_has_is_found_as_the_remedy_says(place: Place):
    def cure(place: Place, match: re.Match[str]) -> list[str]:
        listed = subprocess.run(
            ["git", *match[1].split()], cwd=place.root, capture_output=True, text=True, check=True
        )
        (found,) = [name for name in listed.stdout.split() if name.endswith(".onnx")]
        return ["diff", f"HEAD:{found}", "net.onnx"]

    place.write("net.onnx", relu(1, 3)())
    row = Row(
        "git",
        Code.GIT_FAILED,
        r"see git (ls-tree -r --name-only HEAD)",
        cure,
        ask=["diff", "HEAD:nett.onnx", "net.onnx"],
    )
    with repository(place):
        apply(row, place)


def checkpoint() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02.")
    return stream.getvalue()


def busy(place: Place) -> None:
    from trtpipe.stores.local import LocalStore

    place.held = LocalStore(place.root / ".trtpipe/store").lock("collecting", lambda: None)
    place.held.__enter__()


def _let_go(place: Place) -> None:
    place.held.__exit__(None, None, None)


def locked_wheels(place: Place) -> object:
    from trtpipe.toolchains.wheel_lock import LOCK_FILE, WheelLock

    return WheelLock(place.root / LOCK_FILE).wheels("tensorrt_rtx-1.6.1.120") and None


def trusting(place: Place, *digests: str) -> object:
    from trtpipe.runners.inference.trust import trusted_engine

    return trusted_engine(place.root / "model.engine", digests) and None


def warned(accept: list[str]):
    """What is said of a network of whose parser a warning is kept."""
    from trtpipe.networks.verdicts import _of_warnings
    from trtpipe.networks.warnings import ClassedWarning

    warning = ClassedWarning("the loop may stop early", "loop-stops-early", "dangerous", "ONNX goes on", 1)
    return lambda _: list(_of_warnings([warning], accept))


def named_dims(names: list[str]):
    from trtpipe.frontends.conversion.renames import _misfits

    return lambda _: list(_misfits("inputs", names, ["x", "mask"], ("model", "options")))


def plugged(*libraries: str):
    """What is said of an operator of the flavour tensorrt's."""
    from trtpipe.proofs.targets import TargetView, _operators
    from trtpipe.spec.pipeline import PipelineSpec

    written = {"schema": 1, "pipeline": "net", "model": {"source": "net.onnx"}, "targets": {"t": {"gpu": "sm89"}},
               "plugins": [{"library": one} for one in libraries]}  # fmt: skip
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain="acme")
    return lambda _: _operators(
        PipelineSpec.model_validate(written), [TargetView("t", (), "tensorrt", "10.13")], [node]
    )


def profiled(rows: int):
    from trtpipe.canonical.summary import TensorInfo
    from trtpipe.runners.feeds.signature import Signature, profile_for
    from trtpipe.spec.pipeline import PipelineSpec

    spec = PipelineSpec.model_validate({"schema": 1, "pipeline": "net", "model": {}, "targets": {"t": {"gpu": "sm89"}},
                                        "profiles": [{"x": {"min": "1x3", "opt": "1x3", "max": "8x3"}}]})  # fmt: skip
    signature = Signature((TensorInfo("x", "float32", (None, 3)),), (), spec.profiles)
    return lambda _: profile_for(signature, {"x": (rows, 3)}, {}, None) and None


def _with_no_form() -> bytes:
    from tests.remedies.test_model_remedies import with_op

    return with_op("Det")()


RECORDS = [
    Row("a record of nobody's", Code.RECORD_DAMAGED, "name the engine, the model or the directory instead", asking("inspect", "net.onnx"),
        {"net.onnx": relu(1, 3), "x.json": '{"a": "b"}'}, ask=("inspect", "x.json")),
    Row("a checkpoint for weights", Code.NOT_NPZ, r"save their tensors as (\.safetensors)",
        lambda place, m: (place.write(f"w{m[1]}", safetensors(w=W)), place.edit("pipelines/net.yaml", "w.npz", f"w{m[1]}"), None)[2],
        {"pipelines/net.yaml": network(CONV, weights="w.npz"), "w.npz": checkpoint}, ask=lowering),
    Row("weights cut short in their archive", Code.NOT_NPZ, "copy or download the archive again", lambda place, _: place.write("w.npz", npz(w=W)) and None,
        {"pipelines/net.yaml": network(CONV, weights="w.npz"), "w.npz": lambda: _claiming(npz(w=W))}, ask=lowering),
    Row("no place for a sheet", Code.CANNOT_WRITE, "name another place with (--output)",
        asking("data", "preview", "val", r"\1", "sheet.png"),
        {"p/a.png": png, "a": "x", "calibration/val.yaml": "schema: 1\nimages: p\n"}, ask=("data", "preview", "val", "--output", "a/sheet.png")),
    Row("another collector", Code.STORE_BUSY, "wait for it to end", lambda place, _: _let_go(place),
        {**FILES, "pipelines/net.yaml": SPEC}, ask=("cache", "gc"), before=busy),
    Row("a damaged list of wheels", Code.TOOLCHAIN_LOCK, "delete it and build again", lambda place, _: (place.root / "trtpipe-toolchains.lock").unlink(),
        {"trtpipe-toolchains.lock": "["}, ask=locked_wheels),
    Row("an engine of a stranger", Code.NOT_TRUSTED, r"--trust (\w{64})", lambda _, m: lambda place: trusting(place, m[1]), {"model.engine": b"vtrt"},
        ask=trusting),
    Row("a warning of the parser", Code.PARSER_WARNING, r"to accept it: (validate: \{.*\})",
        lambda _, m: warned(yaml.safe_load(m[1])["validate"]["readback"]["accept"]), ask=warned([])),
    Row("names for inputs", Code.INTERFACE_NAMES, r"the model's inputs are: (\w+), (\w+)", lambda _, m: named_dims([m[1], m[2]]), ask=named_dims(["x"])),
    Row("one name twice", Code.LISTED_TWICE, "names must differ", lambda *_: named_dims(["a", "b"]), ask=named_dims(["a", "a"])),
    Row("a plugin for an operator", Code.PLUGIN_NEEDED, r"name other libraries under '(plugins)'", lambda *_: plugged("libacme.so"), ask=plugged()),
    Row("more rows than a profile takes", Code.NO_PROFILE_TAKES, r"1 to (8)|\b(?P<most>8)x3", lambda *_: profiled(8), ask=profiled(9)),
    uff_row("an unknown descriptor", Code.UFF_VERSION, uff(PLAIN, descriptors={"other": 1}), r"known are '(\w+)' 1",
            lambda: uff(PLAIN, descriptors={"tensorflow_extension": 1})),
    Row("no form for a node", Code.NOT_DECLARABLE, "cut the graph before it with transform: (outputs)",
        lambda place, m: place.write("pipelines/net.yaml", SPEC + f"transform: {{{m[1]}: [before]}}\n") and None,
        {"net.onnx": _with_no_form, "pipelines/net.yaml": SPEC}, ask=("export", "network", "pipelines/net.yaml", "--output", "out.yaml")),
]  # fmt: skip


def _claiming(archive: bytes) -> bytes:
    """An archive whose array's header says more rows than it has."""
    return archive.replace(b"(4, 3, 3, 3)", b"(9, 3, 3, 3)")


CODES = {Code.NOT_PINNED, Code.FETCH_FAILED, Code.NOT_FETCHED, Code.MISPLACED_PIN, Code.GIT_FAILED}
ROWS = [*PRECISION, *PACKAGES, *RECORDS]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_the_remedy_works(row: Row, place: Place):
    apply(row, place)
