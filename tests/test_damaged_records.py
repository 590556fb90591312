"""Records of JSON that a user can edit or damage: anything in any place is read, or refused in a sentence."""

from __future__ import annotations

import json
import struct
from copy import deepcopy

import pytest

from trtpipe.calibration.calibrators.measurement.report import report_of
from trtpipe.calibration.scales import Scales, TensorScale, read_scales
from trtpipe.errors import TrtpipeError
from trtpipe.plan.options import UNPLACED, QuantizeOptions
from trtpipe.precisions.casts.overflow import measured_of
from trtpipe.search.choices import Choice, read_choice
from trtpipe.search.steps import quantize_options
from trtpipe.weights.safetensors import SafetensorsFile

DEEP = "@deep@"
JUNK = [None, True, [], {}, "", "x", -1, 0.5, 2**70, 10**400, float("inf"), float("nan"), [[]], DEEP]

SCALES = Scales(
    {"x": TensorScale(1.0, 1.5, 1.0, 10, 0.0, 0.25), "y": TensorScale(0.0)},
    "entropy", "trtpipe", 4, ranges={"x": 1.5}, sums={"y": 2.0},
).to_json()  # fmt: skip
CHOICE = {"schema": 1, **Choice("int8", "fp16", {"fp32": ("/head/*", "op:Softmax")}).to_json()}
HEADER = {"__metadata__": {"format": "pt"}, "w": {"dtype": "F32", "shape": [2, 1], "data_offsets": [0, 8]}}
VERSIONS = {"int8": 3, "fp16": 2, "fp32": 1}


def text_of(record):
    return json.dumps(record).replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000).encode()


def take_scales(path, record):
    path.write_bytes(text_of(record))
    scales = read_scales(path)
    json.dumps([scales.to_json(), report_of(scales)], allow_nan=False)
    measured_of(scales)
    for tensor in scales.tensors.values():
        assert tensor.amax >= 0


def take_choice(path, record):
    path.write_bytes(text_of(record))
    template = QuantizeOptions(precision="auto", precision_version=VERSIONS, keep={}, origins=UNPLACED)
    options = quantize_options(template, read_choice(path, VERSIONS)).record()
    json.dumps(options, allow_nan=False)
    assert options["precision_version"] in VERSIONS.values()


def take_weights(path, record):
    header = text_of(record)
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    weights = SafetensorsFile(path)
    for name in weights.names:
        assert weights.array(name).size == weights.count_of(name)


def refusal_of(take, path, record):
    try:
        take(path, record)
    except TrtpipeError as error:
        return error
    return None


def assert_read_or_refused(take, path, record):
    error = refusal_of(take, path, record)
    problems = error.problems if error is not None else ()
    assert all(path.name in one.fact and "\n" not in one.fact for one in problems), record


RECORDS = {
    "scales.json": (SCALES, take_scales),
    "precision.json": (CHOICE, take_choice),
    "net.safetensors": (HEADER, take_weights),
}


def paths_in(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from paths_in(below, (*path, key))


def with_junk(record, path, junk):
    if not path:
        return junk
    made = deepcopy(record)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = junk
    return made


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_as_it_was_written_is_read(tmp_path, name):
    record, take = RECORDS[name]

    assert refusal_of(take, tmp_path / name, record) is None


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:12])
@pytest.mark.parametrize("name", RECORDS)
def test_anything_in_any_place_is_read_or_refused_in_a_sentence(tmp_path, name, junk):
    record, take = RECORDS[name]

    for path in paths_in(record):
        assert_read_or_refused(take, tmp_path / name, with_junk(record, path, junk))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_without_one_of_its_fields_is_read_or_refused_in_a_sentence(tmp_path, name):
    record, take = RECORDS[name]

    for path in paths_in(record):
        if not path:
            continue
        made = deepcopy(record)
        place = made
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        assert_read_or_refused(take, tmp_path / name, made)


def test_bytes_that_are_no_text_are_refused_in_a_sentence(tmp_path):
    for name, read in (
        ("scales.json", read_scales),
        ("precision.json", lambda path: read_choice(path, VERSIONS)),
    ):
        path = tmp_path / name
        for data in (b"", b"\xff\xfe\x00", b"{", b"[]", b"\x00" * 16):
            path.write_bytes(data)
            with pytest.raises(TrtpipeError, match=name):
                read(path)
        path.unlink()
        with pytest.raises(TrtpipeError, match=name):
            read(path)
