"""What lies beside an engine, with anything in any place: `inspect` and `which` tell what they can."""

from __future__ import annotations

import json
import struct

import pytest

from tests.damage import damages
from trtpipe.app.look import which
from trtpipe.app.look.inspect import Subject, describe
from trtpipe.cli.which import which_command
from trtpipe.digests import digest_bytes
from trtpipe.errors import TrtpipeError
from trtpipe.git.lock_history import History
from trtpipe.text.descriptions import description_lines

HEAD = struct.pack("<4s12xQ4B4sQ16xQ", b"vtrt", 96, 1, 7, 1, 0x74, b"vtrt", 0b1100, 40).ljust(96, b"\0")
DIGEST = digest_bytes(HEAD).hex
GOOD = {
    "manifest.json": {
        "cell": "a/fp32@b",
        "engine": {"file": "model.engine", "blake3": DIGEST, "bytes": 96},
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116", "python": "cpython 3.11.7"},
        "precision": "fp32",
        "compute_capabilities": ["sm86", "sm89"],
        "profiles": [{"x": {"min": [1, 4], "opt": [2, 4], "max": [4, 4]}}],
        "io": [{"name": "x", "mode": "input", "dtype": "float32", "shape": [-1, 4]}],
        "steps": {"build_engine": {"key": "k"}},
        "audit": {"layers": {"float32": 3}, "low_layer_share": 0.5, "outcome": "passed"},
        "validation": {"outcome": "passed", "accuracy": 0.5, "verdicts": []},
        "timings": {"seconds": {"build_engine": 1.5}},
    },
    "network.json": {
        "layers": [
            {
                "name": "l",
                "type": "MATRIX_MULTIPLY",
                "inputs": ["x"],
                "outputs": [{"name": "y", "dtype": "float32", "shape": [-1, 4]}],
            }
        ]
    },
    "proof.json": {"engine": DIGEST, "gpu": {"name": "a GPU"}, "outcome": "passed", "verdicts": []},
    "bench.json": {
        "engine": DIGEST,
        "latency": {"compute": {"p50_us": 1.0, "p99_us": 2.0}},
        "gpu": {"name": "x"},
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "trtpipe.yaml").write_text("schema: 1\n")
    build = tmp_path / "build" / "a" / "fp32@b"
    build.mkdir(parents=True)
    (build / "model.engine").write_bytes(HEAD)
    for name, record in GOOD.items():
        (build / name).write_text(json.dumps(record))
    monkeypatch.chdir(tmp_path)
    return build


@pytest.mark.parametrize("name", GOOD)
def test_an_engine_is_described_whatever_lies_beside_it(folder, name):
    for damage in damages(GOOD[name]):
        (folder / name).write_text(damage.text)
        with damage.assert_raises_only(TrtpipeError):
            "\n".join(description_lines(describe(Subject(folder / "model.engine"))))


def test_an_engine_is_identified_whatever_manifest_lies_beside_it(folder, monkeypatch):
    monkeypatch.setattr(which, "commits_with", lambda lockfile, blake3: History((), ""))
    named = ("cell", "engine", "toolchain", "precision", "compute_capabilities", "steps")
    for damage in damages({name: GOOD["manifest.json"][name] for name in named}):
        (folder / "manifest.json").write_text(damage.text)
        with damage.assert_raises_only(TrtpipeError):
            which_command(str(folder / "model.engine"), as_json=False)
            which_command(DIGEST[:12], as_json=True)
