"""A toolchain that is a stand-in, engines for it, and one way to run them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trtpipe.digests import digest_file
from trtpipe.plan.control import Control
from trtpipe.runners.inference.requests import BuiltFor, EngineRun, HowToRun
from trtpipe.runners.inference.results import Inference
from trtpipe.runners.inference.run import run_engine
from trtpipe.runners.inference.tensors import store_tensors
from trtpipe.runners.inference.trust import trusted_engine
from trtpipe.targets.toolchain import Flavour, Toolchain
from trtpipe.toolchains.engine_worker.watch import Supervision
from trtpipe.toolchains.header import read_engine_header
from trtpipe.toolchains.lookup import python_version

STAND_IN = Path(__file__).with_name("stand_in")


def tensor(
    name: str, mode: str, dtype: str = "FLOAT", shape: Sequence[int] = (-1,), **more: Any
) -> dict[str, Any]:
    """An input or output of a stand-in engine."""
    return {"name": name, "mode": mode, "dtype": dtype, "shape": list(shape), **more}


def copying(dtype: str = "FLOAT", shape: Sequence[int] = (-1, 4), **more: Any) -> dict[str, Any]:
    """An engine whose output y is its input x; rows from 1 to 8, unless it has profiles of its own."""
    profiles = [{"x": [[1, 4], [2, 4], [8, 4]]}] if tuple(shape) == (-1, 4) else []
    return {
        "tensors": [tensor("x", "INPUT", dtype, shape), tensor("y", "OUTPUT", dtype, shape)],
        "profiles": profiles,
        "ops": [{"op": "copy", "from": "x", "to": "y"}],
        **more,
    }


@dataclass
class Bench:
    """A scratch folder in which stand-in engines are run, on a GPU or on a stand-in for that too."""

    folder: Path
    site: list[str]
    flavour: Flavour = "tensorrt_rtx"
    events: list[Mapping[str, Any]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    killed: threading.Event = field(default_factory=threading.Event)
    on_event: Any = None

    @property
    def toolchain(self) -> Toolchain:
        version = {"tensorrt_rtx": "1.7.1.116", "tensorrt": "11.4.0.106"}[self.flavour]
        return Toolchain(self.flavour, version, (sys.executable,), tuple(self.site), python_version())

    def write_engine(self, record: Mapping[str, Any]) -> Path:
        path = self.folder / "model.engine"
        path.write_text(json.dumps(record))
        return path

    def run(
        self, record: Mapping[str, Any], *inputs: Mapping[str, Any], profile: int | None = None, **how: Any
    ) -> Inference:
        """Run an engine with arrays by input name, one mapping a run."""
        path = self.write_engine(record)
        runs = [
            EngineRun(store_tensors(arrays, self.folder, f"run{number}-input"), profile)
            for number, arrays in enumerate(inputs)
        ]
        return self.run_file(path, runs, **how)

    def run_real(self, path: Path, *inputs: Mapping[str, Any], **how: Any) -> Inference:
        """Run an engine of a real TensorRT, of which the header is known."""
        header = read_engine_header(path)
        runs = [
            EngineRun(store_tensors(arrays, self.folder, f"run{number}-input"))
            for number, arrays in enumerate(inputs)
        ]
        return self.run_file(path, runs, built_for=BuiltFor(header.capabilities, header.version), **how)

    def run_file(self, path: Path, runs: Sequence[EngineRun], **how: Any) -> Inference:
        def heard(event: Mapping[str, Any]) -> None:
            self.events.append(event)
            if self.on_event is not None:
                self.on_event(event)

        return run_engine(
            self.toolchain,
            trusted_engine(path, {digest_file(path).hex}),
            runs,
            HowToRun(**{"time_limit": 60, **how}),
            self.folder,
            Supervision(heard, Control(self.cancelled, self.killed)),
        )

    def set_gpu(self, **changes: Any) -> None:
        """How the make-believe GPU differs from a good one."""
        (self.folder / "gpu.json").write_text(json.dumps(changes))

    def ledger(self) -> dict[str, Any]:
        """What the make-believe GPU saw, told when it was let go."""
        return json.loads((self.folder / "ledger.json").read_text())


def rows(count: int, dtype: Any = np.float32) -> np.ndarray:
    """Distinct numbers."""
    return np.arange(4 * count, dtype=np.float32).reshape(count, 4).astype(dtype)
