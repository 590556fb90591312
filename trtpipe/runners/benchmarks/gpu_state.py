"""A GPU's clocks, power and temperature at one moment, from the driver's management library (NVML).

Uses `cuda.bindings.nvml`, which is newer than the oldest cuda-python that runs engines: without it nothing is recorded,
and the reason is reported. Creates no CUDA context and changes no setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

from trtpipe.json_values import Json

Told = TypeVar("Told")

NOT_A_REASON = ("GPU_IDLE", "NONE")
"""Clock event reasons that limit nothing."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """No state was recorded, with the reason."""

    why: str


def gpu_state(uuid: str, index: int, nvml: ModuleType | None = None) -> dict[str, Json] | Unknown:
    """`sm_mhz`, `sm_max_mhz`, `memory_mhz`, `power_w`, `power_limit_w`, `temperature_c` and `limited_by`.

    Values that the driver does not report are None. The GPU is found by UUID because CUDA may number GPUs in a
    different order.
    """
    nvml = nvml or _library()
    if nvml is None:
        return Unknown("cuda-python has no nvml here: pip install -U cuda-python")
    try:
        nvml.init_v2()
    except _errors(nvml) as error:
        return Unknown(f"NVML does not start: {_first_line(error)}")
    try:
        return _state(nvml, uuid, index)
    except _errors(nvml) as error:
        return Unknown(f"NVML does not find the GPU: {_first_line(error)}")
    finally:
        nvml.shutdown()


def _errors(nvml: ModuleType) -> tuple[type[Exception], ...]:
    """The exceptions of its calls: its own errors, and RuntimeError when the driver's library is not found."""
    return (nvml.NvmlError, RuntimeError)


def _library() -> ModuleType | None:
    try:
        from cuda.bindings import nvml
    except ImportError:
        return None
    found: ModuleType = nvml
    return found


def _state(nvml: ModuleType, uuid: str, index: int) -> dict[str, Json]:
    device = nvml.device_get_handle_by_uuid(uuid) if uuid else nvml.device_get_handle_by_index_v2(index)
    clocks = nvml.ClockType
    milliwatts = _told(nvml, lambda: int(nvml.device_get_power_usage(device)))
    limit = _told(nvml, lambda: int(nvml.device_get_enforced_power_limit(device)))
    return {
        "sm_mhz": _told(nvml, lambda: int(nvml.device_get_clock_info(device, clocks.CLOCK_SM))),
        "sm_max_mhz": _told(nvml, lambda: int(nvml.device_get_max_clock_info(device, clocks.CLOCK_SM))),
        "memory_mhz": _told(nvml, lambda: int(nvml.device_get_clock_info(device, clocks.CLOCK_MEM))),
        "power_w": None if milliwatts is None else round(milliwatts / 1000, 1),
        "power_limit_w": None if limit is None else round(limit / 1000, 1),
        "temperature_c": _told(nvml, lambda: _temperature(nvml, device)),
        "limited_by": _told(nvml, lambda: _reasons(nvml, device)),
    }


def _told(nvml: ModuleType, ask: Callable[[], Told]) -> Told | None:
    """The result of a query, or None when the driver or the GPU does not support it."""
    try:
        return ask()
    except (nvml.NvmlError, RuntimeError, AttributeError):
        return None


def _temperature(nvml: ModuleType, device: int) -> int:
    """Degrees Celsius; depending on the version, NVML returns a number or a structure."""
    found = nvml.device_get_temperature_v(device, nvml.TemperatureSensors.TEMPERATURE_GPU)
    return int(getattr(found, "temperature", found))


def _reasons(nvml: ModuleType, device: int) -> list[str]:
    """What limits the clocks at this moment, in NVML's words."""
    bits = int(nvml.device_get_current_clocks_event_reasons(device))
    names = {
        name.removeprefix("EVENT_REASON_").removeprefix("THROTTLE_REASON_"): int(value)
        for name, value in nvml.ClocksEventReasons.__members__.items()
    }
    return [
        name.lower().replace("_", " ")
        for name, bit in names.items()
        if bit & bits and name not in NOT_A_REASON
    ]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
