"""The stand-in as TensorRT: whether an engine fits shows when it is deserialized."""

import stand_in_engine
from stand_in_engine import *  # noqa: F403

__version__ = "11.4.0.106"


class ICudaEngine(stand_in_engine.ICudaEngine):
    context_class = stand_in_engine.IExecutionContext


stand_in_engine.ICudaEngine = ICudaEngine


class Registry:
    def load_library(self, path):
        return True if path.endswith("good.so") else None


def init_libnvinfer_plugins(logger, namespace):
    return True


def get_plugin_registry():
    return Registry()
