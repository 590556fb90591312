"""The report on scales: their number, tensors that need a reviewer's attention, and the method that fits best.

dead        nothing but zeros on every sample: the set does not reach that part of the model
clipped     more than one value in a thousand lies beyond amax
outliers    the largest magnitude is many times that of most samples: few samples dominate the scale

Lists hold the worst tensors, `counts` says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from trtpipe.calibration.calibrators.measurement.noise import dominated
from trtpipe.calibration.scales import Advice, Scales

if TYPE_CHECKING:
    from trtpipe.json_values import Json

_CLIPPED = 1e-3
_SHOWN = 20
_SPOILT = 0.9  # below this cosine, the outputs no longer resemble the model's


def report_of(scales: Scales) -> dict[str, Json]:
    """The report as plain data, the worst tensors first."""
    found = scales.tensors
    dead = sorted(name for name, one in found.items() if one.amax == 0)
    clipped = {name: share for name, one in found.items() if (share := one.clipped or 0) > _CLIPPED}
    outliers = {
        name: round((one.largest or 0) / (one.typical or 1), 3)
        for name, one in found.items()
        if dominated(one.largest, one.typical)
    }
    return {
        "method": scales.method,
        "backend": scales.backend,
        "samples": scales.samples,
        "tensors": len(found),
        "counts": {"dead": len(dead), "clipped": len(clipped), "outliers": len(outliers)},
        "dead": dead[:_SHOWN],
        "clipped": _worst(clipped),
        "outliers": _worst(outliers),
        **_compared(scales.advice),
        "warnings": list(_warnings(dead, clipped, outliers)) + list(_advice(scales.advice)),
    }


def _worst(found: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN])


def _warnings(dead: list[str], clipped: Mapping[str, float], outliers: Mapping[str, float]) -> Iterator[str]:
    if dead:
        were, among = ("1 tensor was", "") if len(dead) == 1 else (f"{len(dead)} tensors were", " among them")
        yield f"{were} zero on every sample, '{dead[0]}'{among}"
    if clipped:
        name, share = next(iter(_worst(clipped).items()))
        have = "1 tensor has" if len(clipped) == 1 else f"{len(clipped)} tensors have"
        yield f"{have} values clipped, most of all '{name}' ({share:.2%} of them)"
    if outliers:
        name, ratio = next(iter(_worst(outliers).items()))
        tensors = "1 tensor" if len(outliers) == 1 else f"{len(outliers)} tensors"
        yield f"few samples dominate {tensors}, '{name}' with {ratio:.3g} x the typical magnitude"


def _compared(advice: Advice | None) -> dict[str, Json]:
    """How methods compare, and the one to use; empty where it is not known."""
    advice = advice or Advice("")
    return {
        "decibels": dict(advice.decibels),
        "cosines": dict(advice.cosines),
        "compared_on": advice.samples,
        "recommended": advice.recommended,
    }


def _advice(advice: Advice | None) -> Iterator[str]:
    if advice is None:
        return
    if advice.unknown:
        yield f"the best method is unknown: {advice.unknown}"
    best, used, found = advice.recommended, advice.used, advice.cosines
    if found and max(found.values()) < _SPOILT:
        yield (
            f"every method distorts the outputs: cosine {max(found.values()):.6g} at best "
            f"(int8 activations, {advice.samples} samples)"
        )
        return
    if best and best != used:
        method, _, share = best.partition(" ")
        asked = f"method: {method}" + (f", percentile: {share}" if share else "")
        yield (
            f"{asked} keeps the outputs closer to the model's: cosine {found[best]:.6g} where {used} has "
            f"{found[used]:.6g} (int8 activations, {advice.samples} samples)"
        )
