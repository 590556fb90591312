"""Whether two series differ: what is called faster is, what is noise is called so, and both sides agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.damage import damages
from trtpipe.errors import ModelError
from trtpipe.metrics.differences import difference, words
from trtpipe.metrics.latency import summary_of
from trtpipe.metrics.records import compared, read_record


def series(center, spread=0.01, count=2000, seed=0):
    random = np.random.default_rng(seed)
    return summary_of(center * (1 + spread * random.standard_normal(count)))


@given(st.floats(1.1, 20), st.integers(0, 100))
@settings(max_examples=40)
def test_what_is_faster_by_more_than_its_noise_is_called_so_and_its_opposite_slower(factor, seed):
    slow, fast = series(100 * factor, seed=seed), series(100, seed=seed + 1)

    one, other = difference(fast, slow, 0.02), difference(slow, fast, 0.02)

    assert (one.verdict, other.verdict) == ("faster", "slower")
    assert one.low <= one.ratio <= one.high < 1
    assert one.ratio * other.ratio == pytest.approx(1)


def test_equal_series_are_called_different_no_more_often_than_the_confidence_allows():
    wrong = 0
    for seed in range(50):
        found = difference(series(100, seed=2 * seed), series(100, seed=2 * seed + 1), 0.0)
        wrong += found.verdict != "inside the noise"

    assert wrong <= 9  # 2 or 3 expected; blocks are few, so that the interval is a little too narrow


def test_a_drift_within_a_run_is_no_certainty():
    drifting = summary_of(np.repeat(np.linspace(100, 130, 20), 100))
    level = summary_of(np.full(2000, 112.0))

    assert difference(drifting, level, 0.02).verdict == "inside the noise"


def test_a_difference_smaller_than_a_run_drifts_by_itself_is_noise_however_sure():
    assert difference(series(101, 1e-5), series(100, 1e-5), 0.02).verdict == "inside the noise"
    assert difference(series(101, 1e-5), series(100, 1e-5), 0.001).verdict == "slower"


def test_few_times_give_no_interval():
    found = difference(summary_of([1.0, 2.0]), series(100), 0.02)

    assert (found.verdict, found.low) == ("too few times", None)
    assert words(found).endswith("times as fast, too few times")


def test_words():
    assert words(difference(series(50, 1e-6), series(100, 1e-6), 0.02)) == "2 times as fast (95 %: 2 to 2)"
    assert words(difference(series(100, 1e-6), series(50, 1e-6), 0.02)) == "2 times as long (95 %: 2 to 2)"
    assert words(difference(series(100), series(100), 0.02)).endswith("inside the noise")


# -- records


def record(**changes):
    latency = {"compute": series(100), "total": series(120), "host": series(150)}
    return {
        "schema": 1,
        "cell": "a/fp16@b",
        "subject": "engine",
        "engine": "0" * 64,
        "machine": {"gpu": {"name": "NVIDIA L4"}, "cpu": "one"},
        "how": {},
        "measurements": [{"shapes": {"x": [1, 4]}, "graph": "off", "latency": latency}],
        **changes,
    }


CPU = {"subject": "typed model on the CPU", "machine": {"gpu": None, "cpu": "one"}, "how": {"threads": 2}}
HOST = [{"shapes": {"x": [1, 4]}, "graph": "off", "latency": {"host": series(100)}}]


def test_engines_are_compared_by_gpu_time_and_models_by_the_hosts_clock():
    found = compared(record(), record(), "before", 0.02)
    assert list(found["measurements"][0]["parts"]) == ["compute", "total"]

    on_cpu = record(**CPU, measurements=HOST)
    assert list(compared(on_cpu, on_cpu, "before", 0.02)["measurements"][0]["parts"]) == ["host"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (CPU, "it is of the typed model on the CPU"),
        ({"machine": {"gpu": {"name": "NVIDIA A10"}, "cpu": "one"}}, "it was measured on NVIDIA A10"),
        ({"measurements": []}, "it has no measurement with these shapes and graphs"),
    ],
)
def test_what_cannot_be_compared(changes, why):
    found = compared(record(), record(**changes), "before", 0.02)

    assert (found["why_not"], found["measurements"]) == (why, [])


def test_results_of_other_processors_and_threads_are_not_compared():
    ours = record(**CPU, measurements=HOST)

    other = {**ours, "machine": {"gpu": None, "cpu": "two"}}
    assert compared(ours, other, "x", 0.02)["why_not"] == "it was measured on two"
    assert compared(ours, {**ours, "how": {"threads": 4}}, "x", 0.02)["why_not"].endswith("with 4 threads")


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(record()))

    assert read_record(path) == record()


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{}", "[" * 100_000, '{"schema": 2}',
        json.dumps(record(machine=3)),
        json.dumps(record(machine={"gpu": 1, "cpu": ""})),
        json.dumps(record(measurements={})),
        json.dumps(record(measurements=[3])),
        json.dumps(record(measurements=[{"shapes": {}, "graph": "off", "latency": 3}])),
        json.dumps(record(measurements=[{"shapes": {}, "graph": "off", "latency": {"host": {"p50_us": 1}}}])),
        json.dumps(record()).replace('"p50_us": ', '"p50_us": -'),
        json.dumps(record()).replace('"p50_us": ', '"p50_us": NaN, "x": '),
    ],
)  # fmt: skip
def test_what_is_no_record(tmp_path, text):
    path = tmp_path / "bench.json"
    path.write_text(text)

    with pytest.raises(ModelError, match="is not a result of trtpipe bench"):
        read_record(path)
    with pytest.raises(ModelError, match="cannot read"):
        read_record(tmp_path / "gone.json")


def test_a_record_with_anything_in_any_place_is_refused_or_can_be_compared(tmp_path):
    path, plain = tmp_path / "bench.json", record()
    few = {"p50_us": 105.0, "count": 20, "block_medians_us": [100.0, 103.0, 105.0, 107.0, 110.0]}
    good = record(measurements=[{"shapes": {"x": [1, 4]}, "graph": "off", "latency": {"compute": few}}])

    for damage in damages(good):
        path.write_text(damage.text)
        with damage.assert_raises_only(ModelError):
            read = read_record(path)
            json.dumps(compared(plain, read, "before", 0.02), allow_nan=False)
            json.dumps(compared(read, plain, "before", 0.02), allow_nan=False)


@pytest.mark.parametrize("blocks", [[], [1], [0] * 5, [1e-320] * 5, [1e14] * 5])
def test_block_medians_of_any_kind(tmp_path, blocks):
    path, plain = tmp_path / "bench.json", record()
    summary = {"p50_us": 100.0, "block_medians_us": blocks}
    one = {"shapes": {"x": [1, 4]}, "graph": "off", "latency": {"compute": summary}}
    path.write_text(json.dumps(record(measurements=[one])))

    if not blocks:
        with pytest.raises(ModelError, match="is not a result of trtpipe bench"):
            read_record(path)
        return
    found = compared(plain, read_record(path), "before", 0.02)
    assert bool(found["measurements"][0]["parts"]) == (blocks[0] >= 1)
    json.dumps(found, allow_nan=False)
