"""The worker with the `tensorrt` flavour, played by a stand-in: no GPU is needed to see what it is told."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from trtpipe.errors import StepFailed, ToolchainError
from trtpipe.toolchains.launch import run_worker

SITE = str(Path(__file__).with_name("stand_in"))


def run(folder, **changes):
    (folder / "model.onnx").write_bytes(b"any")
    request = {
        "schema": 1,
        "action": "build",
        "flavour": "tensorrt",
        "site": [SITE],
        "network_name": "net",
        "options": {"workspace": 1 << 30},
    }
    never = threading.Event()
    result = run_worker(
        [sys.executable],
        request | changes,
        folder,
        on_event=lambda event: None,
        cancelled=never,
        killed=never,
    )
    return result, json.loads((folder / "model.engine").read_bytes())


def test_options_reach_a_tensorrt_that_cannot_stream(tmp_path):
    result, engine = run(tmp_path)

    assert result["version"] == "10.9.0.34"
    assert result["engine_size"] == (tmp_path / "model.engine").stat().st_size
    assert engine == {
        "name": "net",
        "flags": ["TF32"],
        "pools": {"WORKSPACE": 1 << 30},
        "hardware": "NONE",
        "plugins": [],
    }


def test_compatibility_and_plugins_reach_tensorrt(tmp_path):
    (tmp_path / "libmine.so").touch()
    options = {"hardware_compatibility": "ampere_plus", "version_compatible": True, "tf32": False}

    _, engine = run(tmp_path, options=options, plugins=["libmine.so"])

    assert engine["hardware"] == "AMPERE_PLUS"
    assert engine["flags"] == ["VERSION_COMPATIBLE"]
    assert engine["plugins"] == ["libmine.so"]


def test_the_timing_cache_is_read_and_written_back(tmp_path):
    run(tmp_path, timing_cache="timing.cache")
    run(tmp_path, timing_cache="timing.cache")

    assert (tmp_path / "timing.cache").read_bytes() == b"++"


def test_a_plugin_library_that_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(StepFailed, match="cannot load the plugin library"):
        run(tmp_path, plugins=["libnone.so"])


def test_compute_capabilities_are_refused(tmp_path):
    with pytest.raises(StepFailed, match="TensorRT builds for the GPU at hand: name no compute capabilities"):
        run(tmp_path, compute_capabilities=["sm89"])


def test_a_machine_without_a_driver_is_a_toolchain_error(tmp_path):
    (tmp_path / "no-driver").touch()

    with pytest.raises(ToolchainError, match="TensorRT cannot start"):
        run(tmp_path)
