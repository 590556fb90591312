"""`trtpipe init` writes a spec that builds as it is: in half precision too, or it says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def write_model(path: Path, up: float, down: float) -> None:
    """y = relu(x @ w * up) * down, in float32, with a dynamic batch."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((8, 8)).astype(np.float32),
        "up": np.float32(up),
        "down": np.float32(down),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "product"),
        helper.make_node("Mul", ["a", "up"], ["b"], "raise"),
        helper.make_node("Relu", ["b"], ["c"], "clip"),
        helper.make_node("Mul", ["c", "down"], ["y"], "lower"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture
def fresh(project):
    (project.root / "pipelines" / "digits.yaml").unlink()
    return project


def write_text(path: Path, text: str, **weights: object) -> None:
    """A model in ONNX's text form."""
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(proto, path)


def test_a_first_spec_builds_as_it_is(fresh):
    write_model(fresh.root / "models" / "plain.onnx", 2.0, 0.5)

    wrote = fresh.run("init", "models/plain.onnx")
    head = (fresh.root / "pipelines/plain.yaml").read_text().splitlines()[0]
    built = fresh.run("build")

    assert (wrote.code, wrote.out) == (0, "trtpipe build pipelines/plain.yaml\n")
    assert wrote.err == "wrote pipelines/plain.yaml\n"
    assert head == (
        "# Checked, parsed by TensorRT and the model run on the CPU at opt, min and max: "
        "no problem was found. No engine was built yet."
    )
    assert built.code == 0, built.err
    assert "plain:import" not in built.err, "init did that"
    assert built.out.startswith("built 6 engines in ")


def test_the_half_model_that_init_tried_is_the_one_that_a_build_would_make(fresh):
    write_model(fresh.root / "models" / "loud.onnx", 5e4, 1e-4)

    def typed() -> dict[str, Any]:
        traces = (fresh.root / ".trtpipe/store/traces").rglob("*.json")
        found = (json.loads(path.read_text()) for path in traces)
        return next(one for one in found if one["address"] == "loud/fp16:quantize")

    fresh.run("init", "models/loud.onnx")
    tried = typed()
    fresh.run("build", "--force", "--only", "*/fp16@sm89")
    again = typed()

    assert "peak_rss" not in tried["summary"], "it was made in the process that ran it"
    assert "peak_rss" in again["summary"]
    assert tried["outputs"] == again["outputs"]
    assert tried["fingerprint"] == again["fingerprint"]
    del again["summary"]["peak_rss"]
    assert tried["summary"] == again["summary"]


@pytest.mark.slow
def test_nodes_that_half_cannot_hold_are_kept(fresh):
    write_model(fresh.root / "models" / "loud.onnx", 5e4, 1e-4)

    fresh.run("init", "models/loud.onnx")
    text = (fresh.root / "pipelines" / "loud.yaml").read_text()
    built = fresh.run("build", "--only", "*@sm89")

    assert [name for name in ("product", "raise", "clip", "lower") if f"- {name}\n" in text] == [
        "raise",
        "clip",
        "lower",
    ]
    assert built.code == 0, built.err


@pytest.mark.slow
def test_without_the_kept_nodes_the_build_names_where_overflow_begins(fresh):
    write_model(fresh.root / "models" / "loud.onnx", 5e4, 1e-4)
    fresh.run("init", "models/loud.onnx")
    path = fresh.root / "pipelines" / "loud.yaml"
    head, _, rest = path.read_text().partition("    keep:")
    path.write_text(head + rest[rest.index("\n# A GPU") :])

    built = fresh.run("build", "--only", "*/fp16@sm89")

    assert built.code == 1
    assert "overflow begins in 'b' (Mul, data), where the reference reaches" in built.err
    assert "keep: {fp32: ['raise', …]}" in built.err
    assert not (fresh.root / "build" / "loud" / "fp16@sm89").exists()


def test_an_existing_spec_is_not_replaced(fresh):
    write_model(fresh.root / "models" / "plain.onnx", 2.0, 0.5)
    fresh.run("init", "models/plain.onnx")
    before = (fresh.root / "pipelines" / "plain.yaml").read_text()

    again = fresh.run("init", "models/plain.onnx")

    assert again.code == 2
    assert "exists already" in again.err
    assert (fresh.root / "pipelines" / "plain.yaml").read_text() == before


def test_a_missing_model_is_one_line(fresh):
    wrote = fresh.run("init", "models/none.onnx")

    assert (wrote.code, wrote.out) == (2, "")
    assert wrote.err == "no such model: 'models/none.onnx'\n  give the path or the address of a model\n"


def test_shapes_at_which_the_model_was_seen_to_fail_are_left_out_of_the_profile(fresh):
    """Positions are counted as the model runs, so that nothing tells before how many rows of the table it takes."""
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[N,S] x) => (float[N,S,4] y) {
        e = Equal(x, x)  c = Cast<to=7>(e)  p = CumSum(c, one)  h = Gather(table, p)  y = Tanh(h) }"""
    proto = onnx.parser.parse_model(text)
    weights = {"one": np.int64(1), "table": np.ones((200, 4), np.float32)}
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items())
    onnx.save(proto, fresh.root / "models/m.onnx")

    made = fresh.run("init", "models/m.onnx")

    assert made.code == 0, made.err
    assert "  - x: 1x128\n" in (fresh.root / "pipelines/m.yaml").read_text()
    assert "warning" not in made.err

    fresh.edit("pipelines/m.yaml", "x: 1x128", "x: {min: 1x1, opt: 1x128, max: 1x256}")
    built = fresh.run("build", "pipelines/m.yaml", "--only", "m/fp32@sm89")

    assert built.code != 0
    assert "pipelines/m.yaml:" in built.err
    assert "profile 0 is impossible at max: ONNX Runtime cannot run node 'Gather_0' (Gather)" in built.err


def test_what_cannot_be_built_is_said_with_what_is_to_be_decided(fresh):
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[1, 6000] x) => (float[1, 5000] y, int64[1, 5000] i) {
        y, i = TopK(x, k) }"""
    write_text(fresh.root / "models/wide.onnx", text, k=np.array([5000]))

    wrote = fresh.run("init", "models/wide.onnx")

    head = (fresh.root / "pipelines/wide.yaml").read_text().splitlines()[:2]
    assert (wrote.code, wrote.out) == (0, "trtpipe check pipelines/wide.yaml\n")
    assert wrote.err.startswith("warning: the spec does not build yet: TensorRT does not build node 'TopK_0'")
    assert head[0].startswith("# Does not build yet: TensorRT does not build node 'TopK_0' (TopK): k is 5000")
    assert head[1].startswith("# To decide: lower k, or cut the graph before it with transform.outputs")


def test_a_last_step_that_is_never_built_is_cut_off_and_said_aloud_and_so_is_nan(fresh):
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 3, 16, 16] x) => (int64[a, b] chosen) {
        c = Conv(x, w)  r = Reshape(c, flat)  l = Log(r)  boxes = Transpose<perm=[0, 2, 1]>(l)
        scores = ReduceMax<axes=[1]>(r)  chosen = NonMaxSuppression(boxes, scores, most) }"""
    weights = {
        "w": np.full((4, 3, 3, 3), -0.1, np.float32),
        "flat": np.array([0, 4, -1]),
        "most": np.array([5]),
    }
    write_text(fresh.root / "models/boxes.onnx", text, **weights)

    wrote = fresh.run("init", "models/boxes.onnx")

    spec = (fresh.root / "pipelines/boxes.yaml").read_text()
    assert wrote.code == 0, wrote.err
    assert "  outputs: [boxes, scores]\n" in spec
    assert (
        "warning: the spec cuts the model at 'boxes' and 'scores': TensorRT-RTX does not build NonMaxSuppression"
        in wrote.err
    )
    assert (
        "the spec does not build yet: on random inputs the model yields NaN, which begins at node 'Log_0' (Log), "
        "which makes 'l'" in wrote.err
    )


@pytest.mark.slow
def test_sizes_that_decide_a_branch_of_another_rank_are_fixed(fresh):
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, t] x) => (float[a] y) {
        s = Shape(x)  size = Gather(s, one)  long = Greater(size, limit)
        f = If(long) <then_branch = a () => (float[a, b, c] u) { u = Unsqueeze(x, axes) },
            else_branch = b () => (float[a, b] v) { v = Relu(x) }>
        y = Relu(f) }"""
    write_text(fresh.root / "models/b.onnx", text, one=np.int64(1), limit=np.int64(9), axes=np.array([1]))

    fresh.run("init", "models/b.onnx")
    built = fresh.run("build", "pipelines/b.yaml", "--only", "*/fp32@sm89")

    assert "  set_shapes: {x: [-1, 128]}\n" in (fresh.root / "pipelines/b.yaml").read_text()
    assert built.code == 0, built.err
