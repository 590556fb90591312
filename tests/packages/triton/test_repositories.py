"""Model repositories of stand-in engines: which models there are, and what the server is started with.

No engine of the flavour tensorrt can be built without its GPU: these are bytes that nobody loads.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.packages.made_packages import IMAGE, contents, engine, model
from tests.packages.triton.model_config import parsed
from trtpipe.errors import PackageError
from trtpipe.packages.directory import is_package_directory
from trtpipe.packages.index import Tensor
from trtpipe.packages.index_file import index_bytes, parse_index
from trtpipe.packages.triton.repository import repository_of
from trtpipe.packages.triton.writing import write_repository
from trtpipe.spec.packaging import PackageSpec, TritonSpec

ADA, AMPERE = engine("net/fp16@ada"), engine("net/fp16@ampere", "8.6")


def package(*models, triton=None, **files):
    """The contents with specs that say this of Triton; batches are asked for, as there is no model to look at."""
    made = contents(*models, **files)
    spec = SimpleNamespace(
        package=PackageSpec(triton=triton or TritonSpec(max_batch_size=8)),
        spec=SimpleNamespace(validate_=None),
    )
    return replace(made, pipelines={one.pipeline: spec for one in models})


def files_of(repository):
    sources = repository.contents.sources
    return {path: source for path, source in sources.items() if path.startswith("repository/")}


def config(repository, name):
    return parsed(repository.contents.sources[f"repository/{name}/config.pbtxt"].decode())


def test_one_model_has_a_file_for_each_compute_capability():
    found = repository_of(package(model("net", ADA, AMPERE)))

    assert sorted(files_of(found)) == [
        "repository/net/1/ada.plan",
        "repository/net/1/ampere.plan",
        "repository/net/config.pbtxt",
    ]
    assert dict(config(found, "net").cc_model_filenames) == {"8.6": "ampere.plan", "8.9": "ada.plan"}
    assert config(found, "net").default_model_filename == ""


def test_no_file_has_the_name_that_triton_falls_back_to():
    """Its TensorRT backend takes `model.plan` on a GPU that `cc_model_filenames` does not name."""
    found = repository_of(package(model("net", engine("net/fp16@model"))))

    assert "repository/net/1/model.plan" not in files_of(found)
    assert dict(config(found, "net").cc_model_filenames) == {"8.9": "model-engine.plan"}


def test_an_engine_for_several_capabilities_is_one_file():
    found = repository_of(package(model("net", engine("net/fp16@all", compute_capabilities=("8.6", "8.9")))))

    assert dict(config(found, "net").cc_model_filenames) == {"8.6": "all.plan", "8.9": "all.plan"}


def test_each_variant_is_a_model():
    found = repository_of(package(model("net", ADA, engine("net/int8@ada"))))

    assert {path.split("/")[1] for path in files_of(found)} == {"net-fp16", "net-int8"}


def test_two_gpus_of_one_capability_are_two_models():
    l4, rtx = engine("net/fp16@l4", gpu="NVIDIA L4"), engine("net/fp16@rtx", gpu="NVIDIA GeForce RTX 4090")

    found = repository_of(package(model("net", l4, rtx, AMPERE)))

    assert {path.split("/")[1] for path in files_of(found)} == {"net-l4", "net-rtx", "net-ampere"}
    assert dict(config(found, "net-l4").cc_model_filenames) == {"8.9": "l4.plan"}
    assert "--model-control-mode=explicit" in found.start
    assert found.notes == (
        "load one of net-l4, net-rtx, net-ampere: they are for different GPUs of one compute capability",
    )


def test_engines_of_tensorrt_rtx_are_refused_by_name():
    rtx = engine("net/fp16@ada", flavour="tensorrt_rtx")

    with pytest.raises(PackageError) as caught:
        repository_of(package(model("net", rtx, AMPERE)))

    (problem,) = caught.value.problems
    assert (
        problem.fact == "Triton's TensorRT backend does not load engines of TensorRT-RTX, as net/fp16@ada are"
    )
    assert problem.remedy == "serve their typed ONNX: --backend onnxruntime"


def test_typed_onnx_serves_what_tensorrt_rtx_was_built_from():
    rtx = engine("net/fp16@ada", flavour="tensorrt_rtx")

    found = repository_of(package(model("net", rtx, fallback=b"")), "onnxruntime")

    assert sorted(files_of(found)) == ["repository/net/1/model.onnx", "repository/net/config.pbtxt"]
    assert config(found, "net").default_model_filename == "model.onnx"
    assert found.contents.index.models[0].engines == ()


def test_without_its_typed_onnx_a_model_cannot_be_served():
    with pytest.raises(PackageError, match="the typed ONNX of net is not in the package"):
        repository_of(package(model("net", ADA)), "onnxruntime")


def test_engines_that_differ_in_their_tensors_are_refused():
    other = engine("net/fp16@ampere", "8.6", outputs=(Tensor("scores", "float16", (-1, 10)),))

    with pytest.raises(
        PackageError, match="net/fp16@ada and net/fp16@ampere differ in their inputs, outputs or"
    ):
        repository_of(package(model("net", ADA, other)))


def test_a_scalar_is_refused_by_name():
    scalar = engine("net/fp16@ada", inputs=(IMAGE, Tensor("sr", "int64", ())))

    with pytest.raises(PackageError, match="'sr' is a scalar, and Triton knows none"):
        repository_of(package(model("net", scalar), triton=TritonSpec(max_batch_size=0)))


def test_specs_for_two_backends_are_refused():
    made = package(model("net", ADA), model("other", engine("other/fp16@ada"), fallback=b""))
    onnx = SimpleNamespace(package=PackageSpec(triton=TritonSpec(backend="onnxruntime")), spec=None)

    with pytest.raises(
        PackageError, match="some models are for Triton's TensorRT backend and some for its ONNX"
    ):
        repository_of(replace(made, pipelines={**made.pipelines, "other": onnx}))


def test_plugins_and_version_compatible_engines_change_how_the_server_is_started():
    odd = engine("net/fp16@ada", plugins=("libb.so", "liba.so"), version_compatible=True)

    found = repository_of(package(model("net", odd)))

    assert found.start == (
        "tritonserver --model-repository=/models",
        "--disable-auto-complete-config",
        "'--backend-config=tensorrt,plugins=/plugins/liba.so;/plugins/libb.so'",
        "--backend-config=tensorrt,version-compatible=true",
    )
    assert found.notes == (
        "mount liba.so, libb.so at /plugins, or name them in LD_PRELOAD: they are not packaged",
        "version-compatible engines bring code of their own that the server runs: trust who built them",
    )


def test_labels_stand_beside_the_configuration():
    labelled = replace(model("net", ADA), labels={"scores": "models/net/labels.txt"})

    found = repository_of(package(labelled, labels_txt=b"cat\ndog\n"))

    assert found.contents.sources["repository/net/labels.txt"] == b"cat\ndog\n"
    assert config(found, "net").output[0].label_filename == "labels.txt"


def test_several_profiles_are_all_named():
    (one,) = ADA.profiles
    found = repository_of(package(model("net", engine("net/fp16@ada", profiles=(one, one)))))

    assert list(config(found, "net").instance_group[0].profile) == ["0", "1"]


def test_the_version_is_the_name_of_a_directory():
    found = repository_of(package(model("net", ADA), triton=TritonSpec(max_batch_size=8, version=7)))

    assert "repository/net/7/ada.plan" in files_of(found)


def test_the_package_is_still_one(tmp_path):
    made = package(model("net", ADA, AMPERE, fallback=b""))

    written = write_repository(made, tmp_path / "out")

    assert is_package_directory(tmp_path / "out")
    index = parse_index((tmp_path / "out/index.json").read_bytes(), "net")
    assert {one.file for one in index.models[0].engines} == {
        "repository/net/1/ada.plan",
        "repository/net/1/ampere.plan",
    }
    assert set(index.files) == {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name != "index.json"
    }
    assert written.form == "triton"


def test_two_repositories_are_equal_to_the_byte():
    one, other = (repository_of(package(model("net", ADA, AMPERE))).contents for _ in range(2))

    assert one.sources == other.sources
    assert index_bytes(one.index) == index_bytes(other.index)


# -- bundles


def bundle(*models, edges, driver=None, **changes):
    made = package(*models)
    targets = {}
    for one in models:
        for each in one.engines:
            targets.setdefault(each.target, {})[one.name] = each.cell
    index = replace(made.index, bundle="ocr", package="ocr", edges=edges, targets=targets)
    return replace(made, index=index, **changes)


REC = {
    "inputs": (replace(IMAGE, shape=(-1, 10)),),
    "profiles": ({"image": {"min": [1, 10], "opt": [1, 10], "max": [8, 10]}},),
}
EDGES = ({"from": "det.scores", "to": "rec.image", "reshape": None, "cast": None},)


def test_a_bundle_is_an_ensemble():
    det, rec = model("det", engine("det/fp16@ada")), model("rec", engine("rec/fp16@ada", **REC))

    found = repository_of(bundle(det, rec, edges=EDGES))

    assert {path.split("/")[1] for path in files_of(found)} == {"ocr", "ocr-det", "ocr-rec"}
    ensemble = config(found, "ocr")
    assert ensemble.platform == "ensemble"
    assert [one.name for one in ensemble.input] == ["det.image"]
    assert [one.name for one in ensemble.output] == ["rec.scores"]
    assert [
        (one.model_name, dict(one.input_map), dict(one.output_map))
        for one in ensemble.ensemble_scheduling.step
    ] == [
        ("ocr-det", {"image": "det.image"}, {"scores": "det.scores"}),
        ("ocr-rec", {"image": "det.scores"}, {"scores": "rec.scores"}),
    ]
    assert "repository/ocr/1/README" in files_of(found)


def test_a_bundle_for_two_gpus_of_one_capability_has_an_ensemble_for_each():
    models = (
        model("det", engine("det/fp16@l4"), engine("det/fp16@rtx")),
        model("rec", engine("rec/fp16@l4", **REC), engine("rec/fp16@rtx", **REC)),
    )

    found = repository_of(bundle(*models, edges=EDGES))

    steps = [one.model_name for one in config(found, "ocr-rtx").ensemble_scheduling.step]
    assert steps == ["ocr-det-rtx", "ocr-rec-rtx"]
    assert config(found, "ocr-l4").platform == "ensemble"
    assert found.start[-2:] == ("--model-control-mode=explicit", "--load-model=ocr-l4")
    assert found.notes == (
        "load one of ocr-l4, ocr-rtx: they are for different GPUs of one compute capability",
    )


def test_the_index_names_what_was_packaged():
    found = repository_of(package(model("net", ADA, engine("net/int8@ampere", "8.6"))))

    assert json.loads(index_bytes(found.contents.index))["targets"] == {
        "ada": {"net": "net/fp16@ada"},
        "ampere": {"net": "net/int8@ampere"},
    }
