"""The engine worker's request as a value. It is complete, because the worker has no defaults.

Defaults are defined only in the spec's models (`BuilderSpec`, `TargetSpec`). Independent of how the worker is started
and of how an action becomes a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from trtpipe.json_values import Json, JsonObject
from trtpipe.spec.pipeline import BuilderSpec, HardwareCompatibility, TargetSpec
from trtpipe.targets.toolchain import Flavour

Asked = Literal["build", "parse", "describe"]

SCHEMA = 1
MODEL, ENGINE = "model.onnx", "model.engine"
"""Constants, so that equal requests give equal engines: TensorRT sees the model's name."""
_LIMITS = {"time_limit", "memory_limit"}
"""What the spec says beside the builder's options and the worker reads as fields of their own."""


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Where else an engine must run: on other GPUs, and with later versions of TensorRT."""

    hardware: HardwareCompatibility
    version: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """Measurements of earlier builds, for the flavour tensorrt, which times kernels."""

    cache: str | None
    """A file to read, if it is there, and to write back."""
    caches: tuple[str, ...]
    """More files to start from."""
    tactics: Mapping[str, str]
    """Key → hash and time: when there are any, the engine is built from these choices alone."""


UNTIMED = Timing(None, (), {})
"""No timing cache is read or written."""


@dataclass(frozen=True, slots=True)
class WorkerRequest:
    """One request. Its fields are described in `worker.py` (FIELDS and OPTIONS)."""

    action: Asked
    flavour: Flavour
    site: tuple[str, ...]
    network_name: str
    compute_capabilities: tuple[str, ...]
    profiles: tuple[JsonObject, ...]
    builder: BuilderSpec
    """The builder's options, and the limits on time and memory."""
    compatibility: Compatibility
    plugins: tuple[str, ...]
    timing: Timing

    def to_json(self) -> dict[str, Json]:
        """The request as the worker reads it."""
        return {
            "schema": SCHEMA,
            "action": self.action,
            "flavour": self.flavour,
            "site": self.site,
            "model": MODEL,
            "engine": ENGINE,
            "network_name": self.network_name,
            "compute_capabilities": self.compute_capabilities,
            "profiles": self.profiles,
            "options": {
                **self.builder.model_dump(exclude=_LIMITS),
                "hardware_compatibility": self.compatibility.hardware,
                "version_compatible": self.compatibility.version,
            },
            "plugins": self.plugins,
            "timing_cache": self.timing.cache,
            "timing_caches": self.timing.caches,
            "tactics": dict(self.timing.tactics),
            "time_limit": self.builder.time_limit,
            "memory_limit": self.builder.memory_limit,
        }


def compatibility_of(options: Mapping[str, object]) -> Compatibility:
    """The compatibility options in an engine's key; defaults for TensorRT-RTX, which has no such options."""
    said = {
        name: options[name] for name in ("hardware_compatibility", "version_compatible") if name in options
    }
    target = TargetSpec.model_validate({"gpu": "this", **said})
    return Compatibility(target.hardware_compatibility, target.version_compatible)
