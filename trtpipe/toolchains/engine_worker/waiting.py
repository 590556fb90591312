"""A worker that imports TensorRT before there is a request: `waiting.py` with two lines on standard input.

The first line, a JSON object, says what will be asked for: `flavour`, `action` and `site`, as in a request. The second
one, which comes whenever it is known, is the folder that holds `request.json`. Everything then goes on as in
`worker.py`, and the same bytes come of it. It ends when its input does. Standard library only, beside `worker.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys


def main() -> None:
    """Import TensorRT, wait for the folder, and work there."""
    worker = importlib.import_module("worker")
    asked = json.loads(sys.stdin.readline() or "{}")
    if not asked:
        return
    worker.AHEAD.append(worker.stock_small_memory())  # as before every import
    flavour = worker.FLAVOURS[asked["flavour"]]()
    loaded = worker.load_tensorrt(flavour, asked["action"], asked["site"])
    if asked["action"] == "parse":
        with contextlib.suppress(ImportError):
            importlib.import_module("numpy")  # in which TensorRT's binding hands weights out
    folder = sys.stdin.readline().rstrip("\n")
    if not folder:
        os._exit(0)  # without unloading TensorRT
    os.chdir(folder)
    log = os.open("build.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.dup2(log, 2)
    worker.AHEAD.append(loaded)
    sys.argv[1] = "request.json"
    worker.main()
