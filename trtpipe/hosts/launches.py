"""What is started where: the command line of each process of a fleet, made of `fleet.yaml`.

A command is text for a login shell of the host's user, whatever shell that is, so every word is quoted. It holds no
secrets: values of variables go through standard input (`fleet/starter.py`), keys through SFTP.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trtpipe.errors import SpecError
from trtpipe.fleet.certificates import fleet_folder
from trtpipe.fleet.places import FleetAddress, bracketed, is_loopback
from trtpipe.launcher.children import interpreter_command
from trtpipe.problem_codes import Code
from trtpipe.spec.fleet import LOCAL, SEND, FleetHostSpec, FleetSpec

SENT_TO = ".config/trtpipe/fleet-from-ssh"
"""Where certificates are copied to, below the home of the host's user."""
_WITH_FILE = 'set -a; . "$1"; set +a; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Launch:
    """One process to start. `host` is None for one on this machine."""

    name: str
    host: FleetHostSpec | None
    command: str
    words: tuple[str, ...] = ()
    """The command of a process on this machine, which needs no shell."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: tuple[Path, ...] = ()
    """Certificates and keys to copy there first."""

    @property
    def place(self) -> str:
        """Where it runs, as text: `builder@gpu1.example.org:22`."""
        host = self.host
        if host is None:
            return "this machine"
        user = f"{host.user}@" if host.user else ""
        return user + self.address + (f":{host.port}" if host.port else "")

    @property
    def address(self) -> str:
        """The name or address of its host."""
        return (self.host.address if self.host is not None else None) or self.name


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that is started."""

    address: FleetAddress
    scheduler: Launch
    agents: tuple[Launch, ...]


def fleet_of(spec: FleetSpec) -> Fleet:
    """What a spec asks to start. Raises SpecError when a variable or a certificate that it names is not there."""
    address = _address(spec)
    named = spec.certificates
    folder = Path(named).expanduser() if named else fleet_folder("'certificates' in fleet.yaml")
    scheduler = _scheduler(spec, address, folder)
    return Fleet(
        address, scheduler, tuple(_agent(name, host, address, folder) for name, host in spec.hosts.items())
    )


def _address(spec: FleetSpec) -> FleetAddress:
    asked = spec.scheduler
    there = spec.hosts.get(asked.host)
    host = asked.address or (there.address if there is not None else None) or asked.host
    return FleetAddress("tcp" if asked.insecure else "tls", bracketed(host), asked.port)


def _scheduler(spec: FleetSpec, address: FleetAddress, folder: Path) -> Launch:
    asked = spec.scheduler
    anywhere = "[::]" if address.host.startswith("[") else "0.0.0.0"
    listens = FleetAddress(
        address.scheme, address.host if is_loopback(address.host) else anywhere, address.port
    )
    arguments = ["fleet", "scheduler", str(listens), "--with-starter"]
    if asked.insecure:
        arguments.append("--insecure")
    if asked.host == LOCAL:
        if address.encrypted:
            arguments += ["--certificates", str(folder.absolute())]
        words = tuple(interpreter_command("trtpipe", *arguments))
        return Launch("scheduler", None, shlex.join(words), words)
    host = spec.hosts[asked.host].model_copy(update={"address": spec.hosts[asked.host].address or asked.host})
    return _there("scheduler", host, arguments, _certificates(host, address, folder, "scheduler"))


def _agent(name: str, host: FleetHostSpec, address: FleetAddress, folder: Path) -> Launch:
    arguments = ["agent", str(address), "--with-starter", "--name", name]
    if host.lanes is not None:
        arguments += ["--lanes", str(host.lanes)]
    if not address.encrypted:
        arguments.append("--insecure")
    return _there(name, host, arguments, _certificates(host, address, folder, "agent"))


def _there(
    name: str, host: FleetHostSpec, arguments: Sequence[str], certificates: tuple[str, tuple[Path, ...]]
) -> Launch:
    directory, files = certificates
    words = [*_program(host), *arguments, *(["--certificates", directory] if directory else [])]
    if host.gpus is not None:
        shown = ",".join(map(str, host.gpus))
        words = ["env", "CUDA_DEVICE_ORDER=PCI_BUS_ID", f"CUDA_VISIBLE_DEVICES={shown}", *words]
    if host.env_file is not None:
        words = ["sh", "-c", _WITH_FILE, "sh", host.env_file, *words]
    command = "exec " + " ".join(map(quoted, words))
    return Launch(name, host, command, environment=_variables(name, host.env), files=files)


def _program(host: FleetHostSpec) -> Sequence[str]:
    if host.python is not None:
        return (host.python, "-m", "trtpipe")
    return host.command or ("trtpipe",)


def quoted(word: str) -> str:
    """A word for the shell of a host; a leading `~/` is the home of the user there."""
    return f'"$HOME"/{shlex.quote(word[2:])}' if word.startswith("~/") else shlex.quote(word)


def _certificates(
    host: FleetHostSpec, address: FleetAddress, folder: Path, role: str
) -> tuple[str, tuple[Path, ...]]:
    """The directory of certificates on a host, and the files to copy there."""
    if not address.encrypted or host.certificates is None:
        return "", ()
    if host.certificates != SEND:
        return host.certificates, ()
    files = tuple(folder / name for name in ("ca.crt", f"{role}.crt", f"{role}.key"))
    for path in files:
        if not path.is_file():
            raise SpecError(
                Code.NO_SUCH_FILE,
                f"there is no {path} to send to the hosts",
                "make certificates with `trtpipe fleet keygen`, or name their directory in fleet.yaml (certificates)",
            )
    return f"~/{SENT_TO}", files


def _variables(name: str, wanted: Sequence[str]) -> dict[str, str]:
    missing = [one for one in wanted if one not in os.environ]
    if missing:
        raise SpecError(
            Code.BAD_VARIABLE,
            f"the variable {missing[0]}, which host {name!r} is to get, is not set here",
            "set it, or take it out of fleet.yaml (env)",
        )
    return {one: os.environ[one] for one in wanted}
