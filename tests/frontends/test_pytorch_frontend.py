"""PyTorch programs: what is told without PyTorch, and, where it is installed, what is converted.

The conversions need the extra `pytorch`; without it they are not run, by name.
"""

from __future__ import annotations

import importlib.util
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from trtpipe.canonical.summary import ModelSummary
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.pytorch import PytorchOptions, frontend

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata"

shared = pytest.mark.skipif(not (DATA / "torch").is_dir(), reason="no programs in ../shared/testdata")
converts = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnxscript") is None,
    reason="not run: needs torch and onnxscript",
)


def outputs_of(model: Path, *inputs: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feed = dict(zip([one.name for one in session.get_inputs()], inputs, strict=True))
    return list(session.run(None, feed))


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        frontend.belonging(ModelFiles(path), PytorchOptions())
    return str(caught.value)


@shared
def test_a_program_is_recognised_without_pytorch():
    assert frontend.propose(DATA / "torch" / "digits_cnn.pt2") is not None


@shared
def test_a_checkpoint_is_refused_with_the_way_out_and_nothing_is_unpickled():
    said = refusal(DATA / "torch" / "digits_cnn_state.pt")

    assert "pickle" in said
    assert "torch.export" in said


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize("form", ["bare", "zip", "program"])
def test_a_pickle_is_not_run(form, tmp_path):
    trap = pickle.dumps(Trap(str(tmp_path / "sprung")))
    path = tmp_path / "model.pt2"
    if form == "bare":
        path.write_bytes(trap)
    else:
        inside = {"zip": "archive/data.pkl", "program": "archive/data/constants/c.pkl"}[form]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(inside, trap)
            archive.writestr("archive/archive_format", "pt2")

    refusal(path)

    assert not (tmp_path / "sprung").exists()


def test_an_archive_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/archive_format", "pt2")
    path.write_bytes(path.read_bytes()[:-10])

    refusal(path)


@shared
@converts
def test_the_digits_program_equals_the_onnx_of_the_same_weights(tmp_path):
    images = np.load(DATA / "accuracy" / "digits_val.npz")["image"].astype(np.float32).reshape(-1, 1, 8, 8)

    lower_model(
        frontend, ModelFiles(DATA / "torch" / "digits_cnn.pt2"), PytorchOptions(), tmp_path / "m.onnx"
    )

    (made,) = outputs_of(tmp_path / "m.onnx", images[:8])
    (expected,) = outputs_of(DATA / "accuracy" / "digits_cnn.onnx", images[:8])
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)


@shared
@converts
def test_a_dynamic_sequence_stays_dynamic_under_a_name_that_means_something(tmp_path):
    arrays = np.load(DATA / "torch" / "transformer_dynseq.npz")
    out = tmp_path / "m.onnx"

    report = lower_model(
        frontend, ModelFiles(DATA / "torch" / "transformer_dynseq.pt2"), PytorchOptions(), out
    )

    (tokens,) = ModelSummary.from_json(report.summary).inputs
    dynamic = [dim for dim in tokens.dims or () if not isinstance(dim, int)]
    assert dynamic
    assert not any(
        str(dim).lstrip("0123456789*").startswith("s") and str(dim)[1:].isdigit() for dim in dynamic
    )
    (made,) = outputs_of(out, arrays["in0"])
    np.testing.assert_allclose(made, arrays["out0"], rtol=1e-5, atol=1e-5)


@shared
@converts
def test_converting_twice_gives_the_same_bytes(tmp_path):
    files = ModelFiles(DATA / "torch" / "transformer_dynseq.pt2")
    for name in ("one.onnx", "two.onnx"):
        lower_model(frontend, files, PytorchOptions(), tmp_path / name)

    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
