"""What another kind of processor changes: imported models, and scales of every method, held against another machine's.

    python -m tests.conformance.run_processors OUT.json [--against OTHER.json]

Imports and calibrates the digits network on its data, and a ResNet-50 of a quarter of the width on random images, by
the bodies of the stages themselves, with ONNX Runtime's kernels for this processor; and searches for the types of a
digits network whose channels have all magnitudes, within a budget. TensorRT is not needed. With the
result of another machine, which must have the same versions of all packages, it prints what differs and by how much.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests import models
from tests.rescaled_digits import write_rescaled
from trtpipe.building.planned import make_plan
from trtpipe.building.silent import Unheard
from trtpipe.calibration.calibrators import find_calibrator
from trtpipe.datasets import dataset_record
from trtpipe.digests import digest_file
from trtpipe.frontends import frontend_called
from trtpipe.plan.task import MODEL, SCALES, Task
from trtpipe.processes.processor import processor_kind
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.stages.plan_stages import calibrate_model, import_model
from trtpipe.workspace.workspace import open_workspace

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

METHODS = ("max", "entropy", "percentile", "mse")
PACKAGES = ("numpy", "onnx", "onnx-ir", "onnxruntime")
SEARCHED = """\
schema: 1
pipeline: digits
model: {source: models/digits.onnx}
variants: {auto: {precision: auto, calibration: digits-calib, budget: {BUDGET}}}
profiles:
  - image: {min: 1x1x8x8, opt: 16x1x8x8, max: 64x1x8x8}
toolchains: {newest: {flavour: tensorrt_rtx, version: 1.7.1.116}}
targets: {ada: {gpu: rtx4090, toolchain: newest}}
validate: {data: digits-val, corners: false}
"""
BUDGETS = ("{accuracy_drop: 0.005}", "{metric: cosine, min: 0.9999}")
DIGITS = {"schema": 1, "npz": "calib.npz", "inputs": {"image": {}}}
NOISE = {"schema": 1, "random": {"shapes": {"x": "1x3x224x224"}}, "batch": 2}


def main() -> None:
    """Import, calibrate, write, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    found = measured()
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if asked.against:
        compare(json.loads(asked.against.read_text(encoding="utf-8")), found)


def measured() -> dict[str, Any]:
    """The processor, the packages, each imported model's digest, and each method's scales."""
    found: dict[str, Any] = {
        "processor": processor_kind(),
        "packages": {one: version(one) for one in PACKAGES},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        resnet = models.resnet50_like(folder / "resnet.onnx", width=0.25)
        digits = ROOT / "pipelines/models/digits_cnn.onnx"
        data = {"calib.npz": ROOT / "calibration/digits/calib.npz"}
        found["models"] = {}
        for model, source, spec, files, samples in (
            ("digits", digits, DIGITS, data, 64),
            ("resnet", resnet, NOISE, {}, 8),
        ):
            canonical = lowered(source, folder / f"{model}-canonical")
            scales = {one: calibrated(canonical, spec, files, samples, one, folder) for one in METHODS}
            found["models"][model] = {"canonical": digest_file(canonical).hex, "scales": scales}
        found["searches"] = {
            one: searched(folder / f"search{index}", one) for index, one in enumerate(BUDGETS)
        }
    return found


def lowered(source: Path, folder: Path) -> Path:
    """The canonical model of a file, in a folder of its own."""
    frontend = frontend_called("onnx")
    options = {
        "parser": "onnx",
        "parser_version": frontend.version,
        "options": frontend.Options().model_dump(mode="json"),
        "directory": False,
    }
    local = {"root": str(source.parent), "reach": []}
    folder.mkdir()
    return import_model(Task("import", options, {"source": {"model.onnx": source}}, folder, local)).files[
        MODEL
    ]


def calibrated(
    model: Path, spec: dict[str, Any], files: dict[str, Path], samples: int, method: str, folder: Path
) -> dict[str, Any]:
    """The digest of the scales, and each tensor's."""
    calibrator = find_calibrator("trtpipe")
    assert calibrator is not None
    options = {
        "backend": "trtpipe",
        "backend_version": calibrator.version,
        "provider": "cpu",
        "data": dataset_record(DatasetSpec.model_validate(spec), {}),
        "samples": samples,
        "method": method,
        "percentile": 99.9 if method == "percentile" else None,
        "ranges": False,
    }
    made_in = folder / f"{model.parent.name}-{method}"
    made_in.mkdir()
    inputs = {"model": {"model.onnx": model}, **({"data": files} if files else {})}
    local = {"root": str(folder), "reach": [], "events": str(folder / "events")}
    out = calibrate_model(Task("calibrate", options, inputs, made_in, local)).files[SCALES]
    tensors = json.loads(out.read_text(encoding="utf-8"))["tensors"]
    return {"digest": digest_file(out).hex, "amax": {name: one["amax"] for name, one in tensors.items()}}


def searched(root: Path, budget: str) -> str:
    """The choice of types that a search comes to, as its file has it; the plan's search step runs alone."""
    (root / "models").mkdir(parents=True)
    write_rescaled(root / "models/digits.onnx")
    shutil.copytree(ROOT / "calibration", root / "calibration")
    (root / "pipelines").mkdir()
    (root / "pipelines/digits.yaml").write_text(SEARCHED.replace("{BUDGET}", budget), encoding="utf-8")
    os.environ["TRTPIPE_STORE"] = str(root / "store")
    planned = make_plan(open_workspace([str(root / "pipelines/digits.yaml")], cwd=root))
    (address,) = [one for one in planned.plan.steps if one.stage == "search"]
    with planned.steps(Unheard()) as steps:
        steps.bring([address])
        choice = planned.workspace.store.path(steps.outputs[address]["precision.json"])
        return choice.read_text(encoding="utf-8")


def compare(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Print what differs between two machines."""
    if one["packages"] != other["packages"]:
        raise SystemExit(f"not comparable: {one['packages']} and {other['packages']}")
    print(f"{one['processor']} and {other['processor']}, {one['packages']}")
    for model, before in one["models"].items():
        now = other["models"][model]
        print(
            f"{model}: the imported model is {'the same' if before['canonical'] == now['canonical'] else 'another'}"
        )
        for method, scales in before["scales"].items():
            here = now["scales"][method]
            pairs = [(scales["amax"][name], here["amax"][name]) for name in scales["amax"]]
            differing = [abs(a - b) / max(abs(a), 1e-30) for a, b in pairs if a != b]
            worst = f", by at most {max(differing):.2g}" if differing else ""
            same = "equal bytes" if scales["digest"] == here["digest"] else "other bytes"
            print(f"  {method}: {same}; {len(differing)} of {len(pairs)} scales differ{worst}")
    for budget, choice in one["searches"].items():
        print(
            f"search within {budget}: {'the same types' if choice == other['searches'][budget] else 'other types'}"
        )


if __name__ == "__main__":
    main()
