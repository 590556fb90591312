"""OCI image layouts: ModelPack's media types, one manifest for each cell, and the same bytes every time."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.packages.made_packages import contents, engine, model
from trtpipe.errors import PackageError
from trtpipe.packages.oci.image import image_of
from trtpipe.packages.oci.layout import write_layout
from trtpipe.packages.oci.reader import is_layout, read_package_index

ADA, AMPERE = engine("net/fp16@ada"), engine("net/fp16@ampere", "8.6", gpu="NVIDIA A10")
PACKAGE = contents(model("net", ADA, AMPERE, fallback=b""), model_onnx=b"typed", model_cdx_json=b"{}")


def written(folder, package=PACKAGE):
    image = image_of(package.index, {ADA.cell: "fp16"})
    write_layout(image, package.sources, package.index.package, folder)
    return image


def document(folder, digest):
    return json.loads((folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes())


def top_of(folder):
    (named, *_) = json.loads((folder / "index.json").read_bytes())["manifests"]
    return document(folder, named["digest"])


def manifest_of(folder, cell):
    found = [one for one in top_of(folder)["manifests"] if one["annotations"].get("trtpipe.cell") == cell]
    assert len(found) == 1
    return document(folder, found[0]["digest"]), found[0]


def test_every_blob_has_the_name_of_its_digest(tmp_path):
    written(tmp_path / "image")

    blobs = list((tmp_path / "image/blobs/sha256").iterdir())
    assert len(blobs) > 10
    assert [path.name for path in blobs] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in blobs]
    assert json.loads((tmp_path / "image/oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_cell_is_a_manifest_of_modelpack(tmp_path):
    written(tmp_path / "image")

    manifest, descriptor = manifest_of(tmp_path / "image", "net/fp16@ada")
    layers = [(one["mediaType"], one["annotations"]["org.cncf.model.filepath"]) for one in manifest["layers"]]
    assert (
        manifest["artifactType"]
        == descriptor["artifactType"]
        == "application/vnd.cncf.model.manifest.v1+json"
    )
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert layers == [
        ("application/vnd.cncf.model.weight.v1.raw", "models/net/fp16@ada/model.engine"),
        ("application/vnd.cncf.model.weight.v1.raw", "models/net/fp16/model.onnx"),
        ("application/vnd.cncf.model.doc.v1.raw", "models/net/fp16@ada/manifest.json"),
    ]


def test_the_configuration_is_one_of_modelpack(tmp_path):
    written(tmp_path / "image")

    manifest, _ = manifest_of(tmp_path / "image", "net/fp16@ada")
    config = document(tmp_path / "image", manifest["config"]["digest"])
    # its JSON Schema allows no other keys than these
    assert set(config) == {"descriptor", "config", "modelfs"}
    assert config["descriptor"] == {"name": "net/fp16@ada", "family": "net"}
    assert config["config"] == {"format": "tensorrt", "precision": "fp16"}
    assert config["modelfs"] == {"type": "layers", "diffIds": [one["digest"] for one in manifest["layers"]]}


def test_an_image_index_says_what_a_machine_must_have(tmp_path):
    written(tmp_path / "image")

    _, descriptor = manifest_of(tmp_path / "image", "net/fp16@ampere")
    said = descriptor["annotations"]
    sha256 = PACKAGE.index.files[AMPERE.file].sha256
    assert said["trtpipe.compute-capabilities"] == "8.6"
    assert said["trtpipe.gpu"] == "NVIDIA A10"
    assert said["trtpipe.tensorrt"] == "11.4.0.106"
    assert said["trtpipe.os"] == "linux"
    assert said["trtpipe.engine.sha256"] == sha256
    assert said["trtpipe.run-on-gpu"] == "not run"


def test_provenance_and_bom_refer_to_their_cell(tmp_path):
    written(tmp_path / "image")

    _, *referrers = json.loads((tmp_path / "image/index.json").read_bytes())["manifests"]
    found = [(one["artifactType"], document(tmp_path / "image", one["digest"])) for one in referrers]
    _, ada = manifest_of(tmp_path / "image", "net/fp16@ada")
    of_ada = [kind for kind, manifest in found if manifest["subject"]["digest"] == ada["digest"]]
    assert of_ada == ["application/vnd.in-toto+json", "application/vnd.cyclonedx+json"]
    assert len(found) == 4


def test_a_file_that_two_cells_share_is_one_blob(tmp_path):
    written(tmp_path / "image")

    typed = hashlib.sha256(b"typed").hexdigest()
    holders = [manifest_of(tmp_path / "image", cell)[0] for cell in (ADA.cell, AMPERE.cell)]
    assert all(f"sha256:{typed}" in {one["digest"] for one in holder["layers"]} for holder in holders)
    assert (tmp_path / "image/blobs/sha256" / typed).read_bytes() == b"typed"


def test_two_packagings_are_equal_to_the_byte(tmp_path):
    for name in ("one", "other"):
        written(tmp_path / name)

    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "one", tmp_path / "other")
    ]
    assert files[0] == files[1]


def test_all_layers_together_are_the_package(tmp_path):
    written(tmp_path / "image")

    manifests = [
        document(tmp_path / "image", one["digest"]) for one in top_of(tmp_path / "image")["manifests"]
    ]
    referrers = json.loads((tmp_path / "image/index.json").read_bytes())["manifests"][1:]
    manifests += [document(tmp_path / "image", one["digest"]) for one in referrers]
    paths = {one["annotations"]["org.cncf.model.filepath"] for each in manifests for one in each["layers"]}
    assert paths == {"index.json", *PACKAGE.index.files}


def test_the_packages_own_index_is_read_back(tmp_path):
    written(tmp_path / "image")

    assert is_layout(tmp_path / "image")
    assert read_package_index(tmp_path / "image") == PACKAGE.index


def test_a_changed_blob_is_noticed(tmp_path):
    image = written(tmp_path / "image")
    holder = image.manifests[-1]
    path = tmp_path / "image/blobs/sha256" / holder.descriptor.sha256
    path.write_bytes(holder.content.replace(b"index.json", b"index.jsom"))

    with pytest.raises(PackageError) as caught:
        read_package_index(tmp_path / "image")

    name = holder.descriptor.sha256[:12]
    fact = f"'{tmp_path / 'image'}' is no package of trtpipe: blob {name} is not what its digest says"
    assert [one.fact for one in caught.value.problems] == [fact]


def test_another_image_is_no_package(tmp_path):
    written(tmp_path / "image")
    (tmp_path / "image/index.json").write_text('{"schemaVersion": 2, "manifests": []}')

    with pytest.raises(PackageError) as caught:
        read_package_index(tmp_path / "image")

    assert "is no package of trtpipe: it has no image index" in str(caught.value)


def test_a_file_that_changed_meanwhile_is_refused(tmp_path):
    source = tmp_path / "engine"
    source.write_bytes(b"one")
    package = contents(model("net", ADA))
    image = image_of(package.index, {})

    with pytest.raises(PackageError, match="changed while it was packaged"):
        write_layout(image, {**package.sources, ADA.file: source}, "net", tmp_path / "image")
