"""The ONNX Runtime execution provider on which a model is observed: CPU or CUDA.

Kernels differ in the last bits, and so may scales: the provider is part of a calibration's key. On CUDA, TF32 is off
and convolution algorithms are not selected by timing, so that runs are repeatable. Imports nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from trtpipe.errors import ModelError
from trtpipe.problem_codes import Code

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_EXACT = {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}


def provider_of(asked: str, *, gpu_package: bool, driver: bool) -> str:
    """`cpu` or `cuda`. `auto` means CUDA if onnxruntime-gpu is installed and a driver seems to be present.

    Raises ModelError when CUDA is required but not available.
    """
    if asked == "cuda" and not (gpu_package and driver):
        lacking = "this machine has no NVIDIA driver" if gpu_package else "it needs onnxruntime-gpu"
        remedy = "install it instead of onnxruntime, or leave out provider" if not gpu_package else ""
        raise ModelError(
            Code.NO_CUDA_PROVIDER,
            f"calibration cannot run on CUDA: {lacking}",
            remedy or "write provider: cpu",
        )
    if asked == "auto":
        return "cuda" if gpu_package and driver else "cpu"
    return asked


def session_providers(provider: str, available: Sequence[str]) -> list[str | tuple[str, dict[str, str]]]:
    """The providers for a session. Raises ModelError when this ONNX Runtime lacks the provider."""
    if provider == "cpu":
        return [CPU]
    if CUDA not in available:
        raise ModelError(
            Code.NO_CUDA_PROVIDER, "this ONNX Runtime has no CUDA provider", "write provider: cpu"
        )
    return [(CUDA, _EXACT), CPU]


def refuse_fallback(provider: str, opened: Sequence[str]) -> None:
    """Raises ModelError when ONNX Runtime opened a session without CUDA, about which it only warns."""
    if provider == "cuda" and CUDA not in opened:
        raise ModelError(
            Code.NO_CUDA_PROVIDER,
            "ONNX Runtime could not start its CUDA provider",
            "check whether its CUDA and cuDNN libraries are installed, or write provider: cpu",
        )
