"""Runs in the child process: converts an exported program to ONNX with torch.onnx. Imports nothing of trtpipe.

The model goes to `model.onnx` in the working directory, its weights beside it.
"""

from __future__ import annotations

import warnings
from typing import TypedDict


class Request(TypedDict):
    """What is converted: a bare archive, and to which opset."""

    program: str
    opset: int


def convert(request: Request) -> dict[str, str]:
    """Writes the program as ONNX; the version of PyTorch that did."""
    import onnxscript  # fail early: torch.onnx would report a missing onnxscript only much later
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # one thread, so that sums in folded constants have the same order everywhere
    try:
        program = torch.export.load(request["program"])
    except Exception as error:
        raise CannotLoad(str(error)) from error
    made = torch.onnx.export(program, dynamo=True, opset_version=request["opset"], verbose=False)
    assert made is not None, "it gives a program when dynamo is asked for"
    made.save("model.onnx", external_data=True)
    return {"torch": torch.__version__, "onnxscript": onnxscript.__version__}


class CannotLoad(Exception):
    """PyTorch could not read the program."""
