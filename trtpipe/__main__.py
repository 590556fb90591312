"""Entry point of the command: `python -m trtpipe` and the console script.

Only the standard library is imported until the handling of Ctrl-C and of the standard streams is set up.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

_STOPS = (signal.SIGINT, signal.SIGTERM)
COLLECTED_EACH = (100_000, 50, 50)
"""When Python looks for cycles. By default it does so every 700 objects, which took a fifth of `init`'s time: a model's
nodes are many objects, and nearly none is in a cycle."""


def main() -> NoReturn:
    """Run the command and end the process with its exit code."""
    gc.set_threshold(*COLLECTED_EACH)
    os.environ.setdefault(
        "PYDANTIC_DISABLE_PLUGINS", "__all__"
    )  # looking for some reads all packages' metadata
    _leave_working_directory_out()
    _open_missing_streams()
    for number in _STOPS:
        signal.signal(number, _end_at_once)
    from trtpipe.cli.starting.shortcut import answered

    try:
        code = answered(sys.argv[1:])
        if code is None:
            from trtpipe.cli.main import main as run

            code = run()
    except KeyboardInterrupt:
        code = 130
    # all work is done, and Python's own shutdown would print a traceback for a late Ctrl-C
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    gc.freeze()  # Python's ending would look for cycles among all that there is
    sys.exit(code)


def _leave_working_directory_out() -> None:
    """Remove the working directory from `sys.path`: `-m` puts it first, and a clone may contain modules of any name."""
    try:
        here = {"", os.getcwd()}  # noqa: PTH109 - before anything is imported
    except OSError:  # the working directory was deleted, so nothing can be imported from it
        return
    if sys.path and sys.path[0] in here:
        del sys.path[0]


def _end_at_once(number: int, frame: FrameType | None) -> None:
    """Handle Ctrl-C during start-up: end at once, because there is nothing to clean up yet."""
    os.write(2, b"interrupted\n")
    os._exit(130)


def _open_missing_streams() -> None:
    """Reopens closed standard streams, so that no file of a build gets their descriptor number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # open() returns the lowest free descriptor, which is the closed one
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115 - a number, open to the end


if __name__ == "__main__":
    main()
