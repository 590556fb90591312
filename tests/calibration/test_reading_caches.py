"""Calibration caches as files hold them: each form told by its content, whatever is wrong said, nothing trusted."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.quant_utils import write_calibration_table

from tests.damage import damages
from trtpipe.calibration.caches.entries import MOST_ENTRIES
from trtpipe.calibration.caches.reader import MAX_BYTES, read_cache
from trtpipe.errors import ModelError

HEADER = "TRT-8601-EntropyCalibration2\n"


def cache_in(tmp_path: Path, data: str | bytes, declared: str = "auto"):
    path = tmp_path / "net.cache"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_cache(path, declared)


def refusal(tmp_path: Path, data: str | bytes, declared: str = "auto") -> str:
    with pytest.raises(ModelError) as refused:
        cache_in(tmp_path, data, declared)
    return str(refused.value)


def amax_of(cache) -> dict[str, float]:
    return {entry.name: entry.amax for entry in cache.entries}


# TensorRT's own


def test_a_cache_of_tensorrt_holds_scales_and_names_of_any_kind(tmp_path):
    text = HEADER + "data: 3c008912\n(Unnamed Layer* 4) [Fully Connected]_output: 3d65992f\na/b:0: 3c60dd38\n"

    cache = cache_in(tmp_path, text)

    assert (cache.format, cache.method, cache.origin) == (
        "tensorrt",
        "EntropyCalibration2",
        "TRT-8601-EntropyCalibration2",
    )
    assert [entry.name for entry in cache.entries] == [
        "data",
        "(Unnamed Layer* 4) [Fully Connected]_output",
        "a/b:0",
    ]
    assert amax_of(cache)["data"] == pytest.approx(0.996338, rel=1e-6)
    assert amax_of(cache)["a/b:0"] == pytest.approx(1.74303, rel=1e-5)


@pytest.mark.parametrize(
    ("header", "method"),
    [
        ("TRT-7103-EntropyCalibration2", "EntropyCalibration2"),
        ("TRT-100300-MinMaxCalibration", "MinMaxCalibration"),
        ("1", ""),
    ],
)
def test_headers_of_every_age_are_read(tmp_path, header, method):
    cache = cache_in(tmp_path, f"{header}\nx: 3c008912\n")

    assert cache.method == method
    assert len(cache.entries) == 1


def test_lines_may_end_as_on_windows_and_values_lack_leading_zeros(tmp_path):
    cache = cache_in(tmp_path, "\ufeffTRT-8601-EntropyCalibration2\r\nx: 3c008912\r\ny: 8000000\r\n\r\n")

    assert amax_of(cache)["x"] == pytest.approx(0.996338, rel=1e-6)
    assert cache.unusable == {}
    assert amax_of(cache)["y"] == 127 * struct.unpack(">f", bytes.fromhex("08000000"))[0]
    assert "'y' with a scale of 3.85e-34" in cache.notes[0]


def test_values_that_are_no_scale_are_named_and_the_rest_is_read(tmp_path):
    rows = "a: 7f800000\nb: 0\nc: 7fc00000\nd: bc008912\ne: 1\nf: 3c008912\n"

    cache = cache_in(tmp_path, HEADER + rows)

    assert list(amax_of(cache)) == ["f"]
    assert cache.unusable == {
        "a": "its value is infinite",
        "b": "its value is zero",
        "c": "its value is NaN",
        "d": "its value is negative",
        "e": "its value is denormal",
    }


def test_a_tensor_twice_counts_once_when_it_says_the_same(tmp_path):
    cache = cache_in(tmp_path, HEADER + "a: 3c008912\na: 3c008912\nb: 3c008912\nb: 3c008913\n")

    assert list(amax_of(cache)) == ["a"]
    assert cache.unusable == {"b": "it occurs twice with different values"}
    assert cache.notes == ("2 rows repeat an earlier tensor",)


def test_values_with_their_bytes_turned_round_are_found_out(tmp_path):
    said = refusal(tmp_path, HEADER + "a: 1289003c\nb: 2f99653d\nc: 3c60dd38\n")

    assert "3 of 3 are plausible only reversed" in said
    assert "write the most significant digits first: 3c008912, not 1289003c" in said
    assert "declare format: tensorrt" in said
    assert len(cache_in(tmp_path, HEADER + "a: 1289003c\nb: 2f99653d\n", "tensorrt").entries) == 2


def test_rows_that_are_none_are_refused_by_line(tmp_path):
    said = refusal(tmp_path, HEADER + "a: 3c008912\nb 3c008912\nc:\n: 3c008912\nd: 3c0089121\ne: 0x3c\n")

    for line in (3, 4, 5, 6, 7):
        assert f"line {line} is not 'name: hex digits'" in said
    assert "line 2" not in said


def test_many_wrong_rows_are_counted(tmp_path):
    said = refusal(tmp_path, HEADER + "rubbish\n" * 500)

    assert said.count("is not 'name: hex digits'") == 10
    assert "490 more lines are malformed" in said


# ONNX Runtime's tables, as its own writer makes them


RANGES = {"x": (-2.5, 1.25), "/a/b:0": (0.0, 3.0), "name with blanks": (-1.0, 0.5)}


@pytest.fixture
def tables(tmp_path) -> Path:
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in RANGES.items()
    }
    write_calibration_table(data, str(tmp_path))
    return tmp_path


def test_the_json_table_holds_both_ends_of_each_range(tables):
    cache = read_cache(tables / "calibration.json")

    assert cache.format == "onnxruntime"
    assert amax_of(cache) == {"x": 2.5, "/a/b:0": 3.0, "name with blanks": 1.0}


@pytest.mark.parametrize("name", ["calibration.flatbuffers", "calibration.cache"])
def test_the_tables_for_tensorrt_hold_what_onnxruntime_wrote(tables, name):
    cache = read_cache(tables / name)

    assert cache.format == "onnxruntime"
    assert "calibration.json beside it holds both ends" in cache.notes[0]
    assert amax_of(cache) == {"x": 1.25, "/a/b:0": 3.0, "name with blanks": 0.5}


def test_a_whole_tensors_data_brings_its_method(tmp_path):
    data = {
        "CLS": "TensorsData",
        "data": {"x": {"CLS": "TensorData", "lowest": -1.0, "highest": 0.5}},
        "calibration_method": {"CLS": "CalibrationMethod", "value": "CalibrationMethod.Entropy"},
    }

    cache = cache_in(tmp_path, json.dumps(data))

    assert (cache.method, amax_of(cache)) == ("Entropy", {"x": 1.0})


def test_every_prefix_of_a_flatbuffers_table_is_refused_or_read_short(tables):
    data = (tables / "calibration.flatbuffers").read_bytes()
    for length in range(1, len(data)):
        path = tables / "short"
        path.write_bytes(data[:length])
        try:
            read_cache(path, "onnxruntime")
        except ModelError:
            continue
        assert data[length:].strip(b"\0") == b""  # only padding was cut off


def _table_with_one_text_many_times(times: int) -> bytes:
    builder = flatbuffers.Builder(1024)
    text = builder.CreateString("n" * 4000)
    value = builder.CreateString("1.0")
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    pair = builder.EndObject()
    builder.StartVector(4, times, 4)
    for _ in range(times):
        builder.PrependUOffsetTRelative(pair)
    vector = builder.EndVector()
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, vector, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def test_entries_that_share_a_text_may_not_make_a_file_larger_than_it_is(tmp_path):
    assert "beyond the end of the file" in refusal(tmp_path, _table_with_one_text_many_times(10_000))


# JSON


@pytest.mark.parametrize(
    "data",
    [
        {"x": 1.5, "y": 2},
        {"tensor_scales": {"x": 1.5, "y": 2}},
        {"x": [-1.5, 0.5], "y": [0, 2]},
        {"schema": 1, "method": "max", "source": "", "tensors": {"x": {"amax": 1.5}, "y": {"amax": 2}}},
    ],
    ids=["plain", "TAO", "ranges", "own"],
)
def test_json_tables_hold_amax(tmp_path, data):
    assert amax_of(cache_in(tmp_path, json.dumps(data))) == {"x": 1.5, "y": 2.0}


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ('{"x": "1.5"}', "the value of 'x' is not a number"),
        ('{"x": true}', "the value of 'x' is not a number"),
        ('{"x": null}', "the value of 'x' is not a number"),
        ('{"x": 1, "x": 2}', "'x' occurs twice"),
        ("[1, 2]", "no mapping of tensors"),
        ('{"x": 1', "is not valid JSON"),
        ("{}", "it contains no tensors"),
        ('{"\\ud800": 1}', "the name of a tensor is not text"),
        ('{"x": [1, 2, 3]}', "the value of 'x' is not a number"),
        ("[" * 100_000, "JSON"),
        ('{"a":' * 100_000, "JSON"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, text, fact):
    assert fact in refusal(tmp_path, text)


def test_our_own_scales_of_another_schema_are_refused_with_a_remedy(tmp_path):
    newer = refusal(tmp_path, json.dumps({"schema": 2, "tensors": {"x": {"amax": 1.0}}}))

    assert "schema '2', this trtpipe knows 1" in newer
    assert "use the trtpipe that wrote it" in newer


def test_json_numbers_beyond_all_bounds_are_no_scales(tmp_path):
    cache = cache_in(tmp_path, '{"a": 1e999, "b": NaN, "c": -Infinity, "d": 1, "e": 1' + "0" * 400 + "}")

    assert list(amax_of(cache)) == ["d"]
    assert set(cache.unusable) == {"a", "b", "c", "e"}


# What is none at all


@pytest.mark.parametrize(
    ("data", "fact"),
    [
        (b"", "it is empty"),
        (b"\r\n \n", "it is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "an offset leads out of the file"),
        (b"\xff\xfe\xfa", "neither text in UTF-8 nor a table"),
        (b"hello world\n", "it begins with 'hello world'"),
        (b"data: 3c008912\n", "it begins with 'data: 3c008912'"),
        (HEADER.encode(), "it contains no tensors"),
        (b"\0" * 64, "contains no tensors"),
    ],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, data, fact):
    said = refusal(tmp_path, data)

    assert said.startswith("'net.cache' is not a calibration cache: ")
    assert fact in said


def test_a_declared_format_must_be_the_files(tmp_path):
    assert "format: tensorrt" in refusal(tmp_path, HEADER + "x: 3c008912\n", "json")
    assert "TRT-8601-EntropyCalibration2" in refusal(tmp_path, "x 1.0\n", "tensorrt")
    assert "is text, but contains binary data" in refusal(tmp_path, b"\0", "tensorrt")
    assert amax_of(cache_in(tmp_path, "x 1.0\n", "onnxruntime")) == {"x": 1.0}


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "net.cache"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)

    with pytest.raises(ModelError, match="more than 16 MiB"):
        read_cache(path)


def test_more_tensors_than_any_network_has_are_refused(tmp_path):
    rows = "".join(f"{number}: 3c008912\n" for number in range(MOST_ENTRIES + 1))

    assert f"more than {MOST_ENTRIES} tensors" in refusal(tmp_path, HEADER + rows)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ModelError, match="not a regular file"):
        read_cache(tmp_path / "pipe")
    with pytest.raises(ModelError, match="cannot read"):
        read_cache(tmp_path / "none")


@pytest.mark.parametrize(
    "table",
    [
        {"a": 1.5, "b": 2},
        {"tensor_scales": {"a": 1.5}},
        {"a": [-1.5, 0.5], "b": [0, 1]},
        {"a": {"lowest": -1.5, "highest": {"data": [[0.5]], "dtype": "float32"}}},
        {
            "CLS": "TensorsData",
            "data": {"a": {"lowest": [-1.5], "highest": 0.5}},
            "calibration_method": {"CLS": "CalibrationMethod", "value": "CalibrationMethod.MinMax"},
        },
        {"schema": 1, "method": "max", "source": "x", "tensors": {"a": {"amax": 1.5}}},
    ],
    ids=["plain", "TAO", "pairs", "lowest and highest", "with the method", "our own"],
)
def test_a_table_in_json_with_anything_in_any_place_is_refused_or_read(tmp_path, table):
    for damage in damages(table):
        with damage.assert_raises_only(ModelError):
            found = cache_in(tmp_path, damage.text)
            assert all(0 < entry.amax < float("inf") for entry in found.entries)
