"""Loads the certificates that `keygen.py` makes, after checking them, for TLS connections and for dask.

Everywhere both sides must show a certificate of the same CA. Names of hosts are not compared: agents announce whatever
address they have, and a certificate of the fleet's own CA says enough.
"""

from __future__ import annotations

import datetime
import os
import ssl
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trtpipe.errors import SpecError
from trtpipe.files import read_regular
from trtpipe.fleet.extras import missing_package
from trtpipe.homes import config_home
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from distributed import Security

Role = Literal["scheduler", "agent", "client"]
ROLES: tuple[Role, ...] = ("scheduler", "agent", "client")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files that one machine needs: the CA's certificate, and its own with the key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """For connections that others make to this machine, and for those that it makes."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def fleet_folder(named_by: str) -> Path:
    """Where a user's certificates are unless another directory is named, by what `named_by` says. Raises SpecError."""
    home = config_home()
    if home is None:
        raise SpecError(
            Code.NO_SUCH_FILE,
            "there is no home directory to keep certificates in",
            f"name a directory with {named_by}",
        )
    return home / "fleet"


def require_cryptography() -> None:
    """Raises SpecError where the package that reads and makes certificates is not installed."""
    try:
        import cryptography.x509  # noqa: F401
    except ImportError as error:
        raise missing_package("cryptography") from error


def tls_files(folder: Path, role: Role) -> TlsFiles:
    """The files of a role, which are fit for use. Raises SpecError."""
    require_cryptography()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    files = TlsFiles(folder / "ca.crt", folder / f"{role}.crt", folder / f"{role}.key")
    authority, own = _certificate(files.ca), _certificate(files.certificate)
    _require_private(files.key)
    try:
        key = load_pem_private_key(_read(files.key), None)
    except (ValueError, TypeError) as error:
        raise _unfit(f"{files.key} is not a key") from error
    if key.public_key() != own.public_key():
        raise _unfit(f"{files.key} is not the key of {files.certificate}")
    _require_signed(files, own, authority)
    return files


def ssl_contexts(files: TlsFiles) -> TlsContexts:
    """TLS contexts with these files, both of which require the other side's certificate."""
    contexts = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.ca)
        context.load_cert_chain(files.certificate, files.key)
        contexts.append(context)
    return TlsContexts(*contexts)


def dask_security(files: TlsFiles) -> Security:
    """The same for dask: nothing connects without a certificate, whichever part a process plays."""
    try:
        from distributed import Security
    except ImportError as error:
        raise missing_package("distributed") from error
    own = {
        f"tls_{part}_{what}": str(path)
        for part in ("scheduler", "worker", "client")
        for what, path in (("cert", files.certificate), ("key", files.key))
    }
    return Security(require_encryption=True, tls_ca_file=str(files.ca), **own)


def _certificate(path: Path) -> Certificate:
    """The certificate in a file, which is valid today."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise _unfit(f"{path} is not a certificate") from error
    now = datetime.datetime.now(datetime.timezone.utc)
    if now < found.not_valid_before_utc:
        raise SpecError(
            Code.FLEET_CERTIFICATE,
            f"{path} is not valid before {found.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            "set this machine's clock right",
        )
    if now > found.not_valid_after_utc:
        raise SpecError(
            Code.FLEET_CERTIFICATE,
            f"{path} expired on {found.not_valid_after_utc:%Y-%m-%d}",
            "make new ones with `trtpipe fleet keygen --renew`, where ca.key is, and copy them",
        )
    return found


def _require_signed(files: TlsFiles, own: Certificate, authority: Certificate) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        own.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise _unfit(f"{files.certificate} is not signed by the CA of {files.ca}") from error


def _require_private(key: Path) -> None:
    """Raises SpecError if others than its owner may read or replace the key."""
    try:
        mode = key.stat().st_mode
    except OSError as error:
        raise _unreadable(key, error) from error
    if os.name != "nt" and stat.S_IMODE(mode) & 0o077:
        raise SpecError(
            Code.FLEET_CERTIFICATE, f"others than its owner may read the key {key}", f"run `chmod 600 {key}`"
        )


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SpecError:
    if isinstance(error, FileNotFoundError):
        return SpecError(
            Code.NO_SUCH_FILE,
            f"{path} is not there",
            "make certificates once with `trtpipe fleet keygen`, and copy each machine's files to it",
        )
    return SpecError(Code.CANNOT_READ, f"cannot read {path}: {(error.strerror or str(error)).lower()}")


def _unfit(fact: str) -> SpecError:
    return SpecError(
        Code.FLEET_CERTIFICATE, fact, "copy its files again from where `trtpipe fleet keygen` made them"
    )


def words_of_refusal(error: ssl.SSLError) -> str:
    """Why a TLS connection could not be made, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid ({error.verify_message})"
    reason = (error.reason or str(error)).lower().replace("_", " ")
    if "alert" in reason:
        return f"it refused this client's certificate ({reason})"
    return reason
