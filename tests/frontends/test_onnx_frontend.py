"""The onnx frontend on real models: recorded outputs are met, odd ones are refused in one clear error."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from trtpipe.canonical.summary import ModelSummary
from trtpipe.errors import ModelError
from trtpipe.frontends import LowerReport, ModelFiles, lower_model
from trtpipe.frontends.onnx import OnnxOptions, frontend
from trtpipe.legalization.transforms import Transform, transform_file

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "onnx"
REAL = ["magika_v3_3", "mtcnn_rnet", "ppocr_cls", "silero_vad_op18_ifless"]
ODD = sorted(path.name for path in (DATA / "polygraphy").glob("*.onnx")) if DATA.exists() else []
REFUSED = {
    "bad_graph_with_dup_value_info.onnx": "'inp' has been used",
    "bad_graph_with_no_import_domains.onnx": "opset_import",
    "empty.onnx": "no outputs",
    "ext_weights.onnx": "does not exist",
    "weightless.conv.onnx": "tensor 'b' has no values",
    "weightless.matmul.bf16.onnx": "tensor 'b' has no values",
    "weightless.matmul.fp16.onnx": "tensor 'b' has no values",
    "weightless.qdq_conv.onnx": "tensor 'x' has no values",
    "weightless.sparse.conv.onnx": "tensor 'b' has no values",
    "weightless.sparse.matmul.onnx": "tensor 'b' has no values",
    "weightless.transpose_matmul.onnx": "tensor 'transpose_out_0' has no values",
}


def lower(path: Path, out: Path, root: Path | None = None) -> LowerReport:
    return lower_model(frontend, ModelFiles(path, root=root), OnnxOptions(), out)


def real(name: str) -> Path:
    path = DATA / "real" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("no real models in ../shared/testdata")
    return path


def recorded(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    arrays = np.load(real(name).with_suffix(".npz"))
    return tuple(
        {key[len(side) :]: arrays[key] for key in arrays if key.startswith(side)} for side in ("in:", "out:")
    )


def assert_meets_record(model: Path, name: str, bound: tuple[str, ...] = ()) -> None:
    inputs, outputs = recorded(name)
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    results = session.run(list(outputs), {key: value for key, value in inputs.items() if key not in bound})
    for result, expected in zip(results, outputs.values(), strict=True):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", REAL)
def test_the_canonical_model_gives_the_recorded_outputs(tmp_path, name):
    report = lower(real(name), tmp_path / "model.onnx", DATA)
    assert report.warnings == ()
    assert ModelSummary.from_json(report.summary).opset >= 13
    assert_meets_record(tmp_path / "model.onnx", name)


def test_a_bound_sample_rate_leaves_no_branch_in_silero(tmp_path):
    lower(real(REAL[3]), tmp_path / "model.onnx")
    transform_file(tmp_path / "model.onnx", tmp_path / "bound.onnx", Transform(bind={"sr": 16000}))
    assert_meets_record(tmp_path / "bound.onnx", REAL[3], bound=("sr",))
    assert b"then_branch" not in (tmp_path / "bound.onnx").read_bytes()


def test_unrelated_dimensions_of_paddle_models_have_their_own_names(tmp_path):
    report = lower(real("ppocr_cls"), tmp_path / "model.onnx")
    (image,) = ModelSummary.from_json(report.summary).inputs
    assert image.dims == ("x_0", 3, "x_2", "x_3")


@pytest.mark.parametrize("name", ODD or ["polygraphy models"])
def test_odd_models_are_lowered_or_refused_in_one_clear_error(tmp_path, name):
    if not ODD:
        pytest.skip("no polygraphy models in ../shared/testdata")
    path = DATA / "polygraphy" / name
    if name not in REFUSED:
        lower(path, tmp_path / "model.onnx", DATA)
        assert (tmp_path / "model.onnx").exists()
        return
    with pytest.raises(ModelError) as caught:
        lower(path, tmp_path / "model.onnx", DATA)
    assert len(caught.value.problems) == 1
    assert REFUSED[name] in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_external_data_belongs_to_the_model():
    if not ODD:
        pytest.skip("no polygraphy models in ../shared/testdata")
    folder = DATA / "polygraphy" / "ext_weights_same_dir"
    files = ModelFiles(folder / "ext_weights.onnx", root=DATA)
    assert frontend.belonging(files, OnnxOptions()) == [folder.resolve() / "ext_weights.data"]


def test_custom_operators_are_warned_of(tmp_path):
    if not ODD:
        pytest.skip("no polygraphy models in ../shared/testdata")
    report = lower(DATA / "polygraphy" / "custom_op_node.onnx", tmp_path / "model.onnx")
    assert report.warnings == (
        "custom operators ai.onnx.contrib::NegPos need a plugin: TensorRT-RTX cannot build them",
    )
