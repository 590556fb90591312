"""The cost model: a share of the widest, cheaper in narrower types, bound by arithmetic or by memory."""

from __future__ import annotations

import pytest

from tests.search.synthetic_models import LADDER, units
from trtpipe.search.choices import ladders_of
from trtpipe.search.costs import costs_of, total
from trtpipe.search.units import Unit
from trtpipe.targets.compute_capability import ComputeCapability

ADA, TURING = ComputeCapability(8, 9), ComputeCapability(7, 5)
CONV = Unit("conv", "Conv", ("conv",), ("conv",), flops=10**12, weights=10**6, read=10**6, written=10**6)
NORM = Unit("norm", "LayerNormalization", ("norm",), read=10**6, written=10**6)


def test_the_widest_costs_one_and_narrower_types_less():
    costs = costs_of(LADDER, [CONV, NORM], [ADA, TURING])

    assert total(costs, (2, 2)) == pytest.approx(1)
    assert total(costs, (0, 1)) < total(costs, (1, 1)) < total(costs, (2, 2))


def test_what_computes_much_scales_with_rates_and_what_moves_much_with_bits():
    of_conv, of_norm = (costs_of(LADDER, [one], [ADA])[0] for one in (CONV, NORM))

    assert of_conv[0] == pytest.approx(82.6 / 660.6)
    assert of_norm[1] == pytest.approx(0.5)


def test_a_unit_that_is_never_quantized_costs_what_its_base_does():
    (costs,) = costs_of(LADDER, [NORM], [ADA])

    assert costs[0] == costs[1]


def test_weights_alone_save_memory_and_no_arithmetic():
    ladder = ladders_of(["int4", "fp16"], ["int4"], {"int4": ("fp16", "fp32"), "fp16": ("fp32",)})[0]
    reads_weights = Unit(
        "gemm", "MatMul", ("gemm",), ("gemm",), flops=2 * 10**6, weights=10**6, read=10, written=10
    )

    (costs,) = costs_of(ladder, [reads_weights], [ADA], weights_alone=True)
    (of_conv,) = costs_of(ladder, [CONV], [ADA], weights_alone=True)

    assert costs[0] / costs[1] == pytest.approx(4.5 / 16, rel=0.01)
    assert of_conv[0] == of_conv[1]


def test_nothing_known_costs_nothing():
    assert total(costs_of(LADDER, units(3), [ADA]), (0, 1, 2)) == 0
