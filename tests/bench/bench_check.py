"""`trtpipe check` of a 500 MB model beside `onnx.load` + `onnx.checker` of it: seconds, peak memory, bytes read.

Bytes are what the process asked the kernel for with read (rchar of /proc/self/io); pages that a memory map touches
are not in it, so peak memory is printed beside it. Run: python -m tests.bench.bench_check [MEGABYTES]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.bench.timing import keep_stores_apart

SPEC = """\
schema: 1
pipeline: big
model: {source: models/big.onnx}
variants: {fp32: {}, fp16: {precision: fp16}}
profiles: [{x: {min: 1xWIDTH, opt: 4xWIDTH, max: 8xWIDTH}}]
targets: {ada: {gpu: sm89}}
"""

PEER = """
import onnx, sys
onnx.checker.check_model(onnx.load(sys.argv[1]))
"""

MEASURED = """
import os, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__") if sys.argv[0].endswith(".py") else runpy.run_module(
        sys.argv[0], run_name="__main__")
except SystemExit as error:
    assert not error.code, error.code
finally:
    io = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    rss = status["VmHWM"].split()[0]
    print(f"MEASURED {rss} {io['rchar']}", file=sys.stderr)
"""


def write_model(path: Path, megabytes: int) -> int:
    """A chain of square MatMuls with random weights; their width."""
    width, layers = 2048, max(1, megabytes // 16)
    rng = np.random.default_rng(0)
    weights = [
        helper.make_tensor(
            f"w{i}",
            TensorProto.FLOAT,
            (width, width),
            rng.standard_normal((width, width), np.float32).tobytes(),
            True,
        )
        for i in range(layers)
    ]
    nodes = [
        helper.make_node("MatMul", [f"t{i}" if i else "x", f"w{i}"], [f"t{i + 1}"], f"mm{i}")
        for i in range(layers)
    ]
    graph = helper.make_graph(
        nodes,
        "big",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", width])],
        [helper.make_tensor_value_info(f"t{layers}", TensorProto.FLOAT, ["batch", width])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return width


def measured(argv: list[str], cwd: Path) -> tuple[float, float, float]:
    """Seconds, peak MiB, MiB read."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    seconds = time.perf_counter() - began
    _, rss, read = next(line for line in done.stderr.splitlines() if line.startswith("MEASURED")).split()
    return seconds, int(rss) / 1024, int(read) / 2**20


def main(megabytes: int) -> None:
    keep_stores_apart()
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        (project / "models").mkdir()
        (project / "pipelines").mkdir()
        model = project / "models" / "big.onnx"
        width = write_model(model, megabytes)
        (project / "pipelines" / "big.yaml").write_text(SPEC.replace("WIDTH", str(width)))
        (project / "peer.py").write_text(PEER)
        ours = measured(["trtpipe", "check"], project)
        theirs = measured(["peer.py", str(model)], project)
        size = model.stat().st_size / 2**20
    for name, (seconds, rss, read) in (("trtpipe check", ours), ("onnx.load + checker", theirs)):
        print(f"{name:20} {seconds:6.2f} s  peak {rss:7.0f} MiB  read {read:7.0f} MiB of {size:.0f}")
    print(
        f"ratio                {ours[0] / theirs[0]:6.2f}    {ours[1] / theirs[1]:12.2f}  {ours[2] / theirs[2]:12.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
