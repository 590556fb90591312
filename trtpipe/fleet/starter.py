"""What whoever starts schedulers and agents says to them through their standard input, and how they are ended.

The first line is a JSON object with environment variables, so that their values stand in no command line and no file;
over SSH an empty line follows now and then. A process ends when its standard input is closed, or when nothing has come
for as long as the first line says: so none is left when its starter dies, when the SSH connection breaks, or when the
network goes silent.
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

from trtpipe.json_values import Malformed, number_in, object_in, read_object, text_in

BEAT = b"\n"
BEAT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
_GRACE_SECONDS = 20.0
"""How long a process may take to end by itself before it is ended."""
_LONGEST_LINE = 1 << 20


def opening(environment: Mapping[str, str], silence: float = SILENCE_SECONDS) -> bytes:
    """The first line to a process that is started; it ends after so many seconds of silence, or never if that is 0."""
    return json.dumps({"environment": dict(environment), "silence": silence}).encode() + b"\n"


def follow_starter() -> None:
    """Take the variables of the starter; from then on, end this process when the starter is gone."""
    stream = sys.stdin.fileno()
    variables, silence = _opened(_first_line(stream))
    os.environ.update(variables)
    threading.Thread(target=_watch, args=(stream, silence), name="starter", daemon=True).start()


def _first_line(stream: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = _next(stream, 1, SILENCE_SECONDS)
        if not piece or len(line) > _LONGEST_LINE:
            sys.exit(1)  # the starter is gone, or it is none
        line += piece
    return line


def _opened(line: bytes) -> tuple[dict[str, str], float]:
    try:
        record = read_object(line)
        environment = object_in(record, "environment")
        return {name: text_in(environment, name) for name in environment}, number_in(record, "silence")
    except Malformed:
        sys.exit("trtpipe: standard input is not that of a process that starts fleets")


def _watch(stream: int, silence: float) -> None:
    while _next(stream, 4096, silence):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    os._exit(1)  # child processes end with this one


def _next(stream: int, most: int, silence: float) -> bytes:
    """What comes next; empty at the end, and when nothing comes for so many seconds."""
    try:
        ready, _, _ = select.select([stream], [], [], silence or None)
        return os.read(stream, most) if ready else b""
    except OSError:
        return b""
