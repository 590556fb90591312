"""`trtpipe agent` on a machine that pretends to have other GPUs, packages or habits than this one has.

    python pretending_agent.py '{"gpus": [["NVIDIA L4", "sm89"]], "stand_ins": true}' agent tcp://… --name a

`stand_ins`: stages take no time (`tests/foreseeing/stand_ins.py`). `slow`: seconds that each action takes longer.
`dies_in`: the stage in which the whole agent dies. `crashes_in`: the stage whose worker process is said to crash.
`hot`: the clocks of its GPUs are held down. `packages`: versions that it says it has. `trtpipe`: the version that it
says it is. `bytes`: what it sends for objects. `stand_in_engines`: engines are those of `tests/runners/stand_in`, which
run without a GPU. `real_gpu`: GPUs, driver and TensorRT are those that it finds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    pretend_machine(asked)
    pretend_work(asked)
    if asked.get("lies"):
        pretend_bytes()
    if asked.get("stand_in_engines") and not asked.get("real_gpu"):
        pretend_engines(asked)
    if sys.argv[1] == "job":
        from trtpipe.agent.job_process import main as do

        sys.exit(do(sys.argv[2]))
    from trtpipe.__main__ import main as run

    run()


def pretend_machine(asked: dict[str, Any]) -> None:
    from trtpipe.agent import clocks, machine, service
    from trtpipe.targets.compute_capability import ComputeCapability
    from trtpipe.toolchains.detect import DetectedGpu

    gpus = tuple(
        DetectedGpu(
            index,
            name,
            ComputeCapability.parse(sm),
            f"GPU-{os.getpid()}-{index}",
            24 << 30,
            "580.95.05",
            "13.0",
        )
        for index, (name, sm) in enumerate(asked.get("gpus", []))
    )
    if not asked.get("real_gpu"):
        machine.detect_gpus = lambda: gpus
        service.lease_folder = Path.cwd
    if asked.get("hot"):
        slow = {"sm_mhz": 1410, "sm_max_mhz": 1980, "limited_by": ["sw thermal slowdown"]}
        clocks.gpu_state = lambda uuid, index: slow
    packages_here = machine.packages_here
    machine.packages_here = lambda: packages_here() | asked.get("packages", {})
    service._AGAIN_SECONDS = (0.3,)  # a test waits for the agent that comes back
    if "trtpipe" in asked:
        machine.__version__ = asked["trtpipe"]


def pretend_engines(asked: dict[str, Any]) -> None:
    """Engines are those of `tests/runners/stand_in`, which run without a GPU; jobs' processes pretend the same."""
    from trtpipe.agent import jobs, machine, performing
    from trtpipe.app.engines import machine as engines_machine
    from trtpipe.app.prove import validate
    from trtpipe.fleet.labels import InstalledToolchain
    from trtpipe.targets.toolchain import Toolchain
    from trtpipe.toolchains import detect
    from trtpipe.toolchains.lookup import python_version

    runners = HERE.parent / "runners"
    site = [str(runners / "stand_in" / "engines"), str(runners / "stand_in" / "no_gpu")]
    flavour, version = asked.get("flavour", "tensorrt_rtx"), "1.7.1.116"
    found = Toolchain(flavour, version, (sys.executable,), tuple(site), python_version())
    machine.toolchains_here = lambda: (InstalledToolchain(flavour, version, found.facts()),)
    performing.toolchains_here = machine.toolchains_here
    performing.toolchain_for = lambda need: found
    performing.ready_toolchain = lambda toolchain, **how: toolchain
    validate.toolchain_for = lambda delivered, how: found
    engines_machine._toolchain_here = lambda flavour, version: found
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split("-")[-1]
    gpus = machine.detect_gpus()
    detect.detect_gpus = lambda: tuple(gpu for gpu in gpus if str(gpu.index) == visible)
    command = [sys.executable, str(HERE / "pretending_agent.py"), json.dumps(asked), "job"]
    jobs.job_command = lambda: command


def pretend_work(asked: dict[str, Any]) -> None:
    from trtpipe.building.performer import Performer
    from trtpipe.errors import StepFailed
    from trtpipe.problem_codes import Code

    real = Performer.__call__
    if asked.get("stand_ins"):
        from tests.foreseeing.stand_ins import StandIns

        stand_ins = StandIns()
        if asked.get("stand_in_engines"):
            from tests.fleet.engine_stand_ins import EngineStandIns

            stand_ins = EngineStandIns(wrong=asked.get("wrong", False))
        real = stand_ins.__call__

    def perform(performer: Performer, action: Any, scratch: Path, control: Any) -> Any:
        if action.stage == asked.get("dies_in"):
            os.kill(os.getpid(), signal.SIGKILL)
        if action.stage == asked.get("crashes_in"):
            raise StepFailed(Code.WORKER_DIED, "TensorRT died of SIGSEGV while it was pretending")
        ends = time.monotonic() + asked.get("slow", 0)
        while time.monotonic() < ends:
            control.check()
            time.sleep(0.02)
        return real(performer, action, scratch, control)

    Performer.__call__ = perform  # type: ignore[method-assign]


def pretend_bytes() -> None:
    """Send other bytes of the same length for every artifact."""
    from trtpipe.fleet import object_server

    real = object_server._Artifact._write

    async def write(self: Any, file: Any, size: int) -> Any:
        import tempfile

        with tempfile.TemporaryFile() as other:
            other.write(b"?" * (file.tell() + size))
            other.seek(file.tell())
            return await real(self, other, size)

    object_server._Artifact._write = write  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
