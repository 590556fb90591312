"""An engine described from its bytes, with and without its manifest."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from trtpipe.digests import digest_bytes
from trtpipe.errors import ModelError
from trtpipe.inspection.file_kind import kind_of_file
from trtpipe.inspection.inspect_engine import describe_engine
from trtpipe.toolchains.header import read_engine_header


def engine_bytes(mask: int = 0b1100, weights: int = 40) -> bytes:
    head = struct.pack("<4s12xQ4B4sQ16xQ", b"vtrt", 96, 1, 7, 1, 0x74, b"vtrt", mask, weights)
    return head.ljust(96, b"\0")


def describe(path: Path, **more: Any) -> dict[str, Any]:
    return describe_engine(path, read_header=read_engine_header, **more).to_json()


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "model.engine"
    path.write_bytes(engine_bytes())
    return path


def test_a_lone_engine_says_who_built_it_and_who_runs_it(engine: Path) -> None:
    record = describe(engine)
    assert {key: record[key] for key in ("format", "bytes", "blake3", "manifest", "notes")} == {
        "format": "engine",
        "bytes": 96,
        "blake3": digest_bytes(engine_bytes()).hex,
        "manifest": None,
        "notes": [],
    }
    assert (record["header"]["version"], record["header"]["weight_bytes"]) == ("1.7.1.116", 40)
    assert list(record["gpus"]) == ["sm86", "sm89"]
    assert "NVIDIA GeForce RTX 4090" in record["gpus"]["sm89"]
    assert json.loads(json.dumps(record)) == record


def test_the_manifest_beside_it_counts_when_it_is_its_own(engine: Path) -> None:
    manifest = {"cell": "p/fp32@ada", "engine": {"blake3": digest_bytes(engine_bytes()).hex}}
    (engine.parent / "manifest.json").write_text(json.dumps(manifest))
    assert describe(engine)["manifest"] == manifest
    manifest["engine"] = {"blake3": "0" * 64}
    (engine.parent / "manifest.json").write_text(json.dumps(manifest))
    record = describe(engine)
    assert record["manifest"] is None
    assert record["notes"] == [f"'{engine.parent / 'manifest.json'}' is the manifest of another engine"]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("{", "cannot be read as a manifest"),
        ("[]", "is not a manifest of an engine"),
        ("{}", "is not a manifest of an engine"),
    ],
)
def test_a_file_that_is_no_manifest_is_noted(engine: Path, text: str, note: str) -> None:
    (engine.parent / "manifest.json").write_text(text)
    assert describe(engine)["notes"] == [f"'{engine.parent / 'manifest.json'}' {note}"]


def test_a_manifest_can_be_looked_up_by_digest(engine: Path) -> None:
    known = {digest_bytes(engine_bytes()): {"cell": "p/fp16@ada"}}
    assert describe(engine, find_manifest=known.get)["manifest"] == {"cell": "p/fp16@ada"}


def test_another_layout_is_refused_unless_a_manifest_speaks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "model.engine"
    path.write_bytes(b"ftrt" + bytes(200))
    with pytest.raises(ModelError) as caught:
        describe(path)
    manifest = {"compute_capabilities": ["sm90"], "engine": {"blake3": digest_bytes(path.read_bytes()).hex}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    record = describe(path)
    assert record["header"] is None
    assert record["gpus"]["sm90"][0] == "NVIDIA H100"
    assert record["notes"] == [caught.value.problems[0].fact]


def test_a_missing_file_is_a_model_error(tmp_path: Path) -> None:
    for look in (describe, kind_of_file):
        with pytest.raises(ModelError, match="cannot read"):
            look(tmp_path / "none.engine")


@pytest.mark.parametrize(
    ("head", "kind"),
    [(b"vtrt", "engine"), (b"ftrt", "engine"), (b"ptrt", "engine"), (b"\x08\x08", "model"), (b"", "model")],
)
def test_files_are_told_apart_by_content_not_by_suffix(head: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes(head)
    assert kind_of_file(path) == kind
