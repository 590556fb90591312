"""Shared set-up for obstore, which is an optional dependency: client options, and its errors as readable messages.

Credentials, region and endpoint come from the environment as obstore reads it: `AWS_*`, `GOOGLE_*`, `AZURE_*`. Plain
HTTP is allowed only to an endpoint on this machine, or when `$AWS_ALLOW_HTTP` is set.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta

from trtpipe.errors import masked
from trtpipe.spec.remote import is_local_address

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
_PREFIXES = ("AWS_", "GOOGLE_", "AZURE_")
ACCESS = {
    "s3": "$AWS_ACCESS_KEY_ID, $AWS_SECRET_ACCESS_KEY and $AWS_REGION, or AWS_SKIP_SIGNATURE=true for a public one",
    "gs": "$GOOGLE_SERVICE_ACCOUNT, or GOOGLE_SKIP_SIGNATURE=true for a public one",
    "az": "$AZURE_STORAGE_ACCOUNT_NAME and $AZURE_STORAGE_ACCOUNT_KEY, or $AZURE_STORAGE_SAS_TOKEN",
}
"""Where the credentials for each scheme come from."""
_STATUS = re.compile(r"\bstatus:? ?(?:code:? ?)?(\d{3})\b", re.IGNORECASE)


def client_options(scheme: str, stall: float, whole: timedelta) -> dict[str, object]:
    """Time-outs: `stall` seconds to begin and between bytes, and a limit for a whole request."""
    _forget_empty_variables()
    options: dict[str, object] = {
        "timeout": whole,
        "connect_timeout": timedelta(seconds=stall),
        "read_timeout": timedelta(seconds=stall),
    }
    if any(is_local_address(os.environ.get(name, "")) for name in _ENDPOINTS.get(scheme, ())):
        options["allow_http"] = True
    return options


def _forget_empty_variables() -> None:
    """Unset the variables for access that are empty, as CI systems leave those of secrets that are not there.

    obstore reads them itself, and crashes on an empty AWS_ENDPOINT_URL.
    """
    for name in [one for one, value in os.environ.items() if one.startswith(_PREFIXES) and not value]:
        del os.environ[name]


def status_in(error: Exception) -> int:
    """The HTTP status in an obstore error; 0 when there is none."""
    found = _STATUS.search(str(error))
    return int(found[1]) if found else 0


_WORDS = (
    ("/latest/api/token", "no credentials were found"),
    ("InvalidCertificate", "its certificate is not valid"),
    ("kind: Timeout", "it did not answer in time"),
    ("dns error", "its host is unknown"),
    ("kind: ConnectionRefused", "the connection was refused"),
    ("kind: Connect,", "no connection"),
    ("kind: Interrupted", "the connection broke off"),
    ("kind: Request", "the connection broke off"),
    ("kind: Decode", "the connection broke off"),
)
"""What an error of obstore holds, in its text or in its insides, and what that comes to; the first counts."""


def in_words(error: Exception) -> str:
    """An obstore error as a message for the user."""
    status = status_in(error)
    text = str(error)
    known = next((words for mark, words in _WORDS if mark in text), None)
    return known or (f"it says {status}" if status else first_line(error))


def first_line(error: Exception) -> str:
    """The first line of obstore's message, which may continue with internal details."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return masked(lines[0])[:200].lower()
