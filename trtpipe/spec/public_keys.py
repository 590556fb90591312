"""Ed25519 public keys as text, and a check for weak keys with which anybody can forge signatures.

A public key that is a point of small order has no secret: one signature is valid for many messages, so trusting such a
key means trusting everybody. RFC 8032 does not reject such keys.
"""

from __future__ import annotations

import base64

PREFIX = "ed25519:"
BYTES = 32
_P = 2**255 - 19
_Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL = frozenset((0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8))
"""The y of every point whose order divides 8; its sign of x may be either."""


def raw_key(text: str) -> bytes | None:
    """The 32 bytes of a public key, or None when the text is not a key."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        return None
    return raw if text.startswith(PREFIX) and len(raw) == BYTES else None


def is_small_order(raw: bytes) -> bool:
    """Whether it is a point of small order, written in any of its forms."""
    return (int.from_bytes(raw, "little") & (2**255 - 1)) % _P in _SMALL
