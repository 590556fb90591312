"""An engine in a directory of its own: what its manifest says, and when it vouches for it."""

from __future__ import annotations

import json

import pytest

from tests.runners.engine_bench import copying, rows
from trtpipe.digests import digest_file
from trtpipe.errors import ModelError, ToolchainError
from trtpipe.runners.inference.delivered import delivered_engine
from trtpipe.runners.inference.requests import BuiltFor, EngineRun, HowToRun
from trtpipe.runners.inference.run import run_engine
from trtpipe.runners.inference.tensors import store_tensors


def manifest_of(path, **changes):
    return {
        "engine": {"file": path.name, "blake3": digest_file(path).hex},
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"},
        "compute_capabilities": ["sm86"],
        **changes,
    }


@pytest.fixture
def place(bench):
    """A directory with an engine that this GPU cannot run, and its manifest."""
    folder = bench.folder / "cell"
    folder.mkdir()
    path = folder / "model.engine"
    path.write_text(json.dumps(copying(validity=2)))
    (folder / "manifest.json").write_text(json.dumps(manifest_of(path)))
    return folder


def test_a_directory_is_all_that_is_needed(bench, place):
    found = delivered_engine(place)

    assert (found.flavour, found.built_for) == ("tensorrt_rtx", BuiltFor(("sm86",), "1.7.1.116"))
    assert delivered_engine(place / "model.engine") == found
    inputs = store_tensors({"x": rows(1)}, bench.folder, "in")
    with pytest.raises(
        ToolchainError, match="the engine was built for sm86, and this GPU is Make-believe GPU"
    ):
        run_engine(
            bench.toolchain,
            found.engine,
            [EngineRun(inputs)],
            HowToRun(built_for=found.built_for),
            bench.folder,
        )


def test_another_engines_manifest_does_not_vouch(place):
    (place / "model.engine").write_text(json.dumps(copying()))

    with pytest.raises(ModelError, match="is in no manifest and no lockfile"):
        delivered_engine(place)


def test_a_file_without_a_manifest_is_told_by_its_header(place):
    (place / "manifest.json").unlink()
    path = place / "model.engine"
    head = bytearray(64)
    head[0:4] = head[28:32] = b"vtrt"
    head[16], head[24:28], head[32] = 64, bytes([1, 7, 1, 116]), 8
    path.write_bytes(head)

    found = delivered_engine(path, vouched={digest_file(path).hex})

    assert found.built_for == BuiltFor(("sm89",), "1.7.1.116")
    assert found.manifest is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        '{"engine": {"blake3": 1}, "toolchain": {"flavour": "tensorrt", "version": ""}, "compute_capabilities": []}',
        '{"engine": {"blake3": ""}, "toolchain": {"flavour": "other", "version": ""}, "compute_capabilities": []}',
        '{"engine": {"blake3": ""}, "toolchain": {"flavour": ["tensorrt"], "version": ""}}',
    ],
)
def test_a_damaged_manifest(place, text):
    (place / "manifest.json").write_text(text)

    with pytest.raises(ModelError, match=r"manifest.json is a damaged manifest"):
        delivered_engine(place)


def test_a_directory_without_an_engine(place):
    (place / "model.engine").unlink()

    with pytest.raises(ModelError, match=r"model.engine: no such file or directory"):
        delivered_engine(place)
