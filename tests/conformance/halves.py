"""The two halves of ONNX's backend suite: rules are learnt on one and scored on the other."""

from __future__ import annotations

import hashlib


def learnt(name: str) -> bool:
    """Whether a case, by its name, is of the half that rules may be learnt on."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0
