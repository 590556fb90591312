"""Scales to the text of a cache and back, to the bit; and the versions that headers speak of."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtpipe.calibration.caches.entries import cache_of
from trtpipe.calibration.caches.matches import Found, Match
from trtpipe.calibration.caches.reader import read_cache
from trtpipe.calibration.caches.report import scales_of
from trtpipe.calibration.caches.tensorrt_text import (
    bits_of,
    float_of,
    header_of,
    read_tensorrt_text,
    tensorrt_text,
    version_of,
)
from trtpipe.calibration.scales import read_scales
from trtpipe.errors import SpecError
from trtpipe.precisions.quantization.formats import QUANTIZED

HEADER = "TRT-8601-EntropyCalibration2"
NAMES = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=40
)
SCALES = st.floats(2.0**-126, 2.0**127, width=32)  # a binary32 that is neither zero, denormal nor infinite


@given(st.dictionaries(NAMES, SCALES, min_size=1, max_size=20))
def test_scales_of_any_value_and_name_come_back_to_the_bit(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("trip")
    text = "\n".join([HEADER, *(f"{name}: {bits_of(scale):x}" for name, scale in rows.items())]) + "\n"
    (folder / "net.cache").write_bytes(text.encode())

    cache = read_cache(folder / "net.cache", "tensorrt")
    match = Match((), {one.name: Found(one.name, "exact", one.amax) for one in cache.entries})
    scales_of(cache, match).write(folder / "scales.json")
    scales = read_scales(folder / "scales.json")
    back, left_out = tensorrt_text([(name, scales.tensors[name].amax) for name in rows], scales.source)

    assert left_out == {}
    assert back == text
    for name, scale in rows.items():
        made = QUANTIZED["int8"].scale_of(scales.tensors[name].amax)
        assert struct.pack(">f", float(made)) == struct.pack(">f", scale)


@given(st.integers(0, 2**32 - 1))
def test_every_pattern_of_bits_is_a_scale_or_named_as_none(bits):
    cache = read_tensorrt_text([HEADER, "good: 3c008912", "good2: 3c008912", f"x: {bits:x}"])

    if "x" in cache.unusable:
        value = float_of(bits)
        assert not value >= 2.0**-126 or value == float("inf")
    else:
        assert bits_of(cache.entries[-1].scale) == bits


def test_what_a_cache_cannot_hold_is_left_out_and_said():
    text, left_out = tensorrt_text(
        [("a\nb", 1.0), ("\ud800", 1.0), ("zero", 0.0), ("", 1.0), ("x", 127.0)], HEADER
    )

    assert text == f"{HEADER}\nx: 3f800000\n"
    assert left_out == {
        "a\nb": "its name contains a line break or a zero byte",
        "\ud800": "its name is not text",
        "zero": "its value is zero",
        "": "it has no name",
    }


@pytest.mark.parametrize(
    ("version", "header"),
    [
        ("5.1.5", "TRT-5105-EntropyCalibration2"),
        ("7.1.3", "TRT-7103-EntropyCalibration2"),
        ("8.6.1", "TRT-8601-EntropyCalibration2"),
        ("10.3.0", "TRT-100300-EntropyCalibration2"),
        ("10.16.1", "TRT-101601-EntropyCalibration2"),
    ],
)
def test_versions_are_written_as_each_tensorrt_does(version, header):
    assert header_of(version, "EntropyCalibration2") == header
    assert version_of(header) == version


@pytest.mark.parametrize("version", ["8", "8.6", "100.1.1", "8.6.1a", "", "-1.2.3"])
def test_a_version_is_written_out(version):
    with pytest.raises(SpecError, match="not a version of TensorRT"):
        header_of(version, "EntropyCalibration2")


def test_the_same_scale_is_the_same_whoever_wrote_it():
    of_tensorrt = read_tensorrt_text([HEADER, "x: 3c010204"])
    of_others = cache_of("json", "", [("x", of_tensorrt.entries[0].amax)])

    assert of_tensorrt.entries[0].amax == pytest.approx(1.0, rel=1e-7)
    assert bits_of(of_others.entries[0].scale) == 0x3C010204
