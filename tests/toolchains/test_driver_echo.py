"""TensorRT-RTX blames the CUDA driver with every error on a machine that has none; nobody is to read that."""

import pytest

from trtpipe.plan.worker_messages import WorkerError, WorkerLog, WorkerMemory
from trtpipe.toolchains.engine_worker.driver_echo import without_echo

ECHO = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at /x.cpp:250 (cudaError 35: "
    "CUDA driver version is insufficient for CUDA runtime version))"
)


def test_a_line_of_the_log_that_only_blames_the_driver_is_left_out():
    assert without_echo(WorkerLog("ERROR", ECHO)) is None
    assert without_echo(WorkerLog("ERROR", f"[6] Invalid Node\n{ECHO}")) == WorkerLog(
        "ERROR", "[6] Invalid Node"
    )


def test_a_refusal_keeps_what_is_not_about_the_driver():
    error = WorkerError(
        "parse", "1 problem", "", [{"node": 3, "name": "dqb", "reason": f"Invalid Node\n{ECHO}"}, ECHO]
    )
    cleared = without_echo(error)
    assert isinstance(cleared, WorkerError)
    assert cleared.details == [{"node": 3, "name": "dqb", "reason": "Invalid Node"}, ""]


@pytest.mark.parametrize(
    "message",
    [
        WorkerLog("INFO", ""),
        WorkerLog("ERROR", "bad\n\nnode"),
        WorkerMemory(1, None),
        WorkerError("environment", "TensorRT cannot start: is there a GPU and its driver?", "", [ECHO]),
    ],
)
def test_everything_else_stays_as_it_was(message):
    assert without_echo(message) == message
