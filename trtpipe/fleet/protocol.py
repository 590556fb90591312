"""The messages between a client of a fleet and an agent: one request is one action, as JSON text with digests.

Only texts travel through dask, so an agent of another version reads the first fields of any request (`protocol`,
`trtpipe`) and can refuse it in a sentence. Artifacts travel through the store's remote or between the two machines
directly (`transfer.py`), never through dask's scheduler.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from trtpipe import __version__
from trtpipe.digests import Digest
from trtpipe.json_values import (
    Json,
    JsonObject,
    Malformed,
    flag_in,
    number_in,
    object_in,
    read_object,
    text_in,
)
from trtpipe.plan.graph import Action
from trtpipe.targets.toolchain import FLAVOURS, Flavour

PROTOCOL = 1
"""Raised when a client and an agent of different versions could no longer understand each other."""
ID, REPORTS, ANSWER = "id", "reports", "answer"
"""The fields of a message from an agent: the request, what happened since the message before, and the answer's text."""
PLUGINS = "plugins/"
"""The folder of a job's plugin libraries."""


@dataclass(frozen=True, slots=True)
class ToolchainNeed:
    """The TensorRT that an action needs, and the wheels that the project's lock requires it to come from."""

    flavour: Flavour
    version: str
    facts: Mapping[str, str]
    """The toolchain's facts in the action's key, the same as the agent's; empty if the version alone matters."""
    wheels: Mapping[str, str] = field(default_factory=dict)
    """File name of a wheel → its SHA-256; wheels that the project does not know yet are missing."""

    @property
    def name(self) -> str:
        """`tensorrt_rtx-1.6.1.120`, as the project's lock and `toolchain ls` call it."""
        return f"{self.flavour}-{self.version}"

    def to_json(self) -> dict[str, Json]:
        """The need as a JSON object."""
        facts, wheels = dict(self.facts), dict(self.wheels)
        return {"flavour": self.flavour, "version": self.version, "facts": facts, "wheels": wheels}

    @classmethod
    def from_json(cls, record: JsonObject) -> ToolchainNeed:
        """The need read back. Raises Malformed."""
        flavour = next((one for one in FLAVOURS if one == text_in(record, "flavour")), None)
        if flavour is None:
            raise Malformed("a flavour of TensorRT is unknown")
        return cls(flavour, text_in(record, "version"), texts_of(record, "facts"), texts_of(record, "wheels"))


@dataclass(frozen=True, slots=True)
class Job:
    """Work on files that is no step of a plan, such as validating an engine on a GPU.

    `name` is one of a fixed set of jobs; `files` are placed under their relative paths in an empty directory.
    """

    name: str
    files: Mapping[str, Digest]
    options: JsonObject = field(default_factory=dict)

    @property
    def runs_project_code(self) -> bool:
        """Whether it loads plugin libraries of the project."""
        return any(name.startswith(PLUGINS) for name in self.files)

    def to_json(self) -> dict[str, Json]:
        """The job as a JSON object."""
        files = {name: str(digest) for name, digest in self.files.items()}
        return {"name": self.name, "files": files, "options": dict(self.options)}

    @classmethod
    def from_json(cls, record: JsonObject) -> Job:
        """The job read back. Raises ValueError."""
        files = {name: Digest.parse(text) for name, text in texts_of(record, "files").items()}
        return cls(text_in(record, "name"), files, object_in(record, "options"))


@dataclass(frozen=True, slots=True)
class Request:
    """One piece of work for one agent."""

    id: str
    """Unique among all requests; cancelling names it."""
    topic: str
    """dask's topic that progress is reported to; empty if nobody listens."""
    work: Action | Job
    toolchain: ToolchainNeed | None = None
    gpu: str = ""
    """The key of the GPU that the work has for itself while it runs; empty if it needs none."""
    anew: bool = False
    """Whether a result that the agent already has must not be used."""
    holds_lock: bool = False
    """Whether the client shares the agent's store and holds the action's lock there."""
    through: str = ""
    """The remote that artifacts travel through; empty if client and agent exchange them directly."""
    by_rules: bool = False
    offline: bool = False
    tactics: Mapping[str, str] = field(default_factory=dict)
    """The lockfile's tactics for an engine of the flavour tensorrt."""

    def to_text(self) -> str:
        """The request as JSON text."""
        kind = "action" if isinstance(self.work, Action) else "job"
        record: dict[str, Json] = {
            "protocol": PROTOCOL,
            "trtpipe": __version__,
            "id": self.id,
            "topic": self.topic,
            "kind": kind,
            "work": self.work.to_json(),
            "toolchain": None if self.toolchain is None else self.toolchain.to_json(),
            "gpu": self.gpu,
            "anew": self.anew,
            "holds_lock": self.holds_lock,
            "through": self.through,
            "by_rules": self.by_rules,
            "offline": self.offline,
            "tactics": dict(self.tactics),
        }
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Request:
        """The request read back. Raises OtherVersion for a client of another version, else ValueError."""
        record = read_object(text.encode())
        said = text_in(record, "trtpipe")
        if record.get("protocol") != PROTOCOL or said != __version__:
            raise OtherVersion(said)
        kind, needs = text_in(record, "kind"), record.get("toolchain")
        work = object_in(record, "work")
        return cls(
            text_in(record, "id"),
            text_in(record, "topic"),
            Action.from_json(work) if kind == "action" else Job.from_json(work),
            None if needs is None else ToolchainNeed.from_json(object_in(record, "toolchain")),
            text_in(record, "gpu"),
            flag_in(record, "anew"),
            flag_in(record, "holds_lock"),
            text_in(record, "through"),
            flag_in(record, "by_rules"),
            flag_in(record, "offline"),
            texts_of(record, "tactics"),
        )


class OtherVersion(ValueError):
    """The client runs another version of trtpipe than this agent."""

    def __init__(self, version: str) -> None:
        super().__init__(f"the client runs trtpipe {version}")
        self.version = version


@dataclass(frozen=True, slots=True)
class Answer:
    """What an agent answers: the result, an error, or that it does not take the work.

    `result` is a trace for an action, and what the job yields for a job.
    """

    result: JsonObject = field(default_factory=dict)
    files: Mapping[str, Digest] = field(default_factory=dict)
    """Artifacts that the client may want: an action's outputs, or files that a job made."""
    error: JsonObject = field(default_factory=dict)
    """As `processes.child` writes errors; `log` holds the last lines of a step that failed."""
    refused: str = ""
    """Why the agent does not take work that it was given; nothing ran."""
    ran: bool = True
    wheels: Mapping[str, str] = field(default_factory=dict)
    """The wheels of the toolchain that was used."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long the agent waited for the GPU or a free lane (`waited`) and worked (`ran`)."""

    def to_text(self) -> str:
        """The answer as JSON text."""
        record: dict[str, Json] = {
            "result": dict(self.result),
            "files": {name: str(digest) for name, digest in self.files.items()},
            "error": dict(self.error),
            "refused": self.refused,
            "ran": self.ran,
            "wheels": dict(self.wheels),
            "seconds": dict(self.seconds),
        }
        return json.dumps(record, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Answer:
        """The answer read back. Raises ValueError."""
        record = read_object(text.encode())
        seconds = object_in(record, "seconds")
        return cls(
            object_in(record, "result"),
            {name: Digest.parse(said) for name, said in texts_of(record, "files").items()},
            object_in(record, "error"),
            text_in(record, "refused"),
            flag_in(record, "ran"),
            texts_of(record, "wheels"),
            {name: number_in(seconds, name) for name in seconds},
        )


def texts_of(record: JsonObject, name: str) -> dict[str, str]:
    """A field that must be an object whose values are texts. Raises Malformed."""
    inner = object_in(record, name)
    return {key: text_in(inner, key) for key in inner}
