"""Digests, shapes, sizes and JSON values: what is taken, what is refused and in which words."""

from __future__ import annotations

import math

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.errors import WrongValue
from trtpipe.json_values import Malformed, as_number
from trtpipe.shapes import LARGEST_DIM, format_shape, format_size, parse_shape, parse_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (1 << 40, "1.0 TiB"),
        (1 << 52, "4096.0 TiB"),
    ],
)
def test_a_size_for_a_reader(size, text):
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2 << 30), ("2 gib", 2 << 30), ("512MB", 512_000_000), ("1.5K", 1500), ("7", 7), (7, 7)],
)
def test_a_size_as_people_write_it(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", -1, "1 GiBs", "1e9", True, None, 1.5, "9" * 30, 2**63])
def test_what_is_no_size_is_refused_with_an_example(text):
    with pytest.raises(WrongValue, match="write it as 2GiB, 512MiB or a number of bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("value", "shape", "text"),
    [
        ("1x3x-1", (1, 3, -1), "1x3x-1"),
        ([1, 3], (1, 3), "1x3"),
        (8, (8,), "8"),
        ("scalar", (), "scalar"),
        ([], (), "scalar"),
        (f"{LARGEST_DIM}", (LARGEST_DIM,), str(LARGEST_DIM)),
    ],
)
def test_a_shape_as_people_write_it(value, shape, text):
    assert parse_shape(value) == shape
    assert format_shape(shape) == text


@pytest.mark.parametrize("value", ["1x", "1 3", "axb", True, [True], [1.0], None, "1x3x"])
def test_what_is_no_shape_is_refused_with_an_example(value):
    with pytest.raises(WrongValue, match=r"write it as 1x3x224x224 or \[1, 3, 224, 224\]"):
        parse_shape(value)


@pytest.mark.parametrize("value", [f"{LARGEST_DIM + 1}", [-2], "9" * 5000])
def test_a_size_that_no_tensor_has_is_refused(value):
    with pytest.raises(WrongValue, match="a dimension must lie between 0 and"):
        parse_shape(value)


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, 10**400])
def test_only_a_finite_number_is_a_number(value):
    with pytest.raises(Malformed, match="x is not a finite number"):
        as_number(value, "x")


def test_a_digest_is_shown_short():
    digest = digest_bytes(b"x")

    assert str(digest) == f"{digest.hex}/1"
    assert digest.short == digest.hex[:12]
