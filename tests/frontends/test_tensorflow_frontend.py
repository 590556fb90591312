"""TensorFlow graphs: what is told without TensorFlow, and, where it is installed, what is converted.

The conversions need the extra `tensorflow`; without it they are not run, by name.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.tensorflow import TensorflowOptions, frontend

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata"
CASES = sorted(path.stem for path in (DATA / "tf" / "ops").glob("*.pb")) or ["none here"]

shared = pytest.mark.skipif(not (DATA / "tf").is_dir(), reason="no graphs in ../shared/testdata")
converts = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("tf2onnx") is None,
    reason="not run: needs tensorflow and tf2onnx",
)


def proposed(path: Path) -> TensorflowOptions:
    found = frontend.propose(path)
    assert found is not None
    return TensorflowOptions.model_validate(dict(found.options))


def run(model: Path, inputs: list[np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feed = dict(zip([one.name for one in session.get_inputs()], inputs, strict=True))
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


@shared
@pytest.mark.parametrize("case", CASES)
def test_inputs_and_outputs_are_proposed_without_tensorflow(case):
    arrays = np.load(DATA / "tf" / "ops" / f"{case}.npz")

    options = proposed(DATA / "tf" / "ops" / f"{case}.pb")

    assert len(options.inputs) == sum(name.startswith("x") for name in arrays.files)
    assert len(options.outputs) >= 1


@shared
def test_a_graph_without_named_ends_is_told_what_to_write():
    with pytest.raises(ModelError) as caught:
        frontend.belonging(ModelFiles(DATA / "tf" / "ops" / "conv_same_s2.pb"), TensorflowOptions())

    (problem,) = caught.value.problems
    assert problem.fact == "a frozen graph needs 'inputs' and 'outputs' in model.options"
    assert "inputs: [" in problem.remedy


@shared
def test_a_node_that_is_not_there_is_told_with_the_nearest():
    path = DATA / "tf" / "ops" / "conv_same_s2.pb"
    known = proposed(path)
    options = known.model_copy(update={"outputs": (known.outputs[0] + "x",)})

    with pytest.raises(ModelError, match="the graph has no node"):
        frontend.belonging(ModelFiles(path), options)


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "graph.pb"
    path.write_bytes(b"\x0a\xff\xff\xff\xff\x0f")

    assert frontend.propose(path) is None
    with pytest.raises(ModelError):
        frontend.belonging(ModelFiles(path), TensorflowOptions(inputs=("x",), outputs=("y",)))


@shared
@converts
@pytest.mark.parametrize("case", CASES)
def test_a_converted_graph_equals_tensorflow(case, tmp_path):
    path = DATA / "tf" / "ops" / f"{case}.pb"
    arrays = np.load(path.with_suffix(".npz"))
    expected = [arrays[name] for name in sorted(arrays.files, key=lambda n: int(n[1:])) if name[0] == "y"]
    inputs = [arrays[name] for name in sorted(arrays.files) if name[0] == "x"]

    lower_model(frontend, ModelFiles(path), proposed(path), tmp_path / "model.onnx")

    made = list(run(tmp_path / "model.onnx", inputs).values())
    assert len(made) == len(expected)
    for value in expected:  # the graph does not say in which order its outputs were recorded
        assert any(one.shape == value.shape and np.allclose(one, value, rtol=1e-4, atol=1e-4) for one in made)


@shared
@converts
def test_a_real_policy_equals_tensorflow_and_converts_to_the_same_bytes(tmp_path):
    path = DATA / "tf" / "ppo_policy.pb"
    arrays = np.load(DATA / "uff" / "ppo_policy.npz")
    options = TensorflowOptions(inputs=("input_state_placeholder",), outputs=("policy/output",))

    for name in ("one.onnx", "two.onnx"):
        lower_model(frontend, ModelFiles(path), options, tmp_path / name)

    made = run(tmp_path / "one.onnx", [arrays["in:input_state_placeholder"]])
    np.testing.assert_allclose(next(iter(made.values())), arrays["out:policy/output"], rtol=1e-4, atol=1e-4)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
