"""What a variant gives must be what its precision takes: calibration, budgets and blocks, with the names of all that
is installed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.loader.spec_corpus import HEAD, TARGETS
from tests.loader.spec_workspace import Workspace
from trtpipe.errors import SpecError
from trtpipe.loader.grammar import KnownNames
from trtpipe.loader.project import find_project
from trtpipe.loader.specs import load_pipeline
from trtpipe.workspace.known_names import known_names

BUDGET = "budget: {metric: cosine, min: 0.99}"


def problems(
    workspace: Workspace, variant: str, rest: str = "", names: KnownNames | None = None
) -> list[tuple[str, str, str]]:
    """The place in the spec, what is wrong and what to do, of each problem of variant `a`."""
    workspace.write("calibration/photos.yaml", "schema: 1\ninputs: {x: {file: x.npy}}\n")
    workspace.write("digits.cache", "TRT-8601-EntropyCalibration2\nx: 3c010a14\n")
    path = workspace.write(
        "pipelines/net.yaml", f"{HEAD}{TARGETS}variants:\n  a: {{{variant}}}\n  other: {{}}\n{rest}"
    )
    try:
        load_pipeline(path, find_project(path), names or known_names())
    except SpecError as error:
        return [(".".join(map(str, one.path[2:])), one.fact, one.remedy) for one in error.problems]
    return []


CALIBRATE = "for example calibration: NAME, a data set described in calibration/NAME.yaml"
VALIDATE = "validate: {random: {}}\n"


@pytest.mark.parametrize(
    "variant",
    [
        "precision: fp16",
        "precision: fp16, calibration: photos, overflow: keep",
        "precision: int8, calibration: photos",
        "precision: int8, calibration: photos, method: percentile, percentile: 99.9",
        "precision: int8, calibration: {data: photos, backend: trtpipe}, method: max",
        "precision: int8, calibration: {cache: digits.cache}",
        "precision: int4, block_size: 64",
        f"precision: auto, {BUDGET}",
        f"precision: auto, {BUDGET}, calibration: photos",
        f"precision: auto, {BUDGET}, try: [int4, fp16], block_size: 64",
    ],
)
def test_variants_that_have_all_they_need(workspace, variant):
    assert problems(workspace, variant, VALIDATE) == []


REFUSED = [
    ("precision: int8", "", "precision 'int8' needs a calibration", CALIBRATE),
    (
        f"precision: auto, {BUDGET}, try: [fp16, int8]",
        "try.1",
        "precision 'int8' needs a calibration",
        CALIBRATE,
    ),
    (
        "precision: fp32, calibration: photos",
        "calibration",
        "precision 'fp32' does not use calibration",
        "leave it out, because only half precision has a range that values can leave",
    ),
    (
        "precision: fp16, method: max",
        "method",
        "method has no effect: precision 'fp16' uses no scales of activations",
        "leave it out",
    ),
    (
        "precision: int8, calibration: photos, percentile: 99",
        "percentile",
        "percentile has no effect: the method is 'entropy'",
        "write method: percentile, or leave it out",
    ),
    (
        "precision: int8, calibration: nowhere",
        "calibration",
        "no data set 'nowhere': there is no calibration/nowhere.yaml",
        None,
    ),
    (
        "precision: int8, calibration: {data: photos, backend: trtpip}",
        "calibration.backend",
        "unknown backend 'trtpip'",
        None,
    ),
    (
        "precision: bf16, overflow: keep",
        "overflow",
        "'overflow' applies only to variants that compute in float16",
        "leave it out",
    ),
    (
        "precision: fp16, overflow: keep",
        "overflow",
        "overflowing tensors can be found only with calibration data",
        CALIBRATE,
    ),
    (
        "precision: fp16, calibration: {cache: digits.cache}",
        "calibration.cache",
        "a calibration cache holds quantization scales, which this precision does not use",
        "calibrate on data: calibration: NAME",
    ),
    (
        "precision: int8, base: fp16, calibration: {cache: digits.cache}, overflow: keep",
        "overflow",
        "a calibration cache does not say which tensors overflow",
        "leave it out, or calibrate on data: calibration: NAME",
    ),
    (
        "precision: int8, calibration: {cache: digits.cache}, method: max",
        "method",
        "method has no effect: the scales of a calibration cache are computed already",
        "leave it out",
    ),
    (
        f"precision: fp16, {BUDGET}",
        "budget",
        "'budget' applies to precision 'auto' only",
        "leave it out, or write precision: auto",
    ),
    (
        "precision: auto",
        "",
        "precision 'auto' needs a budget",
        "for example budget: {metric: cosine, min: 0.999}, or {accuracy_drop: 0.005} where the data has labels",
    ),
    (
        f"precision: auto, {BUDGET}, calibration: photos, overflow: keep",
        "overflow",
        "precision 'auto' does not support overflow: overflowing nodes are always kept in fp32",
        "leave it out",
    ),
    (
        f"precision: auto, {BUDGET}, base: fp16",
        "base",
        "precision 'auto' does not support base",
        "name it in 'try': the first floating-point type there is the base of quantized variants",
    ),
    (
        f"precision: auto, {BUDGET}, try: [fp16, fp61]",
        "try.1",
        "unknown precision 'fp61'",
        None,
    ),
    (
        f"precision: auto, {BUDGET}, try: [fp16, bf16, fp16]",
        "try.2",
        "precision 'fp16' is tried twice",
        "leave one out",
    ),
    (
        f"precision: auto, {BUDGET}, try: [fp16], block_size: 64",
        "block_size",
        "none of fp16 uses blocks",
        "leave it out; int4 and fp4 support one",
    ),
]


@pytest.mark.parametrize(("variant", "place", "fact", "remedy"), REFUSED, ids=[one[0] for one in REFUSED])
def test_what_a_variant_lacks_or_has_for_nothing_is_told_where_it_stands(
    workspace, variant, place, fact, remedy
):
    (found,) = problems(workspace, variant, VALIDATE)

    assert found[:2] == (place, fact)
    assert remedy is None or found[2] == remedy


def test_a_search_needs_data_to_measure_on(workspace):
    (found,) = problems(workspace, f"precision: auto, {BUDGET}")

    assert found == (
        "",
        "precision 'auto' measures on the validation data, but the spec has none",
        "for example validate: {data: NAME}",
    )


def test_a_method_that_only_another_backend_has_is_told_with_those_of_this_one(workspace):
    variant = "precision: int8, calibration: {data: photos, backend: modelopt}, method: mse"

    assert problems(workspace, variant) == [
        ("method", "backend 'modelopt' has no method 'mse'", "its methods are max, entropy")
    ]


def test_a_backend_without_the_default_method_is_told_where_the_backend_stands(workspace):
    names = replace(known_names(), methods=lambda _: ("max",))
    variant = "precision: int8, calibration: {data: photos, backend: trtpipe}"

    assert problems(workspace, variant, names=names) == [
        ("calibration.backend", "backend 'trtpipe' has no method 'entropy'", "its methods are max")
    ]
