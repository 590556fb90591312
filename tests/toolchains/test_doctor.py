"""What an examination of the machine says, and what each missing thing means."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains import doctor
from trtpipe.toolchains.detect import DetectedGpu
from trtpipe.toolchains.doctor import Finding, examine

L4 = DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9), "GPU-aaaa", 24 << 30, "580.95.05", "13.0")
H200 = DetectedGpu(0, "NVIDIA H200", ComputeCapability(9, 0), "GPU-2f4a")
RTX = Toolchain("tensorrt_rtx", "1.7.1.116", ("python",), ("/site",), "cpython 3.11.7")


@pytest.fixture
def machine(monkeypatch, toolchains_root):
    """A machine with everything in place but a GPU; what differs is set on it."""
    monkeypatch.setattr(
        doctor, "installed_toolchain", lambda flavour: RTX if flavour == RTX.flavour else None
    )
    monkeypatch.setattr(doctor, "detect_gpus", lambda: ())
    monkeypatch.setattr(doctor, "driver_may_be_here", lambda: False)
    monkeypatch.setattr(doctor, "can_switch_off_randomisation", lambda: True)
    monkeypatch.setattr(doctor, "find_installer", lambda: ["pip"])
    return lambda name, value: monkeypatch.setattr(doctor, name, value)


def finding(topic, *folders):
    (found,) = (one for one in examine(folders).findings if one.topic == topic)
    return found


def test_an_installed_toolchain_says_what_it_builds_for(machine):
    found = finding("toolchain")

    assert found.status == "ok"
    assert found.fact.startswith(
        "TensorRT-RTX 1.7.1.116 is installed; builds for sm75, sm80, sm86, sm89, sm120"
    )


def test_without_a_gpu_building_still_works_and_says_so(machine):
    found = finding("gpu")

    assert (found.status, found.fact) == ("warn", "no NVIDIA GPU")
    assert "engines are built and checked here all the same" in found.reason


def test_a_driver_without_a_gpu_is_something_else_than_none(machine):
    machine("driver_may_be_here", lambda: True)

    assert finding("gpu").fact == "a driver is there, but no GPU answers"


def test_a_gpu_is_described_with_its_driver(machine):
    machine("detect_gpus", lambda: (L4,))

    assert finding("gpu").fact == "0: NVIDIA L4 (sm89), 24 GiB, driver 580.95.05"
    assert finding("running") == Finding("running", "ok", "engines of TensorRT-RTX 1.7.1.116 can run here")


def test_a_gpu_that_the_toolchain_cannot_build_for_runs_none_of_its_engines(machine):
    machine("detect_gpus", lambda: (H200,))

    found = finding("running")

    assert found.status == "warn"
    assert found.reason.endswith("this machine has sm90")


def test_without_any_toolchain_both_remedies_are_named(machine):
    machine("installed_toolchain", lambda flavour: None)

    reasons = " ".join(one.reason for one in examine().findings if one.topic == "toolchain")

    assert "pip install tensorrt-rtx-cu13" in reasons
    assert "`toolchains:`" in reasons


def test_a_provisioned_toolchain_is_listed_and_a_damaged_one_says_so(machine, fake_pip, toolchains_root):
    from trtpipe.toolchains.provision import provision

    whole, damaged = (provision("tensorrt_rtx", version) for version in ("1.6.1.120", "1.4.0.76"))
    machine("installed_toolchain", lambda flavour: None)
    next(toolchains_root.glob("tensorrt_rtx-1.4*/manifest.json")).unlink()

    found = {one.fact.split(" (")[0]: one for one in examine().findings if "provisioned" in one.fact}

    assert found[str(whole)].status == "ok"
    assert found[str(damaged)].status == "warn"
    assert "installed again when it is used" in found[str(damaged)].reason


def test_randomisation_that_stays_on_does_no_harm(machine):
    machine("can_switch_off_randomisation", lambda: False)

    found = finding("reproducibility")

    assert (found.status, found.fact) == ("ok", "address randomisation cannot be switched off for builds")
    assert "fixed addresses all the same" in found.reason


def test_a_limited_address_space_says_what_follows(machine):
    machine("address_space_is_limited", lambda: True)

    found = finding("reproducibility")

    assert found.status == "warn"
    assert "normalised digest" in found.reason


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a personality to change")
def test_the_randomisation_probe_leaves_this_process_as_it_was():
    mine = Path("/proc/self/personality")
    before = mine.read_text()

    doctor.can_switch_off_randomisation()

    assert mine.read_text() == before


def test_another_system_cannot_switch_randomisation_off(monkeypatch):
    monkeypatch.setattr(doctor.sys, "platform", "win32")

    assert not doctor.can_switch_off_randomisation()


def test_a_full_disk_is_a_warning_for_each_folder(machine, tmp_path):
    machine("shutil", SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=1 << 30)))

    found = [one for one in examine((tmp_path / "store" / "new",)).findings if one.topic == "space"]

    assert [one.status for one in found] == ["warn", "warn"]
    assert found[1].fact == f"1.0 GiB free in {tmp_path / 'store' / 'new'}"


def test_without_an_installer_nothing_can_be_provisioned(machine):
    machine("find_installer", lambda: None)

    assert finding("installer").reason == "toolchains cannot be provisioned: install pip or uv"


def test_a_missing_dependency_makes_the_whole_report_a_no(machine, monkeypatch):
    def version(name):
        if name == "onnx":
            raise doctor.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor.metadata, "version", version)

    report = examine()

    assert report.status == "no"
    assert Finding("packages", "no", "missing: onnx", "run `pip install trtpipe` again") in report.findings


def test_a_report_is_plain_json(machine, fake_pip):
    machine("detect_gpus", lambda: (L4,))

    record = json.loads(json.dumps(examine().to_json()))

    assert record["gpus"][0]["compute_capability"] == "sm89"
    assert record["toolchains"][0]["version"] == "1.7.1.116"
    assert {"topic", "status", "fact", "reason"} == set(record["findings"][0])
