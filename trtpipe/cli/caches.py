"""`trtpipe migrate calibration-cache` and `trtpipe export calibration-cache`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from trtpipe.cli.output import EXIT_DONE, note, say, say_json
from trtpipe.errors import SpecError
from trtpipe.loader.grammar import choose_from
from trtpipe.problem_codes import Code
from trtpipe.spec.variant import CacheFormat, CalibrationSpec

_BASES = ("fp32", "fp16", "bf16")
_FORMAT: CacheFormat = CalibrationSpec.model_fields["format"].default
_MIN_COVERAGE: float = CalibrationSpec.model_fields["min_coverage"].default


@dataclass(frozen=True, slots=True)
class MigrateOptions:
    """The options besides the cache and the model."""

    output: Path | None
    qdq: Path | None
    base: str
    format: str | None
    min_coverage: float | None
    rename: Sequence[str]
    force: bool
    as_json: bool


def migrate_command(cache: Path, model: Path, options: MigrateOptions) -> int:
    """Show what a cache means for a model; write scales and a quantized model when asked to."""
    from trtpipe.app.author.migrate import Migration, migrate_cache
    from trtpipe.calibration.caches.report import TIED_TO_WEIGHTS, lines_of

    _one_of(options.base, _BASES, "base")
    declared = _FORMAT if options.format is None else options.format
    least = _MIN_COVERAGE if options.min_coverage is None else options.min_coverage
    _one_of(declared, get_args(CacheFormat), "format")
    rename = _rules(options.rename)
    asked = Migration(
        cache, model, options.output, options.qdq, options.base, declared, least, rename, options.force
    )
    report = migrate_cache(asked)
    if options.as_json:
        say_json({"schema": 1, **report})
        return EXIT_DONE
    for line in lines_of(report):
        say(line)
    for path in filter(None, (options.output, options.qdq)):
        note(f"wrote {path}")
    note(TIED_TO_WEIGHTS)
    say()
    say("\n".join(_fragment(cache, report, rename, options)))
    return EXIT_DONE


def export_command(
    scales: Path, output: Path | None, version: str | None, algorithm: str | None, *, force: bool
) -> int:
    """Write scales as a calibration cache of TensorRT."""
    from trtpipe.app.author.migrate import export_cache

    text, left_out = export_cache(scales, output, version, algorithm, force=force)
    for name, why in left_out.items():
        note(f"left out: '{name}': {why}")
    if output is None:
        say(text.removesuffix("\n"))
    else:
        note(f"wrote {output}")
    return EXIT_DONE


def _one_of(value: str, valid: Sequence[str], noun: str) -> None:
    if value not in valid:
        raise SpecError(
            Code.UNKNOWN_VALUE, f"unknown {noun} {value!r}", choose_from(value, valid, f"{noun}s")
        )


def _rules(texts: Sequence[str]) -> dict[str, str]:
    rules: dict[str, str] = {}
    for text in texts:
        old, sign, new = text.rpartition("=")
        if not sign or not old or not new:
            raise SpecError(Code.BAD_ARGUMENT, f"not a renaming: {text!r}", "write --rename OLD=NEW")
        rules[old] = new
    return rules


def _fragment(
    cache: Path, report: Mapping[str, Any], rename: Mapping[str, str], options: MigrateOptions
) -> Iterator[str]:
    """Lines of a spec that build the model with this cache."""
    from trtpipe.loader.scalars import flow_yaml

    yield "variants:"
    yield "  int8:"
    yield "    precision: int8"
    yield "    calibration:"
    yield f"      cache: {flow_yaml(_in_project(cache))}"
    if options.format not in (None, _FORMAT):
        yield f"      format: {options.format}"
    yield f"      min_coverage: {report['cache']['min_coverage']:g}"
    if rename:
        yield f"      rename: {flow_yaml(dict(rename))}"


def _in_project(path: Path) -> str:
    """The file as a spec of the project around it names it."""
    from trtpipe.loader.project import find_root

    found, root = path.resolve(), find_root(path).resolve()
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else found.as_posix()
