"""A calibration that was interrupted goes on where it was and finds the same; a damaged file counts as none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blake3 import blake3

from tests.calibration.small_nets import request_for, samples_of
from trtpipe.calibration.calibrators import METHODS, find_calibrator
from trtpipe.calibration.calibrators.measurement import counts
from trtpipe.calibration.calibrators.measurement.histograms import Histogram
from trtpipe.calibration.calibrators.measurement.progress import MAGIC, SavedCounts


class Stop(Exception):
    """What interrupts."""


@pytest.fixture(autouse=True)
def save_after_every_sample(monkeypatch):
    monkeypatch.setattr(counts, "_SAVE_SECONDS", 0)
    monkeypatch.setattr(counts, "_SAVING_SHARE", 1e9)
    monkeypatch.setattr(counts, "_TELL_SECONDS", 0)


def counted(*arrays, whole=True):
    found = {"a": Histogram(), "b": Histogram()}
    for array in arrays:
        for one in found.values():
            one.add(array, counted=whole)
    return found


def state_of(histograms):
    return [
        (one.zeros, one.nonfinite, one.finite, one.largest, one.counts.tobytes(), one.peaks.tobytes())
        for one in histograms.values()
    ]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [1, 7, 19])
def test_an_interrupted_run_goes_on_and_finds_the_same(tmp_path, method, at):
    calibrator = find_calibrator("trtpipe")
    request = request_for(tmp_path, samples_of(20), method)
    whole = calibrator.calibrate(request)
    told = []

    def stop(done, total, resumed):
        if done == at:
            raise Stop

    kept = replace(request, progress=tmp_path / "state/counted")
    with pytest.raises(Stop):
        calibrator.calibrate(replace(kept, tell=stop))
    resumed = calibrator.calibrate(replace(kept, tell=lambda *facts: told.append(facts)))

    assert told[0] == (at, 20, at)
    assert told[-1] == (20, 20, at)
    assert len(told) == 20 - at + 1
    assert resumed.to_json() == whole.to_json()


@pytest.mark.parametrize("whole", [True, False], ids=["histograms", "largest only"])
def test_what_is_written_is_read_back(tmp_path, whole):
    values = np.array([0, 1, -2.5, 1e9, np.inf], np.float32)
    made = counted(values, values[:2], whole=whole)
    saved, read = SavedCounts(tmp_path / "counted", whole), counted()

    saved.write(made, 2)

    assert saved.read(read, most=9) == 2
    assert state_of(read) == state_of(made)


def damaged(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    flipped = bytearray(content)
    flipped[middle] ^= 1
    return {
        "nothing": b"",
        "cut": content[:-1],
        "longer": content + b"\0",
        "only the head": content[:72],
        "flipped": bytes(flipped),
        "other magic": b"trtcal9\n" + content[8:],
        "zeros": bytes(len(content)),
    }


@pytest.mark.parametrize("how", list(damaged(bytes(100))))
def test_a_damaged_file_counts_as_none(tmp_path, how):
    saved, read = SavedCounts(tmp_path / "counted"), counted()
    saved.write(counted(np.ones(3, np.float32)), 1)
    saved.path.write_bytes(damaged(saved.path.read_bytes())[how])

    assert saved.read(read, most=9) == 0
    assert state_of(read) == state_of(counted())


@pytest.mark.parametrize(
    ("at", "value"),
    [(32, -1), (32, 10), (40, -5), (56, 7), (64, -1), (72 + 8 * 20, -3), (72 + 8 * 20, 10**18)],
    ids=["done < 0", "too many done", "zeros < 0", "other sum", "largest is NaN", "count < 0", "huge count"],
)
def test_counts_that_do_not_add_up_are_not_believed_though_the_digest_is_right(tmp_path, at, value):
    saved, read = SavedCounts(tmp_path / "counted"), counted()
    saved.write(counted(np.ones(3, np.float32)), 1)
    body = bytearray(saved.path.read_bytes()[40:])
    body[at : at + 8] = np.array([value], "<i8").tobytes()
    saved.path.write_bytes(MAGIC + blake3(body).digest() + body)

    assert saved.read(read, most=9) == 0
    assert state_of(read) == state_of(counted())


def test_counts_of_other_tensors_or_of_another_kind_are_not_taken(tmp_path):
    saved = SavedCounts(tmp_path / "counted")
    saved.write(counted(np.ones(3, np.float32)), 1)

    assert saved.read({"a": Histogram(), "c": Histogram()}, most=9) == 0
    assert saved.read({"a": Histogram()}, most=9) == 0
    assert SavedCounts(saved.path, counted=False).read(counted(), most=9) == 0
    assert saved.read(counted(), most=9) == 1
