"""Compute and memory rates of GPUs by type, from NVIDIA's own papers: one board for each compute capability.

Dense rates in 10^12 operations a second, those of tensor cores for narrow types, with float32 accumulation for
floating ones; memory in 10^9 bytes a second. Use them to compare types with each other, not to predict times.

    sm75   GeForce RTX 2080 Ti   Turing architecture whitepaper (WP-09183-001)
    sm80   A100 40 GB            A100 tensor core GPU architecture whitepaper
    sm86   GeForce RTX 3090      Ampere GA102 architecture whitepaper
    sm89   GeForce RTX 4090      Ada GPU architecture whitepaper
    sm90   H100 SXM              H100 tensor core GPU architecture whitepaper
    sm100  B200                  Blackwell architecture technical brief
    sm120  GeForce RTX 5090      RTX Blackwell GPU architecture whitepaper

A capability that is not listed has the rates of the nearest one below it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtpipe.targets.compute_capability import ComputeCapability

BITS: Mapping[str, float] = {
    "fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "int8": 8, "fp8": 8, "mxfp8": 8.25,
    "int4": 4.5, "fp4": 4.5, "nvfp4": 4.5,
}  # fmt: skip
"""Bits that an element takes, scales of blocks included (8 a block of 32, 16 or 8 a block of 16 or 32)."""


@dataclass(frozen=True, slots=True)
class Rates:
    """One GPU: operations a second by type, and bytes a second."""

    operations: Mapping[str, float]
    memory: float

    def of(self, precision: str) -> float:
        """Operations per second; a type without hardware units computes in float16, a wide one in float32."""
        known = self.operations.get(precision)
        fallback = "fp32" if BITS.get(precision, 32) >= 32 else "fp16"
        return 1e12 * (known or self.operations[fallback])


def _rates(memory: float, **operations: float) -> Rates:
    return Rates(operations, memory * 1e9)


_KNOWN: Mapping[ComputeCapability, Rates] = {
    ComputeCapability(7, 5): _rates(616, fp32=13.4, fp16=53.8, int8=215.2),
    ComputeCapability(8, 0): _rates(1555, fp32=19.5, tf32=156, fp16=312, bf16=312, int8=624),
    ComputeCapability(8, 6): _rates(936, fp32=35.6, tf32=35.6, fp16=71, bf16=71, int8=284),
    ComputeCapability(8, 9): _rates(
        1008, fp32=82.6, tf32=82.6, fp16=165.2, bf16=165.2, fp8=330.3, int8=660.6
    ),
    ComputeCapability(9, 0): _rates(
        3350, fp32=67, tf32=494.7, fp16=989.4, bf16=989.4, fp8=1978.9, int8=1978.9
    ),
    ComputeCapability(10, 0): _rates(
        8000, fp32=75, tf32=1125, fp16=2250, bf16=2250, fp8=4500, mxfp8=4500, int8=4500, nvfp4=9000
    ),
    ComputeCapability(12, 0): _rates(
        1792, fp32=104.8, tf32=104.8, fp16=209.5, bf16=209.5, fp8=419, mxfp8=419, int8=838, nvfp4=1676
    ),
}


def rates_of(capability: ComputeCapability) -> Rates:
    """The rates of a capability, or of the nearest one below it."""
    below = [one for one in _KNOWN if one <= capability]
    return _KNOWN[max(below, default=min(_KNOWN))]
