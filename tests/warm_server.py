"""The server of `warm_commands.py`: it has imported all of trtpipe, and forks what it is asked for.

    python tests/warm_server.py DESCRIPTOR

The descriptor is a socket of packets, one JSON object each, with the descriptors of the standard streams and of a
socket on which is told what became of the process: `{"pid"}`, then `{"code"}`. An empty object asks for its counts.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from tests.warm_commands import PACKET, STAGE_SERVER, forking, main_of

_LEFT_OUT = ("trtpipe.__main__", "trtpipe.calibration.calibrators.measurement.counts")
"""What is no module to import, and what imports onnxruntime: that starts threads, which a fork would not have."""


@dataclass
class _Serving:
    """Forks processes, for the tests and for processes that it forked before, and says how each ended."""

    tests: socket.socket
    ends: dict[int, tuple[int, socket.socket]] = field(default_factory=dict)
    """File descriptors of processes, with their process ids and who is told."""
    stage_servers: int = 0

    def serve(self) -> None:
        """Until the tests have ended; then nothing that was started here is left."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            while True:
                for one in select.select([self.tests, ours, *self.ends], [], [])[0]:
                    if isinstance(one, int):
                        self._ended(one)
                    elif not self._asked(one, theirs, (self.tests, ours)):
                        return self._end_all()

    def _asked(self, by: socket.socket, forks_ask: socket.socket, private: Sequence[socket.socket]) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(by, PACKET, 4)
        if not packet:
            return False
        request = json.loads(packet)
        if not request:
            by.send(json.dumps({"stage_servers": self.stage_servers}).encode())
            return True
        told = socket.socket(fileno=descriptors[0])
        self.stage_servers += STAGE_SERVER in request["argv"]
        pid = os.fork()
        if pid == 0:
            for one in (*private, told, *(told for _, told in self.ends.values())):
                one.close()
            for descriptor in self.ends:
                os.close(descriptor)
            _become(request, descriptors[1:], forks_ask)
        for descriptor in descriptors[1:]:
            os.close(descriptor)
        self.ends[os.pidfd_open(pid)] = pid, told
        _tell(told, {"pid": pid})
        return True

    def _ended(self, descriptor: int) -> None:
        pid, told = self.ends.pop(descriptor)
        os.close(descriptor)
        with told:
            _tell(told, {"code": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])})

    def _end_all(self) -> None:
        for pid, _ in self.ends.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tell(told: socket.socket, what: Mapping[str, int]) -> None:
    with contextlib.suppress(OSError):  # whoever asked was killed meanwhile
        told.send(json.dumps(what).encode())


def _become(request: Mapping[str, Any], descriptors: Sequence[int], server: socket.socket) -> NoReturn:
    code = 1
    try:
        if request["session"]:
            os.setsid()
        for number, descriptor in enumerate(descriptors[:2], start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(request["cwd"])
        _take(request["env"])
        _fork_more(server)
        main = main_of(request["argv"])
        assert main is not None, request["argv"]
        code = main(*descriptors[2:]) or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _take(env: Mapping[str, str]) -> None:
    """Be what a process that begins now with these variables is, where modules look as they are imported."""
    import trtpipe
    from trtpipe import permissions
    from trtpipe.stores import scratches

    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    os.environ.update(env)
    importlib.reload(trtpipe)  # it sets a variable of ONNX Runtime's
    scratches._STARTED = time.time()
    permissions.forget_grants()
    permissions.grant(filter(None, env.get(permissions._GRANTED, "").split(",")))


def _fork_more(server: socket.socket) -> None:
    """Have the server fork what this process would start an interpreter for: the processes of stages."""
    subprocess.Popen = forking(lambda env: server)  # type: ignore[misc]


def _import_all() -> None:
    """All that a command may import, but for what is imported late on purpose."""
    from trtpipe.deferred_imports import defer_imports

    defer_imports()
    import trtpipe

    for module in pkgutil.walk_packages(trtpipe.__path__, "trtpipe."):
        if module.name not in _LEFT_OUT:
            importlib.import_module(module.name)
    with contextlib.suppress(ImportError):
        from trtpipe.fleet.dask_settings import quiet_dask

        quiet_dask()
        importlib.import_module("distributed")


def _put_together() -> None:
    """Have typer import what making a command line takes."""
    from typer.main import get_command

    from trtpipe.cli.main import app

    get_command(app)


def _main(descriptor: int) -> None:
    sys.path.remove(str(Path(__file__).parent))
    _import_all()
    _put_together()
    gc.freeze()
    with socket.socket(fileno=descriptor) as tests:
        _Serving(tests).serve()


if __name__ == "__main__":
    _main(int(sys.argv[1]))
