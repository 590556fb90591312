"""Built engines are packaged, carried elsewhere, verified there, and chosen by machines of every kind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.markdown_pages import blocks_of, commands_in, shows
from tests.projects import ROOT, Project
from trtpipe.packages.contents import collect
from trtpipe.packages.index import PackedFile

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELLED = "package: {labels: models/names.txt}\n"


@pytest.fixture(scope="module")
def labelled(built: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The built project, whose spec names the classes; that enters no key."""
    place = tmp_path_factory.mktemp("labelled") / "project"
    shutil.copytree(built.root, place, symlinks=True)
    project = Project(place)
    project.write("models/names.txt", "".join(f"{name}\n" for name in NAMES))
    project.write("pipelines/digits.yaml", (place / "pipelines/digits.yaml").read_text() + LABELLED)
    return project


@pytest.fixture(scope="module")
def packaged(labelled: Project) -> Project:
    for form in ("dir", "tar"):
        done = labelled.run("package", "digits", "--to", form)
        assert done.code == 0, done.err
    return labelled


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_package_holds_every_cell_and_says_so(packaged):
    index = json.loads((packaged.root / "dist/digits/index.json").read_bytes())
    (model,) = index["models"]

    assert [one["cell"] for one in model["engines"]] == [
        "digits/fp32@ada",
        "digits/fp32@ampere",
        "digits/fp16@ada",
        "digits/fp16@ampere",
    ]
    assert [one["variant"] for one in model["fallbacks"]] == ["fp32", "fp16"]
    assert index["targets"]["ampere"] == {"digits": "digits/fp32@ampere"}
    assert set(index["files"]) | {"index.json"} == set(tree(packaged.root / "dist/digits"))
    engine = model["engines"][2]
    assert (packaged.root / "dist/digits" / engine["file"]).read_bytes() == packaged.engine("fp16@ada")
    assert (engine["tensorrt"], engine["compute_capabilities"], engine["os"]) == ("1.7.1.116", ["8.9"], None)
    assert engine["inputs"] == [
        {"name": "image", "dtype": "float32", "shape": [-1, 1, 8, 8], "shape_tensor": False}
    ]
    assert engine["validated"] == "not run" and engine["run_on_gpu"] == "not run"
    assert 0 < engine["device_memory"] < 1 << 20


def test_a_package_tells_nothing_of_the_machine_that_made_it(packaged):
    told = b"\n".join(
        data for path, data in tree(packaged.root / "dist/digits").items() if path.endswith(".json")
    )

    assert str(packaged.root).encode() not in told and os.uname().nodename.encode() not in told
    assert b'"timings"' not in told and b'"peak_rss"' not in told and b"this machine" not in told


def test_it_is_the_same_from_another_place_under_other_settings(packaged, tmp_path):
    """A copy of the project, deeper, under another umask, locale, zone and hash seed, and packaged by a spec's path."""
    place = tmp_path / "somewhere" / "else"
    shutil.copytree(packaged.root, place, symlinks=True, ignore=shutil.ignore_patterns("dist"))
    settings = {
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "TZ": "Asia/Tokyo",
        "PYTHONHASHSEED": "7",
        "USER": "other",
    }
    command = [sys.executable, "-m", "trtpipe", "package", "pipelines/digits.yaml"]
    environment = {**os.environ, **settings, "PYTHONPATH": str(ROOT)}

    for form in ("dir", "tar"):
        subprocess.run([*command, "--to", form], cwd=place, env=environment, umask=0o077, check=True)

    assert tree(place / "dist/digits") == tree(packaged.root / "dist/digits")
    assert (place / "dist/digits.tar").read_bytes() == (packaged.root / "dist/digits.tar").read_bytes()


def test_a_build_that_was_made_again_gives_the_same_package(packaged, tmp_path):
    """Its timings and memory differ, which is why manifests are packaged without them."""
    project = Project(tmp_path / "again")
    shutil.copytree(
        packaged.root, project.root, symlinks=True, ignore=shutil.ignore_patterns("dist", "build", ".trtpipe")
    )
    done = project.run("build", "--force")
    assert done.code == 0, done.err

    assert project.run("package", "digits").code == 0

    assert tree(project.root / "dist/digits") == tree(packaged.root / "dist/digits")


def test_it_is_carried_elsewhere_verified_and_unpacked(packaged, tmp_path):
    other = Project(tmp_path / "other")
    other.root.mkdir()
    shutil.copy(packaged.root / "dist/digits.tar", other.root)

    verified = other.run("package", "--verify", "digits.tar", "--unpack", "here", "--json")

    assert verified.code == 0, verified.err
    assert json.loads(verified.out)["signed"] is False
    assert tree(other.root / "here") == tree(packaged.root / "dist/digits")
    again = other.run("package", "--verify", "here")
    assert (again.code, again.err) == (0, "")
    assert "verified here: package 'digits', 4 engines" in again.out and "not signed" in again.out
    ran = json.loads(other.run("run", "here/models/digits/fp16@ada", "--random", "--json").out)
    assert ran["subject"] == "typed model on the CPU", "this machine has no such GPU"
    typed = other.run("run", "here/models/digits/fp16/model.onnx", "--random", "--shape", "image=1x1x8x8")
    assert typed.code == 0, typed.err


MACHINES = {
    "an L4 with the same TensorRT": (("NVIDIA L4", "1.7.1"), 0, "fp32@ada", ""),
    "an RTX 4090, as people write it": (("rtx4090", "1.7.1.116"), 0, "fp32@ada", ""),
    "an RTX 3090": (("rtx3090", "1.7.1"), 0, "fp32@ampere", ""),
    "an L4 with an older TensorRT": (
        ("NVIDIA L4", "1.6.1"),
        1,
        None,
        "needs TensorRT-RTX 1.7.1.116, there is 1.6.1",
    ),
    "an RTX 5090": (("rtx5090", "1.7.1"), 1, None, "it is for sm86, the GPU is sm120"),
    "an H100 with the other flavour": (("sm90", "11.4"), 1, None, "it is for sm89, the GPU is sm90"),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("form", ["digits", "digits.tar"])
def test_machines_choose(packaged, machine, form):
    (gpu, version), code, cell, reason = MACHINES[machine]

    done = packaged.run("select", f"dist/{form}", "--for", gpu, "--trt", version, "--json")

    assert done.code == code, done.err
    verdict = json.loads(done.out)
    (choice,) = verdict["choices"]
    assert choice["kind"] == ("engine" if cell else "fallback")
    assert choice["file"] == (
        f"models/digits/{cell}/model.engine" if cell else "models/digits/fp32/model.onnx"
    )
    assert len(verdict["candidates"]) == 4
    assert not reason or any(reason in one["why_not"] for one in verdict["candidates"])
    assert all(one["fits"] == (not one["why_not"]) for one in verdict["candidates"])


def test_the_page_shows_what_select_prints(packaged):
    (block,) = [
        one.text for one in blocks_of(ROOT / "docs/packages.md", "console") if "$ trtpipe select" in one.text
    ]
    (command,) = commands_in(block)

    done = packaged.run(*shlex.split(command.line)[1:])

    assert done.code == 0 and shows(command.printed, done.out)


def test_this_machine_without_a_gpu_gets_the_typed_model(packaged):
    done = packaged.run("select", "dist/digits")

    assert (done.code, done.err) == (1, "")
    assert "no engine fits; the typed model of fp32 runs in ONNX Runtime" in done.out
    assert "digits/fp16@ada: the machine has no NVIDIA GPU" in done.out


def test_an_installed_engine_still_fits_until_it_does_not(packaged, tmp_path):
    installed = tmp_path / "my.engine"
    installed.write_bytes(packaged.engine("fp16@ada"))
    check = ("select", "dist/digits", "--check", str(installed), "--for", "NVIDIA L4")

    fits = packaged.run(*check, "--trt", "1.7.1")
    assert (fits.code, "still fits: it is the engine of digits/fp16@ada" in fits.out) == (0, True)
    old = packaged.run(*check, "--trt", "1.8.0")
    assert (old.code, "does not fit: it needs TensorRT-RTX 1.7.1.116, there is 1.8.0" in old.out) == (1, True)
    installed.write_bytes(b"another")
    other = packaged.run(*check, "--trt", "1.7.1", "--json")
    assert (other.code, json.loads(other.out)["why_not"]) == (1, "it is no engine of package 'digits'")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: (p / "models/x").write_text(""), "models/x is not in its index"),
        (lambda p: (p / "models/digits/fp16@ada/model.engine").unlink(), "model.engine is missing"),
        (
            lambda p: (p / "index.json").write_text('{"schema": 2}'),
            "has an index of schema 2, and this trtpipe reads",
        ),
        (
            lambda p: (p / "models/digits/fp16@ada/model.engine").write_bytes(b"x"),
            "is not the file that its index",
        ),
    ],
)
def test_a_damaged_package_is_refused_with_code_2(packaged, tmp_path, damage, says):
    shutil.copytree(packaged.root / "dist/digits", tmp_path / "p")
    damage(tmp_path / "p")

    done = packaged.run("package", "--verify", str(tmp_path / "p"))

    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err


def test_what_is_no_package_is_refused_by_select_with_code_2(packaged):
    for place in ("pipelines", "pipelines/digits.yaml", "nowhere"):
        done = packaged.run("select", place)
        assert (done.code, done.err.count("\n")) == (2, 1), place


# -- what cannot be packaged


def test_what_is_not_built_is_named_with_the_command(packaged, tmp_path):
    project = Project(tmp_path / "project")
    shutil.copytree(packaged.root, project.root, symlinks=True, ignore=shutil.ignore_patterns("dist"))
    shutil.rmtree(project.root / "build/digits/fp16@ampere")

    done = project.run("package", "digits")
    assert done.code == 2
    assert done.err.splitlines()[:2] == [
        "digits/fp16@ampere is not built",
        "  run `trtpipe build digits/fp16@ampere`",
    ]
    assert project.run("package", "digits/*@ada").code == 0
    assert project.run("build", "digits/fp16@ampere").code == 0
    assert project.run("package", "digits", "--force").code == 0


def test_an_engine_that_is_not_the_lockfile_s_is_not_packaged(packaged, tmp_path):
    project = Project(tmp_path / "project")
    shutil.copytree(packaged.root, project.root, symlinks=True, ignore=shutil.ignore_patterns("dist"))
    cell = next((one.cells["digits/fp16@ada"] for one in [collect(["digits"], cwd=project.root)]), None)
    project.edit("trtpipe.lock", cell.engine_blake3(), "0" * 64)

    done = project.run("package", "digits")

    assert (done.code, "digits/fp16@ada in build/ has another engine than the lockfile" in done.err) == (
        2,
        True,
    )


@pytest.mark.parametrize("name", ["model.engine", "model.onnx"])
def test_a_file_that_its_manifest_does_not_describe_is_not_packaged(packaged, tmp_path, name):
    project = Project(tmp_path / "project")
    shutil.copytree(packaged.root, project.root, symlinks=True, ignore=shutil.ignore_patterns("dist"))
    path = project.root / "build/digits/fp16@ada" / name
    path.unlink()
    path.write_bytes(b"other")

    done = project.run("package", "digits")

    assert (done.code, f"{name} of digits/fp16@ada is not the one that its manifest" in done.err) == (2, True)


def test_what_nobody_named_is_a_mistake(packaged):
    assert packaged.run("package").code == 2
    nothing = packaged.run("package", "digitz")
    assert (nothing.code, "did you mean 'digits'?" in nothing.err) == (2, True)


# -- names of classes


def test_the_names_of_classes_are_packaged_and_shown(packaged):
    index = json.loads((packaged.root / "dist/digits/index.json").read_bytes())
    (file,) = {*index["models"][0]["labels"].values()}
    assert (packaged.root / "dist/digits" / file).read_text().split() == list(NAMES)

    ran = packaged.run("run", "digits/fp16@ada", "--random", "--json")

    (top,) = json.loads(ran.out)["top"]
    assert top["output"] == "logits"
    assert all(one["name"] == NAMES[one["class"]] for row in top["rows"] for one in row["best"])


def test_an_engine_in_a_package_has_the_typed_model_and_the_names_of_the_package(packaged, tmp_path):
    shutil.copytree(packaged.root / "dist/digits", tmp_path / "digits")
    (engine,) = (tmp_path / "digits/models/digits").glob("fp16@ada")

    ran = [
        json.loads(packaged.run("run", str(one), "--random", "--json", cwd=tmp_path).out)
        for one in (engine, engine / "model.engine")
    ]

    assert not (engine / "model.onnx").exists(), "it is beside the engines of its variant"
    for one in ran:
        assert one["subject"] == "typed model on the CPU"
        (top,) = one["top"]
        assert all(best["name"] == NAMES[best["class"]] for row in top["rows"] for best in row["best"])


def test_names_that_do_not_fit_are_a_note(labelled, tmp_path):
    project = Project(tmp_path / "project")
    shutil.copytree(labelled.root, project.root, symlinks=True, ignore=shutil.ignore_patterns("dist"))
    project.write("models/names.txt", "one\ntwo\n")

    ran = json.loads(project.run("run", "digits/fp16@ada", "--random", "--json").out)

    assert ran["top"] == [] and "'logits' has labels that do not fit" in " ".join(ran["notes"])


def test_every_source_has_the_digest_in_the_index(packaged):
    made = collect(["digits"], cwd=packaged.root)

    assert set(made.sources) == set(made.index.files)
    assert all(isinstance(file, PackedFile) for file in made.index.files.values())
    assert made.pipelines.keys() == {"digits"} and made.bundle is None
