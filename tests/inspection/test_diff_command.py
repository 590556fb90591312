"""`trtpipe diff` on files, directories, cells and git revisions, in its three forms, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from trtpipe.app.look.diff import diff
from trtpipe.cli.diff import diff_command
from trtpipe.digests import digest_bytes
from trtpipe.errors import SpecError, TrtpipeError
from trtpipe.text.differences import difference_markdown, difference_text

MODELS = Path(__file__).resolve().parents[2] / "pipelines" / "models"
DIGITS = MODELS / "digits_cnn.onnx"
LOCK = "schema: 1\ncells:\n  a/fp16@ada:\n    key: k1\n    toolchain: tensorrt_rtx 1.6.1.120\n"


def text_of(a: Any, b: Any, cwd: Path) -> str:
    record = diff(str(a), str(b), cwd)
    json.dumps(record)
    assert difference_markdown(record).startswith("### ")
    return difference_text(record)


def with_one_weight_changed(path: Path) -> Path:
    proto = onnx.load(DIGITS)
    tensor = proto.graph.initializer[4]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] += 1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, path)
    return path


def test_models_of_two_files_are_compared_with_the_second_ones_that_are_named(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        shutil.copy(MODELS / "digits.prototxt", tmp_path / name / "net.prototxt")
    old, changed = MODELS / "digits.caffemodel", tmp_path / "changed.bin"
    data = bytearray(old.read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)

    assert not diff("old/net.prototxt", "new/net.prototxt", tmp_path, [old, old])["differs"]
    found = diff("old/net.prototxt", "new/net.prototxt", tmp_path, [old, changed])
    assert difference_text(found).splitlines()[1] == "1 weight changed"


def test_second_files_are_refused_where_there_is_no_use_for_them(tmp_path: Path) -> None:
    weights = MODELS / "digits.safetensors"
    for a, companions, why in (
        (weights, [weights], "--with goes with models"),
        (DIGITS, [weights], "the parser 'onnx' takes none"),
        (DIGITS, [weights] * 3, "--with is given 3 times"),
    ):
        with pytest.raises(SpecError, match=why):
            diff(str(a), str(a), tmp_path, companions)


def test_two_models_are_compared_weight_by_weight(tmp_path: Path) -> None:
    changed = with_one_weight_changed(tmp_path / "new.onnx")
    lines = text_of(DIGITS, changed, tmp_path).splitlines()
    assert lines[1] == "1 weight changed"
    assert lines[3].split() == [
        "onnx::Conv_41",
        "float32",
        "32x16x3x3",
        "1",
        "of",
        "4608",
        "1",
        "1.94",
        "0.00163",
    ]
    assert not any("node" in line for line in lines)


def test_the_same_bytes_are_told_at_once(tmp_path: Path) -> None:
    shutil.copy(DIGITS, tmp_path / "copy.onnx")
    assert text_of(DIGITS, "copy.onnx", tmp_path).endswith("identical bytes")


def test_models_of_two_formats_are_compared_by_what_they_compute(tmp_path: Path) -> None:
    text = text_of(MODELS / "digits.prototxt", DIGITS, tmp_path)
    assert "image float32 1x1x8x8" in text
    assert "nodes added" not in text
    assert "weights changed" not in text
    folded = text_of(MODELS / "digits.uff", DIGITS, tmp_path)
    assert "5 nodes removed" in folded
    assert "nodes added" not in folded


def test_an_exit_code_is_given_only_when_asked_for(tmp_path: Path, capsys: Any) -> None:
    changed = str(with_one_weight_changed(tmp_path / "new.onnx"))
    assert diff_command(str(DIGITS), changed) == 0
    assert diff_command(str(DIGITS), changed, exit_code=True) == 1
    assert diff_command(str(DIGITS), str(DIGITS), exit_code=True) == 0
    assert diff_command(str(DIGITS), changed, as_json=True) == 0
    assert json.loads(capsys.readouterr().out.split("identical bytes\n")[-1])["differs"] is True
    with pytest.raises(SpecError, match="exclude each other"):
        diff_command(str(DIGITS), changed, as_json=True, markdown=True)


def test_weights_files_are_compared_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", same=np.zeros(3), gone=np.ones(2), other=np.array([2.0, 4.0]))
    np.savez(tmp_path / "b.npz", same=np.zeros(3), new=np.ones(2), other=np.array([2.0, 5.0]))
    lines = text_of("a.npz", "b.npz", tmp_path).splitlines()
    assert lines[0] == "a.npz and b.npz differ"
    assert lines[3].split() == ["other", "float64", "2", "1", "of", "2", "1", "0.25", "0.167"]
    assert lines[4:] == ["1 weight added: new", "1 weight removed: gone"]


# -- engines --------------------------------------------------------------------------------------------------------


def engine(folder: Path, content: bytes, **manifest: Any) -> Path:
    folder.mkdir()
    data = b"ftrt" + content
    (folder / "model.engine").write_bytes(data)
    layers = [{"name": "a", "type": "CONVOLUTION", "inputs": ["x"], "outputs": [
        {"name": "y", "dtype": manifest.pop("dtype", "float16"), "shape": [-1, 4]}]}]  # fmt: skip
    (folder / "network.json").write_text(json.dumps({"io": [], "layers": layers}))
    said = {"blake3": digest_bytes(data).hex}
    (folder / "manifest.json").write_text(
        json.dumps({"cell": f"p/{folder.name}@t", "engine": said, **manifest})
    )
    return folder


def test_engines_that_differ_in_generated_names_alone_are_equal_up_to_those(tmp_path: Path) -> None:
    a, b = engine(tmp_path / "a", b"__mye17 __mye9"), engine(tmp_path / "b", b"__mye40 __mye8")
    record = diff(str(a), str(b), tmp_path)
    assert (record["verdict"], record["differs"]) == ("equal up to generated names", False)
    other = engine(tmp_path / "c", b"__mye40 __mye40")
    assert diff(str(a), str(other), tmp_path)["verdict"] == "different"


def test_engines_are_compared_by_their_manifests_and_first_differing_layer(tmp_path: Path) -> None:
    profiles = [[{"x": {"min": [1, 4], "opt": [one, 4], "max": [9, 4]}}] for one in (2, 3)]
    seconds = [{"seconds": {"build_engine": one}} for one in (1.0, 2.0)]
    a = engine(
        tmp_path / "a", b"1", profiles=profiles[0], timings=seconds[0], precision="fp32", dtype="float32"
    )
    b = engine(tmp_path / "b", b"2", profiles=profiles[1], timings=seconds[1], precision="fp16")
    text = text_of(a, b, tmp_path)
    assert "profiles[0].x.opt  [2, 4]  [3, 4]" in text
    assert "precision  fp32  fp16" in text
    assert "first layer that differs: number 0" in text
    assert "float32 -> float16 in 1 layer: a" in text


def test_times_and_cells_alone_are_no_difference(tmp_path: Path) -> None:
    a = engine(tmp_path / "a", b"1", timings={"seconds": {"build_engine": 1.0}}, not_run=["x"])
    b = engine(tmp_path / "b", b"1", timings={"seconds": {"build_engine": 2.0}}, not_run=[])
    record = diff(str(a), str(b), tmp_path)
    assert (record["verdict"], record["differs"]) == ("identical bytes", False)
    assert "timings.seconds.build_engine" in difference_text(record)


def test_records_of_these_very_engines_are_compared(tmp_path: Path) -> None:
    folders = [engine(tmp_path / name, name.encode()) for name in ("a", "b")]
    for index, folder in enumerate(folders):
        digest = digest_bytes((folder / "model.engine").read_bytes()).hex
        bench = {"engine": digest, "latency": {"compute": {"p50_us": 10.0 + index}}}
        (folder / "bench.json").write_text(json.dumps(bench))
    assert "bench.latency.compute.p50_us  10   11" in text_of(*folders, tmp_path)


# -- git ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("not run: needs git")
    (tmp_path / "sub").mkdir()
    shutil.copy(DIGITS, tmp_path / "sub" / "model.onnx")
    (tmp_path / "sub" / "trtpipe.lock").write_text(LOCK)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for argv in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(
            ["git", *argv], cwd=tmp_path, check=True, env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        )
    return tmp_path


def test_a_lockfile_is_compared_with_a_revision(repository: Path) -> None:
    here = repository / "sub"
    (here / "trtpipe.lock").write_text(LOCK.replace("1.6.1.120", "1.7.1.116").replace("k1", "k2"))
    text = text_of("HEAD:trtpipe.lock", "trtpipe.lock", here)
    assert "1 cell: toolchain tensorrt_rtx 1.6.1.120 -> tensorrt_rtx 1.7.1.116 (a/fp16@ada)" in text
    assert text_of("HEAD:sub/trtpipe.lock", "trtpipe.lock", here).splitlines()[1:] == text.splitlines()[1:]


def test_a_model_is_compared_with_a_revision(repository: Path) -> None:
    with_one_weight_changed(repository / "sub" / "model.onnx")
    assert "1 weight changed" in text_of("HEAD:sub/model.onnx", "sub/model.onnx", repository)


@pytest.mark.parametrize(
    "name",
    [
        "HEAD:nothing",
        "nothing:trtpipe.lock",
        "--output=x:y",
        ":",
        "HEAD:",
        ":trtpipe.lock",
        "HEAD:sub",
        "HEAD:../../x",
    ],
)
def test_what_git_does_not_have_is_refused(repository: Path, name: str) -> None:
    with pytest.raises(SpecError):
        diff(name, "sub/trtpipe.lock", repository)
    assert not (repository / "x").exists()


def test_a_revision_outside_of_a_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trtpipe.lock").write_text(LOCK)
    with pytest.raises(SpecError):
        diff("HEAD:trtpipe.lock", "trtpipe.lock", tmp_path)


# -- what is refused ------------------------------------------------------------------------------------------------


def test_things_of_two_kinds_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "trtpipe.lock").write_text(LOCK)
    with pytest.raises(SpecError, match=r"is a model, and 'trtpipe.lock' is a lockfile"):
        diff(str(DIGITS), "trtpipe.lock", tmp_path)


@pytest.mark.parametrize("data", [b"", b"vtrt", b"PK\x03\x04", b"\x08\x01", b"{", b"schema: 1\ncells: 3\n"])
def test_damaged_files_are_refused_in_a_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    for pair in (("file", str(DIGITS)), (str(DIGITS), "file"), ("file", "file")):
        with pytest.raises(TrtpipeError) as caught:
            diff(*pair, tmp_path)
        assert caught.value.problems[0].fact


def test_names_cannot_write_markdown_of_their_own(tmp_path: Path) -> None:
    evil = "<img src=x>|`x`\n# y @everyone"
    (tmp_path / "a.lock").write_text(LOCK)
    (tmp_path / "b.lock").write_text(LOCK.replace("a/fp16@ada", json.dumps(evil)))
    text = difference_markdown(diff("a.lock", "b.lock", tmp_path))
    assert "<img" not in text
    assert "@everyone" not in text
    assert "`" not in text
    assert "\n# y" not in text
