"""What is chosen among engines that run, what a bundle needs, and what is left when nothing runs."""

from __future__ import annotations

import pytest

from tests.packages.small_packages import contents, engine, index, model
from trtpipe import select
from trtpipe.errors import PackageError, SpecError
from trtpipe.packages.archive import write_archive
from trtpipe.packages.directory import write_directory
from trtpipe.selection.installed import check_installed
from trtpipe.selection.machine import InstalledTensorRT, Machine, described_machine
from trtpipe.selection.verdict import choose
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu

L4 = described_machine("NVIDIA L4", ["1.7.1"])
ALL = ("8.6", "8.9", "12.0")


def chosen(*engines, machine=L4, **how):
    (choice,) = choose(index(model("net", engines)), machine, **how).choices
    return choice.cell or choice.kind


def test_the_first_variant_that_fits_wins():
    assert chosen(engine("net/fp16@ada"), engine("net/fp32@ada")) == "net/fp16@ada"
    other = engine("net/fp16@ampere", compute_capabilities=("8.6",))
    assert chosen(other, engine("net/fp32@ada")) == "net/fp32@ada"


def test_of_one_variant_the_engine_that_was_built_for_fewer_gpus_wins():
    wide = engine("net/fp16@desktop", compute_capabilities=ALL)
    assert chosen(wide, engine("net/fp16@ada")) == "net/fp16@ada"
    tied = {"flavour": "tensorrt", "tensorrt": "10.13.3.9"}
    machine = described_machine("NVIDIA L4", ["10.13.3.9"])
    loose = engine("net/fp16@any", **tied, hardware_compatibility="ampere_plus")
    kind = engine("net/fp16@kind", **tied, hardware_compatibility="same_compute_capability")
    own = engine("net/fp16@own", **tied, gpu="NVIDIA L4")
    assert chosen(loose, kind, own, machine=machine) == "net/fp16@own"
    assert chosen(loose, kind, machine=machine) == "net/fp16@kind"


def test_a_variant_can_be_asked_for():
    both = (engine("net/fp16@ada"), engine("net/fp32@ada"))

    assert chosen(*both, variant="fp32") == "net/fp32@ada"
    with pytest.raises(SpecError, match="has no variant 'int8': it has fp16, fp32"):
        chosen(*both, variant="int8")


def test_a_typed_model_is_left_when_nothing_fits():
    verdict = choose(index(), described_machine("sm75"))

    (choice,) = verdict.choices
    assert (choice.kind, choice.file) == ("fallback", "models/net/fp16/model.onnx")
    assert not verdict.runs_engines
    assert chosen(engine(), machine=described_machine("sm75"), variant="fp16") == "fallback"


def test_nothing_is_left_in_a_package_without_typed_models():
    (choice,) = choose(index(model("net", [engine()], fallbacks=False)), described_machine("sm75")).choices

    assert (choice.kind, choice.file) == ("none", None)


def test_any_of_the_machine_s_gpus_will_do():
    gpus = (DetectedGpu(0, "a", ComputeCapability(7, 5)), DetectedGpu(1, "b", ComputeCapability(8, 9)))
    verdict = choose(index(), Machine(gpus, None, "linux", "x86_64"))

    assert (verdict.choices[0].kind, verdict.choices[0].gpu) == ("engine", 1)


def test_a_machine_without_a_gpu_has_one_reason():
    verdict = choose(index(), Machine((), (), "linux", "x86_64"))

    assert [one.why_not for one in verdict.candidates] == ["the machine has no NVIDIA GPU"]


# -- bundles


def bundle(*, rec_on_ada=True):
    det = [engine("det/fp16@ada"), engine("det/fp16@desktop", compute_capabilities=ALL)]
    rec = [engine("rec/fp16@desktop", compute_capabilities=ALL)]
    rec += [engine("rec/fp16@ada")] if rec_on_ada else []
    return index(model("det", det), model("rec", rec), bundle="ocr")


def test_a_bundle_runs_by_the_engines_of_one_target():
    verdict = choose(bundle(), L4)

    assert verdict.target == "ada"
    assert [one.cell for one in verdict.choices] == ["det/fp16@ada", "rec/fp16@ada"]


def test_a_target_that_lacks_a_member_is_none():
    verdict = choose(bundle(rec_on_ada=False), L4)

    assert verdict.target == "desktop"
    assert [one.cell for one in verdict.choices] == ["det/fp16@desktop", "rec/fp16@desktop"]


def test_a_bundle_of_which_one_member_does_not_fit_runs_no_engine():
    rec = engine("rec/fp16@ada", device_memory=80 << 30)
    made = index(model("det", [engine("det/fp16@ada")]), model("rec", [rec]), bundle="ocr")

    verdict = choose(made, described_machine("NVIDIA L4", memory="24GiB"))

    assert {one.kind for one in verdict.choices} == {"fallback"}
    assert [bool(one.why_not) for one in verdict.candidates] == [False, True]


def test_models_that_are_no_bundle_are_chosen_one_by_one():
    made = index(
        model("det", [engine("det/fp16@ada")]),
        model("rec", [engine("rec/fp16@ampere", compute_capabilities=("8.6",))]),
    )

    assert [one.kind for one in choose(made, L4).choices] == ["engine", "fallback"]


# -- by way of files


@pytest.mark.parametrize("write", [write_directory, write_archive])
def test_the_library_reads_the_index_of_a_package(tmp_path, write):
    write(contents(), tmp_path / "p")

    assert select(tmp_path / "p", L4).choices == choose(index(), L4).choices
    assert select(str(tmp_path / "p")).machine.pretended is False


def test_only_the_index_is_read(tmp_path):
    write_directory(contents(), tmp_path / "p")
    for path in (tmp_path / "p/models").rglob("*"):
        if path.is_file():
            path.unlink()

    assert select(tmp_path / "p", L4).runs_engines


def test_what_is_no_package_is_refused(tmp_path):
    (tmp_path / "x").write_text("x")
    for place in (tmp_path, tmp_path / "x", tmp_path / "nowhere"):
        with pytest.raises(PackageError):
            select(place, L4)


def test_a_verdict_is_plain_json():
    record = choose(bundle(), L4).to_json()

    assert record["target"] == "ada" and record["engines"] is True
    assert [one["fits"] for one in record["candidates"]] == [True, True, True, True]
    assert record["machine"]["gpus"][0]["compute_capability"] == "sm89"


# -- engines that are installed


def test_an_installed_engine_is_known_by_its_bytes(tmp_path):
    made = index(model("net", [engine("net/fp16@ada"), engine("net/fp32@ada")]))
    file = tmp_path / "any.name"
    file.write_bytes(b"the bytes of models/net/fp32@ada/model.engine")

    found = check_installed(made, file, L4)

    assert (found.fits, found.cell) == (True, "net/fp32@ada")
    assert [one.cell for one in found.instead] == ["net/fp16@ada"]
    updated = check_installed(made, file, described_machine("NVIDIA L4", ["1.8"]))
    assert (updated.fits, updated.why_not) == (False, "it needs TensorRT-RTX 1.7.1.116, there is 1.8")
    file.write_bytes(b"another")
    assert check_installed(made, file, L4).why_not == "it is no engine of package 'net'"


def test_an_engine_that_several_cells_share_fits_if_one_of_them_does(tmp_path):
    shared = engine("net/fp16@desktop", file="models/net/fp16@ampere/model.engine")
    made = index(model("net", [engine("net/fp16@ampere", compute_capabilities=("8.6",)), shared]))
    file = tmp_path / "e"
    file.write_bytes(b"the bytes of models/net/fp16@ampere/model.engine")

    assert check_installed(made, file, L4).cell == "net/fp16@desktop"


def test_versions_that_nobody_told_are_not_held_against_an_engine():
    assert choose(index(), described_machine("sm89")).runs_engines
    none = Machine(described_machine("sm89").gpus, (), "linux", "x86_64")
    assert not choose(index(), none).runs_engines
    some = (InstalledTensorRT("tensorrt_rtx", "1.7.1.116"),)
    assert choose(index(), Machine(none.gpus, some, "linux", "x86_64")).runs_engines
