"""Makes the certificates of a fleet: a certificate authority (CA) of its own, and a certificate for each role.

    ca.crt          which every machine of the fleet has, to recognise the others
    ca.key          makes further certificates; no running process needs it
    scheduler.crt   scheduler.key    for the scheduler, which clients and agents connect to
    agent.crt       agent.key        for all agents
    client.crt      client.key       for those who send work

The CA serves this fleet alone, so whoever holds one of its certificates is trusted, at whatever address. A client's
certificate cannot be used to pose as a scheduler or an agent. How they are used is in `certificates.py`.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import re
import secrets
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import SpecError
from trtpipe.files import open_beside, write_whole
from trtpipe.fleet.certificates import ROLES, Role, require_cryptography
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, GeneralName

_CA = "ca"
DAYS = 365
MOST_DAYS = 3650
_HERE = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(
    r"(?=.{1,253}$)(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*", re.IGNORECASE
)
_CLOCKS = datetime.timedelta(hours=1)
"""By how much the clocks of machines may differ."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """A certificate and its key."""

    certificate: Certificate
    key: EllipticCurvePrivateKey


def keygen(
    folder: Path, hosts: Sequence[str] = (), days: int = DAYS, *, renew: bool = False
) -> datetime.datetime:
    """Write a CA and certificates for all roles into a directory; returns until when they are valid.

    `hosts` are the names and addresses of the machines, besides this one. Existing files stay, unless `renew` asks for
    new certificates from the CA that is there. Raises SpecError.
    """
    require_cryptography()
    if not 1 <= days <= MOST_DAYS:
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"certificates cannot be valid for {days} days",
            f"write a number from 1 to {MOST_DAYS}",
        )
    names = _names_of([*hosts, *_HERE])
    try:
        _make_folder(folder)
        authority = _authority_in(folder, renew=renew)
        if authority is None:
            authority = _new_authority(_now() + datetime.timedelta(days=MOST_DAYS))
            _write(folder, _CA, authority)
        end: datetime.datetime = min(
            _now() + datetime.timedelta(days=days), authority.certificate.not_valid_after_utc
        )
        for role in ROLES:
            _write(folder, role, _certified(authority, role, names, end))
    except OSError as error:
        fact = f"cannot write {error.filename or folder}: {(error.strerror or str(error)).lower()}"
        raise SpecError(Code.CANNOT_WRITE, fact, "name another directory with --to") from error
    return end


# -- files


def _make_folder(folder: Path) -> None:
    """Make the directory, or make sure that it is private."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        return
    if os.name != "nt" and stat.S_IMODE(folder.stat().st_mode) & 0o077:
        raise SpecError(
            Code.FLEET_CERTIFICATE,
            f"others may look into the directory {folder}, where keys would be",
            f"run `chmod 700 {folder}`, or name another directory with --to",
        )


def _authority_in(folder: Path, *, renew: bool) -> _Signed | None:
    """The CA whose certificates are to be renewed; None if there are no files yet."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    there = [
        name for role in (_CA, *ROLES) for name in (f"{role}.crt", f"{role}.key") if (folder / name).exists()
    ]
    if not there:
        return None
    if not renew:
        raise SpecError(
            Code.EXISTS_ALREADY,
            f"{folder / there[0]} exists already",
            "--renew makes new certificates from the same CA; --to names another directory, for another fleet",
        )
    files = folder / "ca.crt", folder / "ca.key"
    try:
        certificate = x509.load_pem_x509_certificate(files[0].read_bytes())
        key = load_pem_private_key(files[1].read_bytes(), None)
    except FileNotFoundError as error:
        raise SpecError(
            Code.NO_SUCH_FILE,
            f"{error.filename} is not there, which makes new certificates of this fleet",
            "put it back to renew, or make the certificates of another fleet: trtpipe fleet keygen --to DIR",
        ) from error
    except (ValueError, TypeError) as error:
        raise _useless(f"the CA in {folder} cannot be read") from error
    if key.public_key() != certificate.public_key():
        raise _useless(f"{files[1]} is not the key of {files[0]}")
    if certificate.not_valid_after_utc <= _now():
        raise _useless(f"the CA in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}")
    return _Signed(certificate, key)


def _useless(fact: str) -> SpecError:
    return SpecError(
        Code.FLEET_CERTIFICATE, fact, "make the certificates of another fleet: trtpipe fleet keygen --to DIR"
    )


def _write(folder: Path, name: str, signed: _Signed) -> None:
    """Write the key, which only its owner may read, and the certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = signed.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle, temporary = open_beside(folder / f"{name}.key")  # readable by its owner alone from the beginning
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / f"{name}.key")
    finally:
        temporary.unlink(missing_ok=True)
    write_whole(folder / f"{name}.crt", signed.certificate.public_bytes(Encoding.PEM))


# -- certificates


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _names_of(hosts: Sequence[str]) -> list[GeneralName]:
    """The hosts as certificates name them."""
    return [_name_of(host) for host in dict.fromkeys(hosts)]


def _name_of(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if _HOST.fullmatch(host):
            return x509.DNSName(host)
    raise SpecError(Code.BAD_ARGUMENT, f"{host!r} is not a host", "write a host's name or its IP address")


def _new_authority(end: datetime.datetime) -> _Signed:
    """A CA that signs certificates of machines, but no other CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"trtpipe fleet {secrets.token_hex(4)}")
    built = (
        _builder(name, key, end)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    )
    return _signed(built, key, key)


def _certified(
    authority: _Signed, role: Role, names: Sequence[GeneralName], end: datetime.datetime
) -> _Signed:
    """A certificate of a role, signed by the CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

    key = ec.generate_private_key(ec.SECP256R1())
    # Schedulers and agents are connected to, and connect to each other.
    uses = [Usage.CLIENT_AUTH] if role == "client" else [Usage.SERVER_AUTH, Usage.CLIENT_AUTH]
    issuer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    built = (
        _builder(_name(f"trtpipe {role}"), key, end)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return _signed(built, key, authority.key)


def _builder(name: x509.Name, key: EllipticCurvePrivateKey, end: datetime.datetime) -> CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _CLOCKS)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(built: CertificateBuilder, key: EllipticCurvePrivateKey, by: EllipticCurvePrivateKey) -> _Signed:
    from cryptography.hazmat.primitives.hashes import SHA256

    return _Signed(built.sign(by, SHA256()), key)


def _name(common: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common)])


def _usage(**allowed: bool) -> x509.KeyUsage:
    from cryptography import x509

    others: Mapping[str, bool] = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    return x509.KeyUsage(**{**others, **allowed})
