"""The stand-in as TensorRT-RTX: it can say whether an engine fits, and whether a stream can be captured."""

import stand_in_engine
from stand_in_engine import *  # noqa: F403

__version__ = "1.7.1.116"


class ICudaEngine(stand_in_engine.ICudaEngine):
    context_class = stand_in_engine.CapturableContext


stand_in_engine.ICudaEngine = ICudaEngine
Runtime = stand_in_engine.ValidatingRuntime
