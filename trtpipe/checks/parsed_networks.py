"""The network that TensorRT's parser makes of a cell's typed model, for commands that show it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtpipe.checks.cell_steps import CellSteps
from trtpipe.errors import ToolchainError
from trtpipe.json_values import Json, text_in
from trtpipe.networks.reader import NETWORK, WEIGHTS, read_network_files
from trtpipe.problem_codes import Code
from trtpipe.toolchains.detect import detect_gpus

_NOT_HERE = (Code.WORKER_ENVIRONMENT, Code.NO_GPU)
"""Problems of this machine, not of the model."""


class NotParsedHere(Exception):
    """Why the cell's TensorRT cannot parse a model on this machine, or its network cannot be read."""


@dataclass(frozen=True, slots=True)
class NetworkFiles:
    """A parsed network, as the parse step wrote it."""

    network: Path
    """parsed.json."""
    weights: Path
    """parsed.weights, beside it."""


def parse_cell(steps: CellSteps) -> NetworkFiles:
    """The network of a cell. Raises NotParsedHere, what a step before raises, and StepFailed when TensorRT refuses."""
    address = steps.cell.steps["parse"]
    toolchain = steps.planned.here().toolchains[address]
    if toolchain.flavour == "tensorrt" and not detect_gpus():
        raise NotParsedHere(
            "TensorRT of the flavour tensorrt can parse only on a machine with a GPU, and this one has none"
        )
    try:
        failing = steps.run("parse")
    except ToolchainError as error:
        raise NotParsedHere(error.problems[0].fact) from error
    if failing is not None:
        problem = failing.error.problems[0]
        if failing.action.stage == "parse" and problem.code in _NOT_HERE:
            raise NotParsedHere(problem.fact) from failing.error
        raise failing.error
    trace = steps.steps.trace(address)
    why = text_in(trace.summary, "unreadable")
    if why:
        raise NotParsedHere(why)
    folder = steps.scratch / "network"
    files = NetworkFiles(folder / NETWORK, folder / WEIGHTS)
    for path in (files.network, files.weights):
        steps.steps.store.fetch(trace.outputs[path.name], path)
    return files


def describe_network(steps: CellSteps) -> dict[str, Json]:
    """The network of a cell as a record, see `networks.description`. Raises as `parse_cell` does."""
    from trtpipe.networks.description import network_record

    files = parse_cell(steps)
    return network_record(read_network_files(files.network, files.weights))
