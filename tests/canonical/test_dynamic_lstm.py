"""DynamicQuantizeLSTM is written out as Scans that round before each step, just as ONNX Runtime rounds."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.canonical.onnx_text import canonical, operators
from tests.canonical.rtx_child import refusals
from tests.canonical.runtime_models import MICROSOFT, rng
from trtpipe.canonical.evaluation import Evaluator
from trtpipe.legalization.rewrites import rewrite_as_imported
from trtpipe.proofs.rtx_operators import operator_refusals
from trtpipe.runners.cpu.graphs import RunnableModel
from trtpipe.runners.cpu.onnxruntime import open_runner

INPUTS, HIDDEN = 5, 6
NAMES = ["x", "w", "r", "b", "", "h", "c", "", "ws", "wz", "rs", "rz"]


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    with Evaluator(tmp_path_factory.mktemp("evaluator")) as made:
        yield made


def lstm(
    direction: str = "forward",
    *,
    dtype: Any = np.uint8,
    columns: bool = False,
    given: str = "bhc",
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node; `given` are its bias and its states before the first step, of which the others are left out."""
    count = 2 if direction == "bidirectional" else 1
    scales = (count, 4 * HIDDEN) if columns else (count,)
    ends, random = np.iinfo(dtype), rng(3)
    shift = 131 if dtype == np.uint8 else 0

    def whole(*shape: int) -> np.ndarray:
        return random.integers(ends.min, ends.max + 1, shape).astype(dtype)

    def scale() -> np.ndarray:
        return random.uniform(0.001, 0.01, scales).astype(np.float32)

    constants = {
        "w": whole(count, INPUTS, 4 * HIDDEN),
        "r": whole(count, HIDDEN, 4 * HIDDEN),
        "b": random.normal(0, 0.1, (count, 8 * HIDDEN)).astype(np.float32),
        "ws": scale(),
        "rs": scale(),
        "wz": np.full(scales, shift, dtype),
        "rz": np.full(scales, shift, dtype),
    }
    states = {name: [count, "n", HIDDEN] for name in "hc" if name in given}
    left_out = set("bhc") - set(given)
    node = helper.make_node(
        "DynamicQuantizeLSTM",
        ["" if name in left_out else name for name in NAMES],
        ["y", "hy", "cy"],
        "own",
        domain=MICROSOFT,
        hidden_size=HIDDEN,
        direction=direction,
        **attributes,
    )
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
            for name, dims in {"x": ["s", "n", INPUTS], **states}.items()
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "hy", "cy")],
        [
            onnx.numpy_helper.from_array(held, name)
            for name, held in constants.items()
            if name not in left_out
        ],
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def run(model: onnx.ModelProto, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    """As validation runs it: int8 weights are not cut off, and one thread sees the whole batch."""
    with open_runner(RunnableModel(model, Path(), Path("lstm.onnx"))) as runner:
        return list(runner.infer(given).values())


def feed(model: onnx.ModelProto, steps: int, batch: int) -> dict[str, np.ndarray]:
    sizes = {"s": steps, "n": batch}
    return {
        value.name: rng(steps)
        .normal(0, 1, [dim.dim_value or sizes[dim.dim_param] for dim in value.type.tensor_type.shape.dim])
        .astype(np.float32)
        for value in model.graph.input
    }


FORMS = {
    **{direction: lstm(direction) for direction in ("forward", "reverse", "bidirectional")},
    "int8": lstm(dtype=np.int8),
    "scales for columns": lstm("bidirectional", columns=True),
    "int8, scales for columns": lstm(dtype=np.int8, columns=True),
    "no states": lstm("bidirectional", given="b"),
    "no bias": lstm(given="hc"),
    "opset 12": lstm(opset=12),
}


@pytest.mark.parametrize("name", FORMS)
def test_it_rounds_the_input_once_and_the_state_before_each_step(evaluator, name):
    model = FORMS[name]

    result, changes = canonical(model, evaluator)

    assert {node.domain for node in result.graph.node} == {""}
    assert operators(result).count("Scan") == (
        2 if "bidirectional" in model.SerializeToString().decode("latin1") else 1
    )
    assert "own" in {node.name for node in result.graph.node}
    assert any("LSTM" in cost for cost in changes.costs)
    for sizes in ((1, 1), (5, 1), (4, 3)):
        given = feed(model, *sizes)
        for ours, theirs in zip(run(result, given), run(model, given), strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_another_way_of_rounding_would_be_seen(evaluator):
    """A float LSTM on the same weights is no equal form: it is off by hundreds of times what is allowed above."""
    model = FORMS["forward"]
    given = feed(model, 5, 3)
    values = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    gates = [(values[f"{one}"].astype(np.float32) - 131) * values[f"{one}s"] for one in "wr"]
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["y"], hidden_size=HIDDEN)
    floats = {"W": gates[0].swapaxes(1, 2), "R": gates[1].swapaxes(1, 2), "B": values["b"]}
    graph = helper.make_graph(
        [node], "g", model.graph.input, [model.graph.output[0]],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(held), name) for name, held in floats.items()],
    )  # fmt: skip
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    assert np.abs(run(plain, given)[0] - run(model, given)[0]).max() > 1e-3


def test_check_refuses_none_of_it():
    for model in FORMS.values():
        read = onnx.ModelProto.FromString(model.SerializeToString())
        rewrite_as_imported(read)
        assert operator_refusals(read.graph.node, "1.7") == []


@pytest.mark.parametrize(
    "attributes",
    [{"clip": 1.0}, {"input_forget": 1}, {"activations": ["Sigmoid", "Relu", "Tanh"]}],
    ids=["clip", "input_forget", "activations"],
)
def test_what_is_no_plain_lstm_stays_and_is_told(attributes):
    model = lstm(**attributes)
    rewrite_as_imported(model)
    (problem,) = operator_refusals(model.graph.node, "1.7")
    assert "'own'" in problem.fact and "DynamicQuantizeLSTM" in problem.fact


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs TensorRT-RTX")
@pytest.mark.engine
def test_tensorrt_takes_what_is_written_out(tmp_path, evaluator):
    models = {name: canonical(FORMS[name], evaluator)[0] for name in ("bidirectional", "no states", "int8")}
    assert refusals(models, tmp_path, {"bidirectional"}) == {}
