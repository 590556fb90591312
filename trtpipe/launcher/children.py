"""Starts child processes, and ends them together with the processes that they started.

Nothing here waits on a pipe: a conversation with a child belongs to whoever knows its language.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_FOLDER = Path(__file__).parent
_BEGIN = "import sys; sys.path.append(sys.argv.pop(1)); from lifeline import main; sys.path.pop(); main()"
"""Imported, a program is read from kept bytecode where the interpreter has it; a script is compiled every time."""

Stream = int | IO[bytes]
Command = Sequence[str]


@dataclass(frozen=True, slots=True)
class Streams:
    """The standard streams of a child; nothing where not given."""

    stdin: Stream = subprocess.DEVNULL
    stdout: Stream = subprocess.DEVNULL
    stderr: Stream = subprocess.DEVNULL


SILENT = Streams()


def start(
    command: Command,
    environment: Mapping[str, str],
    folder: Path | None = None,
    streams: Streams = SILENT,
    *,
    own_session: bool = True,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a child in `folder`. Raises OSError.

    In a session of its own, Ctrl-C in a terminal reaches only us, and we decide when the child stops. Without one it
    is ended together with us, as by the build that ends a stage. `inherited` are the file descriptors that it keeps.
    """
    windows = sys.platform == "win32" and own_session
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        pass_fds=inherited,
        start_new_session=own_session,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) if windows else 0,
    )


def run_to_end(
    command: Command,
    environment: Mapping[str, str],
    folder: Path | None = None,
    *,
    seconds: float | None = None,
    given: bytes = b"",
    out: IO[bytes] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """What a short program says, with `given` as its input; its output goes to `out` if there is one.

    Raises OSError if it cannot be started, TimeoutExpired if it takes longer than `seconds`; it is ended then.
    """
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        input=given,
        stdout=out if out is not None else subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=seconds,
        check=False,
    )


def interpreter_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a trtpipe module in this interpreter."""
    return [sys.executable, "-P" if sys.version_info >= (3, 11) else "-B", "-m", module, *arguments]


@dataclass(frozen=True, slots=True)
class Program:
    """A Python program that needs no trtpipe: any interpreter runs it."""

    folder: Path
    """It goes to the end of the import path."""
    module: str
    """The module there whose `main` is called."""
    options: tuple[str, ...] = ("-I", "-S", "-B")
    """The interpreter's."""

    def command(self, python: Command, *arguments: str) -> list[str]:
        """The command line that runs it with an interpreter, so that it ends with us.

        An interpreter of several words is behind a wrapper, say of a container, which hides us from the program.
        """
        parent = str(os.getpid()) if len(python) == 1 else "0"
        begin = ["-c", _BEGIN, str(_FOLDER), parent, str(self.folder), self.module]
        return [*python, *self.options, *begin, *arguments]


def interrupt(child: subprocess.Popen[bytes]) -> None:
    """Ask a child with a session of its own to stop."""
    if sys.platform == "win32":
        child.terminate()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child at once, with all of its session if that is its own; nothing when it has ended."""
    if child.poll() is not None:
        return
    if sys.platform == "win32":
        child.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(child.pid) == child.pid:
                os.killpg(child.pid, signal.SIGKILL)
            else:
                child.kill()
    child.wait()
