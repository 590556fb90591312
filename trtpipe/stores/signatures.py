"""Signed traces: Ed25519 (RFC 8032) over a trace's canonical JSON, with the package cryptography (extra `remote`).

What is signed is `trtpipe trace 1`, a line feed, and the trace as JSON with sorted keys and no blanks, in UTF-8: its
key, its outputs' digests, its summary and everything else in it. The file also contains

    "signature": {"algorithm": "ed25519", "key": "ed25519:BASE64 of 32 bytes", "value": "BASE64 of 64 bytes"}

A secret key is `ed25519-secret:BASE64 of 32 bytes`, in a file or in an environment variable.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from types import ModuleType
from typing import TYPE_CHECKING

from trtpipe.digests import canonical_json
from trtpipe.errors import SpecError
from trtpipe.json_values import Json, JsonObject
from trtpipe.problem_codes import Code
from trtpipe.spec.public_keys import is_small_order

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_DOMAIN = b"trtpipe trace 1\n"
_PUBLIC, _SECRET = "ed25519:", "ed25519-secret:"
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
FIELD = "signature"


class Unsigned(Exception):
    """A trace without a trusted signature, and why."""


def new_key() -> tuple[str, str]:
    """A new secret key and its public key, as text. Raises SpecError when cryptography is missing."""
    private = _ed25519().Ed25519PrivateKey.generate()
    return _SECRET + _text(private.private_bytes_raw()), _public(private)


def public_key(secret: str) -> str:
    """The public key of a secret key. Raises SpecError."""
    return _public(_private(secret))


def signed(data: JsonObject, secret: str) -> dict[str, Json]:
    """The trace's JSON object with a signature. Raises SpecError."""
    private = _private(secret)
    value = private.sign(_message(data))
    return {**data, FIELD: {"algorithm": "ed25519", "key": _public(private), "value": _text(value)}}


def verified(data: JsonObject, trusted: Collection[str]) -> dict[str, Json]:
    """The trace's JSON object without its signature, verified to be by a trusted key. Raises Unsigned, SpecError."""
    signature, rest = data.get(FIELD), {name: value for name, value in data.items() if name != FIELD}
    if not isinstance(signature, dict):
        raise Unsigned("it is not signed")
    key, value = signature.get("key"), signature.get("value")
    if signature.get("algorithm") != "ed25519" or not isinstance(key, str) or not isinstance(value, str):
        raise Unsigned("its signature is of an unknown kind")
    if key not in trusted:
        raise Unsigned(f"it is signed with {key[:60]!r}, which is not trusted")
    raw = _bytes(value, _SIGNATURE_BYTES)
    public = _bytes(key.removeprefix(_PUBLIC), _KEY_BYTES)
    if raw is None or public is None or is_small_order(public):
        raise Unsigned("its signature is invalid")
    module = _ed25519()
    try:
        message = _message(rest)
    except (ValueError, RecursionError) as error:
        raise Unsigned("it cannot have been signed") from error
    from cryptography.exceptions import InvalidSignature

    try:
        module.Ed25519PublicKey.from_public_bytes(public).verify(raw, message)
    except (InvalidSignature, ValueError) as error:
        raise Unsigned("its signature is wrong") from error
    return rest


def _message(data: JsonObject) -> bytes:
    return _DOMAIN + canonical_json(data)


def _private(secret: str) -> Ed25519PrivateKey:
    text = secret.strip()
    raw = _bytes(text.removeprefix(_SECRET), _KEY_BYTES) if text.startswith(_SECRET) else None
    if raw is None:
        raise SpecError(Code.SIGNING_KEY, "the signing key is invalid", "make one: trtpipe cache keygen FILE")
    return _ed25519().Ed25519PrivateKey.from_private_bytes(raw)


def _public(private: Ed25519PrivateKey) -> str:
    return _PUBLIC + _text(private.public_key().public_bytes_raw())


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str, length: int) -> bytes | None:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length and _text(raw) == text else None


def _ed25519() -> ModuleType:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        fact = "signed traces need the package cryptography"
        raise SpecError(Code.MISSING_PACKAGE, fact, "install it: pip install 'trtpipe[remote]'") from error
    found: ModuleType = ed25519
    return found
