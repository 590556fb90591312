"""Signatures of packages, in the form of OpenSSF Model Signing: `model.sig` beside the index.

The package `model-signing` does it, which the extra `sign` brings and which is imported only here. A key is an elliptic
curve's (P-256, P-384 or P-521) in PEM. The signature covers every file with its SHA-256, so that any tool of that form
can verify a package's directory; its bytes differ each time, because ECDSA is random, so it is in no digest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import PackageError, SpecError
from trtpipe.packages.index_file import SIGNATURE, reason_of
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from model_signing import hashing

_UNUSABLE = (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError)
"""What the library raises for a key of another kind, or a signature of another form: it has no errors of its own."""


def signer(key: Path) -> Callable[[Path], None]:
    """Signs a package's directory with a private key. Raises SpecError for a key that cannot be used."""
    _require_library()
    from model_signing import signing

    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key)
    except OSError as error:
        raise SpecError(Code.CANNOT_READ, f"cannot read key '{key}': {reason_of(error)}") from error
    except _UNUSABLE as error:
        fact = f"'{key}' is no private key of an elliptic curve (P-256, P-384 or P-521) in PEM without a password"
        raise SpecError(Code.NOT_SIGNED, fact) from error

    def sign(folder: Path) -> None:
        config.set_hashing_config(_hashing(folder)).sign(folder, folder / SIGNATURE)

    return sign


def verify_signature(folder: Path, key: Path, name: str) -> None:
    """Verifies the signature of a package's directory with a public key; `name` is the package's in messages.

    Raises PackageError, and SpecError for a key that cannot be used.
    """
    _require_library()
    from cryptography.exceptions import InvalidSignature
    from model_signing import verifying

    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except OSError as error:
        raise SpecError(Code.CANNOT_READ, f"cannot read key '{key}': {reason_of(error)}") from error
    except _UNUSABLE as error:
        fact = f"'{key}' is no public key of an elliptic curve (P-256, P-384 or P-521) in PEM"
        raise SpecError(Code.NOT_SIGNED, fact) from error
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise PackageError(Code.NOT_SIGNED, f"package '{name}' has no signature, and --key requires one")
    try:
        config.set_hashing_config(_hashing(folder)).verify(folder, signature)
    except (*_UNUSABLE, InvalidSignature) as error:
        fact = f"the signature of package '{name}' is not one that '{key}' proves for these files"
        raise PackageError(Code.NOT_SIGNED, fact) from error


def _hashing(folder: Path) -> hashing.Config:
    """Every file but the signature, also those of git, which the library leaves out by default."""
    from model_signing import hashing

    return hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE], ignore_git_paths=False)


def _require_library() -> None:
    try:
        import model_signing  # noqa: F401
    except ImportError as error:
        fact = "signatures of packages need the package model-signing"
        raise SpecError(Code.MISSING_PACKAGE, fact, "install it: pip install 'trtpipe[sign]'") from error
