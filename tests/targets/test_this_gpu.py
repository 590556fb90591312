"""What a target that says `this` comes to, in a spec."""

from __future__ import annotations

import pytest

from trtpipe.errors import Problem
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains import detect
from trtpipe.toolchains.detect import DetectedGpu, this_gpu
from trtpipe.workspace.target_facts import TargetResolver

L4 = DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9))
A2 = DetectedGpu(1, "NVIDIA A2", ComputeCapability(8, 6))
SPEC = PipelineSpec.model_validate(
    {"schema": 1, "pipeline": "p", "model": {"source": "m.onnx"}, "targets": {"here": {"gpu": "this"}}}
)


@pytest.mark.parametrize("gpus", [(), (L4, A2)], ids=["none", "two kinds"])
def test_a_spec_is_told_what_the_machine_is_told(
    gpus: tuple[DetectedGpu, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect, "detect_gpus", lambda: gpus)
    expected = this_gpu(gpus)
    assert isinstance(expected, Problem)

    found = TargetResolver().resolve(SPEC, "here")

    assert isinstance(found, list)
    placed = Problem(expected.code, expected.fact, expected.remedy, path=("targets", "here", "gpu"))
    assert placed in found
