"""Timing caches and locked tactics around a build, with a stand-in of TensorRT: what is kept, merged and replayed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.worker_requests import worker_request
from trtpipe.building.timing_caches import TimedBuild, changed_tactics
from trtpipe.errors import StepFailed
from trtpipe.lockfile import tactics_in
from trtpipe.problem_codes import Code
from trtpipe.stores.timing_caches import TimingCaches, cache_name
from trtpipe.toolchains.engine_worker.launch import run_worker
from trtpipe.toolchains.engine_worker.watch import Supervision

SITE = str(Path(__file__).resolve().parents[1] / "toolchains" / "stand_in")


class Bench:
    """A store's timing caches, and builds in folders of their own."""

    def __init__(self, root):
        self.root, self.warnings, self.count = root, [], 0
        self.caches = TimingCaches(root / "store")

    def emit(self, event):
        self.warnings.append(event.text)

    def build(self, *, tactic="0x7", tactics=None, during=lambda: None, gpu="NVIDIA H100"):
        self.count += 1
        folder = self.root / f"build{self.count}"
        folder.mkdir()
        (folder / "model.onnx").write_bytes(b"any")
        (folder / "tactic").write_text(tactic)
        request = worker_request([SITE], flavour="tensorrt")

        def run(asked):
            during()
            return run_worker([sys.executable], asked, folder, Supervision()).facts

        timed = TimedBuild(self.caches, self, "p/v@t:build_engine", "tensorrt-10.9", gpu, tactics or {})
        return timed.run(request, folder, run)["tactics"]

    def kept(self):
        return [json.loads(path.read_bytes()) for path in sorted(self.root.glob("store/timing/*/*.cache"))]


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_a_second_build_keeps_to_what_the_first_one_measured(bench):
    first = bench.build(tactic="0x5")
    second = bench.build(tactic="0x6")

    assert first == second == {"0xAA": "0x5 0.25 ms", "0xBB": "0x5 0.25 ms"}
    assert len(bench.kept()) == 1


def test_another_model_of_gpu_measures_for_itself(bench):
    bench.build(tactic="0x5")

    assert set(bench.build(tactic="0x6", gpu="NVIDIA L4").values()) == {"0x6 0.25 ms"}
    assert len(bench.kept()) == 2


def test_two_builds_at_once_lose_nothing_and_the_third_merges_them(bench):
    other = {"0xC1": [1, 0.5]}

    def meanwhile():
        path = bench.root / "other.cache"
        path.write_text(json.dumps(other))
        bench.caches.give(cache_name("tensorrt-10.9", "NVIDIA H100"), path, [])

    bench.build(during=meanwhile)
    assert len(bench.kept()) == 2

    bench.build()

    (one,) = bench.kept()
    assert set(one) == {"0xAA", "0xBB", "0xC1"}


def test_a_damaged_cache_is_removed(bench):
    bench.build(tactic="0x5")
    (path,) = bench.root.glob("store/timing/*/*.cache")
    path.write_bytes(b"damaged")

    assert set(bench.build(tactic="0x6").values()) == {"0x6 0.25 ms"}
    assert len(bench.kept()) == 1


def test_a_store_that_cannot_be_written_only_costs_time(bench):
    (bench.root / "store").write_text("a file stands here")

    assert set(bench.build(tactic="0x5").values()) == {"0x5 0.25 ms"}


def test_the_tactics_of_the_lockfile_are_replayed_whatever_the_clock_says(bench):
    bench.build(tactic="0x5")
    locked = {"0xAA": "0x1 0.5 ms", "0xBB": "0x2 0.5 ms"}

    assert bench.build(tactic="0x9", tactics=locked) == locked
    assert bench.warnings == []


def test_tactics_that_cannot_be_followed_are_timed_with_a_warning(bench):
    found = bench.build(tactic="0x9", tactics={"0xAA": "0x1 0.5 ms"})

    assert set(found.values()) == {"0x9 0.25 ms"}
    (warning,) = bench.warnings
    assert "the lockfile's tactics could not be used: " in warning


def test_a_failure_that_is_not_about_tactics_stays_one(bench):
    def broken():
        raise StepFailed(Code.STEP_CRASHED, "no")

    with pytest.raises(StepFailed):
        bench.build(tactics={"0xAA": "0x1 0.5 ms"}, during=broken)


def test_what_a_replay_did_not_keep_to_is_told():
    locked = {"a": "0x1 1 ms", "b": "0x2 1 ms", "c": "0x3 1 ms"}

    assert list(changed_tactics(locked, {"a": "0x1 9 ms", "b": "0x9 1 ms", "d": "0x4 1 ms"})) == [
        "tactics not used after the replay: 1 (c)",
        "tactics not in the lockfile after the replay: 1 (d)",
        "tactics another one after the replay: 1 (b)",
    ]


def test_the_lockfile_gives_tactics_by_the_engines_key():
    cells = {"p/a@x": {"key": "k1", "tactics": {"a": "0x1"}}, "p/b@x": {"key": "k2"}}

    assert tactics_in(cells.values()) == {"k1": {"a": "0x1"}}
