"""Whether a scheduler speaks TLS: asked when a connection failed, to recognise a wrong `tcp://` or `tls://`.

dask's own words for it do not say what is wrong: it waits until a timeout, or fails inside an encryption library.
"""

from __future__ import annotations

import socket
import ssl

from trtpipe.errors import FleetError
from trtpipe.fleet.places import FleetAddress
from trtpipe.problem_codes import Code

_SILENT_SECONDS = 1.0
"""A plain scheduler of dask speaks first, and at once; one with TLS waits for the other side."""
_CONNECT_SECONDS = 3.0


def wrong_scheme(address: FleetAddress) -> FleetError | None:
    """The error for a scheduler that is there, but not with the scheme of its address; None for any other trouble."""
    try:
        encrypted = _is_encrypted(address)
    except OSError:
        return None
    if encrypted is None or encrypted == address.encrypted:
        return None
    right = FleetAddress("tls" if encrypted else "tcp", address.host, address.port)
    what = "takes encrypted connections only" if encrypted else "does not encrypt its connections"
    return FleetError(
        Code.FLEET_UNREACHABLE, f"the scheduler at {address} {what}", f"write {right} for this one"
    )


def _is_encrypted(address: FleetAddress) -> bool | None:
    """Whether what listens there speaks TLS; None if it says neither. Raises OSError when nothing listens."""
    where = (address.host.strip("[]"), address.port)
    with socket.create_connection(where, _CONNECT_SECONDS) as connection:
        connection.settimeout(_SILENT_SECONDS)
        try:
            return False if connection.recv(1) else None
        except TimeoutError:
            pass
        connection.settimeout(_CONNECT_SECONDS)
        return _shakes_hands(connection)


def _shakes_hands(connection: socket.socket) -> bool | None:
    """Whether the other side answers the beginning of TLS, whichever certificates it accepts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return True if "ALERT" in (error.reason or "") else None
