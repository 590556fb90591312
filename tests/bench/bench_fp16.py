"""Making a model fp16: trtpipe's quantize stage beside ModelOpt's AutoCast, on a ResNet-50 and on matrices of 512 MiB.

Every run is a process of its own that reads the model's file and writes the typed one. Printed are seconds, peak memory
and that memory by the model's size. Run: python -m tests.bench.bench_fp16 [TURNS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.bench_check import write_model
from tests.bench.peers import Measured, environment_with, measured
from tests.bench.resnet50 import write_resnet50

_CLOCK = """
import resource, sys, time
source, out = sys.argv[1], sys.argv[2]
def clock():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
def since(began):
    wall, user = clock()
    return {"seconds": wall - began[0], "user": user - began[1]}
"""

OURS = (
    _CLOCK
    + """
from pathlib import Path
from trtpipe.precisions import find_precision
from trtpipe.precisions.casts.files import rewrite_file
began = clock()
rewrite_file(find_precision("fp16"), Path(source), Path(out), keep={})
MEASURED = since(began)
"""
)

AUTOCAST = (
    _CLOCK
    + """
import onnx
from modelopt.onnx.autocast import convert_to_mixed_precision
began = clock()
onnx.save(convert_to_mixed_precision(source, low_precision_type="fp16", keep_io_types=True), out)
MEASURED = since(began)
"""
)


def _ours(source: Path, out: Path) -> Measured:
    return measured(sys.executable, OURS, source, out)


def _autocast(source: Path, out: Path) -> Measured:
    return measured(environment_with("modelopt", "nvidia-modelopt[onnx]"), AUTOCAST, source, out)


def main(turns: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resnet, matrices = folder / "resnet50.onnx", folder / "matrices.onnx"
        write_resnet50(resnet)
        write_model(matrices, 512)
        for model in (resnet, matrices):
            _compare(model, folder / "fp16.onnx", turns)


def _compare(model: Path, out: Path, turns: int) -> None:
    size = model.stat().st_size / 2**20
    print(f"{model.name}, {size:.0f} MiB")
    runs: dict[str, Callable[[Path, Path], Measured]] = {"trtpipe": _ours, "ModelOpt AutoCast": _autocast}
    found: dict[str, list[Measured]] = {}
    for _ in range(turns):
        for who, run in list(runs.items()):
            try:
                found.setdefault(who, []).append(run(model, out))
            except RuntimeError as error:
                print(f"not run: {who}: {error}")
                del runs[who]
            for path in out.parent.glob(f"{out.name}*"):
                path.unlink()
    for who, taken in found.items():
        if taken:
            wall, user, peak = (
                statistics.median(getattr(m, what) for m in taken) for what in ("seconds", "user", "peak")
            )
            print(
                f"  {who:20} {wall:7.2f} s  CPU {user:7.2f} s  peak {peak:6.0f} MiB, {peak / size:.2f} x the model"
            )
    if all(found.get(who) for who in ("trtpipe", "ModelOpt AutoCast")):
        pairs = list(zip(found["trtpipe"], found["ModelOpt AutoCast"], strict=False))
        wall = statistics.median(theirs.seconds / ours.seconds for ours, theirs in pairs)
        user = statistics.median(theirs.user / ours.user for ours, theirs in pairs)
        print(f"  trtpipe is {wall:.1f} x faster ({user:.1f} x by CPU)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
