"""Where an image is pushed to: `REGISTRY/REPOSITORY:TAG`, and whether the way there is encrypted."""

from __future__ import annotations

import re
from dataclasses import dataclass

from trtpipe.errors import SpecError
from trtpipe.fleet.places import is_loopback
from trtpipe.problem_codes import Code

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    r"(?P<registry>(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(?::\d{1,5})?)/"
    rf"(?P<repository>{_PART}(?:/{_PART})*)"
    r":(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})"
)
"""As OCI's distribution specification has it. The registry is never guessed: what is pushed leaves this machine."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A tag of a repository in a registry."""

    registry: str
    repository: str
    tag: str
    plain: bool
    """Whether the connection is http: on this machine, or because the user said so."""

    @property
    def base(self) -> str:
        """The address of the repository's API."""
        return f"{'http' if self.plain else 'https'}://{self.registry}/v2/{self.repository}"

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}:{self.tag}"


def parse_reference(text: str, *, insecure: bool) -> Reference:
    """The reference in a command's argument. Raises SpecError."""
    match = _REFERENCE.fullmatch(text)
    host = re.sub(r":\d+$", "", match["registry"]) if match else ""
    if match is None or not (
        is_loopback(host) or "." in host or host.startswith("[") or ":" in match["registry"]
    ):
        raise SpecError(
            Code.BAD_ARGUMENT,
            f"{text[:200]!r} names no tag of a repository; write REGISTRY/REPOSITORY:TAG, in small letters but the tag",
        )
    return Reference(match["registry"], match["repository"], match["tag"], insecure or is_loopback(host))
