"""A build directory that looks built: manifests with what a package reads of them, engines of a few bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trtpipe.digests import digest_bytes

RTX = {"flavour": "tensorrt_rtx", "version": "1.7.1.116", "python": "cpython 3.11.7"}
TENSORRT = {"flavour": "tensorrt", "version": "10.13.3.9", "python": "cpython 3.11.7"}


def port(name: str, mode: str, shape: list[int], dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "mode": mode, "dtype": dtype, "shape": shape, "shape_tensor": False}


def deliver(root: Path, cell: str, sm: str = "sm89", **changes: Any) -> Path:
    """Writes `build/CELL`; `options` are the engine's in its key, anything else replaces a part of the manifest."""
    folder = root / "build" / cell
    folder.mkdir(parents=True)
    variant = cell.partition("@")[0]
    files = {
        "model.engine": f"the engine of {cell}".encode(),
        "model.onnx": f"the model of {variant}".encode(),
    }
    for name, data in {**files, "provenance.json": b"{}", "model.cdx.json": b"{}"}.items():
        (folder / name).write_bytes(data)
    options = changes.pop("options", {})
    manifest = {
        "schema": 1,
        "cell": cell,
        "engine": {
            "file": "model.engine",
            "blake3": digest_bytes(files["model.engine"]).hex,
            "header": {"weight_bytes": 4096},
        },
        "model": {"model.onnx": {"blake3": digest_bytes(files["model.onnx"]).hex, "bytes": 1}},
        "compute_capabilities": [sm],
        "toolchain": RTX,
        "profiles": [{"x": {"min": [1, 3], "opt": [4, 3], "max": [8, 3]}}],
        "io": [
            port("x", "input", [-1, 3]),
            port("scores", "output", [-1, 2]),
            port("boxes", "output", [-1, 4]),
        ],
        "validation": {"outcome": "passed"},
        "not_run": ["the engine on a GPU: this machine has none"],
        "timings": {"seconds": {"import": 0.1}},
        "peak_rss": {"import": 1},
        "steps": {"build_engine": {"fingerprint": {"options": options, "inputs": {"model": {}}}}},
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


OCR = {"det": "ocr-det", "cls": "ocr-cls", "rec": "ocr.rec"}
"""Member → the first part of its cells' names: one has a reshape in front of it, which makes it a model of its own."""


def deliver_ocr(root: Path, rec: str = "fp16") -> Path:
    """Writes `build/ocr/bundle.json` of the example of a bundle; `rec` is the variant of one member for one target."""
    variants = {("ada", "rec"): rec}
    cells = {
        target: {
            member: f"{OCR[member]}/{variants.get((target, member), 'fp16')}@{target}"
            for member in ("det", "cls", "rec")
        }
        for target in ("ada", "ampere", "blackwell")
    }
    record = {
        "schema": 1,
        "bundle": "ocr",
        "key": "1" * 64,
        "edges": [
            {"from": "det.crop", "to": "cls.crop", "reshape": None, "cast": None},
            {"from": "det.crop", "to": "rec.x", "reshape": None, "cast": None},
            {"from": "cls.probs", "to": "rec.prior", "reshape": [-1, 1, 2], "cast": "float16"},
        ],
        "targets": {
            target: {one: _built(cell) for one, cell in chosen.items()} for target, chosen in cells.items()
        },
    }
    path = root / "build/ocr/bundle.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))
    return path


def _built(cell: str) -> dict[str, str]:
    return {"cell": cell, "engine": f"{engine_digest(cell)} (1 bytes)"}


def engine_digest(cell: str) -> str:
    return digest_bytes(f"the engine of {cell}".encode()).hex
