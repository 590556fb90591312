"""The spec of `fleet.yaml`: the machines that `trtpipe fleet start` starts a scheduler and agents on, over SSH.

The file is its user's, as an SSH configuration is: it names programs to run on other machines, so it is read only when
the command line names it, never because it lies in a project.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from trtpipe.errors import WrongValue
from trtpipe.problem_codes import Code
from trtpipe.spec.fields import AsTuple, Name, OneOrMany, SchemaVersion, SpecModel

LOCAL = "local"
"""The word for the machine that `fleet start` runs on."""
SEND = "send"
"""The word for copying the certificates to a host."""
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text) or text.startswith("-"):
        raise WrongValue(
            Code.WRONG_FORM,
            f"{text[:100]!r} is not the name or address of a machine; write it without user and port: gpu1.example.org",
        )
    return text.strip("[]")


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise WrongValue(
            Code.WRONG_FORM,
            f"{text.partition('=')[0][:100]!r} is not the name of a variable; write names only: the values come from "
            "the environment of `trtpipe fleet start`",
        )
    return text


def _remote_path(text: str) -> str:
    if not text.startswith(("/", "~/")):
        raise WrongValue(
            Code.WRONG_FORM, f"{text[:100]!r} is relative; write a path that begins with / or ~/ on the host"
        )
    return text


def _certificates(text: str) -> str:
    return text if text == SEND else _remote_path(text)


Host = Annotated[str, AfterValidator(_host)]
"""The name or address of a machine."""
Port = Annotated[int, Field(ge=1, le=65535)]
Variable = Annotated[str, AfterValidator(_variable)]
RemotePath = Annotated[str, AfterValidator(_remote_path)]
"""A path on a host, absolute or below the user's home."""


class FleetSchedulerSpec(SpecModel):
    """Where the scheduler runs, and how agents and builds reach it."""

    host: str = LOCAL
    """`local`, or the name of one of `hosts`."""
    port: Port = 8786
    """The port that it listens at."""
    address: Host | None = None
    """The name or address by which agents and builds reach it; that of its host if left out."""
    insecure: bool = False
    """Connections without encryption or certificates: only in a network that you trust."""


class FleetHostSpec(SpecModel):
    """A machine that an agent is started on."""

    address: Host | None = None
    """Its name or address for SSH; the host's name in this file if left out."""
    user: Annotated[str, Field(min_length=1)] | None = None
    """The user to log in as; what your SSH configuration says if left out."""
    port: Port | None = None
    """SSH's port; what your SSH configuration says, else 22, if left out."""
    identity: Annotated[str, Field(min_length=1)] | None = None
    """The file of your SSH key, on this machine; ssh-agent and your usual keys if left out."""
    python: RemotePath | None = None
    """The interpreter there that has trtpipe."""
    command: Annotated[tuple[str, ...], OneOrMany] = ()
    """The words that run trtpipe there, for example in a container; `trtpipe` if this and `python` are left out."""
    lanes: Annotated[int, Field(ge=1)] | None = None
    """How many steps without a GPU it runs at a time; its number of cores if left out."""
    gpus: Annotated[tuple[Annotated[int, Field(ge=0)], ...], AsTuple] | None = None
    """The GPUs that it may use, as `nvidia-smi` numbers them; all if left out."""
    env: Annotated[tuple[Variable, ...], AsTuple] = ()
    """Names of variables of your environment that its agent gets; the values travel inside the SSH connection."""
    env_file: RemotePath | None = None
    """A file there that sets variables for the agent, as a shell reads it."""
    certificates: Annotated[str, AfterValidator(_certificates)] | None = None
    """A directory of certificates there, or `send` to copy yours; where `trtpipe agent` looks if left out."""

    @model_validator(mode="after")
    def _refuse_two_programs(self) -> FleetHostSpec:
        if self.python is not None and self.command:
            raise WrongValue(
                Code.OPTIONS_EXCLUDE, "both 'python' and 'command' say what to run; take one of them out"
            )
        return self


class FleetSpec(SpecModel):
    """`fleet.yaml`: a scheduler, and the hosts that agents are started on."""

    schema_: SchemaVersion = Field(alias="schema")
    """The version of the spec language."""
    scheduler: FleetSchedulerSpec = Field(default_factory=FleetSchedulerSpec)
    """Where the scheduler runs."""
    certificates: Annotated[str, Field(min_length=1)] | None = None
    """The directory on this machine that `trtpipe fleet keygen` wrote; that of your configuration if left out."""
    hosts: Annotated[dict[Name, FleetHostSpec], Field(min_length=1)]
    """The machines to start agents on, by the names that builds show them under."""
