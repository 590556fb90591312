"""What tests of the engine worker share: a TensorRT to run, models, and one way to run them."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.toolchains.provisioning_fakes import fake_pip, packages, toolchains_root
from tests.worker_requests import worker_request
from trtpipe.plan.control import Control
from trtpipe.plan.worker_messages import WorkerMessage
from trtpipe.text.worker_messages import message_json
from trtpipe.toolchains.engine_worker.launch import run_worker
from trtpipe.toolchains.engine_worker.request import WorkerRequest
from trtpipe.toolchains.engine_worker.watch import Supervision

__all__ = ["fake_pip", "packages", "toolchains_root"]  # fixtures are found in this module's names


@dataclass
class Bench:
    """A scratch folder in which requests are run."""

    folder: Path
    site: str
    events: list[Mapping[str, Any]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)
    on_event: Callable[[Mapping[str, Any]], None] = lambda event: None

    def request(self, **changes: Any) -> WorkerRequest:
        return worker_request(**{"site": [self.site], **changes})

    def run(self, **changes: Any) -> Mapping[str, Any]:
        def heard(message: WorkerMessage) -> None:
            self.events.append(message_json(message))
            self.on_event(self.events[-1])

        result = run_worker(
            [sys.executable],
            self.request(**changes),
            self.folder,
            Supervision(heard, Control(self.cancelled, self.killed)),
        )
        return message_json(result)

    @property
    def engine(self) -> Path:
        return self.folder / "model.engine"

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["event"] == kind]


@pytest.fixture(scope="session")
def rtx_site() -> str:
    spec = importlib.util.find_spec("tensorrt_rtx")
    if spec is None or spec.origin is None:
        pytest.skip("tensorrt_rtx is not installed for this interpreter")
    return str(Path(spec.origin).parents[1])


@pytest.fixture
def bench(tmp_path: Path, rtx_site: str) -> Bench:
    return Bench(tmp_path, rtx_site)
