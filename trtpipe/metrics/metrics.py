"""Metrics of an output against its reference, accumulated batch by batch in float64.

With r the reference and a the actual output, over all elements of all batches where both are finite:

    max_abs         max |a - r|
    max_rel         max |a - r| / max(|r|, 1e-6)
    mean_abs        sum |a - r| / n
    rmse            sqrt(sum (a - r)^2 / n)
    cosine          <a, r> / (|a| |r|); 1 when both are zero vectors, 0 when one is; NaN when the sums overflow
    psnr            20 log10(max |r| / rmse), in dB; inf without error
    snr             10 log10(sum r^2 / sum (a - r)^2), in dB; inf without error
    top1_agreement  share of rows whose largest entry is at the same index
    top5_agreement  share of rows whose reference's largest entry is among the five largest
    accuracy        share of rows whose largest entry is at the label

A row runs along the last axis; of equal entries the first counts as the larger (as numpy.argmax has it). psnr takes the
reference's largest magnitude as the peak, because tensors have no nominal range. Non-finite values never enter a sum:
they are counted, and a verdict must check the counts. A metric that is not defined for an output (top1 of a scalar) is
None, with the reason in `not_applicable`.

Independent of thresholds, models or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trtpipe.json_values import (
    Json,
    JsonObject,
    integer_in,
    integers_in,
    number_in,
    object_in,
    text_in,
)
from trtpipe.metrics.spread import Spread

if TYPE_CHECKING:
    from trtpipe.arrays import Array

Doubles = NDArray[np.float64]

METRICS = (
    "max_abs", "max_rel", "mean_abs", "rmse", "cosine", "psnr", "snr",
    "top1_agreement", "top5_agreement", "accuracy",
)  # fmt: skip
"""Every metric's name, in the order of reports."""

RELATIVE_FLOOR = 1e-6
"""Below this magnitude of the reference, an error counts as relative to this floor: zeros are common in outputs."""

_NOT_FINITE = ("inf", "-inf", "nan")
"""What `json_number` writes where JSON has no number."""
_CHUNK = 1 << 20  # elements converted to float64 at a time


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The number of non-finite elements on either side, and how many of those differ."""

    nan: int = 0
    inf: int = 0
    reference_nan: int = 0
    reference_inf: int = 0
    differing: int = 0
    """Elements of which one side at least is not finite and the other is not the same infinity."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """The measurements of one output."""

    values: dict[str, float | None]
    """Every name of METRICS."""
    not_applicable: dict[str, str]
    """Why a metric is None."""
    elements: int
    differing: int
    """Elements that are not exactly equal."""
    nonfinite: NonFinite
    reference_accuracy: float | None = None
    largest: float = 0.0
    """max |r|, over finite elements."""
    where_max_abs: tuple[int, ...] = ()
    """The index, within its batch, of the element with the largest error."""
    spread: JsonObject = field(default_factory=dict)
    """`errors` and `scatter`, as `Spread` has them; empty when they were not asked for."""

    def as_json(self) -> dict[str, Json]:
        """Plain data; infinities and NaN as text, because JSON has neither."""
        non_finite = {name: getattr(self.nonfinite, name) for name in NonFinite.__dataclass_fields__}
        return {
            "metrics": {name: json_number(value) for name, value in self.values.items()},
            "not_applicable": dict(self.not_applicable),
            "elements": self.elements,
            "differing": self.differing,
            "nonfinite": non_finite,
            "reference_accuracy": self.reference_accuracy,
            "largest": json_number(self.largest),
            "where_max_abs": list(self.where_max_abs),
            **self.spread,
        }


def metrics_from_json(record: JsonObject) -> Metrics:
    """The metrics that `as_json` wrote. Raises Malformed."""
    values, reasons = object_in(record, "metrics"), object_in(record, "not_applicable")
    nonfinite = object_in(record, "nonfinite")
    return Metrics(
        values={name: _number(values, name) for name in METRICS},
        not_applicable={name: text_in(reasons, name) for name in reasons},
        elements=integer_in(record, "elements"),
        differing=integer_in(record, "differing"),
        nonfinite=NonFinite(**{name: integer_in(nonfinite, name) for name in NonFinite.__dataclass_fields__}),
        reference_accuracy=_number(record, "reference_accuracy"),
        largest=_number(record, "largest") or 0.0,
        where_max_abs=tuple(integers_in(record, "where_max_abs")),
    )


def _number(record: JsonObject, name: str) -> float | None:
    """A number as `json_number` writes it."""
    if name in record and (record[name] is None or record[name] in _NOT_FINITE):
        return None if record[name] is None else float(text_in(record, name))
    return float(number_in(record, name))


def json_number(value: float | None) -> float | str | None:
    """A number that JSON can hold: `"inf"`, `"-inf"` and `"nan"` are text."""
    if value is None or math.isfinite(value):
        return value
    return str(value)


@dataclass(slots=True)
class _Rows:
    """Counts over rows of class scores."""

    rows: int = 0
    top1: int = 0
    top5: int = 0
    labelled: int = 0
    right: int = 0
    reference_right: int = 0


@dataclass(slots=True)
class Accumulator:
    """Takes batches of one output and its reference; memory does not grow with their number."""

    elements: int = 0
    differing: int = 0
    finite: int = 0
    sum_abs: float = 0.0
    sum_error2: float = 0.0
    sum_a2: float = 0.0
    sum_r2: float = 0.0
    sum_ar: float = 0.0
    max_abs: float = 0.0
    max_rel: float = 0.0
    largest: float = 0.0
    where: tuple[int, ...] = ()
    classes: int | None = None
    labels_given: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    rows: _Rows = field(default_factory=_Rows)
    spread: Spread | None = None
    """Takes the errors as well, when a report is to show how they are spread."""

    def add(self, reference: Array, actual: Array, labels: Array | None = None) -> None:
        """One batch; `labels` are class indices, one a row. Raises ValueError when the shapes differ."""
        reference, actual = np.asarray(reference), np.asarray(actual)
        if reference.shape != actual.shape:
            raise ValueError(f"shape {actual.shape} instead of the reference's {reference.shape}")
        for start, r, a in _chunks(reference, actual):
            self._add_chunk(start, r, a, actual.shape)
        self._add_rows(reference, actual, labels)

    def _add_chunk(self, start: int, r: Array, a: Array, shape: tuple[int, ...]) -> None:
        seen = self.elements
        self.elements += r.size
        self.differing += int(np.count_nonzero(a != r))
        r, a = _double(r), _double(a)
        ok = np.isfinite(r) & np.isfinite(a)
        if not ok.all():
            self._count_nonfinite(r, a, ok)
            positions = np.flatnonzero(ok)
            r, a = r[ok], a[ok]
        else:
            positions = None
        if not r.size:
            return
        self.finite += r.size
        error = self._add_errors(seen, r, a, positions)
        worst = int(error.argmax())
        if error[worst] > self.max_abs:
            self.max_abs = float(error[worst])
            flat = start + (worst if positions is None else int(positions[worst]))
            self.where = tuple(int(index) for index in np.unravel_index(flat, shape))

    def _add_errors(self, seen: int, r: Doubles, a: Doubles, positions: NDArray[np.intp] | None) -> Doubles:
        """Takes the errors of finite elements into the sums, and returns them; a sum may overflow to infinity."""
        with np.errstate(over="ignore", invalid="ignore"):
            error: Doubles = np.abs(a - r)
            if self.spread is not None:
                self.spread.add(seen + (np.arange(r.size) if positions is None else positions), r, a, error)
            self.sum_abs += float(error.sum())
            self.sum_error2 += float(np.dot(error, error))
            self.sum_a2 += float(np.dot(a, a))
            self.sum_r2 += float(np.dot(r, r))
            self.sum_ar += float(np.dot(a, r))
            magnitude = np.abs(r)
            self.largest = max(self.largest, float(magnitude.max()))
            self.max_rel = max(self.max_rel, float((error / np.maximum(magnitude, RELATIVE_FLOOR)).max()))
        return error

    def _count_nonfinite(self, r: Doubles, a: Doubles, ok: NDArray[np.bool_]) -> None:
        found = {
            "nan": np.isnan(a),
            "inf": np.isinf(a),
            "reference_nan": np.isnan(r),
            "reference_inf": np.isinf(r),
            "differing": ~ok & (a != r),
        }
        for name, mask in found.items():
            self.counts[name] = self.counts.get(name, 0) + int(np.count_nonzero(mask))

    def _add_rows(self, reference: Array, actual: Array, labels: Array | None) -> None:
        classes = actual.shape[-1] if actual.ndim else 0
        self.classes = classes if self.classes in (None, classes) else 0
        if classes < 2 or not actual.size:
            return
        r, a = reference.reshape(-1, classes), actual.reshape(-1, classes)
        best = r.argmax(axis=1)
        chosen = a.argmax(axis=1)
        self.rows.rows += len(a)
        self.rows.top1 += int(np.count_nonzero(best == chosen))
        self.rows.top5 += _among_top5(a, best)
        if labels is None:
            return
        self.labels_given = True
        labels = np.asarray(labels).reshape(-1)
        if len(labels) == len(a):
            self.rows.labelled += len(a)
            self.rows.right += int(np.count_nonzero(chosen == labels))
            self.rows.reference_right += int(np.count_nonzero(best == labels))

    def result(self) -> Metrics:
        """The metrics of all batches so far."""
        values, reasons = self._errors()
        self._row_metrics(values, reasons)
        rows = self.rows
        return Metrics(
            values={name: values.get(name) for name in METRICS},
            not_applicable=reasons,
            elements=self.elements,
            differing=self.differing,
            nonfinite=NonFinite(**self.counts),
            reference_accuracy=rows.reference_right / rows.labelled if rows.labelled else None,
            largest=self.largest,
            where_max_abs=self.where,
            spread=self.spread.as_json() if self.spread is not None else {},
        )

    def _errors(self) -> tuple[dict[str, float | None], dict[str, str]]:
        if not self.finite:
            reason = (
                "the output has no elements" if not self.elements else "no element is finite on both sides"
            )
            return {}, dict.fromkeys(METRICS[:7], reason)
        rmse = math.sqrt(self.sum_error2 / self.finite)
        return {
            "max_abs": self.max_abs,
            "max_rel": self.max_rel,
            "mean_abs": self.sum_abs / self.finite,
            "rmse": rmse,
            "cosine": _cosine(self.sum_ar, self.sum_a2, self.sum_r2),
            "psnr": 2 * _decibel(self.largest, rmse),
            "snr": _decibel(self.sum_r2, self.sum_error2),
        }, {}

    def _row_metrics(self, values: dict[str, float | None], reasons: dict[str, str]) -> None:
        rows = self.rows
        if not rows.rows or not self.classes:
            why = "the output has no last axis of two classes or more"
            reasons.update(dict.fromkeys(METRICS[7:], why))
            return
        values["top1_agreement"] = rows.top1 / rows.rows
        if self.classes > 5:
            values["top5_agreement"] = rows.top5 / rows.rows
        else:
            reasons["top5_agreement"] = f"with {self.classes} classes the top five always agree"
        if rows.labelled == rows.rows:
            values["accuracy"] = rows.right / rows.labelled
        elif not self.labels_given:
            reasons["accuracy"] = "the data has no labels"
        else:
            reasons["accuracy"] = "the output does not have one row per label"


def _chunks(reference: Array, actual: Array) -> Iterator[tuple[int, Array, Array]]:
    r, a = reference.reshape(-1), actual.reshape(-1)
    for start in range(0, r.size, _CHUNK):
        yield start, r[start : start + _CHUNK], a[start : start + _CHUNK]


def _double(values: Array) -> Doubles:
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def _cosine(product: float, a2: float, r2: float) -> float:
    if a2 == 0.0 or r2 == 0.0:
        return 1.0 if a2 == r2 else 0.0
    if not all(map(math.isfinite, (product, a2, r2))):
        return math.nan  # the sums overflowed: nothing is known, and NaN meets no threshold
    # Two roots and not one of the product, which would overflow first.
    return max(-1.0, min(1.0, product / (math.sqrt(a2) * math.sqrt(r2))))


def _decibel(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0.0 else -math.inf


def _among_top5(actual: Array, best: Array) -> int:
    """Rows in which fewer than five entries rank before the one at `best`; of equal ones the earlier ranks first."""
    chosen = np.take_along_axis(actual, best[:, None], axis=1)
    earlier = np.arange(actual.shape[1]) < best[:, None]
    beating = np.count_nonzero((actual > chosen) | ((actual == chosen) & earlier), axis=1)
    return int(np.count_nonzero((beating < 5) & ~_nan(chosen)[:, 0]))


def _nan(values: Array) -> NDArray[np.bool_]:
    return np.not_equal(values, values)
