"""`trtpipe inspect` and `trtpipe doctor`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trtpipe.cli.output import EXIT_DONE, say, say_json
from trtpipe.digests import Digest
from trtpipe.errors import SpecError
from trtpipe.rendering.tables import render_table
from trtpipe.shapes import format_size


def inspect_command(file: Path, *, as_json: bool) -> int:
    """Describe a model, an engine, or the model of a pipeline, told apart by content."""
    if not file.exists():
        raise SpecError(f"no such file: {str(file)!r}")
    from trtpipe.describing.file_kind import kind_of_file

    describe = {"engine": _engine, "pipeline": _pipeline, "model": _model}[kind_of_file(file)]
    record = describe(file)
    if as_json:
        say_json(record)
    else:
        lines = {"engine": _engine_lines, "pipeline": _pipeline_lines, "onnx": _model_lines}[record["format"]]
        say("\n".join(lines(record)))
    return EXIT_DONE


def _engine(file: Path) -> dict[str, Any]:
    from trtpipe.describing.inspect_engine import describe_engine
    from trtpipe.toolchains.header import read_engine_header

    return describe_engine(file, read_header=read_engine_header, find_manifest=_manifest_in_build).to_json()


def _manifest_in_build(digest: Digest) -> Mapping[str, Any] | None:
    """The manifest of an engine that was copied away from this project's build directory."""
    import json

    from trtpipe.loading.project import find_root
    from trtpipe.system.workspace import BUILD_DIRECTORY

    for path in (find_root(Path.cwd()) / BUILD_DIRECTORY).glob("*/*/manifest.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record: Mapping[str, Any] = json.loads(path.read_bytes())
            if record["engine"]["blake3"] == digest.hex:
                return record
    return None


def _model(file: Path) -> dict[str, Any]:
    from trtpipe.describing.inspect_model import describe_model

    return describe_model(file).to_json()


def _pipeline(file: Path) -> dict[str, Any]:
    from trtpipe.system.describing import describe_spec

    return describe_spec(str(file)).to_json()


def _engine_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"{record['path']}: TensorRT engine, {format_size(record['bytes'])}, BLAKE3 {record['blake3']}"
    header = record["header"] or {}
    if header:
        yield "header: " + ", ".join(
            f"{name} {value}" for name, value in header.items() if value not in (None, "")
        )
    for name, gpus in record["gpus"].items():
        yield f"runs on {name}: {', '.join(gpus)}"
    manifest = record["manifest"]
    if manifest:
        yield f"cell {manifest['cell']}, precision {manifest['precision']}"
        toolchain = manifest["toolchain"]
        yield f"built by {toolchain['flavour']} {toolchain['version']}, {toolchain['python']}"
        rows = [(one["mode"], one["name"], one["dtype"], _dims(one["shape"])) for one in manifest["io"]]
        yield render_table(("mode", "tensor", "dtype", "shape"), rows)
        outcome = str(manifest["validation"].get("outcome", "not run")).replace("_", " ")
        yield f"validation: {outcome}"
    else:
        yield "no manifest is known for these bytes"
    yield from record["notes"]


def _model_lines(record: Mapping[str, Any]) -> Iterator[str]:
    summary = record["summary"]
    opsets = ", ".join(f"{name or 'ai.onnx'} {version}" for name, version in _pairs(summary["opsets"]))
    yield f"{record['path']}: ONNX model, {format_size(record['nbytes'])}, opset {opsets}"
    yield _tensor_table(summary)
    yield from _content_lines(record)
    if record["shape_tensors"]:
        yield f"shape tensors: {', '.join(record['shape_tensors'])}"
    for one in record["external"]:
        yield f"external data: {one['name']}, {format_size(one['nbytes'])}"
    yield from record["problems"]


def _pipeline_lines(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"{record['path']}: pipeline {record['pipeline']}, parser {record['parser']}"
    yield _tensor_table(record["summary"])
    if record["layers"]:
        rows = [
            (layer["name"] if first else "", layer["layer"] if first else "", one["name"], one["dtype"],
             _dims(one["dims"]), str(layer["parameters"]) if first else "")
            for layer in record["layers"]
            for first, one in zip((True, *[False] * len(layer["outputs"])), layer["outputs"], strict=False)
        ]  # fmt: skip
        yield render_table(("layer", "kind", "output", "dtype", "shape", "parameters"), rows)
    yield from _content_lines(record)
    yield from record["problems"]


def _tensor_table(summary: Mapping[str, Any]) -> str:
    rows = [
        (mode, one["name"], one["dtype"], _dims(one["dims"]))
        for mode, key in (("input", "inputs"), ("output", "outputs"))
        for one in summary[key]
    ]
    return render_table(("mode", "tensor", "dtype", "shape"), rows)


def _content_lines(record: Mapping[str, Any]) -> Iterator[str]:
    summary = record["summary"]
    operators = ", ".join(f"{name} {count}" for name, count in _pairs(summary["operators"]))
    yield f"operators: {operators}"
    for weights in summary["weights"]:
        yield f"weights {weights['dtype']}: {weights['elements']} values, {format_size(weights['nbytes'])}"
    yield from _cost_lines(record)
    if record["dynamic"]:
        yield f"dynamic inputs: {', '.join(record['dynamic'])}"


def _cost_lines(record: Mapping[str, Any]) -> Iterator[str]:
    costs = record["costs"]
    at = ", ".join(f"{name} {_dims(shape)}" for name, shape in record["at"].items())
    shown = ", ".join(f"{name} {value}" for name, value in costs.items() if isinstance(value, (int, float)))
    if shown:
        yield f"at {at}: {shown}"


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return [(str(name), number) for name, number in (value.items() if isinstance(value, Mapping) else value)]


def _dims(dims: Any) -> str:
    if dims is None:
        return "unknown rank"
    return "x".join("?" if dim in (None, -1) else str(dim) for dim in dims) or "scalar"


def doctor_command(*, as_json: bool) -> int:
    """Print what this machine can do, line by line."""
    from trtpipe.loading.project import find_root
    from trtpipe.toolchains.doctor import examine

    report = examine((find_root(Path.cwd()),))
    if as_json:
        say_json(report.to_json())
        return EXIT_DONE
    for finding in report.findings:
        say(f"{finding.status:<4}  {finding.topic}: {finding.fact}")
        if finding.reason:
            say(f"      {finding.reason}")
    return EXIT_DONE
