"""Stages that take no time: what each yields is a function of its inputs and options, as real ones' is.

Everything around them is the real thing: specs, facts, plan, decisions, store, scheduler, judging, delivery. The
summaries are as small as judging and delivery allow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from trtpipe.building.performer import Performer
from trtpipe.digests import digest_bytes
from trtpipe.errors import StepFailed
from trtpipe.plan.graph import Action
from trtpipe.plan.ports import ActionResult
from trtpipe.problem_codes import Code
from trtpipe.search.choices import Choice, choice_text

FLOATS = {"fp32": "float32", "fp16": "float16", "int8": "float16"}
NO_NUMBERS = {
    "elements": 4, "differing": 0, "reference_accuracy": None, "largest": 1.0, "where_max_abs": [],
    "nonfinite": {"nan": 0, "inf": 0, "reference_nan": 0, "reference_inf": 0, "differing": 0},
}  # fmt: skip


class StandIns:
    """Performs actions in the place of `Performer`; `broken` are stages that fail."""

    def __init__(self) -> None:
        self.broken: set[str] = set()

    def __call__(self, performer: Performer, action: Action, scratch: Path, control: Any) -> ActionResult:
        if action.stage in self.broken:
            raise StepFailed(Code.STEP_CRASHED, f"{action.stage} is broken")
        inputs = performer.inputs_of(action, scratch / "in")
        content = _content(action, inputs)
        outputs, summary = getattr(self, f"_{action.stage}")(action, content)
        (scratch / "out").mkdir(exist_ok=True)
        paths = {name: scratch / "out" / name for name in outputs}
        for name, text in outputs.items():
            paths[name].write_text(text)
        return ActionResult(paths, summary)

    def _import(self, action: Action, content: str) -> Any:
        summary = {"inputs": [], "outputs": [], "opsets": [["", 17]], "operators": [], "weights": []}
        return {"model.onnx": content}, {"files": ["model.onnx"], "summary": summary, "warnings": []}

    def _calibrate(self, action: Action, content: str) -> Any:
        """Early cutoff: only the first digit of what goes in comes out."""
        return {"scales.json": content[:1]}, {
            "method": "max",
            "backend": "trtpipe",
            "samples": 1,
            "warnings": [],
        }

    def _search(self, action: Action, content: str) -> Any:
        name = "fp16" if content[0] in "01234567" else "fp32"
        choice = Choice(name)
        summary = {
            "choice": choice.to_json(),
            "budget": "b",
            "reached": "r",
            "from": "a search",
            "bounded": "",
        }
        return {"precision.json": choice_text(choice), "search.json": json.dumps(summary)}, summary

    def _quantize(self, action: Action, content: str) -> Any:
        counts = {"nodes": {}, "weights": {}, "weight_elements": {}, "weight_bytes": {}, "casts": 0}
        shares = {"nodes": None, "weight_elements": None}
        audit = {**counts, "low_precision_share": shares}
        wide = {"overflow": {}, "unmeasured": 0, "overflow_io": {}, "by_default": {}}
        summary = {"audit": audit, "planned": {}, "quantized": 0, "casts": 0, "why_not": {}, "wide": wide}
        return {"model.onnx": content}, summary | {"warnings": []}

    def _validate(self, action: Action, content: str) -> Any:
        snr = 10.0 + int(content[:4], 16) % 50
        metrics = {"snr": snr, "cosine": 1.0, "accuracy": None}
        missing = dict.fromkeys(
            ("max_abs", "max_rel", "mean_abs", "rmse", "psnr", "top1_agreement", "top5_agreement")
        )
        output = {
            "metrics": {**missing, **metrics},
            "not_applicable": {"accuracy": "no labels"},
            **NO_NUMBERS,
        }
        place = {"place": "data", "kind": "data", "samples": 2, "outputs": {"y": output}}
        report = {"schema": 1, "places": [place], "not_run": [], "nonfinite": [], "twins": {}, "recorded": 2}
        return {"validation.json": json.dumps(report), "typed.npz": content}, report

    def _parse(self, action: Action, content: str) -> Any:
        nothing = {name: [] for name in ("unread", "cut", "notes", "misfits", "contradictions", "warnings")}
        summary = {"layers": 1, "layers_read": 1, "unread_by_type": {}, "unreadable": "", **nothing}
        return dict.fromkeys(("parsed.json", "parsed.onnx", "parsed.weights"), content), summary

    def _build_engine(self, action: Action, content: str) -> Any:
        network = json.dumps({"io": [], "layers": []})
        files = {"model.engine": content, "build.log": "", "layers.json": "[]", "network.json": network}
        told = {
            "version": "1.7.1.116",
            "python": "cpython 3.11.7",
            "layer_counts": {},
            "io": [],
            "seconds": {},
        }
        return files, {"normalised": content, "address_randomisation": "off", "addresses": "fixed", **told}


def _content(action: Action, inputs: Mapping[str, Mapping[str, Path]]) -> str:
    """A digest of all that a stage may look at; of a source model its weights alone."""
    texts = [json.dumps(action.fingerprint.options, sort_keys=True, default=str)]
    for slot, files in sorted(inputs.items()):
        for name, path in sorted(files.items()):
            if slot == "source":
                weights = onnx.load(path).graph.initializer
                texts.append(repr([one.raw_data for one in weights]))
            else:
                texts.append(f"{slot} {name} {digest_bytes(path.read_bytes())}")
    return digest_bytes("\n".join(texts).encode()).hex
