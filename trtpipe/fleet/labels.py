"""What an agent says of its machine: GPUs, TensorRT versions, packages, cores, and how it exchanges artifacts.

An agent finds all of this out by itself when it starts; nothing is configured by hand. Clients decide from these labels
alone which agent gets which work (`placement.py`), and an agent checks a request against its own labels again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from trtpipe.fleet.protocol import texts_of
from trtpipe.json_values import (
    Json,
    JsonObject,
    flag_in,
    integer_in,
    object_in,
    objects_in,
    read_object,
    text_in,
    texts_in,
)
from trtpipe.targets.compute_capability import ComputeCapability
from trtpipe.toolchains.detect import DetectedGpu


@dataclass(frozen=True, slots=True)
class InstalledToolchain:
    """A TensorRT that an agent has: its facts are those that enter an engine's key."""

    flavour: str
    version: str
    facts: Mapping[str, str]

    def to_json(self) -> dict[str, Json]:
        """The toolchain as a JSON object."""
        return {"flavour": self.flavour, "version": self.version, "facts": dict(self.facts)}

    @classmethod
    def from_json(cls, record: JsonObject) -> InstalledToolchain:
        """The toolchain read back. Raises Malformed."""
        return cls(text_in(record, "flavour"), text_in(record, "version"), texts_of(record, "facts"))

    def __str__(self) -> str:
        return f"{self.flavour} {self.version}"


@dataclass(frozen=True, slots=True)
class Exchange:
    """How clients reach an agent's artifacts."""

    address: str = ""
    """`https://host:port` of its object server; empty if it serves none."""
    token: str = ""
    """The secret that requests must carry where there is no TLS."""
    store: str = ""
    """The id in `store.json` of its store, by which a client recognises a store that both share."""
    store_root: str = ""
    remote: str = ""
    """The remote store that it reads and writes, if there is one."""

    def to_json(self) -> dict[str, Json]:
        """The description as a JSON object."""
        return {
            "address": self.address,
            "token": self.token,
            "store": self.store,
            "store_root": self.store_root,
            "remote": self.remote,
        }

    @classmethod
    def from_json(cls, record: JsonObject) -> Exchange:
        """The description read back. Raises Malformed."""
        names = ("address", "token", "store", "store_root", "remote")
        return cls(*(text_in(record, name) for name in names))


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that an agent runs on."""

    host: str
    system: str
    """`linux`, `win32`, `darwin`: as `sys.platform`."""
    architecture: str
    """`x86_64`, `aarch64`: as `platform.machine()`."""
    processor: str
    """The kind of processor that results of ONNX Runtime depend on (`processes/processor.py`)."""
    cores: int
    memory: int
    """Bytes of main memory; 0 if the system does not say."""

    def to_json(self) -> dict[str, Json]:
        """The machine as a JSON object."""
        return {
            "host": self.host,
            "system": self.system,
            "architecture": self.architecture,
            "processor": self.processor,
            "cores": self.cores,
            "memory": self.memory,
        }

    @classmethod
    def from_json(cls, record: JsonObject) -> Machine:
        """The machine read back. Raises Malformed."""
        return cls(
            text_in(record, "host"),
            text_in(record, "system"),
            text_in(record, "architecture"),
            text_in(record, "processor"),
            integer_in(record, "cores"),
            integer_in(record, "memory"),
        )


@dataclass(frozen=True, slots=True)
class Labels:
    """Everything that an agent says of itself."""

    name: str
    machine: Machine
    trtpipe: str
    python: str
    """`cpython 3.11.7`"""
    packages: Mapping[str, str]
    """Installed packages that results can depend on → their versions."""
    gpus: tuple[DetectedGpu, ...] = ()
    toolchains: tuple[InstalledToolchain, ...] = ()
    installs: tuple[str, ...] = ()
    """Flavours of TensorRT of which it may install other versions."""
    lanes: int = 1
    """How many actions without a GPU it runs at a time."""
    project_code: bool = False
    """Whether its owner allows it to run any project's own code."""
    one: bool = False
    """Whether it takes one piece of work and then ends, as a job of Kubernetes or Slurm does."""
    exchange: Exchange = field(default_factory=Exchange)

    def to_text(self) -> str:
        """The labels as JSON text."""
        record: dict[str, Json] = {
            "name": self.name,
            "machine": self.machine.to_json(),
            "trtpipe": self.trtpipe,
            "python": self.python,
            "packages": dict(self.packages),
            "gpus": [gpu.to_json() for gpu in self.gpus],
            "toolchains": [one.to_json() for one in self.toolchains],
            "installs": list(self.installs),
            "lanes": self.lanes,
            "project_code": self.project_code,
            "one": self.one,
            "exchange": self.exchange.to_json(),
        }
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Labels:
        """The labels read back. Raises ValueError."""
        record = read_object(text)
        return cls(
            text_in(record, "name"),
            Machine.from_json(object_in(record, "machine")),
            text_in(record, "trtpipe"),
            text_in(record, "python"),
            texts_of(record, "packages"),
            tuple(gpu_from_json(one) for one in objects_in(record, "gpus")),
            tuple(InstalledToolchain.from_json(one) for one in objects_in(record, "toolchains")),
            tuple(texts_in(record, "installs")),
            integer_in(record, "lanes"),
            flag_in(record, "project_code"),
            flag_in(record, "one"),
            Exchange.from_json(object_in(record, "exchange")),
        )


def gpu_from_json(record: JsonObject) -> DetectedGpu:
    """A GPU read back. Raises ValueError."""
    return DetectedGpu(
        integer_in(record, "index"),
        text_in(record, "name"),
        ComputeCapability.parse(text_in(record, "compute_capability")),
        text_in(record, "uuid"),
        integer_in(record, "memory_bytes"),
        text_in(record, "driver"),
        text_in(record, "cuda"),
    )


def package_key(name: str) -> str:
    """A distribution's name as PEP 503 normalises it: labels name packages so."""
    return re.sub(r"[-_.]+", "-", name).lower()


def gpu_key(gpu: DetectedGpu) -> str:
    """What identifies a GPU of one machine: its UUID, or its index where the driver gives none (Jetson)."""
    return gpu.uuid or f"index-{gpu.index}"
