"""UFF files: real ones meet their recordings and build, options change what is read, wrong ones are refused clearly."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from tests.frontends.digits_uff import digits_uff
from tests.frontends.uff_cases import const, lowered, mark, node, placeholder, run, uff, written
from tests.fuzz import uff_reader
from tests.uff_writer import Node, Ref, message, number
from trtpipe.canonical.tensors import external_entries, is_external
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles
from trtpipe.frontends.uff import UffOptions, frontend

DATA = Path(__file__).resolve().parents[3] / "shared" / "testdata"
MODELS = Path(__file__).resolve().parents[2] / "pipelines" / "models"
REAL = ["ppo_policy", "own_conv_nhwc"]


def real(name: str) -> Path:
    path = DATA / "uff" / f"{name}.uff"
    if not path.exists():
        pytest.skip("no UFF files in ../shared/testdata")
    return path


def recorded(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    arrays = np.load(real(name).with_suffix(".npz"))
    return tuple(
        {key[len(side) :]: arrays[key] for key in arrays if key.startswith(side)} for side in ("in:", "out:")
    )


def refusal(path: Path, out: Path, **options: object) -> ModelError:
    with pytest.raises(ModelError) as caught:
        lowered(path, out / "model.onnx", **options)
    return caught.value


@pytest.mark.parametrize("name", REAL)
def test_real_files_give_the_recorded_outputs(tmp_path, name):
    inputs, outputs = recorded(name)

    lowered(real(name), tmp_path / "model.onnx")

    results = run(tmp_path / "model.onnx", inputs)
    assert list(results) == list(outputs)
    for key, expected in outputs.items():
        np.testing.assert_allclose(results[key], expected, rtol=1e-5, atol=1e-5)


def test_a_custom_operation_is_refused_by_name_with_what_to_write(tmp_path):
    error = refusal(real("own_custom_nms"), tmp_path)

    (problem,) = error.problems
    assert "operation '_NMS_TRT' is a custom operation" in problem.fact
    assert "('nms')" in problem.fact
    assert "plugins: {_NMS_TRT: {name: NMS_TRT}}" in problem.remedy


def test_a_mapped_custom_operation_becomes_a_plugin_node(tmp_path):
    plugin = {
        "name": "NMS_TRT",
        "version": "2",
        "namespace": "mine",
        "fields": {"topK": 200, "shareLocation": True},
        "outputs": [{"shape": [-1, 1, 200, 7]}, {"dtype": "int32", "shape": [-1, 1]}],
    }

    model = lowered(real("own_custom_nms"), tmp_path / "model.onnx", plugins={"_NMS_TRT": plugin})

    (nms,) = model.graph.node
    assert (nms.op_type, nms.domain, list(nms.input)) == ("NMS_TRT", "trt.plugins", ["a"])
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in nms.attribute}
    assert attributes == {
        "confidenceThreshold": pytest.approx(1e-8),
        "topK": 200,
        "shareLocation": 1,
        "plugin_version": b"2",
        "plugin_namespace": b"mine",
    }
    assert [one.name for one in model.graph.output] == ["nms", "nms_1"]


def test_every_unmapped_operation_is_told_in_one_error(tmp_path):
    nodes = [
        *mark("y"),
        node("_NMS_TRT", "y", "g", "h"),
        node("_GridAnchor_TRT", "g", "x"),
        node("Erf", "h", "x"),
        placeholder("x", [-1, 3]),
    ]

    facts = [problem.fact for problem in refusal(written(tmp_path, nodes), tmp_path).problems]

    assert [fact.split("'")[1] for fact in facts] == ["Erf", "_GridAnchor_TRT", "_NMS_TRT"]


def test_what_reads_a_plugin_may_read_its_second_output(tmp_path):
    plugin = {"_Split": {"name": "Split", "outputs": [{"shape": [-1, 2]}, {"shape": [-1, 3]}]}}
    for name in ("s_1", "s:1"):
        nodes = [
            *mark("y"),
            node("Activation", "y", name, func="relu"),
            node("_Split", "s", "x"),
            placeholder("x", [-1, 5]),
        ]
        model = lowered(written(tmp_path, nodes), tmp_path / "model.onnx", plugins=plugin)
        assert [list(one.input) for one in model.graph.node] == [["x"], ["s_1"]]


TAIL = [
    *mark("prob"),
    node("Softmax", "prob", "nms", axis=1),
    node("_NMS_TRT", "nms", "relu"),
    node("Activation", "relu", "x", func="relu"),
    placeholder("x", [-1, 3]),
]


def test_what_reads_a_plugin_of_no_shape_blames_the_plugin_and_its_remedy_works(tmp_path):
    plugin = {"_NMS_TRT": {"name": "NMS_TRT"}}

    (problem,) = refusal(written(tmp_path, TAIL), tmp_path, plugins=plugin).problems

    assert problem.fact == (
        "Softmax 'prob' cannot be imported: its input 'nms' comes from the custom operation '_NMS_TRT', "
        "whose shape is unknown"
    )
    offered = yaml.safe_load(problem.remedy.removeprefix("declare it: ").removesuffix(", for example"))
    model = lowered(written(tmp_path, TAIL), tmp_path / "model.onnx", **offered)
    assert [one.op_type for one in model.graph.node] == ["Relu", "NMS_TRT", "Softmax"]


def test_a_graph_can_be_ended_before_its_custom_operations(tmp_path):
    path = written(tmp_path, TAIL)

    (problem,) = refusal(path, tmp_path).problems

    *_, last = problem.remedy.splitlines()
    assert last == "or end the graph before it: outputs: [relu]"
    model = lowered(path, tmp_path / "model.onnx", outputs=["relu"])
    assert [one.op_type for one in model.graph.node] == ["Relu"]


def test_a_mapping_that_nothing_uses_is_refused_with_the_nearest_name(tmp_path):
    plugins = {"_NMS_TR": {"name": "NMS_TRT"}}

    (problem,) = refusal(real("own_custom_nms"), tmp_path, plugins=plugins).problems

    assert problem.path == ("model", "options", "plugins", "_NMS_TR")
    assert "did you mean '_NMS_TRT'?" in problem.remedy


def test_options_change_shapes_and_cut(tmp_path):
    nodes = [
        *mark("y"),
        node("_Unknown", "y", "r"),
        node("Activation", "r", "x", func="relu"),
        placeholder("x", [-1, 12, 2]),
    ]
    path = written(tmp_path, nodes)

    model = lowered(path, tmp_path / "model.onnx", inputs={"x": [1, -1, 2]}, outputs=["r"])

    (x,), (r,) = model.graph.input, model.graph.output
    assert [one.dim_value for one in x.type.tensor_type.shape.dim] == [1, 0, 2]
    assert r.name == "r"


def test_names_in_options_that_the_file_has_not_are_told_together(tmp_path):
    path = written(
        tmp_path, [*mark("prob"), node("Activation", "prob", "x", func="relu"), placeholder("x", [-1, 3])]
    )

    error = refusal(path, tmp_path, inputs={"xx": [1, 3]}, outputs=["prob", "porb"])

    assert [(one.fact, one.path[2:]) for one in error.problems] == [
        ("the file has no input 'xx'", ("inputs", "xx")),
        ("the file has no tensor 'porb'", ("outputs", 1)),
    ]
    assert "did you mean 'prob'?" in error.problems[1].remedy


def test_inputs_and_constants_may_be_marked_as_outputs(tmp_path):
    nodes = [*mark("x", "c"), placeholder("x", [2]), const("c", np.float32([1, 2]))]

    lowered(written(tmp_path, nodes), tmp_path / "model.onnx")

    results = run(tmp_path / "model.onnx", {"x": np.float32([3, 4])})
    assert [list(result) for result in results.values()] == [[3, 4], [1, 2]]


def test_large_weights_stay_in_the_file_unless_they_are_turned(tmp_path):
    weights, kernel = np.ones((16, 40), np.float32), np.ones((3, 3, 4, 16), np.float32)
    nodes = [
        *mark("y"),
        node("FullyConnected", "y", "r", "w", orders=["NC", "CK"]),
        node("Reduce", "r", "c", func="mean", axes=[1, 2], keepdims=False),
        node("Conv", "c", "x", "k", orders=["N+C", "+CK"]),
        const("w", weights),
        const("k", kernel),
        placeholder("x", [-1, 8, 8, 4]),
    ]
    path = written(tmp_path, nodes)

    model = frontend.read(ModelFiles(path), UffOptions(), tmp_path)

    held = {
        one.name: Path(external_entries(one)["location"]).name
        for one in model.graph.initializer
        if is_external(one)
    }
    assert held == {"w": "net.uff", "k/channels_first": "weights.bin"}


def test_the_same_file_gives_the_same_model(tmp_path):
    for index, data in enumerate(uff_reader.corpus()[:14]):
        path = tmp_path / "net.uff"
        path.write_bytes(data)
        first, second = (frontend.read(ModelFiles(path), UffOptions(), tmp_path) for _ in range(2))
        assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True), (
            index
        )


X = placeholder("x", [-1, 3])
RELU = node("Activation", "y", "x", func="relu")
REFUSED = {
    "a version": (uff([X, *mark("x")], version=2), "the version of this UFF file is 2"),
    "a core version": (uff([X, *mark("x")], core=3), "the core descriptor version of this UFF file is 3"),
    "a descriptor": (uff([X, *mark("x")], descriptors={"torch_extension": 1}), "'torch_extension' 1, which is unknown"),
    "a descriptor's version": (uff([X, *mark("x")], descriptors={"custom": 2}), "'custom' 2, which is unknown"),
    "a cycle": (
        uff([*mark("a"), node("Identity", "a", "b"), node("Identity", "b", "c"), node("Identity", "c", "a")]),
        "a cycle: a -> b -> c -> a",
    ),
    "a cycle of one": (uff([*mark("a"), node("Identity", "a", "a")]), "a cycle: a -> a"),
    "an id that stands twice": (uff([*mark("x"), X, X]), "two nodes have the id 'x'"),
    "an input nobody makes": (uff([*mark("y"), RELU]), "node 'y' reads 'x', which no node makes"),
    "an output nobody makes": (uff([*mark("y"), X]), "the output 'y' is marked as output, but no node makes it"),
    "no outputs": (uff([X]), "marks no outputs"),
    "no graph": (number(1, 1) + number(2, 1), "no graph 'main', but none at all"),
    "an input without a shape": (uff([*mark("y"), RELU, placeholder("x", [])]), "input 'x' has no shape"),
    "too few weights": (
        uff([*mark("c"), Node("c", "Const", (), {**const("c", [1.0, 2.0], "float32").fields, "values": b"abcd"})]),
        "holds 4 bytes, but float32 [2] needs 8",
    ),
    "a data type": (
        uff([*mark("x"), Node("x", "Input", (), {"shape": [1], "dtype": uff_reader.Dtype(5)})]),
        "unknown data type 5",
    ),
    "a reference to nothing": (
        uff([*mark("c"), Node("c", "Const", (), const("c", [1], "int32").fields)]),
        "refers to 'weights_c', which the file does not hold",
    ),
    "sizes beyond counting": (uff_reader.corpus()[-1], "is not a data type"),
    "a length beyond the end": (uff_reader.corpus()[-9], "goes on to byte"),
    "groups of protobuf": (uff_reader.corpus()[-5], "not a protobuf field"),
    "a name that is not text": (number(1, 1) + number(2, 1) + message(4, message(2, message(1, b"\xff"))), "not UTF-8"),
    "nothing": (b"", "is empty"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_is_refused_for(tmp_path, what):
    data, words = REFUSED[what]
    path = tmp_path / "net.uff"
    path.write_bytes(data)

    error = refusal(path, tmp_path)

    assert len(error.problems) == 1
    assert words in str(error)


def test_problems_of_independent_nodes_are_told_in_one_pass(tmp_path):
    nodes = [
        *mark("a", "b", "c"),
        node("Unary", "a", "x", func="erf"),
        node("Transpose", "b", "x", permutation=[1]),
        node("Identity", "c", "a"),
        X,
    ]

    facts = [problem.fact for problem in refusal(written(tmp_path, nodes), tmp_path).problems]

    assert [("'a'" in fact, "'b'" in fact) for fact in facts] == [(True, False), (False, True)]


def test_a_file_outside_the_root_is_refused(tmp_path):
    (tmp_path / "root").mkdir()
    path = written(tmp_path, [*mark("x"), X])

    with pytest.raises(ModelError, match="is outside"):
        frontend.read(ModelFiles(path, root=tmp_path / "root"), UffOptions(), tmp_path)


def test_deep_chains_are_walked_without_recursion(tmp_path):
    depth = 5000
    nodes = [node("Identity", f"n{one + 1}", f"n{one}") for one in range(depth)]
    path = written(tmp_path, [*mark(f"n{depth}"), *reversed(nodes), placeholder("n0", [1])])

    assert len(frontend.read(ModelFiles(path), UffOptions(), tmp_path).graph.node) == depth


def test_weights_that_many_nodes_share_fill_no_disk(tmp_path):
    shared = Ref("shared")
    fields = {**const("c", np.ones(1 << 18, np.float32)).fields, "values": shared}
    constants = [Node(f"c{one}", "Const", (), fields, {"shared": b"\0" * (1 << 20)}) for one in range(40)]
    path = written(tmp_path, [*mark("y"), node("Stack", "y", *(one.id for one in constants)), *constants])

    assert "weights take more than 16 times the file" in str(refusal(path, tmp_path))


def test_thousands_of_outputs_and_inputs_are_taken_in_seconds(tmp_path):
    constants = [const(f"c{one}", 1.5, "float32") for one in range(10_000)]
    names = [one.id for one in constants]
    path = written(tmp_path, [*mark("y", *names[:3000]), node("Stack", "y", *names), *constants])

    started = time.monotonic()
    model = frontend.read(ModelFiles(path), UffOptions(), tmp_path)

    assert len(model.graph.output) == 3001
    assert time.monotonic() - started < 60, "what grows with the square would take minutes"


@pytest.mark.parametrize("seed", range(60))
def test_wild_files_are_lowered_or_refused(seed):
    assert uff_reader.fuzz_uff(uff_reader.wild_file(seed)) in (0, 1, 2)


def test_some_wild_files_are_lowered():
    """Else the test above would hold of a reader that refuses everything."""
    assert any(uff_reader.fuzz_uff(uff_reader.wild_file(seed)) for seed in range(60))


@pytest.mark.parametrize("index", range(len(uff_reader.corpus())))
def test_a_file_cut_anywhere_is_refused_or_read(tmp_path, index):
    data = uff_reader.corpus()[index][:3000]

    ends = sorted({0, 1, 4, 5, *range(6, len(data), max(len(data) // 12, 1)), len(data)})

    taken = [uff_reader.fuzz_uff(data[:end]) for end in ends]

    assert taken[0] == 0, "nothing is not a file"


class TestTold:
    """Which files `init` takes for UFF."""

    def test_whole_files_are_taken_whatever_their_name(self, tmp_path):
        path = written(tmp_path, [*mark("x"), X]).rename(tmp_path / "model.bin")
        proposal = frontend.propose(path)
        assert proposal is not None
        assert (proposal.source, dict(proposal.options)) == (path, {})

    def test_a_file_that_was_cut_short_is_taken_so_that_reading_says_so(self, tmp_path):
        path = tmp_path / "net.uff"
        path.write_bytes(uff([*mark("x"), X])[:-7])
        assert frontend.propose(path) is not None
        assert "is truncated" in str(refusal(path, tmp_path))

    def test_a_graph_ends_before_its_custom_operations(self, tmp_path):
        proposal = frontend.propose(written(tmp_path, TAIL))
        assert proposal is not None
        assert proposal.options == {"outputs": ["relu"]}
        assert proposal.comment == (
            "the graph ends before its custom operations (_NMS_TRT), which the engine's caller must compute"
        )

    def test_custom_operations_before_which_nothing_is_computed_are_proposed_as_plugins(self, tmp_path):
        path = written(tmp_path, [*mark("y"), node("_NMS_TRT", "y", "x"), X])
        proposal = frontend.propose(path)
        assert proposal is not None
        assert proposal.options == {"plugins": {"_NMS_TRT": {"name": "NMS_TRT"}}}
        assert "need plugins" in proposal.comment

    def test_onnx_graphdefs_and_directories_are_not(self, tmp_path):
        graph_def = message(1, message(1, "x") + message(2, "Placeholder")) + message(4, number(1, 1))
        (tmp_path / "graph.pb").write_bytes(graph_def)
        (tmp_path / "net.caffemodel").write_bytes(message(1, "LeNet") + message(100, message(1, "conv")))
        for path in (
            MODELS / "digits_cnn.onnx",
            tmp_path / "graph.pb",
            tmp_path / "net.caffemodel",
            tmp_path,
        ):
            assert frontend.propose(path) is None

    def test_no_other_shared_model_is(self):
        if not DATA.exists():
            pytest.skip("no shared test data")
        others = [*DATA.glob("tf/**/*.pb"), *DATA.glob("onnx/**/*.onnx"), *DATA.glob("caffe/**/*.caffemodel")]
        assert others
        assert [path.name for path in others if frontend.propose(path) is not None] == []


def test_the_example_is_what_its_script_makes():
    assert (MODELS / "digits.uff").read_bytes() == digits_uff()


def test_the_example_computes_what_the_net_does_that_it_was_made_of(tmp_path):
    images = np.random.default_rng(0).uniform(0, 16, (5, 1, 8, 8)).astype(np.float32)

    model = lowered(MODELS / "digits.uff", tmp_path / "model.onnx")

    expected = run(MODELS / "digits_cnn.onnx", {"image": images})["logits"]
    np.testing.assert_allclose(
        run(tmp_path / "model.onnx", {"image": images})["logits"], expected, rtol=1e-4, atol=1e-4
    )
    assert [one.op_type for one in model.graph.node].count("Transpose") <= 2
