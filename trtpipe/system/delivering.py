"""Delivers a cell: judges what it proved, then puts its files into the build directory.

`manifest.json` is written last and removed first, so a directory that has one is whole. Nothing is delivered of a
cell that fails its thresholds or its audit: an engine that may not ship is not put where people pick engines up.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe import __version__
from trtpipe import manifest as manifests
from trtpipe.digests import key_of
from trtpipe.errors import StoreError, TrtpipeError
from trtpipe.files import write_whole
from trtpipe.manifest import Proof, lock_entry_of, manifest_of
from trtpipe.plan.graph import Cell, Stage
from trtpipe.plan.ports import Observer
from trtpipe.plan.trace import Trace
from trtpipe.rendering.summaries import cell_summary
from trtpipe.shapes import format_size
from trtpipe.spec.pipeline import PipelineSpec
from trtpipe.system.proving import prove_cell
from trtpipe.system.targets import TargetResolver
from trtpipe.system.workspace import Workspace

_DELIVERED: Mapping[Stage, tuple[str, ...]] = {
    "quantize": ("model.onnx", "model.onnx.data"),
    "build_engine": ("model.engine", "build.log", "network.json", "layers.json"),
    "validate": ("validation.json",),
}


def policy_of(spec: PipelineSpec, variant: str) -> str:
    """What judges a variant's cells: the thresholds and the audit's bound, as a key."""
    asked = spec.validate_
    record = {
        "manifest": manifests.SCHEMA,
        "trtpipe": __version__,
        "thresholds": [one.model_dump() for one in asked.thresholds] if asked else [],
        "min_low_precision": spec.variants[variant].min_low_precision,
    }
    return key_of(record)


def content_of(cell: Cell, policy: str, keys: Mapping[Stage, str]) -> str:
    """What identifies the delivered files: the steps' keys, what the spec calls the GPUs, and the policy."""
    return key_of([policy, list(cell.facts["gpu"]), *keys.values()])


@dataclass(slots=True)
class Delivery:
    """Delivers cells of one workspace."""

    workspace: Workspace
    specs: Mapping[str, PipelineSpec]
    observer: Observer
    targets: TargetResolver

    def deliver(self, cell: Cell, keys: Mapping[Stage, str], *, built: bool) -> bool:
        """Bring a cell's files into place; whether anything changed. Raises ValidationFailed or StoreError."""
        spec = self.specs[cell.pipeline]
        content = content_of(cell, policy_of(spec, cell.variant), keys)
        state = self.workspace.state
        if state.delivered(cell.name, content):
            return False
        traces = {stage: self._trace(key) for stage, key in keys.items()}
        proof = prove_cell(cell, spec, traces, self.workspace.store, self.targets)
        manifest = manifest_of(cell, traces, proof)
        files = self._write(cell, traces, manifest)
        state.remember_cell(cell.name, content, files, lock_entry_of(cell, traces, proof))
        self._tell(cell, traces, proof, built=built)
        return True

    def _trace(self, key: str) -> Trace:
        trace = self.workspace.store.trace(key)
        if trace is None:
            raise StoreError(f"the store lost the trace {key[:12]} while the build ran", "build again")
        return trace

    def _write(self, cell: Cell, traces: Mapping[Stage, Trace], manifest: dict[str, Any]) -> list[Path]:
        folder = self.workspace.build / cell.directory
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "manifest.json").unlink(missing_ok=True)
            files = self._artifacts(folder, traces)
            for name, text in (
                ("summary.md", cell_summary(manifest)),
                ("manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False)),
            ):
                write_whole(folder / name, (text + "\n").encode())
                files.append(folder / name)
        except OSError as error:
            what = (error.strerror or str(error)).lower()
            remedy = "the engine is in the store; make room and build again: nothing is built twice"
            raise TrtpipeError(f"cannot deliver {cell.name} to {folder}: {what}", remedy) from error
        return files

    def _artifacts(self, folder: Path, traces: Mapping[Stage, Trace]) -> list[Path]:
        files = []
        for stage, names in _DELIVERED.items():
            outputs = traces[stage].outputs if stage in traces else {}
            for name in names:
                path = folder / name
                if name in outputs:
                    self.workspace.store.fetch(outputs[name], path)
                    files.append(path)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        path.unlink()
        return files

    def _tell(self, cell: Cell, traces: Mapping[Stage, Trace], proof: Proof, *, built: bool) -> None:
        size = format_size(traces["build_engine"].outputs["model.engine"].size)
        gpus = " ".join(cell.facts["compute_capabilities"])
        about = f"{size}, {gpus}, {outcome_words(proof.validation)}"
        self.observer.emit(
            {
                "event": "delivered",
                "built": built,
                "cell": cell.name,
                "about": about,
                "directory": str(self.workspace.build / cell.directory),
                "validation": dict(proof.validation),
                "audit": dict(proof.audit),
                "not_run": list(proof.not_run),
            }
        )


def outcome_words(validation: Mapping[str, Any]) -> str:
    """`validated on the CPU` or what else became of it, in words."""
    outcome = validation.get("outcome")
    accuracy = validation.get("accuracy")
    words = {"passed": "validated on the CPU", "failed": "validation failed"}.get(
        str(outcome), "not validated"
    )
    return f"{words}, accuracy {accuracy:.4g}" if isinstance(accuracy, float) else words
