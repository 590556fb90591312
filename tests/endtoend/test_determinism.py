"""Equal specs give equal engines: in another clone, environment, order and interpreter.

The ResNet is the hard case: its graph compiler names symbols by the order of pointers, and an ordinary process gives
other bytes on every run (tests/toolchains tells that of the worker alone; here the whole command is held to it).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import models
from tests.endtoend import zoo
from trtpipe.lockfile import read_lock
from trtpipe.toolchains.doctor import can_switch_off_randomisation
from trtpipe.toolchains.engine_digest import normalised_digest

RESNET = """\
schema: 1
pipeline: resnet
model: {{source: models/resnet.onnx}}
variants:
  fp32: {{}}
  fp16: {{precision: fp16}}
profiles:
  - x: {{min: 1x3x224x224, opt: 4x3x224x224, max: 8x3x224x224}}
targets: {targets}
builder: {{workspace: 1GiB}}
"""
TARGETS = "{ada: {gpu: sm89}, both: {gpu: [sm86, sm120]}}"
REVERSED = "{both: {gpu: [sm120, sm86]}, ada: {gpu: rtx4090}}"
DIGITS = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants: {fp32: {}, fp16: {precision: fp16}}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
targets: {ada: {gpu: sm89}}
"""

fixed_addresses = pytest.mark.skipif(
    not can_switch_off_randomisation(), reason="address randomisation cannot be switched off here"
)


def add_nets(root, targets=TARGETS, width=0.25):
    (root / "models").mkdir(exist_ok=True)
    (root / "pipelines").mkdir(exist_ok=True)
    models.resnet50_like(root / "models" / "resnet.onnx", width=width)
    digits = Path(__file__).resolve().parents[2] / "pipelines" / "models" / "digits_cnn.onnx"
    shutil.copy(digits, root / "models" / "digits.onnx")
    (root / "pipelines" / "resnet.yaml").write_text(RESNET.format(targets=targets))
    (root / "pipelines" / "digits.yaml").write_text(DIGITS)


def cells_of(project):
    """Cell → the bytes that are delivered and the same everywhere."""
    found = {}
    for manifest in sorted((project.root / "build").glob("*/*/manifest.json")):
        cell = "/".join(manifest.parent.parts[-2:])
        names = ("model.engine", "model.onnx")
        found[cell] = {name: (manifest.parent / name).read_bytes() for name in names}
    return found


def lock_of(project):
    return (project.root / "trtpipe.lock").read_text()


def other_surroundings(tmp_path):
    """Everything about a process that is not its work, changed."""
    (tmp_path / "other home").mkdir()
    return {
        "HOME": str(tmp_path / "other home"),
        "TRTPIPE_STORE": str(tmp_path / "a store elsewhere"),
        "PYTHONHASHSEED": "12345",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "TZ": "Asia/Kathmandu",
        "OMP_NUM_THREADS": "1",
        **{f"PADDING_{number}": "x" * 1024 for number in range(64)},
    }


@pytest.fixture(scope="module")
def nets(new_project, tmp_path_factory):
    """The digits CNN and the ResNet, built in the ordinary way."""
    project = new_project(tmp_path_factory.mktemp("nets") / "project")
    add_nets(project.root)
    done = project.run("build", "--jobs", "1")
    assert done.code == 0, done.err
    assert len(cells_of(project)) == 6
    return project


@fixed_addresses
def test_another_clone_in_other_surroundings_gives_the_same_bytes(nets, new_project, tmp_path):
    """Other path, home, store, hash seed, locale, environment size, jobs and order of targets: same lockfile."""
    clone = new_project(tmp_path / "a much longer path than before" / "clone", other_surroundings(tmp_path))
    add_nets(clone.root, REVERSED)

    done = clone.run("build", "--jobs", "4")

    assert done.code == 0, done.err
    assert cells_of(clone) == cells_of(nets)
    assert lock_of(clone) == lock_of(nets)
    assert "address_randomisation: on" not in lock_of(nets)


@pytest.mark.slow
@fixed_addresses
def test_cells_that_are_built_one_at_a_time_backwards_are_the_same(nets, new_project, tmp_path):
    clone = new_project(tmp_path / "clone")
    add_nets(clone.root)

    for cell in sorted(cells_of(nets), reverse=True):
        done = clone.run("build", "--only", cell)
        assert done.code == 0, done.err

    assert cells_of(clone) == cells_of(nets)
    assert lock_of(clone) == lock_of(nets)


@pytest.mark.slow
@fixed_addresses
def test_real_models_are_the_same_in_other_surroundings(real, new_project, tmp_path):
    clone = new_project(tmp_path / "clone", other_surroundings(tmp_path))
    for model in reversed(zoo.MODELS):
        zoo.add_model(clone.root, model)

    done = clone.run("build", "--jobs", "3")

    assert done.code == 0, done.err
    assert len(cells_of(clone)) == 8
    assert cells_of(clone) == cells_of(real)
    assert lock_of(clone) == lock_of(real)


@pytest.mark.slow
@fixed_addresses
def test_a_resnet_of_full_width_is_the_same_in_other_surroundings(new_project, tmp_path):
    one = new_project(tmp_path / "one")
    two = new_project(tmp_path / "another path" / "two", other_surroundings(tmp_path))
    add_nets(one.root, "{ada: {gpu: sm89}}", width=1.0)
    add_nets(two.root, "{ada: {gpu: sm89}}", width=1.0)

    assert one.run("build", "--jobs", "1", "pipelines/resnet.yaml").code == 0
    assert two.run("build", "--jobs", "4", "pipelines/resnet.yaml").code == 0

    assert len(cells_of(one)["resnet/fp32@ada"]["model.engine"]) > 100_000_000
    assert cells_of(one) == cells_of(two)
    assert lock_of(one) == lock_of(two)


def test_the_normalised_digest_is_recorded_beside_the_plain_one(nets):
    cells = read_lock(nets.root / "trtpipe.lock")

    for cell, locked in cells.items():
        folder = nets.root / "build" / cell
        manifest = json.loads((folder / "manifest.json").read_bytes())
        assert manifest["engine"]["normalised"] == normalised_digest(folder / "model.engine")
        assert manifest["engine"]["normalised"] == locked["normalised"]
        assert locked["engine"] == f"{manifest['engine']['blake3']} ({manifest['engine']['bytes']} bytes)"
        assert manifest["reproducibility"]["address_randomisation"] == locked["address_randomisation"]


def without_personality(project, *arguments):
    """Run the command where the system refuses to switch address randomisation off."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("seccomp filters are written for Linux on x86-64 here")
    wrapper = [sys.executable, str(Path(__file__).with_name("no_personality.py"))]
    done = subprocess.run(
        [*wrapper, *project.command(*arguments)],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if "prctl" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip(f"seccomp filters cannot be set here: {done.stderr.splitlines()[-1]}")
    return done


def test_where_addresses_stay_random_the_bytes_are_the_same_and_everything_says_so(
    nets, new_project, tmp_path
):
    clone = new_project(tmp_path / "clone")
    add_nets(clone.root)

    done = without_personality(clone, "build", "--only", "resnet/fp32@ada")
    doctor = without_personality(clone, "doctor")

    assert done.returncode == 0, done.stderr
    folder = clone.root / "build" / "resnet" / "fp32@ada"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    locked = read_lock(clone.root / "trtpipe.lock")["resnet/fp32@ada"]
    usual = read_lock(nets.root / "trtpipe.lock")["resnet/fp32@ada"]
    assert locked["engine"] == usual["engine"]
    assert locked["normalised"] == usual["normalised"]
    assert locked["key"] == usual["key"]
    assert locked["address_randomisation"] == "on"
    assert manifest["reproducibility"] == {"address_randomisation": "on", "addresses": "fixed"}
    assert "address randomisation while building: on" in (folder / "summary.md").read_text()
    assert "ok    reproducibility: address randomisation cannot be switched off for builds" in doctor.stdout


def other_interpreters():
    """Interpreters of other versions that trtpipe could build with: on the path, and working."""
    for minor in range(10, 16):
        python = shutil.which(f"python3.{minor}")
        if python is None or minor == sys.version_info.minor:
            continue
        asked = [python, "-c", "import sys, ensurepip; print(sys.executable)"]
        found = subprocess.run(asked, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            yield found.stdout.strip()


@pytest.fixture(scope="module")
def other_python(tmp_path_factory):
    """The interpreter of an environment of another Python version with the same TensorRT in it."""
    import tensorrt_rtx

    python = next(other_interpreters(), None)
    if python is None:
        pytest.skip("no other Python version is on the path")
    folder = tmp_path_factory.mktemp("other") / "environment"
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = f"tensorrt-rtx-cu13=={tensorrt_rtx.__version__}"
    install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{wanted} cannot be installed for {python}: {done.stderr.strip()[-200:]}")
    return inside


@pytest.mark.slow
def test_another_interpreter_gives_the_same_bytes(nets, new_project, tmp_path, other_python):
    """The interpreter is part of the toolchain's identity: another key, and yet the same bytes."""
    clone = new_project(tmp_path / "clone")
    add_nets(clone.root, "{ada: {gpu: sm89, toolchain: other}}")
    spec = clone.root / "pipelines" / "resnet.yaml"
    with spec.open("a") as file:
        file.write(f"toolchains: {{other: {{flavour: tensorrt_rtx, python: {other_python}}}}}\n")

    done = clone.run("build", "pipelines/resnet.yaml")

    assert done.code == 0, done.err
    locked = read_lock(clone.root / "trtpipe.lock")
    usual = read_lock(nets.root / "trtpipe.lock")
    for cell in ("resnet/fp32@ada", "resnet/fp16@ada"):
        assert locked[cell]["engine"] == usual[cell]["engine"]
        assert locked[cell]["normalised"] == usual[cell]["normalised"]
        assert locked[cell]["model"] == usual[cell]["model"]
        assert locked[cell]["toolchain"] == usual[cell]["toolchain"]
        assert locked[cell]["python"] != usual[cell]["python"]
        assert locked[cell]["key"] != usual[cell]["key"]
