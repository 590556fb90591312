"""Where a model is run to be observed: CUDA is used when it is there, and never quietly given up."""

from __future__ import annotations

from dataclasses import replace

import onnxruntime
import pytest

from tests.calibration.small_nets import request_for, samples_of
from trtpipe.calibration.calibrators import find_calibrator
from trtpipe.calibration.calibrators.measurement.providers import (
    CPU,
    CUDA,
    provider_of,
    refuse_fallback,
    session_providers,
)
from trtpipe.errors import ModelError


@pytest.mark.parametrize(
    ("asked", "gpu_package", "driver", "found"),
    [
        ("auto", True, True, "cuda"),
        ("auto", True, False, "cpu"),
        ("auto", False, True, "cpu"),
        ("cpu", True, True, "cpu"),
        ("cuda", True, True, "cuda"),
    ],
)
def test_cuda_is_chosen_when_its_package_and_a_driver_are_here(asked, gpu_package, driver, found):
    assert provider_of(asked, gpu_package=gpu_package, driver=driver) == found


@pytest.mark.parametrize(
    ("gpu_package", "fact"),
    [(False, "it needs onnxruntime-gpu"), (True, "this machine has no NVIDIA driver")],
)
def test_cuda_that_cannot_be_is_refused_with_what_is_lacking(gpu_package, fact):
    with pytest.raises(ModelError, match=fact):
        provider_of("cuda", gpu_package=gpu_package, driver=False)


def test_the_cpu_is_all_that_a_cpu_session_gets_though_cuda_is_available():
    assert session_providers("cpu", [CUDA, CPU]) == [CPU]


def test_on_cuda_nothing_is_rounded_or_timed():
    first, second = session_providers("cuda", [CUDA, CPU])

    assert first == (CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"})
    assert second == CPU


def test_a_runtime_without_cuda_is_refused():
    with pytest.raises(ModelError, match="has no CUDA provider"):
        session_providers("cuda", [CPU])


def test_a_fallback_to_the_cpu_is_refused():
    refuse_fallback("cuda", [CUDA, CPU])
    refuse_fallback("cpu", [CPU])
    with pytest.raises(ModelError, match="could not start its CUDA provider"):
        refuse_fallback("cuda", [CPU])


def test_a_session_that_came_up_on_the_cpu_though_cuda_was_asked_for_calibrates_nothing(
    tmp_path, monkeypatch
):
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda model, options, providers: real(model, options, providers=[CPU]),
    )
    request = replace(request_for(tmp_path, samples_of(2), "max"), provider="cuda")

    with pytest.raises(ModelError, match="could not start its CUDA provider"):
        find_calibrator("trtpipe").calibrate(request)
