"""The tensorflow frontend: graphs are read without TensorFlow, options are held against them, conversions repeat."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.foreign_files import LINE, graph, message, node, number, saved_model, varint
from trtpipe.errors import ModelError
from trtpipe.frontends import LowerReport, ModelFiles, Proposal, lower_model, tensorflow
from trtpipe.frontends.tensorflow import TensorflowOptions, frontend
from trtpipe.frontends.tensorflow_format import converter
from trtpipe.frontends.tensorflow_format.graphs import read_graph
from trtpipe.frontends.tensorflow_format.order import put_in_order

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata"
CASES = sorted(path.stem for path in (DATA / "tf" / "ops").glob("*.pb"))


@pytest.fixture
def line(tmp_path):
    """A frozen graph: y = relu(x @ w)."""
    return written(tmp_path / "line.pb", LINE)


def written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def problems(path: Path, **options) -> list[tuple[tuple, str, str]]:
    with pytest.raises(ModelError) as caught:
        frontend.belonging(ModelFiles(path), TensorflowOptions.model_validate(options))
    return [(one.path[2:], one.fact, one.remedy) for one in caught.value.problems]


def test_init_proposes_placeholders_and_what_nobody_reads(line):
    proposal = frontend.propose(line)

    assert proposal == Proposal(
        line,
        {"inputs": ["x"], "outputs": ["y"]},
        "inputs: the placeholders; outputs: the nodes whose outputs no node reads.",
    )


def attribute(name: str, value: bytes) -> bytes:
    return message(5, message(1, name) + message(2, value))


def test_init_proposes_all_outputs_of_a_node_that_nobody_reads(tmp_path):
    types = message(1, varint(6 << 3 | 2) + varint(3) + bytes([1, 1, 3]))
    parts = graph(
        node("x", "Placeholder", dims=(-1, 4)),
        node("parts", "Split", "x") + attribute("num_split", number(3, 3)) + attribute("T", number(6, 1)),
        node("best", "TopKV2", "x"),
        node("all", "IdentityN", "x") + attribute("T", types),
        node("normal", "FusedBatchNormV3", "x"),
        node("cut", "Unpack", "x") + attribute("num", number(3, 2)),
        node("used", "Relu", "cut:1"),
    )

    proposal = frontend.propose(written(tmp_path / "parts.pb", parts))

    assert proposal is not None
    assert proposal.options["outputs"] == [
        *("parts", "parts:1", "parts:2"),
        *("best", "best:1"),
        *("all", "all:1", "all:2"),
        "normal",
        "used",
    ]


def test_a_placeholder_with_a_default_keeps_it_unless_it_is_all_that_is_fed(tmp_path):
    both = graph(
        node("x", "Placeholder", dims=(-1, 4)),
        node("half", "Const"),
        node("keep", "PlaceholderWithDefault", "half"),
        node("y", "Mul", "x", "keep"),
    )
    alone = graph(node("a", "Const"), node("x", "PlaceholderWithDefault", "a"), node("y", "Relu", "x"))

    fed, only = (
        frontend.propose(written(tmp_path / name, data)) for name, data in (("b.pb", both), ("a.pb", alone))
    )

    assert fed is not None and only is not None
    assert fed.options["inputs"] == ["x"]
    assert fed.comment.endswith(" Not in inputs, so it has its default: keep.")
    assert (only.options["inputs"], only.comment.count("default")) == (["x"], 0)


def test_a_graph_is_read_with_the_shapes_of_its_placeholders(line):
    x, _, mid, _ = read_graph(line).nodes

    assert (x.name, x.operator, x.dtype, x.dims) == ("x", "Placeholder", 1, (-1, 4))
    assert (mid.inputs, mid.dims) == (("x", "w"), None)


def test_missing_inputs_and_outputs_are_answered_with_a_line_to_paste(line):
    assert problems(line) == [
        (
            (),
            "a frozen graph needs 'inputs' and 'outputs' in model.options",
            "by its placeholders and the nodes whose outputs no node reads: {inputs: [x], outputs: [y]}",
        )
    ]


def test_every_option_that_does_not_fit_is_told_where_it_stands(line):
    found = problems(line, inputs=["X"], outputs=["y", "y:0"], signature="s", shapes={"z": "1x4"})

    assert found == [
        (("signature",), "'signature' is an option for a SavedModel", "leave it out"),
        (("inputs", 0), "the graph has no node 'X'", "did you mean 'x'? valid inputs: x"),
        (("outputs",), "'y' stands twice in 'outputs'", "name each tensor once"),
        (("outputs",), "'y:0' stands twice in 'outputs'", "name each tensor once"),
        (("shapes", "z"), "a shape for 'z', which is not an input", "the inputs are: X"),
    ]


@pytest.mark.parametrize(
    ("nodes", "fact"),
    [
        ([node("v", "VarHandleOp"), node("y", "ReadVariableOp", "v")], "is not frozen: 'v' is a variable"),
        ([node("y", "WriteFile")], "node 'y' is WriteFile, which has side effects"),
    ],
    ids=["variable", "file"],
)
def test_what_is_no_frozen_network_is_refused(tmp_path, nodes, fact):
    path = written(tmp_path / "odd.pb", graph(node("x", "Placeholder"), *nodes))

    assert fact in problems(path, inputs=["x"], outputs=["y"])[0][1]


def test_an_operator_hidden_in_a_function_is_found(tmp_path):
    path = written(tmp_path / "odd.pb", graph(node("x", "Placeholder"), library=(node("f", "PyFunc"),)))

    assert problems(path, inputs=["x"], outputs=["x"])[0][1].startswith("a function of the graph is PyFunc")


@pytest.mark.parametrize(
    "data",
    [b"", LINE[:-3], b"\x0a\xff\xff\xff\xff\x0f", message(1, message(1, "x")), message(9, b""), varint(0),
     message(1, message(1, b"\xff\xfe") + message(2, "Add")), b"\x80" * 64],
    ids=["empty", "cut off", "claims 4 GB", "no operator", "foreign field", "no field", "no text", "endless number"],
)  # fmt: skip
def test_what_holds_no_graph_is_nobodys_and_refused_in_one_line(tmp_path, data):
    path = written(tmp_path / "odd.pb", data)

    assert frontend.propose(path) is None
    ((_, fact, _),) = problems(path, inputs=["x"], outputs=["y"])
    assert fact.startswith("'odd.pb' does not hold a TensorFlow graph: ")


def test_an_onnx_model_is_not_taken_for_a_graph(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(chain(["Neg__1"]), path)

    assert frontend.propose(path) is None


def test_a_keras_file_says_how_to_save_it(tmp_path):
    path = written(tmp_path / "net.h5", b"\x89HDF\r\n\x1a\n" + bytes(64))

    assert "model.export('DIRECTORY')" in problems(path)[0][2]


def test_a_saved_model_is_taken_by_its_signature(tmp_path):
    folder = written(
        tmp_path / "net" / "saved_model.pb", saved_model(LINE, {"serving_default": ("x",)})
    ).parent

    assert frontend.propose(folder) == Proposal(folder)
    assert frontend.belonging(ModelFiles(folder), TensorflowOptions(shapes={"x": (1, 4)})) == []


def test_init_names_the_signature_where_none_is_the_default(tmp_path):
    data = saved_model(LINE, {"score": ("x",), "embed": ("x",)}, tags=("gpu", "serve"))
    folder = written(tmp_path / "net" / "saved_model.pb", data).parent

    proposal = frontend.propose(folder)

    assert proposal is not None
    assert proposal.options == {"tags": ["gpu", "serve"], "signature": "score"}
    assert proposal.comment == "signature: one of score, embed."


def test_a_saved_model_refuses_what_it_does_not_have(tmp_path):
    data = saved_model(LINE, {"score": ("x",)}, asset="../../etc/passwd")
    folder = written(tmp_path / "net" / "saved_model.pb", data).parent

    assert problems(folder, inputs=["x"]) == [
        (("inputs",), "'inputs' is an option for a frozen graph", "leave it out"),
        (
            ("signature",),
            "the SavedModel has no signature 'serving_default'",
            "valid signatures: score",
        ),
        ((), "the SavedModel refers to the file '../../etc/passwd' outside of it", "save it again"),
    ]
    assert problems(folder, tags=["train"])[0][1:] == (
        "the SavedModel has no graph with the tags train",
        "its graphs have the tags: serve",
    )


def test_links_that_lead_out_of_a_saved_model_are_refused(tmp_path):
    folder = written(
        tmp_path / "net" / "saved_model.pb", saved_model(LINE, {"serving_default": ("x",)})
    ).parent
    written(tmp_path / "secret", b"1")
    (folder / "variables").symlink_to(tmp_path / "secret")

    assert problems(folder)[0][1] == "'variables' in 'net' leads out of it"


def test_a_directory_without_a_saved_model_is_none(tmp_path):
    assert frontend.propose(tmp_path) is None
    assert "there is no saved_model.pb in it" in problems(tmp_path)[0][1]


@pytest.mark.parametrize(
    ("installed", "packages"),
    [
        (("tensorflow-cpu",), ("tensorflow-cpu", "tf2onnx")),
        (("tensorflow", "tensorflow-cpu"), ("tensorflow", "tf2onnx")),
        ((), ("tensorflow", "tf2onnx")),
    ],
    ids=["cpu", "both", "none"],
)
def test_the_key_names_the_distribution_that_is_installed(monkeypatch, installed, packages):
    monkeypatch.setattr(tensorflow, "is_installed", lambda name: name in installed)

    assert frontend.packages == packages


def chain(names: list[str], *, reverse: bool = False) -> onnx.ModelProto:
    """x → Add with a weight for each name → y; nodes in the other order, with a dead one, when `reverse`."""
    nodes, read = [], "x"
    for index, name in enumerate(names):
        made = "y" if index == len(names) - 1 else f"{name}:0"
        nodes.append(helper.make_node("Add", [read, f"w_{name}"], [made], name))
        read = made
    weights = [numpy_helper.from_array(np.float32([index]), f"w_{name}") for index, name in enumerate(names)]
    if reverse:
        nodes = [helper.make_node("Neg", ["x"], ["dead"], "dead"), *nodes[::-1]]
        weights = weights[::-1]
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        nodes, "g", [info("x", TensorProto.FLOAT, [1])], [info("y", TensorProto.FLOAT, ["unk__9"])], weights
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_order_and_numbers_depend_on_the_graph_alone():
    one, other = chain(["Add__15", "Mul__8", "y__40"]), chain(["Add__3", "Mul__11", "y__2"], reverse=True)

    for model in (one, other):
        put_in_order(model)

    assert one == other
    assert [made.name for made in one.graph.node] == ["Add__0", "Mul__1", "y__2"]
    assert [weight.name for weight in one.graph.initializer] == ["w_Add__0", "w_Mul__1", "w_y__2"]
    assert not one.graph.output[0].type.tensor_type.shape.dim[0].dim_param


def test_subgraphs_are_ordered_and_keep_what_they_read_from_outside():
    inner = helper.make_graph(
        [helper.make_node("Neg", ["outer__7"], ["made__5"], "made__5")],
        "then",
        [],
        [helper.make_tensor_value_info("made__5", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["same__6"], "same__6")],
        "else",
        [],
        [helper.make_tensor_value_info("same__6", TensorProto.FLOAT, None)],
    )
    model = chain(["last"])
    choose = helper.make_node("If", ["c"], ["x__9"], "choose", then_branch=inner, else_branch=other)
    before = helper.make_node("Abs", ["x"], ["outer__7"], "before")
    model.graph.node[0].input[0] = "x__9"
    model.graph.node.extend([choose, before])
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))

    put_in_order(model)

    onnx.checker.check_model(model)
    assert [made.name for made in model.graph.node] == ["before", "choose", "last"]


def test_a_graph_deeper_than_pythons_stack_is_ordered():
    model = chain([f"a__{index}" for index in range(5000)], reverse=True)

    put_in_order(model)

    assert [made.name for made in model.graph.node[:2]] == ["a__0", "a__1"]


def test_the_converter_itself_imports_nothing_of_trtpipe():
    assert "import trtpipe" not in Path(converter.__file__).read_text()
    assert "from trtpipe" not in Path(converter.__file__).read_text()


@pytest.fixture(scope="module")
def convertible():
    """TensorFlow, where it, tf2onnx and the recordings are here."""
    if any(importlib.util.find_spec(one) is None for one in ("tensorflow", "tf2onnx")):
        pytest.skip("not run: needs tensorflow and tf2onnx")
    if not CASES:
        pytest.skip("no TensorFlow graphs in ../shared/testdata")
    return SimpleNamespace(tf=DATA / "tf", uff=DATA / "uff")


def lower(path: Path, out: Path, **options) -> LowerReport:
    given = TensorflowOptions.model_validate(options)
    return lower_model(frontend, ModelFiles(path, root=path.parent), given, out)


def assert_meets(model: Path, feed: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for found, (name, value) in zip(session.run(list(expected), feed), expected.items(), strict=True):
        assert found.shape == value.shape, name
        np.testing.assert_allclose(found, value, atol=1e-4, rtol=0, err_msg=name)


@pytest.mark.conversion
@pytest.mark.parametrize("name", CASES or ["tf/ops"])
def test_each_operator_meets_tensorflows_own_results_twice_with_the_same_bytes(
    tmp_path, convertible, name, monkeypatch
):
    from trtpipe.frontends.conversion import converters

    path, fixed = convertible.tf / "ops" / f"{name}.pb", converters.environment_of
    proposal = frontend.propose(path)
    digests = set()
    for seed in "17":
        monkeypatch.setattr(
            converters, "environment_of", lambda kind, s=seed: fixed(kind) | {"PYTHONHASHSEED": s}
        )
        lower(path, tmp_path / f"{seed}.onnx", **proposal.options)
        digests.add(hashlib.sha256((tmp_path / f"{seed}.onnx").read_bytes()).hexdigest())

    recorded = np.load(path.with_suffix(".npz"))
    feed = {key: recorded[key] for key in recorded if key.startswith("x")}
    assert_meets(tmp_path / "1.onnx", feed, {key: recorded[key] for key in recorded if key.startswith("y")})
    assert len(digests) == 1


@pytest.mark.conversion
def test_a_policy_network_keeps_its_names_and_its_batch(tmp_path, convertible):
    options = {"inputs": ["input_state_placeholder:0"], "outputs": ["policy/output"]}

    report = lower(convertible.tf / "ppo_policy.pb", tmp_path / "model.onnx", **options)

    recorded = np.load(convertible.uff / "ppo_policy.npz")
    feed = {"input_state_placeholder:0": recorded["in:input_state_placeholder"]}
    assert_meets(tmp_path / "model.onnx", feed, {"policy/output": recorded["out:policy/output"]})
    assert report.summary["inputs"][0]["dims"] == ("input_state_placeholder:0_0", 67)


@pytest.mark.conversion
def test_an_operator_that_onnx_lacks_is_named(tmp_path, convertible):
    path = written(
        tmp_path / "odd.pb", graph(node("x", "Placeholder", dims=(2, 4)), node("y", "Frobnicate", "x"))
    )

    with pytest.raises(ModelError, match="Frobnicate"):
        lower(path, tmp_path / "model.onnx", inputs=["x"], outputs=["y"])


SAVE = """
import numpy as np, sys, tensorflow as tf
class Net(tf.Module):
    def __init__(self):
        self.w = tf.Variable(np.arange(1200, dtype="f4").reshape(300, 4) / 1200)
    @tf.function(input_signature=[tf.TensorSpec([None, 300], tf.float32, name="features")])
    def score(self, features):
        return {"logits": features @ self.w, "top": tf.argmax(features @ self.w, 1)}
net = Net()
tf.saved_model.save(net, sys.argv[1], signatures={"score": net.score})
"""


@pytest.mark.conversion
@pytest.mark.parametrize("large", [1 << 30, 1], ids=["in one file", "weights apart"])
def test_a_saved_model_is_converted_with_its_own_names(tmp_path, convertible, monkeypatch, large):
    import subprocess
    import sys

    folder = tmp_path / "net"
    subprocess.run([sys.executable, "-c", SAVE, folder], check=True, capture_output=True)
    monkeypatch.setattr(tensorflow, "_LARGE", large)

    report = lower(folder, tmp_path / "model.onnx", signature="score", shapes={"features": "2x300"})

    features = np.ones((2, 300), np.float32)
    logits = features @ (np.arange(1200, dtype=np.float32).reshape(300, 4) / 1200)
    assert_meets(tmp_path / "model.onnx", {"features": features}, {"logits": logits, "top": logits.argmax(1)})
    assert report.summary["inputs"][0] == {"name": "features", "dtype": "float32", "dims": (2, 300)}
