"""As much of `tensorrt` 10.9 (no stream writer) as the worker uses; its engine is a text of what was set."""

from __future__ import annotations

import enum
import json
from pathlib import Path

__version__ = "10.9.0.34"

BuilderFlag = enum.Enum(
    "BuilderFlag",
    "TF32 WEIGHT_STREAMING SPARSE_WEIGHTS VERSION_COMPATIBLE "
    "EDITABLE_TIMING_CACHE ERROR_ON_TIMING_CACHE_MISS DISABLE_COMPILATION_CACHE",
)
MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE TACTIC_SHARED_MEMORY")
ProfilingVerbosity = enum.Enum("ProfilingVerbosity", "LAYER_NAMES_ONLY NONE DETAILED")
HardwareCompatibilityLevel = enum.Enum("HardwareCompatibilityLevel", "NONE AMPERE_PLUS")
NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 1})
DataType = enum.Enum("DataType", "FLOAT")
Severity = enum.Enum("Severity", "VERBOSE INFO ERROR")


class ILogger:
    VERBOSE = Severity.VERBOSE


class IProgressMonitor:
    pass


class ITensor:
    def __init__(self, name):
        self.name, self.dtype, self.shape, self.is_shape_tensor = name, DataType.FLOAT, (1, 4), False

    def get_dimension_name(self, axis):
        return ""


class INetworkDefinition:
    num_inputs, num_outputs, num_layers = 1, 1, 0
    name = ""

    def get_input(self, index):
        return ITensor("x")

    def get_output(self, index):
        return ITensor("y")


class OnnxParser:
    num_errors = 0

    def __init__(self, network, logger):
        pass

    def parse_from_file(self, path):
        return True


class TimingCacheKey(str):
    __slots__ = ()

    @staticmethod
    def parse(text):
        return TimingCacheKey(text)


class TimingCacheValue:
    def __init__(self, tacticHash, timingMSec):  # noqa: N803 - as TensorRT has it
        self.tacticHash, self.timingMSec = tacticHash, timingMSec


class ITimingCache:
    """JSON of key -> [tactic, time]; what cannot be read is of another GPU."""

    def __init__(self, data):
        try:
            self.entries = {k: TimingCacheValue(*v) for k, v in json.loads(data or b"{}").items()}
        except ValueError:
            self.entries = None

    def serialize(self):
        found = {key: [one.tacticHash, one.timingMSec] for key, one in self.entries.items()}
        return json.dumps(found, sort_keys=True).encode()

    def combine(self, other, ignore_mismatch):
        if self.entries is None or other.entries is None:
            return False
        self.entries = {**other.entries, **self.entries}
        return True

    def queryKeys(self):  # noqa: N802 - as TensorRT has it
        return [TimingCacheKey(key) for key in self.entries or {}]

    def query(self, key):
        return self.entries[key]

    def update(self, key, value):
        self.entries[str(key)] = value
        return True


class IBuilderConfig:
    def __init__(self):
        self.flags, self.pools, self.timing_cache = {"TF32"}, {}, None

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool.name] = size

    def get_memory_pool_limit(self, pool):
        return self.pools[pool.name]

    def create_timing_cache(self, data):
        return ITimingCache(data)

    def set_timing_cache(self, timing_cache, ignore_mismatch):
        if timing_cache.entries is None:
            return False
        self.timing_cache = timing_cache
        return True

    def get_timing_cache(self):
        return self.timing_cache


class Builder:
    def __init__(self, logger):
        self.logger = logger
        if Path("no-driver").exists():
            logger.log(Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags):
        assert flags == 2
        return INetworkDefinition()

    def create_builder_config(self):
        return IBuilderConfig()

    def build_serialized_network(self, network, config):
        """Times the kernels of two operations, of which each key is a digest; `tactic` in the folder chooses one."""
        chosen = int(Path("tactic").read_text(), 16) if Path("tactic").exists() else 7
        cache = config.timing_cache
        for key in ("0xAA", "0xBB") if cache is not None else ():
            if key not in cache.entries and "ERROR_ON_TIMING_CACHE_MISS" in config.flags:
                self.logger.log(Severity.ERROR, f"timing cache miss of {key}")
                return None
            self.logger.log(Severity.VERBOSE, f"Autotuning op conv(key: {key.lower()}):")
            cache.entries.setdefault(key, TimingCacheValue(chosen, 0.25))
        settings = {
            "name": network.name,
            "flags": sorted(config.flags),
            "pools": config.pools,
            "hardware": config.hardware_compatibility_level.name,
            "plugins": getattr(config, "plugins_to_serialize", []),
        }
        return json.dumps(settings, sort_keys=True).encode()


class IPluginRegistry:
    def load_library(self, path):
        return object() if Path(path).exists() else None


def get_plugin_registry():
    return IPluginRegistry()


def init_libnvinfer_plugins(logger, namespace):
    return True
