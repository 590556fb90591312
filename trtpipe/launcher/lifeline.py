"""Ends a child process when its parent ends. Linux only: elsewhere an orphan finishes its work first.

trtpipe's own modules import this one. A program that runs without trtpipe, in any interpreter, is started through
`main` here (`program_command` makes the command line), so the programs themselves hold none of this. The alternative,
a `preexec_fn`, would run Python between fork and exec, which is not safe in a process with threads, and would not reach
through a wrapper such as a container's. Standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None) -> None:
    """Tie this process to the one that started it; `parent` is that one's id, None if it cannot be seen from here.

    On Linux the tie is to the parent's thread: the one that started this process must live as long as it.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (OSError, AttributeError):
        return
    if parent is not None and os.getppid() != parent:
        os._exit(1)  # the parent died before the call above


def main() -> None:
    """Tie this process to its parent, then run `main` of a module.

    The arguments are PARENT FOLDER MODULE, then the module's own. PARENT is 0 if it cannot be seen from here. The
    folder goes to the end of the import path.
    """
    parent, folder, module = sys.argv[1:4]
    del sys.argv[1:4]
    end_with_parent(int(parent) or None)
    sys.path[:] = [*filter(None, sys.path), folder]  # without the working directory
    importlib.import_module(module).main()
