"""Stages that take no time and make cells whose engines can be run: the stand-ins of `tests/runners` copy an input.

The typed model of the README's digits is an Identity here, and so is the engine, unless it is to be wrong: then it
gives the bytes of a constant.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.foreseeing.stand_ins import StandIns
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult
from trtpipe.runners.validation.recordings import RecordedRun, write_recording

TYPED = """<ir_version: 9, opset_import: ["" : 17]>
g (float[N,1,8,8] image) => (float[N,1,8,8] logits) { logits = Identity(image) }"""
SHAPES = [[1, 1, 8, 8], [8, 1, 8, 8], [64, 1, 8, 8]]


def engine_text(name: str, wrong: bool) -> str:
    tensor = {"dtype": "FLOAT", "shape": [-1, 1, 8, 8]}
    ops = [{"op": "copy", "from": "image", "to": "logits"}]
    if wrong:
        ops = [
            {"op": "copy", "from": "image", "to": "logits"},
            {"op": "spoil", "from": "image", "to": "logits"},
        ]
    record = {
        "name": name,
        "tensors": [
            {"name": "image", "mode": "INPUT", **tensor},
            {"name": "logits", "mode": "OUTPUT", **tensor},
        ],
        "profiles": [{"image": SHAPES}],
        "ops": ops,
    }
    return json.dumps(record)


class EngineStandIns(StandIns):
    """Performs actions; `wrong` says whether engines give wrong outputs."""

    def __init__(self, *, wrong: bool) -> None:
        super().__init__()
        self.wrong = wrong

    def __call__(self, performer: Any, action: Action, scratch: Path, control: Any) -> ActionResult:
        result = super().__call__(performer, action, scratch, control)
        out = scratch / "out"
        if action.stage == "quantize":
            onnx.save(onnx.parser.parse_model(TYPED), out / "model.onnx")
        if action.stage == "build_engine":
            # What is in the key, and no more: cells with the same key have the same engine, whoever built it first.
            (out / "model.engine").write_text(engine_text(action.key, self.wrong))
        if action.stage == "validate":
            images = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
            write_recording(out / "golden.npz", [RecordedRun({"image": images}, {"logits": images})])
            return ActionResult({**result.files, "golden.npz": out / "golden.npz"}, result.summary)
        return result
