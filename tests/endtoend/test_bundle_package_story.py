"""Three nets are one product: built as a bundle, packaged, unpacked elsewhere, and run by all engines or none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.projects import ROOT, Project


@pytest.fixture(scope="module")
def ocr(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The example of a bundle, built for three GPUs and packaged in both forms."""
    place = tmp_path_factory.mktemp("ocr") / "project"
    shutil.copytree(ROOT / "tests/bundles/project", place)
    project = Project(place)
    for command in (("build", "ocr"), ("package", "ocr"), ("package", "ocr", "--to", "tar")):
        done = project.run(*command)
        assert done.code == 0, done.err
    return project


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_bundle_is_one_package_with_its_edges(ocr):
    index = json.loads((ocr.root / "dist/ocr/index.json").read_bytes())

    assert index["bundle"] == "ocr" and [one["name"] for one in index["models"]] == ["det", "cls", "rec"]
    assert index["targets"].keys() == {"ada", "ampere", "blackwell"}
    assert {"from": "det.crop", "to": "rec.x", "reshape": None, "cast": None} in index["edges"]
    rec = index["models"][2]
    assert rec["labels"].keys() == {"logits"}
    names = (ocr.root / "dist/ocr" / rec["labels"]["logits"]).read_text().split()
    assert names[:3] == ["zero", "one", "two"]
    for target, cells in index["targets"].items():
        for cell in cells.values():
            built = (ocr.root / "build" / cell / "model.engine").read_bytes()
            (engine,) = [one for model in index["models"] for one in model["engines"] if one["cell"] == cell]
            assert engine["target"] == target
            assert (ocr.root / "dist/ocr" / engine["file"]).read_bytes() == built


def test_it_is_the_same_each_time_and_unpacked(ocr, tmp_path):
    again = Project(ocr.root, {"PYTHONHASHSEED": "5"})
    done = again.run("package", "ocr", "--output", str(tmp_path / "again"))
    assert done.code == 0, done.err
    assert tree(tmp_path / "again") == tree(ocr.root / "dist/ocr")

    done = ocr.run("package", "--verify", "dist/ocr.tar", "--unpack", str(tmp_path / "here"))

    assert done.code == 0, done.err
    assert tree(tmp_path / "here") == tree(ocr.root / "dist/ocr")


MACHINES = {
    "a desktop of Ampere": (("rtx3090", "1.7.1"), "ampere"),
    "a server of Ada Lovelace": (("NVIDIA L4", "1.7.1"), "ada"),
    "a desktop of Blackwell": (("rtx5090", "1.7.1.116"), "blackwell"),
    "a desktop of Turing": (("rtx2080", "1.7.1"), None),
    "a server of Hopper": (("sm90", "11.4.0.106"), None),
    "an L4 with an older TensorRT": (("NVIDIA L4", "1.6.1.120"), None),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_machines_run_all_members_by_engines_of_one_target_or_none(ocr, machine):
    (gpu, version), target = MACHINES[machine]

    done = ocr.run("select", "dist/ocr.tar", "--for", gpu, "--trt", version, "--json")

    verdict = json.loads(done.out)
    assert (done.code, verdict["target"]) == (0 if target else 1, target)
    assert [one["model"] for one in verdict["choices"]] == ["det", "cls", "rec"]
    assert {one["kind"] for one in verdict["choices"]} == {"engine" if target else "fallback"}
    assert all((one["cell"] or "").endswith(f"@{target}") == bool(target) for one in verdict["choices"])


def test_the_names_of_classes_are_shown_of_a_member(ocr):
    """Its own spec names them, and the bundle's names count more; both name the same file here."""
    cell = json.loads((ocr.root / "dist/ocr/index.json").read_bytes())["targets"]["ada"]["rec"]

    ran = json.loads(ocr.run("run", cell, "--random", "--json").out)

    (top,) = ran["top"]
    assert top["output"] == "logits" and top["rows"][0]["best"][0]["name"] is not None
