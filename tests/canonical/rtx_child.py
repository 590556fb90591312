"""Has TensorRT-RTX parse and build models in one process of its own, for the tests beside it.

python rtx_child.py < [[path, whether it is built]…] in JSON; answers with what it said of each, empty when it took it
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnx


def refusals(models: Mapping[str, onnx.ModelProto], folder: Path, built: set[str]) -> dict[str, str]:
    """What TensorRT-RTX says against each model; those in `built` are built for sm89, the others only parsed."""
    asked = []
    for number, (name, model) in enumerate(models.items()):
        path = folder / f"asked-{number}.onnx"
        path.write_bytes(model.SerializeToString())
        asked.append([str(path), name in built])
    ran = subprocess.run(
        [sys.executable, __file__], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answers = json.loads(ran.stdout.splitlines()[-1])
    return {name: said for name, said in zip(models, answers, strict=True) if said}


def main() -> None:
    import tensorrt_rtx as trt

    class Kept(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[str] = []

        def log(self, severity: object, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.said.append(message)

    answers = []
    logger = Kept()
    for path, wanted in json.load(sys.stdin):
        logger.said.clear()
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(Path(path).read_bytes()):
            answers.append(
                " ".join(parser.get_error(at).desc() for at in range(parser.num_errors)) or "not parsed"
            )
        elif wanted and builder.build_serialized_network(network, config_of(trt, builder, network)) is None:
            answers.append(" ".join(logger.said) or "not built")
        else:
            answers.append("")
    print(json.dumps(answers))


def config_of(trt, builder, network):  # type: ignore[no-untyped-def]
    """One GPU, and one profile: dynamic sizes are 1 to 3."""
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sizes = [[size if size >= 0 else given for size in tensor.shape] for given in (1, 2, 3)]
        profile.set_shape(tensor.name, *sizes)
    config.add_optimization_profile(profile)
    return config


if __name__ == "__main__":
    main()
