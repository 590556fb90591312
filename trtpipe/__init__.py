"""trtpipe: a declarative YAML build system for NVIDIA TensorRT engines."""

import os

__version__ = "0.1.0"

# ONNX Runtime looks at it when it is loaded: from 1.29 on it reports home and leaves files unless it is set. So it is
# set for this process and all that it starts. Who wants the reports sets the variable to something else.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
