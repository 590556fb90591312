"""The worker with the `tensorrt` flavour, played by a stand-in: no GPU is needed to see what it is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.worker_requests import worker_request
from trtpipe.errors import StepFailed, ToolchainError
from trtpipe.toolchains.engine_worker.launch import run_worker
from trtpipe.toolchains.engine_worker.request import Timing
from trtpipe.toolchains.engine_worker.watch import Supervision

SITE = str(Path(__file__).with_name("stand_in"))
ALONE = Timing("timing.cache", (), {})


def run(folder, **changes):
    (folder / "model.onnx").write_bytes(b"any")
    result = run_worker(
        [sys.executable],
        worker_request([SITE], flavour="tensorrt", **changes),
        folder,
        Supervision(),
    )
    return result.facts, json.loads((folder / "model.engine").read_bytes())


def test_options_reach_a_tensorrt_that_cannot_stream(tmp_path):
    result, engine = run(tmp_path)

    assert result["version"] == "10.9.0.34"
    assert result["engine_size"] == (tmp_path / "model.engine").stat().st_size
    assert engine == {
        "name": "net",
        "flags": [],
        "pools": {"WORKSPACE": 1 << 30},
        "hardware": "NONE",
        "plugins": [],
    }


def test_compatibility_and_plugins_reach_tensorrt(tmp_path):
    (tmp_path / "libmine.so").touch()
    compatibility = {"hardware_compatibility": "ampere_plus", "version_compatible": True}

    _, engine = run(tmp_path, compatibility=compatibility, options={"tf32": True}, plugins=["libmine.so"])

    assert engine["hardware"] == "AMPERE_PLUS"
    assert engine["flags"] == ["TF32", "VERSION_COMPATIBLE"]
    assert engine["plugins"] == ["libmine.so"]


def test_the_timing_cache_is_read_and_written_back(tmp_path):
    (tmp_path / "tactic").write_text("0x5")
    first, _ = run(tmp_path, timing=ALONE)
    (tmp_path / "tactic").write_text("0x6")
    again, engine = run(tmp_path, timing=ALONE)

    assert first["tactics"] == again["tactics"] == {"0xAA": "0x5 0.25 ms", "0xBB": "0x5 0.25 ms"}
    assert json.loads((tmp_path / "timing.cache").read_bytes()) == {"0xAA": [5, 0.25], "0xBB": [5, 0.25]}
    assert engine["flags"] == ["EDITABLE_TIMING_CACHE"]


def test_timing_caches_of_builds_at_the_same_time_become_one(tmp_path):
    (tmp_path / "one.cache").write_text('{"0xAA": [1, 0.5], "0xC1": [1, 1.0]}')
    (tmp_path / "two.cache").write_text('{"0xBB": [2, 0.5], "0xC2": [1, 1.0]}')

    result, _ = run(tmp_path, timing=Timing("timing.cache", ("one.cache", "two.cache"), {}))

    assert set(json.loads((tmp_path / "timing.cache").read_bytes())) == {"0xAA", "0xBB", "0xC1", "0xC2"}
    assert result["tactics"] == {"0xAA": "0x1 0.5 ms", "0xBB": "0x2 0.5 ms"}  # not those of other engines


def test_a_timing_cache_of_another_gpu_is_passed_over(tmp_path):
    (tmp_path / "one.cache").write_text("not for this GPU")

    result, _ = run(tmp_path, timing=Timing("timing.cache", ("one.cache",), {}))

    assert set(result["tactics"]) == {"0xAA", "0xBB"}


def test_tactics_are_replayed_from_the_request_alone(tmp_path):
    (tmp_path / "tactic").write_text("0x9")
    (tmp_path / "timing.cache").write_text('{"0xAA": [9, 0.5]}')
    tactics = {"0xAA": "0x3 0.125 ms", "0xBB": "0x4 0.25 ms"}

    result, engine = run(tmp_path, timing=Timing("timing.cache", (), tactics))

    assert result["tactics"] == tactics
    assert {"ERROR_ON_TIMING_CACHE_MISS", "DISABLE_COMPILATION_CACHE"} <= set(engine["flags"])


def test_a_tactic_that_is_missing_fails_the_replay(tmp_path):
    with pytest.raises(StepFailed, match="timing cache miss of 0xBB"):
        run(tmp_path, timing=Timing("timing.cache", (), {"0xAA": "0x3 0.125 ms"}))


def test_a_plugin_library_that_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(StepFailed, match="cannot load the plugin library"):
        run(tmp_path, plugins=["libnone.so"])


def test_a_machine_without_a_driver_is_a_toolchain_error(tmp_path):
    (tmp_path / "no-driver").touch()

    with pytest.raises(ToolchainError, match="TensorRT cannot start"):
        run(tmp_path)
