"""Calibrating a ResNet-50 on 224 x 224 images: trtpipe beside a plain pass, onnxruntime.quantization and ModelOpt.

Every run is a process of its own, and they take turns: what else the machine does falls on all. Printed are medians of
wall and CPU seconds, peak memory, ratios to trtpipe, and how near the int8 model comes to float32 on images that
none has seen: the same Q/DQ and weights, with the scales of each calibrator.
Run: python -m tests.bench.bench_calibrate [IMAGES [TURNS [PEER ...]]]; onnxruntime's entropy takes 115 MB an image.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path

from tests.bench.peers import Measured, environment_with, measured
from tests.bench.resnet50 import write_resnet50, write_samples

_CLOCK = """
import resource, sys, time
import numpy as np
model, data, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
def clock():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), used.ru_utime + used.ru_stime
def since(began):
    wall, user = clock()
    return {"seconds": wall - began[0], "user": user - began[1]}
images = np.load(data, mmap_mode="r")
"""

PLAIN = (
    _CLOCK
    + """
import onnxruntime
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
began = clock()
for index in range(count):
    session.run(None, {"image": np.ascontiguousarray(images[index : index + 1])})
MEASURED = since(began)
"""
)

OURS = (
    _CLOCK
    + """
from pathlib import Path
from trtpipe.calibration.calibrators import CalibrationRequest, find_calibrator
from trtpipe.canonical.reader import ir_model, read_skeleton
from trtpipe.precisions.quantization.places import tensors_to_scale
from trtpipe.spec.dataset import DatasetSpec
spec = DatasetSpec.model_validate({"schema": 1, "npy": {"image": data}})
tensors = tensors_to_scale(ir_model(read_skeleton(Path(model))))
request = CalibrationRequest(Path(model), tensors, spec, {data: Path(data)}, sys.argv[4], 99.99, count)
began = clock()
scales = find_calibrator("trtpipe").calibrate(request)
MEASURED = since(began) | {"amax": {name: one.amax for name, one in scales.tensors.items()}}
"""
)

ONNXRUNTIME = (
    _CLOCK
    + """
import tempfile
from pathlib import Path
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator
began = clock()
with tempfile.TemporaryDirectory() as folder:
    methods = {"max": CalibrationMethod.MinMax, "entropy": CalibrationMethod.Entropy}
    calibrator = create_calibrator(
        Path(model), ["Conv", "Gemm", "Add"], str(Path(folder) / "augmented.onnx"), methods[sys.argv[4]],
        extra_options={"symmetric": True},
    )
    samples = ({"image": np.ascontiguousarray(images[i : i + 1])} for i in range(count))
    class Reader:
        def get_next(self):
            return next(samples, None)
    calibrator.collect_data(Reader())
    ranges = calibrator.compute_data()
found = {name: float(max(np.abs(x).max() for x in ranges[name].range_value)) for name in ranges.keys()}
MEASURED = since(began) | {"amax": found}
"""
)

MODELOPT = (
    _CLOCK
    + """
import tempfile, onnx
from pathlib import Path
from modelopt.onnx.quantization import quantize
began = clock()
with tempfile.TemporaryDirectory() as folder:
    out = str(Path(folder) / "out.onnx")
    quantize(
        model, quantize_mode="int8", calibration_data={"image": np.ascontiguousarray(images[:count])},
        calibration_method=sys.argv[4], output_path=out, high_precision_dtype="fp32",
        calibration_eps=["cpu"], use_external_data_format=False,
    )
    made = onnx.load(out)
MEASURED = since(began)
weights = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
for node in made.graph.node:
    if node.op_type == "Constant":
        weights[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
MEASURED["amax"] = {
    n.input[0]: float(weights[n.input[1]]) * 127
    for n in made.graph.node
    if n.op_type == "QuantizeLinear" and n.input[0] not in weights and weights[n.input[1]].size == 1
}
"""
)

EXACTNESS = (
    _CLOCK
    + """
import json, tempfile
from pathlib import Path
import onnxruntime
from trtpipe.precisions import Choices, find_precision
from trtpipe.precisions.casts.files import rewrite_file
amax = json.loads(Path(sys.argv[4]).read_text())
began = clock()
with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "int8.onnx"
    rewrite_file(find_precision("int8"), Path(model), out, choices=Choices(base="fp32", amax=amax))
    sessions = [onnxruntime.InferenceSession(str(one), providers=["CPUExecutionProvider"]) for one in (model, out)]
    noise = signal = 0.0
    cosines = []
    for index in range(count):
        exact, found = (
            one.run(None, {"image": np.ascontiguousarray(images[index : index + 1])})[0].astype(np.float64)
            for one in sessions
        )
        noise, signal = noise + np.sum((exact - found) ** 2), signal + np.sum(exact**2)
        cosines.append(float(np.sum(exact * found) / np.sqrt(np.sum(exact**2) * np.sum(found**2))))
MEASURED = since(began) | {"decibels": float(10 * np.log10(signal / noise)), "cosine": min(cosines)}
"""
)


def peer(name: str) -> str:
    """The interpreter that a peer runs in."""
    if name == "ModelOpt":
        return environment_with("modelopt", "nvidia-modelopt[onnx]")
    return sys.executable


RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "plain pass": ("", PLAIN, ()),
    "trtpipe max": ("", OURS, ("max",)),
    "trtpipe entropy": ("", OURS, ("entropy",)),
    "trtpipe mse": ("", OURS, ("mse",)),
    "onnxruntime max": ("onnxruntime", ONNXRUNTIME, ("max",)),
    "onnxruntime entropy": ("onnxruntime", ONNXRUNTIME, ("entropy",)),
    "ModelOpt max": ("ModelOpt", MODELOPT, ("max",)),
    "ModelOpt entropy": ("ModelOpt", MODELOPT, ("entropy",)),
}


def main(images: int, turns: int, peers: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, data, unseen = folder / "resnet50.onnx", folder / "images.npy", folder / "unseen.npy"
        write_resnet50(model)
        write_samples(data, images)
        write_samples(unseen, 16, seed=2)
        found: dict[str, list[Measured]] = {}
        for turn in range(turns):
            for run, (who, code, arguments) in RUNS.items():
                if (who and who not in peers) or (turn and run not in found):
                    continue
                try:
                    taken = measured(peer(who), code, model, data, images, *arguments)
                except RuntimeError as error:
                    print(f"not run: {run}: {error}")
                    continue
                found.setdefault(run, []).append(taken)
                print(f"  {run:20} {taken.seconds:7.1f} s  CPU {taken.user:7.1f} s", file=sys.stderr)
        tell(found, images)
        exactness(found, model, unseen, folder)


def tell(found: dict[str, list[Measured]], images: int) -> None:
    plain = found["plain pass"]
    print(f"{images} images        seconds     CPU    peak MiB    x plain   CPU x plain  memory x plain")
    for run, taken in found.items():
        wall, user, peak = (
            statistics.median(getattr(one, what) for one in taken) for what in ("seconds", "user", "peak")
        )
        ratios = [
            statistics.median(getattr(a, what) / getattr(b, what) for a, b in zip(taken, plain, strict=False))
            for what in ("seconds", "user", "peak")
        ]
        print(
            f"{run:20} {wall:7.1f} {user:7.1f} {peak:11.0f}" + "".join(f"{ratio:12.2f}" for ratio in ratios)
        )
    for run, taken in found.items():
        ours = found.get(f"trtpipe {run.split()[-1]}")
        if ours and RUNS[run][0]:
            wall = statistics.median(a.seconds / b.seconds for a, b in zip(taken, ours, strict=False))
            peak = statistics.median(a.peak / b.peak for a, b in zip(taken, ours, strict=False))
            print(f"trtpipe is {wall:.1f} x faster than {run}, in 1/{peak:.1f} of its memory")


def exactness(found: dict[str, list[Measured]], model: Path, unseen: Path, folder: Path) -> None:
    """Each peer's scales beside ours of the same tensors: peers do not quantize the same ones."""
    amax = {run: taken[0].told["amax"] for run, taken in found.items() if "amax" in taken[0].told}
    ours = {run: scales for run, scales in amax.items() if not RUNS[run][0]}
    everything = {name for scales in ours.values() for name in scales}
    for run in ("", *(run for run in amax if RUNS[run][0])):
        names = everything & set(amax[run]) if run else everything
        print(f"int8, the {len(names)} tensors of {run or 'trtpipe'}:")
        for who, scales in {**({run: amax[run]} if run else {}), **ours}.items():
            file = folder / "amax.json"
            file.write_text(json.dumps({name: scales[name] for name in names}))
            told = measured(sys.executable, EXACTNESS, model, unseen, 16, file).told
            print(
                f"  {who:20} {told['decibels']:6.2f} dB of signal over noise, least cosine {told['cosine']:.6f}"
            )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(
        int(arguments[0]) if arguments else 128,
        int(arguments[1]) if arguments[1:] else 3,
        arguments[2:] or ["onnxruntime", "ModelOpt"],
    )
