"""Keeps out of TensorRT-RTX's messages the CUDA driver that building does not need.

Every error of TensorRT's has an echo on a machine without a driver: a line that blames it, though engines of RTX are
built there all the same. Of other flavours, which do need a driver, nothing is left out.
"""

from __future__ import annotations

from dataclasses import replace

from trtpipe.json_values import Json
from trtpipe.plan.worker_messages import WorkerError, WorkerLog, WorkerMessage

_ECHO = ("cudaError 35", "CUDA driver version is insufficient")


def without_echo(message: WorkerMessage) -> WorkerMessage | None:
    """The message without lines about the driver; None when it is about nothing else."""
    match message:
        case WorkerLog(severity, text):
            kept = _cleared(text)
            return WorkerLog(severity, kept) if kept or not text else None
        case WorkerError(kind) if kind != "environment":  # there it may be the cause
            details = [_cleared_detail(one) for one in message.details]
            return replace(message, details=details)
    return message


def _cleared_detail(detail: Json) -> Json:
    if isinstance(detail, str):
        return _cleared(detail)
    if isinstance(detail, dict):
        return {name: _cleared(value) if isinstance(value, str) else value for name, value in detail.items()}
    return detail


def _cleared(text: str) -> str:
    """Lines stay as they are, so that what is not about the driver is not touched."""
    lines = text.split("\n")
    kept = [line for line in lines if not any(echo in line for echo in _ECHO)]
    return text if len(kept) == len(lines) else "\n".join(kept)
