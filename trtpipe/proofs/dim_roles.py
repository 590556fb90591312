"""Guesses the role of a dynamic dimension (batch, space, sequence) from its name, position and neighbours.

Only proposals use these guesses, and proposals are verified before they are shown; no check depends on them.
"""

from __future__ import annotations

import re
from typing import Literal

from trtpipe.canonical.summary import TensorInfo
from trtpipe.proofs.dim_names import told_name

Role = Literal["batch", "space", "sequence", "other"]

_BATCH = re.compile(r"n|b|bs|.*batch.*", re.IGNORECASE)
_SPACE = re.compile(r"h|w|d|.*(height|width|depth|image_size).*", re.IGNORECASE)
_SEQUENCE = re.compile(r"s|t|l|.*(seq|len|time|token|frame|sample|step).*", re.IGNORECASE)
_MOST_CHANNELS = 4  # the channel counts of an image with channels last


def role_of(info: TensorInfo, axis: int) -> Role:
    """The likely role of the dimension at `axis` of an input."""
    assert info.dims is not None
    name = told_name(info, axis)
    for pattern, role in _BY_NAME:
        if name and pattern.fullmatch(name):
            return role
    if axis == 0 and len(info.dims) != 1:
        return "batch"
    if axis in _spatial_axes(info):
        return "space"
    return "sequence" if (len(info.dims) in (2, 3) and axis == 1) or len(info.dims) == 1 else "other"


_BY_NAME: tuple[tuple[re.Pattern[str], Role], ...] = (
    (_BATCH, "batch"),
    (_SPACE, "space"),
    (_SEQUENCE, "sequence"),
)


def _spatial_axes(info: TensorInfo) -> range:
    """The axes of height and width (and depth): after the channels, or before them when these come last."""
    assert info.dims is not None
    rank = len(info.dims)
    if rank not in (4, 5):
        return range(0)
    last, second = info.dims[-1], info.dims[1]
    channels_last = isinstance(last, int) and last <= _MOST_CHANNELS and not isinstance(second, int)
    return range(1, rank - 1) if channels_last else range(2, rank)
