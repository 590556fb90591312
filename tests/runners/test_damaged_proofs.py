"""proof.json and manifest.json beside an engine, with anything in any place: refused in a sentence, or read."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.damage import damages
from trtpipe.app.prove.engine_places import EnginePlace, read_facts
from trtpipe.delivery.engine_proofs import judged_on_gpu, read_proof
from trtpipe.errors import ModelError
from trtpipe.files import write_whole
from trtpipe.metrics.metrics import Accumulator
from trtpipe.metrics.spread import Spread
from trtpipe.runners.inference.delivered import delivered_engine, read_manifest

ENGINE = "0" * 64
VALIDATION = {
    "outcome": "passed",
    "thresholds": [{"metric": "cosine", "min": 0.9}, {"metric": "max_abs", "max": 9.0}],
    "recorded": {"samples": 3, "of": 3, "blake3": ENGINE},
    "budget": {"spec": {"metric": "cosine", "min": 0.5}, "inside": True},
}


def proof():
    measured = Accumulator(spread=Spread())
    measured.add(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), np.arange(3))
    outputs = {"y": measured.result().as_json() | {"scatter": [[1.0, 1.0]]}}
    onset = {"tensor": "t", "op": "Exp", "node": "n", "what": "NaN", "elements": 1, "reference_max": 2.0}
    return {
        "schema": 1,
        "engine": ENGINE,
        "cell": "a/fp32@b",
        "places": [{"place": "data", "kind": "data", "shapes": {"x": [3, 3]}, "outputs": outputs}],
        "twins": {"bfloat16": "float32"},
        "recorded": 3,
        "gpu": {"name": "a GPU", "compute_capability": "sm89"},
        "tensorrt": "1.7",
        "outcome": "passed",
        "broken": [{"place": "profile 0 at max", "why": "it hangs"}],
        "nonfinite": [{"place": "data", **onset}],
        "not_run": [{"name": "profile 0 at min", "why": "no samples"}],
    }


def test_a_proof_with_anything_in_any_place_is_left_out_or_judged(tmp_path):
    for damage in damages(proof()):
        (tmp_path / "proof.json").write_text(damage.text)
        with damage.assert_raises_only():
            found, ignored = read_proof(tmp_path, ENGINE)
            assert (found is None) == bool(ignored)
            if found is not None:
                json.dumps(judged_on_gpu(found, VALIDATION).record, allow_nan=False)


def test_what_a_manifest_asks_with_anything_in_any_place_is_refused_or_judged_by():
    for damage in damages(VALIDATION):
        if isinstance(damage.record, dict):
            with damage.assert_raises_only(ValueError):
                judged_on_gpu(proof(), damage.record)


def test_a_pipe_is_no_proof(tmp_path):
    (tmp_path / "proof.json").mkdir()

    assert "is damaged" in read_proof(tmp_path, ENGINE)[1]


def test_a_manifest_with_anything_in_any_place_is_refused_or_read(tmp_path):
    shapes = {"min": [1, 4], "opt": [2, 4], "max": [4, 4]}
    manifest = {
        "cell": "a/fp32@b",
        "engine": {"file": "model.engine", "blake3": ENGINE},
        "model": {"model.onnx": {"blake3": ENGINE}},
        "toolchain": {"flavour": "tensorrt_rtx", "version": "1.7.1.116"},
        "compute_capabilities": ["sm89"],
        "profiles": [{"x": shapes}],
        "steps": {
            "build_engine": {"fingerprint": {"options": {"hardware_compatibility": "none"}}},
            "validate": {"fingerprint": {"options": {"corners": True}}},
        },
        "validation": VALIDATION,
    }
    write_whole(tmp_path / "model.engine", b"no engine")
    for damage in damages(manifest):
        (tmp_path / "manifest.json").write_text(damage.text)
        with damage.assert_raises_only(ModelError):
            facts = read_facts(EnginePlace("a", tmp_path))
            with pytest.raises(ModelError):  # it is none that anybody vouches for
                delivered_engine(tmp_path)
            with damage.assert_raises_only(ValueError):
                judged_on_gpu(proof(), facts.validation)
    assert read_manifest(tmp_path / "none.json") is None
