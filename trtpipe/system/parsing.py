"""The network that a cell's toolchain makes of its typed model, when a user asks for it: no step of a plan.

The steps before are brought up to date as a build would do it; the network is kept nowhere.
"""

from __future__ import annotations

from trtpipe.errors import StepFailed, ToolchainError
from trtpipe.json_values import Json
from trtpipe.networks.reading import read_network_files
from trtpipe.plan.control import Control
from trtpipe.plan.events import WorkerProgress
from trtpipe.plan.worker_messages import WorkerMessage
from trtpipe.problem_codes import Code
from trtpipe.system.failing import CellSteps
from trtpipe.system.performing import request_of
from trtpipe.toolchains.detect import detect_gpus
from trtpipe.toolchains.parsing import ParsedFiles, parse_network

_NOT_HERE = (Code.WORKER_ENVIRONMENT, Code.NO_GPU)
"""What this machine lacks, not the model."""


class NotParsedHere(Exception):
    """Why this machine cannot have the cell's TensorRT parse a model."""


def parse_cell(steps: CellSteps) -> ParsedFiles:
    """The network of a cell. Raises NotParsedHere, what a step before raises, and StepFailed when TensorRT refuses."""
    failing = steps.run("quantize")
    if failing is not None:
        raise failing.error
    action = steps.action("build_engine")
    assert action is not None, "what it needs has run"
    if steps.planned.here().toolchain(action).flavour == "tensorrt" and not detect_gpus():
        raise NotParsedHere("TensorRT of the flavour tensorrt parses where a GPU is, and there is none here")
    found = steps.steps.inputs_of(action, steps.scratch / "engine")
    folder = steps.scratch / "network"
    folder.mkdir()

    def hear(message: WorkerMessage) -> None:
        steps.observer.emit(WorkerProgress(action.address, message))

    try:
        toolchain = steps.steps.performer.toolchain(action)
        return parse_network(
            toolchain,
            next(iter(found["model"].values())),
            folder.absolute(),
            plugins=found.get("plugins", {}).values(),
            limits=request_of(action, toolchain).builder,
            on_event=hear,
            control=Control(),
        )
    except ToolchainError as error:
        raise NotParsedHere(error.problems[0].fact) from error
    except StepFailed as error:
        if error.problems[0].code not in _NOT_HERE:
            raise
        raise NotParsedHere(error.problems[0].fact) from error


def describe_network(steps: CellSteps) -> dict[str, Json]:
    """The network of a cell as a record, see `networks.describing`. Raises as `parse_cell` does."""
    from trtpipe.networks.describing import network_record

    files = parse_cell(steps)
    return network_record(read_network_files(files.network, files.weights))
