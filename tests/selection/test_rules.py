"""Which machines run which engines, for both flavours: a table, and the reasons."""

from __future__ import annotations

from typing import Any

import pytest

from tests.packages.small_packages import engine
from trtpipe.selection.machine import InstalledTensorRT, Machine, installed_called
from trtpipe.selection.rules import why_not
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu

RTX = "1.7.1.116"
TRT = "10.13.3.9"
TIED = {
    "flavour": "tensorrt", "tensorrt": TRT, "gpu": "NVIDIA L4", "os": "linux", "architecture": "x86_64",
}  # fmt: skip
ANY_OF_THAT_KIND = {**TIED, "gpu": None, "hardware_compatibility": "same_compute_capability"}
AMPERE_PLUS = {**TIED, "gpu": None, "hardware_compatibility": "ampere_plus", "compute_capabilities": ("8.6",)}
LATER = {**TIED, "version_compatible": True}


def reason(about: dict[str, Any], sm: str = "sm89", **machine: Any) -> str:
    """Why an engine does not run on a machine with an L4, Linux and the version that it was built by."""
    made = engine(**about)
    gpu = DetectedGpu(
        0,
        machine.get("name", "NVIDIA L4"),
        ComputeCapability.parse(sm),
        memory_bytes=machine.get("memory", 24 << 30),
        driver=machine.get("driver", "580.95.05"),
    )
    versions = machine.get("tensorrt", [made.tensorrt])
    known = [one if isinstance(one, InstalledTensorRT) else installed_called(one) for one in versions or ()]
    installed = None if versions is None else tuple(known)
    return why_not(
        made, Machine((gpu,), installed, machine.get("os", "linux"), machine.get("arch", "x86_64")), gpu
    )


@pytest.mark.parametrize(
    ("about", "machine"),
    [
        ({}, {}),
        ({}, {"os": "windows", "arch": "x86_64"}),
        ({}, {"name": "NVIDIA GeForce RTX 4090"}),
        ({}, {"tensorrt": None}),
        ({}, {"tensorrt": ["1.7.1"]}),
        ({}, {"tensorrt": ["1.6.1.120", RTX]}),
        ({}, {"driver": ""}),
        ({}, {"memory": 0}),
        ({"compute_capabilities": ("8.6", "8.9", "12.0")}, {}),
        (TIED, {}),
        ({**TIED, "os": None, "architecture": None}, {"os": "windows"}),
        (ANY_OF_THAT_KIND, {"name": "NVIDIA L40S"}),
        (AMPERE_PLUS, {"name": "NVIDIA A10", "sm": "sm86"}),
        (AMPERE_PLUS, {"name": "NVIDIA H100", "sm": "sm90"}),
        ({**AMPERE_PLUS, "compute_capabilities": ("8.7",)}, {"sm": "sm87"}),
        (LATER, {"tensorrt": ["10.16.1.11"]}),
        (LATER, {"tensorrt": ["11.4.0.106"]}),
        (LATER, {"tensorrt": ["10.13.3"]}),
    ],
)
def test_it_runs(about, machine):
    assert reason(about, **machine) == ""


@pytest.mark.parametrize(
    ("about", "machine", "says"),
    [
        ({}, {"sm": "sm86"}, "it is for sm89, the GPU is sm86"),
        ({}, {"tensorrt": ["1.7.1.115"]}, "it needs TensorRT-RTX 1.7.1.116, there is 1.7.1.115"),
        ({}, {"tensorrt": ["1.8"]}, "it needs TensorRT-RTX 1.7.1.116, there is 1.8"),
        ({}, {"tensorrt": ["11.4.0.106"]}, "it needs TensorRT-RTX 1.7.1.116, which is not installed"),
        ({}, {"tensorrt": []}, "it needs TensorRT-RTX 1.7.1.116, which is not installed"),
        ({"version_compatible": False}, {"tensorrt": ["1.7.2.1"]}, "there is 1.7.2.1"),
        ({}, {"driver": "470.1"}, "it needs driver 525 or newer, there is 470.1"),
        ({"device_memory": 30 << 30}, {}, "its weights take 30.0 GiB, the GPU has 24.0 GiB"),
        ({"flavour": "tensorrt_next"}, {}, "its flavour 'tensorrt_next' is not known"),
        ({"compute_capabilities": ("x",)}, {}, "its entry cannot be understood"),
        (TIED, {"name": "NVIDIA L40S"}, "it is tied to NVIDIA L4, the GPU is NVIDIA L40S"),
        (TIED, {"name": "NVIDIA L4 MIG 1g.5gb"}, "it is tied to NVIDIA L4"),
        (TIED, {"name": ""}, "the GPU is of a model that is not told"),
        (TIED, {"os": "windows"}, "it is for linux, the machine is windows"),
        (TIED, {"arch": "aarch64"}, "it is for x86_64, the machine is aarch64"),
        (TIED, {"tensorrt": ["10.13.3.8"]}, "it needs TensorRT 10.13.3.9, there is 10.13.3.8"),
        (TIED, {"tensorrt": ["11.4.0.106"]}, "it needs TensorRT 10.13.3.9, there is 11.4.0.106"),
        (ANY_OF_THAT_KIND, {"name": "NVIDIA A10", "sm": "sm86"}, "it is for sm89, the GPU is sm86"),
        (AMPERE_PLUS, {"sm": "sm75"}, "it is for sm80 and newer, the GPU is sm75"),
        (AMPERE_PLUS, {"sm": "sm87"}, "sm87 is an embedded one"),
        ({**AMPERE_PLUS, "tensorrt": "10.3.0.26"}, {"sm": "sm120"}, "TensorRT 10.3.0.26 does not know sm120"),
        (
            LATER,
            {"tensorrt": ["10.13.2.1"]},
            "it needs TensorRT 10.13.3.9 or a later one, there is 10.13.2.1",
        ),
        (
            {**LATER, "tensorrt": "11.4.0.106"},
            {"tensorrt": ["10.16.1.11"]},
            "or a later one, there is 10.16.1.11",
        ),
        (
            {**LATER, "tensorrt": "11.4.0.106"},
            {"tensorrt": ["12.0.0.1"]},
            "or a later one, there is 12.0.0.1",
        ),
    ],
)
def test_it_does_not_run_and_the_reason_is_one_clause(about, machine, says):
    found = reason(about, **machine)

    assert says in found and "\n" not in found


@pytest.mark.parametrize(
    ("cuda", "driver", "runs"),
    [(13, "580.1", True), (13, "575.9", False), (12, "575.9", True), (12, "520.1", False)],
)
def test_the_driver_must_be_new_enough_for_the_cuda_of_the_libraries(cuda, driver, runs):
    installed = InstalledTensorRT("tensorrt_rtx", RTX, cuda)

    found = reason({"driver": None}, driver=driver, tensorrt=[installed])

    assert (found == "") == runs
    assert runs or f"for CUDA {cuda} needs driver" in found


def test_another_tensorrt_that_suits_the_driver_makes_up_for_one_that_does_not():
    both = [InstalledTensorRT("tensorrt_rtx", RTX, 13), InstalledTensorRT("tensorrt_rtx", RTX, 12)]

    assert reason({}, driver="550.1", tensorrt=both) == ""
