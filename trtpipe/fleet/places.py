"""Where a fleet is: its scheduler's address, and the certificates that connections to it need.

An address comes from the command line, `$TRTPIPE_SCHEDULER` or the user's configuration, never from a project: whoever
runs a scheduler sees what is built, and may run code on its clients. Beyond this machine a connection is encrypted and
both ends show a certificate, unless the user asks for a plain one with `--insecure`.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.errors import FleetError, SpecError
from trtpipe.fleet.certificates import Role, TlsFiles, fleet_folder, tls_files
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.spec.user import UserSpec

VARIABLE = "TRTPIPE_SCHEDULER"
CERTIFICATES = "TRTPIPE_FLEET_CERTIFICATES"
"""The variable that names the directory of certificates."""
_ADDRESS = re.compile(r"(tls|tcp)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class FleetAddress:
    """The address of a scheduler: `tls://host:8786`, or `tcp://localhost:8786` for a plain connection."""

    scheme: str
    host: str
    port: int

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self.scheme == "tls"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


def parse_address(text: str, source: str) -> FleetAddress:
    """The address in a text; `source` says where it was written. Raises SpecError."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 1 << 16:
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"{text[:100]!r} ({source}) is not the address of a scheduler",
            "write tls://HOST:PORT, such as tls://build.example.org:8786",
        )
    return FleetAddress(match[1], match[2], int(match[3]))


def scheduler_address(given: str | None, user: UserSpec) -> FleetAddress | None:
    """The scheduler that the user names: on the command line, in the environment, in the configuration; or None."""
    if given:
        return parse_address(given, "on the command line")
    named = os.environ.get(VARIABLE)
    if named:
        return parse_address(named, f"${VARIABLE}")
    return parse_address(user.scheduler, "scheduler in your configuration") if user.scheduler else None


def certificates_for(
    address: FleetAddress, role: Role, folder: Path | None, *, insecure: bool
) -> TlsFiles | None:
    """The certificates for a connection, or None for a plain one. Raises FleetError and what reading them raises."""
    if address.encrypted:
        named = os.environ.get(CERTIFICATES)
        return tls_files(folder or (Path(named) if named else fleet_folder("--certificates")), role)
    if not insecure and not is_loopback(address.host):
        raise FleetError(
            Code.NOT_ENCRYPTED,
            f"{address} is another machine, and a tcp:// connection is neither encrypted nor authenticated",
            "write tls:// and make certificates with `trtpipe fleet keygen`, or add --insecure in a network "
            "that you trust",
        )
    return None


def bracketed(host: str) -> str:
    """A host as it stands in front of a port: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
