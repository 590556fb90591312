"""What a package is made of: from specs, build directory and lockfile. Nothing is built here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages.delivered import OCR, TENSORRT, deliver, deliver_ocr, engine_digest
from tests.projects import ROOT
from trtpipe.errors import PackageError, SpecError, TrtpipeError
from trtpipe.packages.contents import Options, collect
from trtpipe.packages.index import PackedEngine
from trtpipe.packages.index_file import digest_of
from trtpipe.problem_codes import Code
from trtpipe.processes.processor import platform_of
from trtpipe.selection.machine import architecture_here, system_here

SPEC = """\
schema: 1
pipeline: net
model: {source: net.onnx}
variants: {fp16: {precision: fp16}, fp32: {}}
targets: {ada: {gpu: sm89}, ampere: {gpu: sm86}}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with one pipeline of four cells, all delivered."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "net.onnx").write_bytes(b"never read")
    write_spec(tmp_path, SPEC)
    for variant in ("fp16", "fp32"):
        deliver(tmp_path, f"net/{variant}@ada")
        deliver(tmp_path, f"net/{variant}@ampere", "sm86")
    return tmp_path


def write_spec(root: Path, text: str) -> None:
    (root / "pipelines/net.yaml").write_text(text)


def engine_of(root: Path, **changes: object) -> PackedEngine:
    """The entry of a cell whose manifest is changed."""
    shutil.rmtree(root / "build/net/fp16@ada")
    deliver(root, "net/fp16@ada", **changes)  # type: ignore[arg-type]
    return collect(["net/fp16@ada"], cwd=root).index.models[0].engines[0]


def cells(root: Path, *names: str) -> list[str]:
    return [one.cell for model in collect(names, cwd=root).index.models for one in model.engines]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["net"], ["fp16@ada", "fp16@ampere", "fp32@ada", "fp32@ampere"]),
        (["pipelines/net.yaml"], ["fp16@ada", "fp16@ampere", "fp32@ada", "fp32@ampere"]),
        (["net/fp32"], ["fp32@ada", "fp32@ampere"]),
        (["net/*@ada"], ["fp16@ada", "fp32@ada"]),
        (["net/fp32@ada", "net/fp16@ampere"], ["fp16@ampere", "fp32@ada"]),
        (["net", "net/fp32@ada"], ["fp16@ada", "fp16@ampere", "fp32@ada", "fp32@ampere"]),
    ],
)
def test_arguments_mean_cells_in_the_order_of_the_spec(root, names, found):
    assert cells(root, *names) == [f"net/{cell}" for cell in found]


def test_a_target_s_cell_is_the_first_variant_of_the_spec(root):
    assert collect(["net"], cwd=root).index.targets["ada"] == {"net": "net/fp16@ada"}


def test_what_only_one_build_knows_is_not_in_a_package(root):
    made = collect(["net/fp16@ada"], cwd=root)
    manifest = json.loads(made.sources["models/net/fp16@ada/manifest.json"])

    assert {"cell", "engine", "toolchain", "validation", "steps"} <= manifest.keys()
    assert manifest.keys() & {"timings", "peak_rss", "not_run"} == set()


def test_typed_models_may_be_left_out(root):
    index = collect(["net"], Options(fallbacks=False), cwd=root).index

    assert index.models[0].fallbacks == ()
    assert not any(path.endswith(".onnx") for path in index.files)


def test_a_package_may_have_another_name(root):
    assert collect(["net"], Options(name="product"), cwd=root).index.package == "product"


@pytest.mark.parametrize("name", ["", "a/b", "../up", "nul", "a:b"])
def test_a_name_that_is_none_for_a_file_is_refused(root, name):
    with pytest.raises(SpecError, match="is no name for a package"):
        collect(["net"], Options(name=name), cwd=root)


@pytest.mark.parametrize("name", ["nett", "net/int8", "net/fp16@hopper", "nowhere.yaml"])
def test_what_is_not_there_is_named_with_what_is(root, name):
    with pytest.raises(SpecError) as caught:
        collect([name], cwd=root)

    assert "did you mean" in str(caught.value) or "this project has net" in str(caught.value)


def test_all_cells_that_are_not_built_are_in_one_error(root):
    shutil.rmtree(root / "build/net/fp16@ada")
    shutil.rmtree(root / "build/net/fp32@ampere")

    with pytest.raises(PackageError) as caught:
        collect(["net"], cwd=root)

    (problem,) = caught.value.problems
    assert problem.fact == "net/fp16@ada is not built, and 1 more"
    assert problem.remedy == "run `trtpipe build net/fp16@ada net/fp32@ampere`"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged manifest"),
        ("[]", "damaged manifest"),
        ('{"cell": "net/fp32@ada"}', "damaged manifest"),
    ],
)
def test_a_damaged_manifest_is_said_to_be(root, text, says):
    (root / "build/net/fp16@ada/manifest.json").write_text(text)

    with pytest.raises(PackageError, match=says):
        collect(["net/fp16@ada"], cwd=root)


@pytest.mark.parametrize("field", ["model", "io", "profiles", "steps", "compute_capabilities", "validation"])
def test_a_manifest_that_lacks_a_field_is_damaged(root, field):
    path = root / "build/net/fp16@ada/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[field]
    path.write_text(json.dumps(manifest))

    with pytest.raises(PackageError, match=f"{field} is missing|damaged"):
        collect(["net/fp16@ada"], cwd=root)


def test_a_folder_that_holds_another_cell_is_refused(root):
    shutil.rmtree(root / "build/net/fp16@ada")
    shutil.copytree(root / "build/net/fp32@ada", root / "build/net/fp16@ada")

    with pytest.raises(PackageError, match="holds another cell"):
        collect(["net/fp16@ada"], cwd=root)


def test_targets_of_different_typed_models_are_not_of_one_build(root):
    changed = {"model.onnx": {"blake3": "0" * 64, "bytes": 1}}
    shutil.rmtree(root / "build/net/fp16@ada")
    deliver(root, "net/fp16@ada", model=changed)

    with pytest.raises(PackageError, match="were built from different typed models"):
        collect(["net/fp16"], cwd=root)


# -- what an engine needs


def test_an_engine_of_tensorrt_rtx_runs_on_any_system(root):
    one = engine_of(root)

    assert (one.os, one.architecture, one.gpu, one.hardware_compatibility) == (None, None, None, "none")
    assert (one.driver, one.device_memory, one.compute_capabilities) == ("525", 4096, ("8.9",))


def test_an_engine_of_tensorrt_is_tied_to_its_gpu_and_system(root):
    proved = {
        "gpu": {"name": "NVIDIA L4", "compute_capability": "sm89"},
        "machine": {"system": "linux", "architecture": "x86_64"},
    }
    options = {"gpu": {"name": "NVIDIA L4", "driver_cuda_major": "13"}, "hardware_compatibility": "none"}

    one = engine_of(root, toolchain=TENSORRT, options=options, run_on_gpu=proved)

    assert (one.flavour, one.tensorrt, one.gpu) == ("tensorrt", "10.13.3.9", "NVIDIA L4")
    assert (one.os, one.architecture, one.run_on_gpu) == ("linux", "x86_64", "NVIDIA L4 (sm89)")


def test_the_system_of_an_engine_that_never_ran_is_the_one_that_built_it(root):
    engine = {
        "file": "model.engine",
        "blake3": engine_digest("net/fp16@ada"),
        "platform": platform_of("tensorrt")["platform"],
    }
    windows = {**engine, "platform": {"system": "win32", "architecture": "AMD64"}}

    here, there = (engine_of(root, toolchain=TENSORRT, engine=one) for one in (engine, windows))

    assert (here.os, here.architecture) == (system_here(), architecture_here())
    assert (there.os, there.architecture) == ("windows", "x86_64")
    assert platform_of("tensorrt_rtx") == {}


def test_the_system_is_not_known_of_an_older_engine_that_never_ran(root):
    assert engine_of(root, toolchain=TENSORRT).os is None


def test_an_engine_for_an_embedded_gpu_is_for_arm(root):
    one = engine_of(root, toolchain=TENSORRT, sm="sm87")

    assert (one.architecture, one.compute_capabilities) == ("aarch64", ("8.7",))


def test_compatibility_and_plugins_are_told(root):
    options = {"hardware_compatibility": "ampere_plus", "version_compatible": True}
    fingerprint = {"options": options, "inputs": {"plugins": {"lib/libmine.so": "00/1"}}}

    one = engine_of(root, toolchain=TENSORRT, steps={"build_engine": {"fingerprint": fingerprint}})

    assert (one.hardware_compatibility, one.version_compatible) == ("ampere_plus", True)
    assert one.plugins == ("libmine.so",)


# -- names of classes


def labels_of(root: Path, text: str) -> dict[str, str]:
    for name in ("a.txt", "b.txt"):
        (root / name).write_text(f"{name}\n")
    write_spec(root, f"{SPEC}package: {{labels: {text}}}\n")
    made = collect(["net/fp16@ada"], cwd=root)
    found = made.index.models[0].labels
    return {output: Path(str(made.sources[path])).name for output, path in found.items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a.txt", {"scores": "a.txt", "boxes": "a.txt"}),
        ("{scores: a.txt}", {"scores": "a.txt"}),
        ("{'*': a.txt, scores: b.txt}", {"scores": "b.txt", "boxes": "a.txt"}),
        ("{'s*': b.txt}", {"scores": "b.txt"}),
        ("{other: a.txt}", {}),
    ],
)
def test_each_output_has_the_labels_of_the_last_glob(root, text, found):
    assert labels_of(root, text) == found


# -- bundles


@pytest.fixture
def ocr(tmp_path: Path) -> Path:
    """The example of a bundle, its cells delivered."""
    place = tmp_path / "ocr"
    shutil.copytree(ROOT / "tests/bundles/project", place)
    for target, sm in (("ada", "sm89"), ("ampere", "sm86"), ("blackwell", "sm120")):
        for pipeline in ("ocr-det", "ocr-cls", "ocr-rec", "ocr.rec"):
            for variant in ("fp16", "fp32"):
                deliver(place, f"{pipeline}/{variant}@{target}", sm)
    deliver_ocr(place)
    return place


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_bundle_has_one_cell_of_each_member_for_each_target(ocr):
    made = collect(["ocr"], cwd=ocr)
    index = made.index

    assert (index.package, index.bundle, made.bundle.name) == ("ocr", "ocr", "ocr")
    assert [(one.name, one.pipeline) for one in index.models] == [
        ("det", "ocr-det"),
        ("cls", "ocr-cls"),
        ("rec", "ocr-rec"),
    ]
    assert index.targets.keys() == {"ada", "ampere", "blackwell"}
    assert index.targets["ada"] == {name: f"{own}/fp16@ada" for name, own in OCR.items()}
    assert {one.variant for model in index.models for one in model.engines} == {"fp16"}
    assert {"from": "cls.probs", "to": "rec.prior", "reshape": [-1, 1, 2], "cast": "float16"} in index.edges


def test_members_have_the_variants_that_the_whole_was_validated_with(ocr):
    change(ocr / "pipelines/ocr.yaml", "rec: {pipeline: ocr-rec, variants: [fp16]}", "rec: ocr-rec")
    deliver_ocr(ocr, rec="fp32")

    index = collect(["pipelines/ocr.yaml"], cwd=ocr).index

    assert index.targets["ada"]["rec"] == "ocr.rec/fp32@ada"
    assert index.targets["ampere"]["rec"] == "ocr.rec/fp16@ampere"
    assert [one.variant for one in index.model("rec").engines] == ["fp16", "fp16", "fp32"]
    assert [one.variant for one in index.model("rec").fallbacks] == ["fp16", "fp32"]


def test_what_the_whole_was_validated_with_is_in_the_package(ocr):
    made = collect(["ocr"], cwd=ocr)

    assert made.sources["bundle.json"] == ocr / "build/ocr/bundle.json"
    assert "bundle.json" in made.index.files


def test_members_that_share_a_pipeline_share_its_files(ocr):
    change(ocr / "pipelines/ocr.yaml", "  rec: {", "  again: {pipeline: ocr-cls, variants: [fp16]}\n  rec: {")
    path = ocr / "build/ocr/bundle.json"
    record = json.loads(path.read_text())
    for cells in record["targets"].values():
        cells["again"] = cells["cls"]
    path.write_text(json.dumps(record))

    index = collect(["ocr"], cwd=ocr).index

    assert index.model("again").engines == index.model("cls").engines
    assert len([path for path in index.files if path.endswith("model.engine")]) == 9


def test_a_bundle_s_labels_count_more_than_its_member_s(ocr):
    (ocr / "own.txt").write_text("own\n")
    change(ocr / "pipelines/ocr.yaml", "{rec.logits: pipelines/models/digits.txt}", "{rec.scores: own.txt}")

    made = collect(["ocr"], cwd=ocr)
    labels = made.index.model("rec").labels

    assert {output: Path(str(made.sources[path])).name for output, path in labels.items()} == {
        "scores": "own.txt",
        "boxes": "digits.txt",
    }


def refused(root: Path) -> str:
    """Why the bundle is not packaged; the remedy is always to build."""
    with pytest.raises(PackageError) as caught:
        collect(["ocr"], cwd=root)
    (problem,) = caught.value.problems
    assert problem.code == Code.NOT_BUILT and "run `trtpipe build" in problem.remedy
    return problem.fact


def test_a_bundle_of_which_a_cell_is_missing_is_not_packaged(ocr):
    shutil.rmtree(ocr / "build/ocr-cls/fp16@ampere")

    assert refused(ocr) == "ocr-cls/fp16@ampere is not built"


def test_a_bundle_that_is_not_built_is_not_packaged(ocr):
    """A bundle that missed a threshold as a whole is not delivered either."""
    (ocr / "build/ocr/bundle.json").unlink()

    assert refused(ocr) == "bundle 'ocr' is not built: there is no bundle.json in build/ocr"


def test_a_member_that_was_built_again_since_is_noticed(ocr):
    change(ocr / "build/ocr/bundle.json", engine_digest("ocr-cls/fp16@ada"), "0" * 64)

    assert "ocr-cls/fp16@ada has another engine than the one it was validated with" in refused(ocr)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("reshape: [-1, 1, 2], cast", "reshape: [0, 1, 2], cast", "its edges are not those of the spec"),
        ("edges:", "targets: [ada]\nedges:", "its targets or members are not those of the spec"),
        ("cls: ocr-cls/fp16", "cls: ocr-cls/fp32", "is not allowed for member 'cls' any more"),
    ],
)
def test_a_bundle_that_was_built_from_another_spec_is_not_packaged(ocr, old, new, says):
    change(ocr / "pipelines/ocr.yaml", old, new)

    assert says in refused(ocr)


@pytest.mark.parametrize("text", ["{", "[]", '{"targets": 1}', '{"targets": {"ada": {"det": {}}}}'])
def test_a_damaged_record_of_a_bundle_is_said_to_be(ocr, text):
    (ocr / "build/ocr/bundle.json").write_text(text)

    assert "bundle.json is damaged" in refused(ocr)


def test_a_bundle_that_is_not_the_lockfile_s_is_not_packaged(ocr):
    bundles = f"bundles:\n  ocr:\n    key: {'2' * 64}\n"
    (ocr / "trtpipe.lock").write_text(f"schema: 3\ncells: {{}}\n{bundles}steps: {{}}\n")

    assert "it is not the one of the lockfile" in refused(ocr)


def test_a_bundle_is_packaged_alone(ocr):
    with pytest.raises(TrtpipeError, match="is a bundle, which is packaged alone"):
        collect(["ocr", "ocr-det"], cwd=ocr)


def test_a_bundle_s_pipelines_can_be_packaged_without_it(ocr):
    assert collect(["ocr-det", "ocr-rec"], cwd=ocr).index.package == "ocr-det+ocr-rec"


def test_the_digest_does_not_depend_on_the_seed_of_hashes(ocr):
    """Sets have another order in each process."""
    code = (
        "from pathlib import Path; from trtpipe.packages.contents import collect;"
        "from trtpipe.packages.index_file import digest_of; print(digest_of(collect(['ocr'], cwd=Path('.')).index))"
    )
    found = set()
    for seed in "0123":
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ocr, env=environment, check=True, capture_output=True, text=True
        )
        found.add(done.stdout.strip())

    assert found == {str(digest_of(collect(["ocr"], cwd=ocr).index))}
