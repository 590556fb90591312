"""What `trtpipe fleet start` and the processes that it starts say to each other, through their standard input.

The first line is a JSON object of environment variables, so that their values stand in no command line and no file;
then follows an empty line now and then. A process ends when its standard input is closed, or when nothing has come for
a while: so none is left when its starter dies, when the SSH connection breaks, or when the network goes silent.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Mapping

from trtpipe.json_values import Malformed, read_object, text_in

BEAT = b"\n"
BEAT_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
_GRACE_SECONDS = 20.0
"""How long a process may take to end by itself before it is ended."""
_LONGEST_LINE = 1 << 20


def opening(environment: Mapping[str, str]) -> bytes:
    """The first line to a process that is started."""
    return json.dumps(dict(environment)).encode() + b"\n"


def follow_starter() -> None:
    """Take the variables of the starter; from then on, end this process when the starter is gone."""
    stream = sys.stdin.fileno()
    os.environ.update(_variables(_first_line(stream)))
    threading.Thread(target=_watch, args=(stream,), name="starter", daemon=True).start()


def _first_line(stream: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = _next(stream, 1)
        if not piece or len(line) > _LONGEST_LINE:
            sys.exit(1)  # the starter is gone, or it is none
        line += piece
    return line


def _variables(line: bytes) -> dict[str, str]:
    try:
        record = read_object(line)
        return {name: text_in(record, name) for name in record}
    except Malformed:
        sys.exit("trtpipe: standard input is not that of `trtpipe fleet start`")


def _watch(stream: int) -> None:
    while _next(stream, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)  # child processes end with this one


def _next(stream: int, most: int) -> bytes:
    """What comes next; empty at the end, and when nothing comes for long."""
    try:
        ready, _, _ = select.select([stream], [], [], _SILENCE_SECONDS)
        return os.read(stream, most) if ready else b""
    except OSError:
        return b""
