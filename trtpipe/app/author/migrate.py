"""Migrates a calibration cache for a model: a report, scales in trtpipe's format, and a model with explicit Q and DQ.

The model is an ONNX file, or that of a pipeline after import and transform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtpipe.errors import SpecError
from trtpipe.files import temporary_folder
from trtpipe.inspection.file_kind import kind_of_file
from trtpipe.problem_codes import Code
from trtpipe.stages.cache_scales import CacheUse, scales_from_cache

MODEL, SCALES = "model.onnx", "scales.json"


@dataclass(frozen=True, slots=True)
class Migration:
    """The options of a migration; files that are None are not written."""

    cache: Path
    model: Path
    scales: Path | None
    qdq: Path | None
    base: str
    declared: str
    min_coverage: float
    rename: Mapping[str, str]
    force: bool


def migrate_cache(asked: Migration) -> dict[str, Any]:
    """Carries the migration out; returns the report of the cache. Raises TrtpipeError; nothing is written then."""
    for path in filter(None, (asked.scales, asked.qdq)):
        refuse_existing(path, force=asked.force)
    with canonical_of(asked.model) as model:
        scales = model.parent / SCALES
        report = scales_from_cache(
            model,
            asked.cache,
            scales,
            CacheUse(asked.declared, asked.min_coverage, asked.rename),
        )
        if asked.qdq is not None:
            _write_quantized(model, scales, asked.qdq, asked.base)
        if asked.scales is not None:
            _put(asked.scales, scales.read_bytes())
    return report


def refuse_existing(path: Path, *, force: bool) -> None:
    """Raises SpecError when a file is there already and may not be replaced."""
    if path.exists() and not force:
        raise SpecError(
            Code.EXISTS_ALREADY, f"{path} exists already", "write elsewhere, or replace it with --force"
        )


@contextmanager
def canonical_of(model: Path) -> Iterator[Path]:
    """The canonical form of an ONNX file, or of a pipeline's model after its transform. Raises TrtpipeError."""
    if not model.exists():
        raise SpecError(Code.NO_SUCH_FILE, f"no such file: {str(model)!r}")
    with temporary_folder("migrate") as name:
        folder = Path(name)
        if kind_of_file(model) == "pipeline":
            yield _of_pipeline(str(model), folder)
        else:
            yield _of_onnx(model, folder)


def _of_onnx(model: Path, folder: Path) -> Path:
    from trtpipe.frontends import ModelFiles, frontend_called, lower_model

    frontend = frontend_called("onnx")
    out = folder / MODEL
    lower_model(frontend, ModelFiles(model), frontend.Options(), out)
    return out


def _of_pipeline(spec: str, folder: Path) -> Path:
    from trtpipe.building.canonical_models import transformed_model
    from trtpipe.workspace.workspace import open_workspace

    workspace = open_workspace([spec])
    (pipeline,) = workspace.pipelines
    made = transformed_model(pipeline, workspace.store, workspace.state, folder)
    workspace.state.save()
    return made


def _write_quantized(model: Path, scales: Path, out: Path, base: str) -> None:
    """Writes the model with Q and DQ around what TensorRT quantizes, as the precision int8 makes it."""
    from trtpipe.calibration.scales import read_scales
    from trtpipe.precisions import Choices, find_precision
    from trtpipe.precisions.casts.files import rewrite_file

    precision = find_precision("int8")
    assert precision is not None, "int8 comes with trtpipe"
    amax = {name: one.amax for name, one in read_scales(scales).tensors.items()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(out, error) from error
    rewrite_file(precision, model, out, choices=Choices(base=base, amax=amax))


def _put(path: Path, data: bytes) -> None:
    from trtpipe.files import write_whole

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> SpecError:
    return SpecError(Code.CANNOT_WRITE, f"cannot write {path}: {(error.strerror or str(error)).lower()}")


def export_cache(
    scales: Path, out: Path | None, version: str | None, algorithm: str | None, *, force: bool = False
) -> tuple[str, dict[str, str]]:
    """Scales as the text of a TensorRT cache, written to `out` when given; and the tensors left out, with the reason.

    Without a `version`, scales that came from a cache of TensorRT get the header of that one. Raises TrtpipeError.
    """
    from trtpipe.calibration.caches.tensorrt_text import tensorrt_text
    from trtpipe.calibration.scales import read_scales

    if out is not None:
        refuse_existing(out, force=force)
    found = read_scales(scales)
    header = _header(found.source, found.method, version, algorithm)
    text, left_out = tensorrt_text(((name, one.amax) for name, one in found.tensors.items()), header)
    if out is not None:
        _put(out, text.encode())
    return text, left_out


def _header(source: str, method: str, version: str | None, algorithm: str | None) -> str:
    from trtpipe.calibration.caches.tensorrt_text import ALGORITHMS, header_of, is_header, version_of

    if version is None and algorithm is None and is_header(source):
        return source
    version = version or version_of(source)
    if not version:
        remedy = "name the TensorRT version that will read the cache, for example --trt-version 8.6.1"
        raise SpecError(Code.CACHE_FORMAT, "the scales do not come from a cache of TensorRT", remedy)
    known = {"max": "MinMaxCalibration"}
    return header_of(
        version, algorithm or (method if method in ALGORITHMS else known.get(method, ALGORITHMS[0]))
    )
