"""`trtpipe` on a machine that seems to have an L4: engines compute there what their typed models do."""

from __future__ import annotations

from trtpipe.__main__ import main
from trtpipe.app.prove import validate
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.runners.inference.results import GpuFacts
from trtpipe.runners.validation import validate_engine
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu
from trtpipe.workspace.target_facts import TargetResolver


def _infer(self, feeds):
    self.gpu = GpuFacts(0, "NVIDIA L4", "sm89", "13.0", 24 << 30, 20 << 30)
    self.tensorrt = "1.7.1.116"
    with open_runner(self.delivered.engine.path.with_name("model.onnx")) as runner:
        return [runner.infer(feed.inputs) for feed in feeds]


if __name__ == "__main__":
    here = (DetectedGpu(0, "NVIDIA L4", ComputeCapability(8, 9)),)
    validate_engine.GpuEngine.__call__ = _infer
    validate.TargetResolver = lambda: TargetResolver(_here=here)
    main()
