"""Rows about a spec, trtpipe.yaml or a data set in which something is written wrongly."""

from __future__ import annotations

from collections.abc import Mapping

from tests.remedies.remedy_places import SPEC, Cure, Row, rewrite
from tests.remedies.small_models import classifier, relu, rows
from trtpipe.problem_codes import ProblemCode

MODEL = "model: {source: net.onnx}"
VARIANTS = "variants: {fp32: {}}"
TARGETS = "targets: {t: {gpu: sm86}}"
SET = "schema: 1\nrandom: {shapes: {x: 1x3}}\n"
FILES = {"net.onnx": relu(1, 3), "calibration/val.yaml": SET, "x.npy": rows}
LABELLED = "schema: 1\nnpy: {x: x.npy, l: l.npy}\nlabels: l\nbatch: 4\n"
QUANTIZED = {"net.onnx": classifier, "calibration/val.yaml": "schema: 1\nrandom: {shapes: {x: 4x64}}\n"}


def spec(
    name: str,
    code: ProblemCode,
    wrong: tuple[str, str],
    remedy: str,
    right: str | Cure,
    files: Mapping[str, object] | None = None,
) -> Row:
    """A spec in which `wrong[0]` stands as `wrong[1]`; `right` is what the remedy makes of that."""
    assert wrong[0] in SPEC or not wrong[0]
    text = SPEC.replace(*wrong) if wrong[0] else SPEC + wrong[1]
    cure = rewrite((wrong[1], right)) if isinstance(right, str) else right
    return Row(name, code, remedy, cure, {**FILES, "pipelines/net.yaml": text, **(files or {})})


def shared(name: str, code: ProblemCode, wrong: str, remedy: str, right: str, **files: str) -> Row:
    """The same of trtpipe.yaml."""
    everything = {**FILES, "pipelines/net.yaml": SPEC, "trtpipe.yaml": wrong}
    return Row(name, code, remedy, rewrite((wrong, right), file="trtpipe.yaml"), everything)


def dataset(name: str, code: ProblemCode, wrong: str, remedy: str, right: str) -> Row:
    """The same of a data set that the spec validates on."""
    text = SPEC + "validate: {data: val}\n"
    everything = {**FILES, "pipelines/net.yaml": text, "calibration/val.yaml": "schema: 1\n" + wrong}
    return Row(name, code, remedy, rewrite((wrong, right), file="calibration/val.yaml"), everything)


def beside(old: str, *lines: str) -> tuple[str, str]:
    return old, "\n".join([old, *lines])
