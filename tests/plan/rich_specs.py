"""Two pipelines that use every stage and most options, and their plans, with made-up versions and digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.building.remote_files import fetch_facts, name_plainly, with_fetched
from trtpipe.digests import Digest, digest_bytes
from trtpipe.loader.project import load_project
from trtpipe.loader.specs import LoadedPipeline, load_pipeline
from trtpipe.plan.graph import Action, Outputs, Plan, Source, action_of, json_ready, plan_of
from trtpipe.plan.planner import steps_of
from trtpipe.plan.planner.facts import CalibrationFacts, ModelFacts, PipelineFacts, TargetFacts
from trtpipe.targets.toolchain import Toolchain
from trtpipe.workspace.known_names import known_names

PROJECT = """\
schema: 1
targets:
  shared:
    gpu: sm86
builder:
  workspace: 1GiB
  avg_timing_iterations: 4
toolchains:
  big:
    flavour: tensorrt
    version: 11.4.*
"""

REMOTE = """\
schema: 1
pipeline: remote
model:
  source: https://example.org/net.onnx?v=3
  sha256: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
  files:
    net.onnx.data: "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
  options:
    opset: 20
transform:
  bind: {sr: 16000}
  outputs: [r65]
  set_shapes:
    image: [-1, 3, 8, 8]
  simplify: true
variants:
  plain: {}
  half:
    precision: fp16
    keep:
      fp32: ["/head/**", "op:Softmax"]
    io: {"*": convert, logits: keep}
    calibration: {data: photos, samples: 16}
    overflow: refuse
  int8:
    precision: int8
    base: bf16
    method: percentile
    percentile: 99.5
    calibration:
      data: photos
      provider: cpu
      samples: 32
  cached:
    precision: int8
    calibration:
      cache: old.cache
      format: tensorrt
      min_coverage: 0.8
      rename: {a: b}
  weights:
    precision: int4
    block_size: 32
  found:
    precision: auto
    try: [int8, fp16]
    budget: {metric: cosine, output: logits, min: 0.999, samples: 4, max_seconds: 60}
    calibration: {data: photos}
profiles:
  - image: {min: 1x3x8x8, opt: 2x3x8x8, max: 4x3x8x8}
  - image:
      min: 1x3x8x8
      opt: 8x3x8x8
      max: 8x3x8x8
    size:
      values: {min: [1, 2], opt: [3, 4], max: [5, 6]}
targets:
  shared:
  own:
    gpu: [sm89, sm120]
  large:
    gpu: sm90
    toolchain: big
    hardware_compatibility: ampere_plus
    version_compatible: true
builder:
  optimization_level: 4
  tf32: true
plugins:
  - library: plugin.so
validate:
  data: photos
  samples: 6
  corners: false
  reference: float64
"""

DECLARED = """\
schema: 1
pipeline: declared
model:
  parser: network
  options:
    weights: net.safetensors
    inputs:
      image: {dtype: float32, shape: [batch, 4]}
    layers:
      - {layer: activation, name: relu, type: relu}
      - {layer: activation, name: tanh, type: tanh}
    outputs: [tanh]
transform:
  graft:
    append:
      - {layer: activation, name: last, type: relu}
    outputs: [last]
    weights: graft.safetensors
variants:
  fp32: {}
  fp16: {precision: fp16}
targets:
  ada: {gpu: sm89}
validate:
  random: {seed: 3, samples: 2}
  reference: {variant: fp32}
"""

PHOTOS = """\
schema: 1
images: photos/*.png
description: a few photos
inputs:
  image:
    resize:
      size: 8x8
      mode: letterbox
    scale: 0.5
"""

PHOTOS_RECORD = {
    "readers": {"images": 2},
    "packages": {"Pillow": "11.0"},
    "sources": {},
    "spec": {
        "images": ["photos/*.png"],
        "inputs": {"image": {"resize": {"size": [8, 8], "mode": "letterbox"}, "scale": 0.5}},
    },
}


@dataclass(frozen=True)
class Rich:
    """A loaded pipeline, and the plan of it."""

    pipeline: LoadedPipeline
    plan: Plan

    def actions(self) -> Iterator[Action]:
        """The action of every step, as if each had yielded made-up bytes."""
        outputs: dict[Any, Outputs] = {}
        for address, step in self.plan.steps.items():
            yield action_of(step, outputs)
            outputs[address] = _made_up(str(address))


def rich_plans(root: Path) -> dict[str, Rich]:
    """Both plans, by the pipeline's name; the project is written into `root`."""
    files = {"trtpipe.yaml": PROJECT, "calibration/photos.yaml": PHOTOS}
    files |= {"pipelines/remote.yaml": REMOTE, "pipelines/declared.yaml": DECLARED}
    files |= dict.fromkeys(("old.cache", "plugin.so", "net.safetensors", "graft.safetensors"), "")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return {name: _rich(root, name, facts) for name, facts in FACTS.items()}


def _rich(root: Path, name: str, facts_of: Callable[[LoadedPipeline], PipelineFacts]) -> Rich:
    pipeline = load_pipeline(root / f"pipelines/{name}.yaml", load_project(root), known_names())
    return Rich(pipeline, plan_of(*steps_of(pipeline.spec, facts_of(pipeline))))


def _made_up(text: str) -> dict[str, Digest]:
    names = (
        "source/model.onnx", "model.onnx", "scales.json", "precision.json", "search.json",
        "parsed.onnx", "parsed.weights", "typed.npz",
    )  # fmt: skip
    return {name: digest_bytes(f"{text} {name}".encode()) for name in names}


def _source(pipeline: LoadedPipeline, name: str, file: str) -> Source:
    return Source(name, pipeline.project.root / file, digest_bytes(file.encode()))


STAGES = ("transform", "quantize", "parse", "validate", "readback")
TOOLS = {stage: {"onnx": "1.19", "onnxruntime": "1.22"} for stage in STAGES}
VERSIONS = dict.fromkeys(("fp32", "fp16", "int8", "int4"), 7)


def _remote_facts(pipeline: LoadedPipeline) -> PipelineFacts:
    photos = (_source(pipeline, "photos/a.png", "photos/a.png"),)
    scales = CalibrationFacts(PHOTOS_RECORD, photos, 5, {"numpy": "2.0"})
    ranges = CalibrationFacts(PHOTOS_RECORD, photos, 5, {"numpy": "2.0"}, scales=False, ranges=True)
    cache = CalibrationFacts({}, (_source(pipeline, "cache", "old.cache"),), 3, {"onnx": "1.19"})
    return PipelineFacts(
        _model(pipeline, {}),
        TOOLS,
        VERSIONS,
        {"shared": _rtx("sm86"), "own": _rtx("sm89", "sm120"), "large": _tensorrt()},
        PHOTOS_RECORD,
        photos,
        plugins=(_source(pipeline, "plugin", "plugin.so"),),
        calibrations={"half": ranges, "int8": scales, "cached": cache, "found": scales},
    )


def _declared_facts(pipeline: LoadedPipeline) -> PipelineFacts:
    assert pipeline.spec.validate_ is not None and pipeline.spec.validate_.random is not None
    return PipelineFacts(
        _model(pipeline, {"files": (_source(pipeline, "weights", "net.safetensors"),)}),
        TOOLS,
        VERSIONS,
        {"ada": _rtx("sm89")},
        {"random": pipeline.spec.validate_.random.model_dump()},
        graft={"files": (_source(pipeline, "weights", "graft.safetensors"),)},
    )


FACTS = {"remote": _remote_facts, "declared": _declared_facts}


def _model(pipeline: LoadedPipeline, slots: dict[str, Any]) -> ModelFacts:
    options = json_ready(pipeline.options.model_dump(mode="json", by_alias=True))
    if not pipeline.remotes:
        return ModelFacts(slots, options, 4, {"onnx": "1.19"})
    name_plainly(options, pipeline)
    return ModelFacts(
        with_fetched(pipeline, {**slots, "files": ()}),
        options,
        4,
        {"onnx": "1.19"},
        fetch=fetch_facts(pipeline),
    )


def _rtx(*capabilities: str) -> TargetFacts:
    found = Toolchain("tensorrt_rtx", "1.7.1.116", ("python",), ("site",), "cpython 3.12.1")
    return TargetFacts(capabilities, found.facts(), found=found)


def _tensorrt() -> TargetFacts:
    found = Toolchain("tensorrt", "11.4.0.106", ("python",), ("site",), "cpython 3.12.1")
    return TargetFacts(("sm90",), found.facts(), {"driver_cuda_major": "13"}, found=found)
