"""Four TensorRT-RTX versions and four GPUs from one spec, and the same lockfile in a second, different environment."""

from __future__ import annotations

import json
import shutil
import site
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from tests.projects import ROOT, Project
from trtpipe.lockfile import read_lock

VERSIONS = ("1.4.0.76", "1.5.0.114", "1.6.1.120", "1.7.1.116")
GPUS = {"ampere": "sm86", "ada": "sm89", "blackwell": "sm120", "datacenter": "sm80"}
CI_SECONDS = 600
"""What a continuous integration job may take, on a busy machine of two cores."""

pytestmark = pytest.mark.slow


def spec():
    """The digits pipeline as it is in pipelines/, for every GPU with every version: 32 cells."""
    text = (ROOT / "pipelines" / "digits.yaml").read_text()
    head, rest = text.split("targets:\n")
    validate = rest[rest.index("validate:") :]
    targets = [
        f"  {name}-{version.rpartition('.')[0].replace('.', '-')}: {{gpu: {gpu}, toolchain: rtx-{version[:3]}}}\n"
        for version in VERSIONS
        for name, gpu in GPUS.items()
    ]
    toolchains = [
        f'  rtx-{version[:3]}: {{flavour: tensorrt_rtx, version: "{version}"}}\n' for version in VERSIONS
    ]
    return "".join([head, "targets:\n", *targets, "toolchains:\n", *toolchains, validate])


class Elsewhere(Project):
    """A project that is worked on with an interpreter of its own."""

    def command(self, *argv: str) -> list[str]:
        return [self.env["TEST_PYTHON"], "-m", "trtpipe", *argv]


def make(root, name, python):
    """The project in a directory, home, cache and toolchains of its own."""
    folder = root / name
    for part in ("pipelines/models", "calibration"):
        shutil.copytree(ROOT / part, folder / "project" / part)
    home = folder / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "TRTPIPE_TOOLCHAINS": str(folder / "toolchains"),
        "TEST_PYTHON": str(python),
        "TZ": "Asia/Tokyo" if name == "second" else "UTC",
        "LANG": "C.UTF-8" if name == "second" else "C",
    }
    project = Elsewhere(folder / "project", environment)
    project.write("pipelines/digits.yaml", spec())
    return project


def another_environment(root):
    """Another virtual environment of the same Python, which finds the packages of this one."""
    venv.create(root / "venv", with_pip=False, symlinks=True)
    python = root / "venv" / "bin" / "python"
    asked = [python, "-c", "import site; print(site.getsitepackages()[0])"]
    packages = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    (Path(packages) / "these.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def build(project):
    began = time.monotonic()
    done = project.run("build", "--json", "--keep-going", timeout=CI_SECONDS)
    if "cannot be reached" in done.err + done.out:
        pytest.skip("not run: needs a package index that can be reached")
    assert done.code == 0, done.err
    return time.monotonic() - began


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    if shutil.disk_usage(tmp_path_factory.getbasetemp()).free < 4 << 30:
        pytest.skip("not run: needs 4 GiB for two sets of toolchains")
    project = make(tmp_path_factory.mktemp("four"), "first", sys.executable)
    seconds = build(project)
    assert seconds < CI_SECONDS
    return project


def test_one_command_builds_thirty_two_engines_of_four_versions(first):
    locked = read_lock(first.root / "trtpipe.lock")

    assert len(locked) == 32
    assert {one["toolchain"] for one in locked.values()} == {f"tensorrt_rtx {one}" for one in VERSIONS}
    assert all(one["validated"] == "passed" for one in locked.values())
    assert len({one["engine"] for one in locked.values()}) == 32
    assert len({one["model"] for one in locked.values()}) == 2  # typed once for each variant
    assert first.run("build").out == "nothing to do\n"


def test_each_engine_says_the_version_and_the_gpu_that_it_was_built_for(first):
    for path in (first.root / "build").glob("*/*/manifest.json"):
        manifest = json.loads(path.read_bytes())
        header = manifest["engine"]["header"]

        assert header["version"] == manifest["toolchain"]["version"]
        assert header["capabilities"] == manifest["compute_capabilities"]


def test_the_lockfile_comes_out_byte_for_byte_in_another_environment(first, tmp_path):
    second = make(tmp_path, "second", another_environment(tmp_path))
    assert second.env["TEST_PYTHON"] != sys.executable
    shutil.copy(
        first.root / "trtpipe-toolchains.lock", second.root
    )  # as a clone has it: the same wheels, or none
    wheels = (first.root / "trtpipe-toolchains.lock").read_bytes()

    build(second)

    assert (second.root / "trtpipe.lock").read_bytes() == (first.root / "trtpipe.lock").read_bytes()
    assert (second.root / "trtpipe-toolchains.lock").read_bytes() == wheels
    for name in ("model.engine", "model.onnx", "provenance.json", "model.cdx.json"):
        for path in (first.root / "build").glob(f"*/*/{name}"):
            other = second.root / path.relative_to(first.root)
            assert other.read_bytes() == path.read_bytes(), other
    assert second.run("toolchain", "verify", "tensorrt_rtx-1.4.0.76").code == 0


def test_an_upgrade_of_the_oldest_is_compared_cell_by_cell(first, tmp_path):
    newest = f"rtx-{VERSIONS[-1][:3]}"
    cells = ("--only", "digits/*-1-4-0")
    before = (first.root / "trtpipe.lock").read_bytes()

    done = first.run("upgrade", newest, *cells, "--output", str(tmp_path / "upgrade"), timeout=CI_SECONDS)

    record = json.loads((tmp_path / "upgrade" / "upgrade.json").read_bytes())
    assert done.code == 0, done.err
    assert {row["status"] for row in record["cells"]} == {"same"}
    assert len(record["cells"]) == 8
    assert len(record["changes"]) == 4
    assert "toolchain: rtx-1.4 becomes toolchain: rtx-1.7" in record["changes"][0]
    assert "done " not in done.err  # the newest was built for the same GPUs already: all came from the store
    assert (first.root / "trtpipe.lock").read_bytes() == before


def test_offline_every_missing_version_is_named(first, tmp_path):
    lone = make(tmp_path, "second", sys.executable)

    done = lone.run("build", "--offline", "--keep-going", timeout=CI_SECONDS)

    assert done.code == 1
    for version in VERSIONS[:-1]:
        assert f"trtpipe toolchain install {version}" in done.err
    assert list((lone.root / "build" / "digits").iterdir())  # the installed version builds all the same
