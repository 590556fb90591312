"""Every limit that a searched variant's typed model must keep: its budget and the spec's thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from trtpipe.spec.budget import BudgetSpec
from trtpipe.spec.pipeline import Threshold


@dataclass(frozen=True, slots=True)
class Limits:
    """The budget applies to the data and recorded outputs, the thresholds also to corners of profiles."""

    budget: BudgetSpec
    thresholds: tuple[Threshold, ...] = ()
