"""A small project that is edited at random, and undone, and robbed of what it built."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

VARIANTS = {
    "fp32": {},
    "fp16": {"precision": "fp16", "min_low_precision": 0},
    "half": {"precision": "fp16", "min_low_precision": 0},  # the same work as fp16's
    "int8": {"precision": "int8", "calibration": "calib", "min_low_precision": 0},
    "auto": {"precision": "auto", "try": ["fp16"], "budget": {"metric": "cosine", "min": 0.9}},
}
TARGETS = {"ada": {"gpu": "sm89"}, "ampere": {"gpu": "sm86"}, "both": {"gpu": ["sm86", "sm89"]}}


@dataclass(frozen=True)
class Content:
    """All that a person may write."""

    weight: int = 0
    comment: int = 0
    """Something in the model's file that importing leaves out."""
    opt: int = 2
    threshold: int = 5
    samples: int = 1
    calibration: int = 0
    workspace: str = "1GiB"
    variants: tuple[str, ...] = ("fp32", "fp16")
    targets: tuple[str, ...] = ("ada",)


@dataclass
class AnyProject:
    """The project on the disk, and what was in it before."""

    root: Path
    now: Content = field(default_factory=Content)
    before: list[Content] = field(default_factory=list)

    def write(self) -> None:
        """Put what is to be there onto the disk; files that say the same already stay as they are."""
        now = self.now
        spec = {
            "schema": 1,
            "pipeline": "p",
            "model": {"source": "m.onnx"},
            "variants": {name: VARIANTS[name] for name in now.variants},
            "profiles": [{"x": {"min": "1x4", "opt": f"{now.opt}x4", "max": "8x4"}}],
            "toolchains": {"rtx": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"}},
            "targets": {name: {**TARGETS[name], "toolchain": "rtx"} for name in now.targets},
            "builder": {"workspace": now.workspace},
            "validate": {
                "random": {"samples": now.samples},
                "corners": False,
                "readback": {"run": False},
                "thresholds": [{"metric": "snr", "min": now.threshold}],
            },
        }
        self._put("pipelines/p.yaml", json.dumps(spec, indent=1).encode())
        calib = {"schema": 1, "random": {"shapes": {"x": "1x4"}, "high": 1 + now.calibration}}
        self._put("calibration/calib.yaml", json.dumps(calib).encode())
        self._put("trtpipe.yaml", b"schema: 1\nstore: {path: store}\n")
        self._put("m.onnx", model(now.weight, now.comment))

    def _put(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)

    def edit(self, rng: random.Random) -> None:
        """Change one to three things in one commit, or take a change back."""
        self.before.append(self.now)
        if len(self.before) > 1 and rng.random() < 0.25:
            self.now = rng.choice(self.before)
        else:
            for _ in range(rng.randint(1, 3)):
                self.now = self._changed(rng)
        self.write()

    def _changed(self, rng: random.Random) -> Content:
        name = rng.choice(list(Content.__dataclass_fields__))
        match name:
            case "variants":
                return replace(self.now, variants=_some(rng, list(VARIANTS)))
            case "targets":
                return replace(self.now, targets=_some(rng, list(TARGETS)))
            case "workspace":
                return replace(self.now, workspace=rng.choice(["1GiB", "2GiB"]))
            case "threshold":
                return replace(self.now, threshold=rng.choice([5, 20, 40, 55]))
            case "opt" | "samples":
                return replace(self.now, **{name: rng.randint(1, 3)})
        return replace(self.now, **{name: rng.randint(0, 2)})

    def lose(self, rng: random.Random) -> None:
        """Take away delivered files, artifacts, traces, the state, or the lockfile."""
        build, store = self.root / "build", self.root / "store"
        match rng.randrange(6):
            case 0:
                shutil.rmtree(build, ignore_errors=True)
            case 1:
                _remove(rng, sorted(build.glob("*/*/*")), 0.2)
            case 2:
                _remove(rng, sorted(path for path in (store / "objects").rglob("*") if path.is_file()), 0.4)
            case 3:
                _remove(rng, sorted(path for path in (store / "traces").rglob("*") if path.is_file()), 0.3)
            case 4:
                (self.root / ".trtpipe" / "state.json").unlink(missing_ok=True)
            case _:
                (self.root / "trtpipe.lock").unlink(missing_ok=True)


def model(weight: int, comment: int) -> bytes:
    """y = x · w, with a weight and a comment of one's choice."""
    w = numpy_helper.from_array(np.full((4, 4), weight, np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], "mm")], "g", [x], [y], [w])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made.doc_string = str(comment)
    return made.SerializeToString(deterministic=True)


def _some(rng: random.Random, names: list[str]) -> tuple[str, ...]:
    return tuple(sorted(rng.sample(names, k=rng.randint(1, len(names)))))


def _remove(rng: random.Random, paths: list[Path], share: float) -> None:
    for path in paths:
        if rng.random() < share:
            path.unlink()
