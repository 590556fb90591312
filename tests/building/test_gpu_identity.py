"""The GPU that an engine of the flavour tensorrt is tied to: the fleet's, this machine's, or the lockfile's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from trtpipe.errors import Problem
from trtpipe.lockfile.choices import gpu_in
from trtpipe.spec.pipeline import PipelineSpec, ToolchainSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.targets.gpus import called
from trtpipe.targets.toolchain import Flavour, Toolchain
from trtpipe.toolchains.detect import DetectedGpu, only_visible
from trtpipe.workspace.target_facts import TargetResolver

T4 = DetectedGpu(0, "Tesla T4", ComputeCapability(7, 5), "GPU-t4", cuda="12.8")
T4_NEWER = DetectedGpu(0, "Tesla T4", ComputeCapability(7, 5), "GPU-t4b", cuda="13.0")
RTX2080 = DetectedGpu(1, "NVIDIA GeForce RTX 2080", ComputeCapability(7, 5), "GPU-2080", cuda="13.0")
L4 = DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9), "GPU-l4", cuda="13.0")


def identity(
    gpu: str,
    *,
    fleet: tuple[DetectedGpu, ...] = (),
    here: tuple[DetectedGpu, ...] = (),
    recorded: Mapping[str, str] | None = None,
    flavour: Flavour = "tensorrt",
    **target: Any,
) -> Any:
    spec = PipelineSpec.model_validate(
        {
            "schema": 1, "pipeline": "p", "model": {"source": "m.onnx"}, "variants": {"fp32": {}},
            "targets": {"t": {"gpu": gpu, "toolchain": "trt", **target}},
            "toolchains": {"trt": {"flavour": flavour, "version": "11.4.0.106"}},
        }
    )  # fmt: skip
    found = Toolchain(flavour, "11.4.0.106", ("python",), (), "cpython 3.11.7")
    resolver = TargetResolver(
        {spec.toolchains["trt"]: found},
        elsewhere=lambda: fleet,
        recorded=lambda pipeline, target: recorded or {},
        _here=here,
    )
    facts = resolver.resolve(spec, "t")
    return facts if isinstance(facts, list) else facts.gpu


def known(name: str, cuda: str | None) -> dict[str, str | None]:
    return {"driver_cuda_major": cuda, "name": name}


def test_the_fleets_gpu_is_the_one_that_the_target_names():
    assert identity("T4", fleet=(RTX2080, T4)) == known("Tesla T4", "12")
    assert identity("sm89", fleet=(T4, L4), here=()) == known("NVIDIA L4", "13")


def test_two_models_with_the_capability_are_one_error_that_names_both():
    (problem,) = identity("sm75", fleet=(T4, RTX2080))

    assert isinstance(problem, Problem)
    assert "'Tesla T4' (sm75) or 'NVIDIA GeForce RTX 2080' (sm75)" in problem.fact
    assert problem.path == ("targets", "t", "gpu")
    chosen = identity("sm75", fleet=(T4, RTX2080), recorded={"name": "Tesla T4", "driver_cuda_major": "12"})
    assert chosen == known("Tesla T4", "12")  # the lockfile has decided


def test_of_two_drivers_the_recorded_one_stays_else_the_newest():
    both = (T4, T4_NEWER)

    assert identity("T4", fleet=both) == known("Tesla T4", "13")
    assert identity("T4", fleet=both, recorded=known("Tesla T4", "12")) == known("Tesla T4", "12")


def test_a_machine_without_the_gpu_takes_what_the_lockfile_records():
    recorded = {"name": "NVIDIA L4", "driver_cuda_major": "13"}

    assert identity("sm89", recorded=recorded) == recorded
    assert identity("sm89", here=(T4,), recorded=recorded) == recorded
    assert identity("sm89", fleet=(T4,), recorded=recorded) == recorded


def test_a_gpu_here_is_taken_as_ever():
    assert identity("sm75", here=(T4, RTX2080)) == known("Tesla T4", "12")
    assert identity("this", here=(L4,)) == known("NVIDIA L4", "13")
    assert identity("L4") == known("L4", None)


def test_a_compatible_engine_is_tied_to_the_driver_alone():
    assert identity("sm75", fleet=(T4, RTX2080), hardware_compatibility="same_compute_capability") == {
        "driver_cuda_major": "13"
    }


def test_engines_of_tensorrt_rtx_ask_no_fleet():
    def refuse() -> tuple[DetectedGpu, ...]:
        pytest.fail("the fleet was asked")

    spec = PipelineSpec.model_validate(
        {
            "schema": 1, "pipeline": "p", "model": {"source": "m.onnx"}, "variants": {"fp32": {}},
            "targets": {"t": {"gpu": "sm89"}},
        }
    )  # fmt: skip
    rtx = Toolchain("tensorrt_rtx", "1.7.1.116", ("python",), (), "cpython 3.11.7")
    resolver = TargetResolver({ToolchainSpec(flavour="tensorrt_rtx"): rtx}, elsewhere=refuse, _here=())

    assert resolver.resolve(spec, "t").gpu == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("T4", ("Tesla T4",)),
        ("rtx2080", ("NVIDIA GeForce RTX 2080",)),
        ("NVIDIA L4", ("NVIDIA L4",)),
        ("sm75", ()),
        ("L40", ()),
    ],
)
def test_a_text_means_a_driver_s_name(text: str, names: tuple[str, ...]):
    assert called(text, [T4.name, RTX2080.name, L4.name]) == names


def test_the_lockfile_s_gpu_is_that_of_the_target():
    cells = {"p/a@x": {"key": "1"}, "p/b@x": {"gpu": {"name": "NVIDIA L4"}}, "q/b@x": {"gpu": {"name": "no"}}}

    assert gpu_in(cells, "p", "x") == {"name": "NVIDIA L4"}
    assert gpu_in(cells, "p", "y") == {}


def test_a_process_sees_one_gpu():
    assert only_visible(L4) == {"CUDA_VISIBLE_DEVICES": "GPU-l4"}
    jetson = DetectedGpu(0, "Orin", ComputeCapability(8, 7))
    assert only_visible(jetson) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0"}
