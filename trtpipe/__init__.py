"""trtpipe: a declarative YAML build system for NVIDIA TensorRT engines."""

import os

__version__ = "0.1.0"

# ONNX Runtime reads this variable when it is loaded: from 1.29 on it sends telemetry and leaves files unless it is set.
# So it is set for this process and its children. Users who want the telemetry can set it to another value.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
