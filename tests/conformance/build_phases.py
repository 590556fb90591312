"""Builds kept models (`typed_phases.keep`) with one TensorRT-RTX, raw: parser, then builder; knows nothing of trtpipe.

Runs as a child (`children.py`) that handles many models. The optional second argument is a folder with another
`tensorrt_rtx` than the interpreter's. A name is a model's digest, built for sm89, or `DIGEST@sm75,sm80`.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = sys.argv[2:3]

from tests.conformance import rtx_probe  # noqa: E402


def handle(store: Path, name: str, folder: Path, skip: frozenset[str], say: Any) -> dict[str, Any]:
    """`stage` says how far it came: `parse`, `build`, `built`."""
    if skip:
        died = "build" if "build" in skip else "parse"
        return {"name": name, "stage": died, "reason": "the process died", "node": "", "op": ""}
    digest, _, gpus = name.partition("@")
    model, arrays = pickle.loads((store / f"{digest}.built").read_bytes())
    path = folder / "model.onnx"
    path.write_bytes(model)
    stage = "parse"

    def enter(phase: str) -> None:
        nonlocal stage
        stage = phase
        say(phase)

    enter("parse")
    made = rtx_probe.build(path, arrays, enter, gpus.split(",") if gpus else ("sm89",))
    stage = "built" if made.built else stage
    return {"name": name, "stage": stage, "reason": made.reason, "node": made.node, "op": made.operator}


def main() -> None:
    store = Path(sys.argv[1])
    answers, sys.stdout = sys.stdout, sys.stderr

    def say(text: str) -> None:
        answers.write(text + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            request = json.loads(line)
            skip = frozenset(request["skip"])
            say("result " + json.dumps(
                handle(store, request["name"], Path(folder), skip, lambda one: say(f"phase {one}"))
            ))  # fmt: skip


if __name__ == "__main__":
    main()
