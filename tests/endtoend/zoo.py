"""The real models of the shared test data, with the specs that their users would write."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.projects import Project

SHARED = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "onnx"
ADA = {"ada": "sm89"}
GENERATIONS = {"ampere": "sm86", "ada": "sm89", "blackwell": "sm120"}

PROFILES = {
    "magika_v3_3": {"bytes": ("1x2048", "2x2048", "4x2048")},
    "mtcnn_rnet": {"input_2": ("1x24x24x3", "4x24x24x3", "32x24x24x3")},
    "ppocr_cls": {"x": ("1x3x48x64", "2x3x48x192", "4x3x64x320")},  # width is not height
    "silero_vad_op18_ifless": {
        "input": ("1x512", "2x576", "8x1024"),
        "state": ("2x1x128", "2x2x128", "2x8x128"),
    },
}
"""Model → input → its smallest, likeliest and largest shape."""

BIND = {"silero_vad_op18_ifless": {"sr": 16000}}
MODELS = tuple(PROFILES)


def folder_of(kind: str) -> Path:
    """The shared models of a kind; skips where there are none."""
    folder = SHARED / kind
    if not folder.is_dir():
        pytest.skip(f"the shared test data (testdata/onnx/{kind}) are not here")
    return folder


def spec_of(
    model: str,
    targets: Mapping[str, str] = ADA,
    validate: str = "{random: {seed: 0, samples: 2}}",
    half: str = "{precision: fp16}",
) -> str:
    """The YAML of a pipeline that builds the model in fp32 and fp16."""
    profile = "\n".join(
        f"    {name}: {{min: {low}, opt: {opt}, max: {high}}}"
        for name, (low, opt, high) in PROFILES[model].items()
    )
    lines = [
        "schema: 1",
        f"pipeline: {model}",
        f"model: {{source: models/{model}.onnx}}",
        f"transform: {{bind: {BIND[model]}}}".replace("'", "") if model in BIND else "",
        "variants:",
        "  fp32: {}",
        f"  fp16: {half}",
        "profiles:",
        "  -" + profile[3:],
        "targets:",
        *(f"  {name}: {{gpu: {gpu}}}" for name, gpu in targets.items()),
        "builder: {workspace: 1GiB}",
        f"validate: {validate}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def add_model(root: Path, model: str, **spec: Any) -> None:
    """Put a model, its recording and its spec into the project at `root`."""
    folder = folder_of("real")
    for name, suffix in (("models", ".onnx"), ("golden", ".npz")):
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{model}{suffix}", root / name)
    Project(root).spec(spec_of(model, **spec), model)


def recording_of(model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The recorded inputs and outputs."""
    with np.load(folder_of("real") / f"{model}.npz") as archive:
        arrays = dict(archive)
    return (
        {name[3:]: array for name, array in arrays.items() if name.startswith("in:")},
        {name[4:]: array for name, array in arrays.items() if name.startswith("out:")},
    )
