"""What reports say of scales: how many tensors, and those that a reviewer should look at.

dead        nothing but zeros on every sample: the set does not reach that part of the model
clipped     more than one value in a thousand lies beyond amax
outliers    the largest magnitude is many times that of most samples: few samples dominate the scale
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trtpipe.scales import Scales

_CLIPPED = 1e-3
_OUTLIERS = 8.0
_SHOWN = 20


def report_of(scales: Scales) -> dict[str, Any]:
    """The report as plain data, the worst tensors first."""
    found = scales.tensors
    dead = sorted(name for name, one in found.items() if one.amax == 0)
    clipped = {name: one.clipped for name, one in found.items() if (one.clipped or 0) > _CLIPPED}
    reach = {name: one.largest / one.typical for name, one in found.items() if one.largest and one.typical}
    outliers = {name: round(ratio, 3) for name, ratio in reach.items() if ratio > _OUTLIERS}
    return {
        "method": scales.method,
        "backend": scales.backend,
        "samples": scales.samples,
        "tensors": len(found),
        "dead": dead[:_SHOWN],
        "clipped": _worst(clipped),
        "outliers": _worst(outliers),
        "warnings": list(_warnings(dead, clipped)) + list(_dominated(outliers, scales.method)),
    }


def _worst(found: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN])


def _dominated(outliers: dict[str, Any], method: str) -> Iterator[str]:
    if outliers:
        name, ratio = next(iter(_worst(outliers).items()))
        advice = "" if method == "entropy" else "; method: entropy looks at where most values are"
        yield f"few samples dominate {len(outliers)} tensors, '{name}' with {ratio:.3g} x what most reach{advice}"


def _warnings(dead: list[str], clipped: dict[str, Any]) -> list[str]:
    said = []
    if dead:
        said.append(f"{len(dead)} tensors were zero on every sample, '{dead[0]}' among them")
    if clipped:
        name, share = next(iter(_worst(clipped).items()))
        said.append(f"{len(clipped)} tensors have values clipped, most of all '{name}' ({share:.2%} of them)")
    return said
