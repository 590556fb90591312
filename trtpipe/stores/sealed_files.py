"""Files of a project that only the user who wrote them believes: their first line is a seal of all that follows.

A file without this user's seal counts as absent, after damage of any kind as well as in a project that somebody else
packed (`homes.py`).
"""

from __future__ import annotations

from pathlib import Path

from trtpipe.files import read_regular
from trtpipe.homes import seal_of

_SEAL = b'{"seal":"'
_DIGITS = 64
_END = b'"}\n'
CONTENT_AT = len(_SEAL) + _DIGITS + len(_END)
"""Where the content begins."""


def sealed(content: bytes) -> bytes:
    """The text of the file."""
    return b"".join((_SEAL, seal_of(content).encode(), _END, content))


def read_sealed(path: Path, most: int) -> bytes:
    """The text of a sealed file, its first line included; empty when it is absent or without this user's seal."""
    try:
        text = read_regular(path, most)
    except OSError:
        return b""
    seal = text[:CONTENT_AT]
    content = memoryview(text)[CONTENT_AT:]
    return text if seal == _SEAL + seal_of(content).encode() + _END else b""
