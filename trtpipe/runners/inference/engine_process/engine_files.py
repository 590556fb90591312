"""Loads an engine from its file: verifies the bytes, and explains in one sentence what does not match this machine.

Only bytes with the expected digest are deserialized; the digest is computed from the very bytes in memory that TensorRT
gets. TensorRT-RTX can tell before deserializing whether an engine fits (`get_engine_validity`); with the flavour
tensorrt only the attempt shows it.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import sys
from typing import TYPE_CHECKING

from .devices import Gpu
from .events import Events, Failure, Spoken, new_logger

if TYPE_CHECKING:
    from types import ModuleType

    import tensorrt

    from .request import Request

_TITLES = {"tensorrt_rtx": "TensorRT-RTX", "tensorrt": "TensorRT"}
_HASHED_AT_ONCE = 64 << 20


def import_tensorrt(request: Request) -> ModuleType:
    """The flavour's module. Raises Failure."""
    try:
        return importlib.import_module(request["flavour"])
    except (ImportError, OSError) as error:
        text = f"cannot import {request['flavour']}: {error}"
        raise Failure("environment", text, "install its wheel for this interpreter") from error


def read_engine(request: Request) -> bytes:
    """The engine's bytes, once they are known to be the expected ones. Raises Failure, OSError."""
    with open(request["engine"], "rb") as file:  # noqa: PTH123
        plan = file.read(request["bytes"] + 1)
    hasher = hashlib.sha256()
    view = memoryview(plan)
    for start in range(0, len(view), _HASHED_AT_ONCE):
        hasher.update(view[start : start + _HASHED_AT_ONCE])
    if len(plan) != request["bytes"] or not hmac.compare_digest(hasher.hexdigest(), request["sha256"]):
        fact = f"{request['engine']} is not the engine that was expected: its bytes changed"
        raise Failure("trust", fact, "download it again, or allow it to run with --trust")
    return plan


class Loader:
    """Deserializes an engine with one TensorRT on one GPU."""

    def __init__(self, trt: ModuleType, request: Request, gpu: Gpu, events: Events, spoken: Spoken) -> None:
        self._trt, self._request, self._gpu, self._spoken = trt, request, gpu, spoken
        self._title = f"{_TITLES[request['flavour']]} {trt.__version__}"
        logger = new_logger(trt, events, spoken)
        self._load_plugins(logger)
        try:
            self.runtime = trt.Runtime(logger)
        except (
            TypeError,
            RuntimeError,
        ) as error:  # pybind raises this when the factory returned a null pointer
            raise Failure("environment", f"{self._title} does not start{spoken.because()}") from error

    def _load_plugins(self, logger: tensorrt.ILogger) -> None:
        """The stock plugins and the request's libraries."""
        trt, paths = self._trt, self._request["plugins"]
        if not paths:
            return
        if self._request["flavour"] != "tensorrt":
            raise Failure("config", "TensorRT-RTX has no plugins")
        trt.init_libnvinfer_plugins(logger, "")
        registry = trt.get_plugin_registry()
        for path in paths:
            if registry.load_library(path) is None:
                raise Failure(
                    "environment", f"cannot load the plugin library '{path}'{self._spoken.because()}"
                )

    def load(self, plan: bytes) -> tensorrt.ICudaEngine:
        """The engine. Raises Failure that says what does not match."""
        runtime = self.runtime
        if hasattr(runtime, "get_engine_validity"):  # available in RTX from 1.4 on
            validity, bits = runtime.get_engine_validity(plan)
            if validity == self._trt.EngineValidity.INVALID:
                raise self._mismatch(int(bits))
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise self._refused()
        self._spoken.take_errors()
        return engine

    def _mismatch(self, bits: int) -> Failure:
        """The explanation of TensorRT-RTX's diagnostics, the most useful one first."""
        found = getattr(self._trt, "EngineInvalidityDiagnostics", None)
        flags = {name: int(value) for name, value in getattr(found, "__members__", {}).items()}
        names = [name for name, value in flags.items() if bits & value]
        errors = self._spoken.take_errors()
        for name, sentence in self._sentences().items():
            if name in names:
                kind = "engine" if name == "MALFORMED_ENGINE" else "environment"
                return Failure(kind, *sentence, details=names + errors)
        because = f": {errors[0]}" if errors else ""
        return Failure(
            "environment", f"{self._title} cannot run this engine here{because}", details=names + errors
        )

    def _sentences(self) -> dict[str, tuple[str, str]]:
        """Diagnostic → fact and remedy."""
        built, gpu = self._request["built_for"], self._gpu
        made_by = f", it was built by {built['version']}" if built.get("version") else ""
        another = "build it again with this TensorRT, or run it with the one that built it"
        return {
            "MALFORMED_ENGINE": (
                "the file is damaged, or not an engine",
                "build it again, or fetch it again",
            ),
            "VERSION_MISMATCH": (f"{self._title} cannot read this engine{made_by}", another),
            "UNSUPPORTED_CC": self._wrong_gpu(),
            "OLD_CUDA_DRIVER": (
                f"the CUDA driver here, which runs CUDA {gpu.cuda}, is too old for this engine",
                "update the driver",
            ),
            "OLD_CUDA_RUNTIME": (
                f"the CUDA runtime of {self._title} is too old for this engine",
                "use the TensorRT that built it, or a newer one",
            ),
            "INSUFFICIENT_GPU_MEMORY": (
                f"{gpu.name} has too little free memory for this engine: {gpu.memory()[0]} bytes",
                "end other programs on it, or build with weight_streaming",
            ),
            "CUDA_ERROR": (
                "CUDA failed while the engine was looked at",
                "run nvidia-smi to check the driver",
            ),
        }

    def _wrong_gpu(self) -> tuple[str, str]:
        targets = ", ".join(self._request["built_for"].get("compute_capabilities") or [])
        built = f"the engine was built for {targets}" if targets else "the engine was built for another GPU"
        here = f"{self._gpu.name} ({self._gpu.compute_capability})"
        remedy = (
            f"run it on a GPU of {targets}" if targets else "run it on the kind of GPU that it was built for"
        )
        return (
            f"{built}, and this GPU is {here}",
            remedy + ", or build it for this one if TensorRT supports it",
        )

    def _refused(self) -> Failure:
        """Why there is no engine: from the known facts, or TensorRT's own message."""
        errors = self._spoken.take_errors()
        built, here = self._request["built_for"], self._gpu.compute_capability
        targets, version = built.get("compute_capabilities"), built.get("version")
        if version and version != self._trt.__version__:
            return Failure("environment", *self._sentences()["VERSION_MISMATCH"], details=errors)
        if targets and here not in targets:
            return Failure("environment", *self._wrong_gpu(), details=errors)
        because = f": {errors[0]}" if errors else " and gave no reason"
        return Failure("environment", f"{self._title} refused the engine{because}", details=errors)


def put_on_path(folders: list[str]) -> None:
    """Add the directories of TensorRT and cuda-python to the import path."""
    sys.path += [folder for folder in folders if folder not in sys.path]
