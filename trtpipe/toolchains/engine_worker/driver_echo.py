"""Removes misleading lines about a missing CUDA driver from TensorRT-RTX's messages.

On a machine without a driver, TensorRT adds a line that blames it to every error, although building engines for RTX
needs no driver. Nothing is removed for other flavours, which do need one.
"""

from __future__ import annotations

from dataclasses import replace

from trtpipe.json_values import Json
from trtpipe.plan.worker_messages import WorkerError, WorkerLog, WorkerMessage

_ECHO = ("cudaError 35", "CUDA driver version is insufficient")


def without_echo(message: WorkerMessage) -> WorkerMessage | None:
    """The message without lines about the driver; None when nothing else is left."""
    match message:
        case WorkerLog(severity, text):
            kept = _cleared(text)
            return WorkerLog(severity, kept) if kept or not text else None
        case WorkerError(kind) if kind != "environment":  # the driver may be the cause there
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
    """Works on whole lines, so that other text is unchanged."""
    lines = text.split("\n")
    kept = [line for line in lines if not any(echo in line for echo in _ECHO)]
    return text if len(kept) == len(lines) else "\n".join(kept)
