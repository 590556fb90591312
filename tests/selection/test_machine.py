"""The facts of a machine: found by names of files, or described by a user."""

from __future__ import annotations

import sys

import pytest

from trtpipe.errors import SpecError
from trtpipe.selection import machine as machines
from trtpipe.selection.machine import InstalledTensorRT, described_machine, installed_called, this_machine


def test_packages_are_found_by_their_metadata_and_not_imported(tmp_path, monkeypatch):
    for name in (
        "tensorrt_rtx_cu13-1.7.1.116.dist-info",
        "tensorrt_rtx_cu13_libs-1.7.1.116.dist-info",
        "tensorrt_cu12-10.13.3.9.post1.dist-info",
        "tensorrt-11.4.0.106.dist-info",
        "tensorrt_model_optimizer-0.43.0.dist-info",
        "tensorrt_rtx",
    ):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "nowhere"), str(tmp_path)])
    monkeypatch.setattr(machines, "_LIBRARY_FOLDERS", ())

    found = this_machine({}).tensorrt

    assert set(found) == {
        InstalledTensorRT("tensorrt_rtx", "1.7.1.116", 13),
        InstalledTensorRT("tensorrt", "10.13.3.9", 12),
        InstalledTensorRT("tensorrt", "11.4.0.106", None),
    }
    assert "tensorrt" not in sys.modules


def test_libraries_are_found_by_the_names_of_their_files(tmp_path, monkeypatch):
    for name in (
        "libnvinfer.so.10.13.3",
        "libnvinfer.so.10",
        "libnvinfer_plugin.so.10.13.3",
        "libtensorrt_rtx.so.1.7.1",
    ):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(machines, "_LIBRARY_FOLDERS", ())

    found = this_machine({"LD_LIBRARY_PATH": f"/nowhere:{tmp_path}"}).tensorrt

    assert set(found) == {
        InstalledTensorRT("tensorrt", "10.13.3"),
        InstalledTensorRT("tensorrt_rtx", "1.7.1"),
    }


@pytest.mark.parametrize(
    ("text", "flavour", "version"),
    [
        ("1.7.1", "tensorrt_rtx", "1.7.1"),
        ("1", "tensorrt_rtx", "1"),
        ("10.13.3.9", "tensorrt", "10.13.3.9"),
        ("tensorrt 11.4", "tensorrt", "11.4"),
        ("tensorrt_rtx=1.6", "tensorrt_rtx", "1.6"),
    ],
)
def test_a_version_tells_its_flavour(text, flavour, version):
    found = installed_called(text)

    assert (found.flavour, found.version) == (flavour, version)


def test_a_machine_is_described_as_people_write_it():
    found = described_machine("rtx4090", ["1.7.1", "11.4"], "580.95.05", "24GiB", "windows")
    (gpu,) = found.gpus

    assert (gpu.name, gpu.compute_capability.sm) == ("NVIDIA GeForce RTX 4090", "sm89")
    assert (gpu.memory_bytes, gpu.driver) == (24 << 30, "580.95.05")
    assert (found.os, found.pretended, len(found.tensorrt)) == ("windows", True, 2)
    assert described_machine("sm87", system="linux-aarch64").architecture == "aarch64"
    assert described_machine("8.9").gpus[0].name == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rtx4095",), "unknown GPU 'rtx4095'"),
        (("RTX 4000",), "is the name of several GPUs"),
        (("gtx1080",), "older than Turing"),
        (("sm89", ["new"]), "'new' is no version of TensorRT"),
        (("sm89", ["1.7-rc"]), "is no version of TensorRT"),
        (("sm89", [], "latest"), "'latest' is no version of a driver"),
        (("sm89", [], "", "much"), "'much' is no size of a memory"),
        (("sm89", [], "", "", "beos"), "'beos' is no system"),
    ],
)
def test_what_cannot_be_understood_is_said(arguments, says):
    with pytest.raises(SpecError, match=says):
        described_machine(*arguments)
