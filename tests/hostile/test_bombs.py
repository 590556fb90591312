"""Small files that ask for a great deal of work: refused, or done in work that goes with their size."""

from __future__ import annotations

import zipfile
from contextlib import ExitStack

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from trtpipe.canonical import edits, limits
from trtpipe.canonical.inference import infer_at
from trtpipe.canonical.propagation import values_fit
from trtpipe.canonical.reader import read_skeleton
from trtpipe.canonical.wire import LEN, varint
from trtpipe.datasets import npz
from trtpipe.datasets.samples.batches import _order
from trtpipe.errors import ModelError, SpecError
from trtpipe.inspection.cuts import refused_tail
from trtpipe.legalization.expansion import inline_functions, refuse_recursion
from trtpipe.precisions import find_precision
from trtpipe.problem_codes import Code
from trtpipe.proofs import constant_values, written_out
from trtpipe.proofs.model import view_model
from trtpipe.spec.dataset import DatasetSpec
from trtpipe.weights.archive import Archive

MANY = limits.MOST_ENDS + 1


def doubling(levels: int) -> onnx.ModelProto:
    """Functions each of which calls the next one twice."""
    functions = []
    for level in range(levels):
        last = level == levels - 1
        operator, domain = ("Relu", "") if last else (f"F{level + 1}", "own")
        nodes = [
            helper.make_node(operator, ["x"], ["m"], domain=domain),
            helper.make_node(operator, ["m"], ["y"], domain=domain),
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"F{level}", ["x"], ["y"], nodes, imports))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("F0", ["a"], ["b"], domain="own")], "g", value[:1], value[1:])
    return helper.make_model(
        graph, functions=functions, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    )


def test_functions_that_double_are_counted_before_they_are_inlined():
    with pytest.raises(ModelError, match="come to 1,073,741,824 nodes"):
        inline_functions(doubling(30))


def test_functions_that_come_to_few_nodes_are_inlined():
    model = doubling(5)

    assert inline_functions(model) == 5
    assert [node.op_type for node in model.graph.node] == ["Relu"] * 32


def test_a_call_inside_a_branch_counts_as_a_call():
    body = helper.make_graph([helper.make_node("F0", ["x"], ["z"], domain="own")], "then", [], [])
    model = doubling(1)
    model.functions[0].node.append(helper.make_node("If", ["c"], ["w"], then_branch=body, else_branch=body))

    with pytest.raises(ModelError, match="function 'own::F0' calls itself"):
        refuse_recursion(model)


def test_a_long_chain_that_nothing_reads_goes_in_one_pass(monkeypatch):
    nodes = [helper.make_node("Relu", [f"v{number}"], [f"v{number + 1}"]) for number in range(2000)]
    nodes.append(helper.make_node("Relu", ["v0"], ["y"]))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("v0", "y")]
    model = helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:]))
    passes = []
    uses = edits.uses
    monkeypatch.setattr(edits, "uses", lambda model: passes.append(1) or uses(model))

    assert edits.remove_unused(model) == 2000
    assert len(passes) == 2
    assert [node.output[0] for node in model.graph.node] == ["y"]


def concats(levels: int) -> onnx.ModelProto:
    """Each of which takes the one before it twice."""
    nodes = [helper.make_node("Concat", [f"v{n}"] * 2, [f"v{n + 1}"], axis=0) for n in range(levels)]
    value = [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in ("v0", f"v{levels}")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_values_that_double_are_not_followed_but_their_shapes_are():
    assert infer_at(concats(40), {"v0": (1,)}).shape("v40") == (1 << 40,)
    assert not values_fit(concats(40))
    assert values_fit(concats(8))


def test_what_is_computed_from_is_no_value_to_follow():
    """As in a DenseNet, whose blocks each join all that was before."""
    nodes = []
    for number in range(80):
        nodes.append(helper.make_node("Relu", [f"v{number}"], [f"r{number}"]))
        nodes.append(helper.make_node("Concat", [f"v{number}", f"r{number}"], [f"v{number + 1}"], axis=1))
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in ("v0", "v80")]

    assert values_fit(helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:])))


def test_samples_that_are_not_used_are_not_numbered():
    spec = DatasetSpec.model_validate({"schema": 1, "npz": "a.npz", "samples": 4})

    assert _order(spec, 10**15, None).tolist() == [0, 1, 2, 3]
    shuffled = spec.model_copy(update={"shuffle": True})
    assert (
        _order(shuffled, 100, None).tolist()
        == np.random.Generator(np.random.PCG64(0)).permutation(100)[:4].tolist()
    )


@pytest.fixture
def lazily(monkeypatch):
    """Members beyond a few bytes count as large."""
    monkeypatch.setattr(npz, "_AT_ONCE", 1000)


def opened_npz(folder, **arrays) -> tuple[ExitStack, dict]:
    np.savez_compressed(folder / "a.npz", **arrays)
    return open_npz(folder)


def open_npz(folder) -> tuple[ExitStack, dict]:
    stack = ExitStack()
    spec = DatasetSpec.model_validate({"schema": 1, "npz": "a.npz"})
    return stack, npz.reader.open(spec, lambda text: folder / text, stack)


def test_a_compressed_array_is_unpacked_as_far_as_samples_are_asked_for(tmp_path, lazily):
    array = np.random.default_rng(0).integers(0, 9, (4000, 1000), dtype=np.int64)
    stack, sources = opened_npz(tmp_path, x=array)
    with stack:
        source = sources["x"]
        assert source.shape == (4000, 1000)
        assert source.unpacking.done == 0
        np.testing.assert_array_equal(source.rows(np.array([3, 0])), array[[3, 0]])
        assert source.unpacking.done < 3 << 20
        np.testing.assert_array_equal(source.rows(np.array([1500])), array[[1500]])
        assert source.unpacking.done < 14 << 20
        np.testing.assert_array_equal(source.rows(np.array([2])), array[[2]])
        assert source.rows(np.array([], np.int64)).shape == (0, 1000)
        np.testing.assert_array_equal(source.whole(), array)
        assert source.unpacking.done == source.unpacking.size


def test_an_array_that_is_ordered_by_columns_is_unpacked_whole(tmp_path, lazily):
    array = np.asfortranarray(np.arange(6000.0).reshape(2000, 3))
    stack, sources = opened_npz(tmp_path, x=array)
    with stack:
        np.testing.assert_array_equal(sources["x"].rows(np.array([1, 0])), array[[1, 0]])


def test_what_is_damaged_behind_the_samples_is_said_when_it_is_asked_for(tmp_path, lazily):
    array = np.random.default_rng(0).integers(0, 9, (4000, 1000), dtype=np.int64)
    np.savez_compressed(tmp_path / "a.npz", x=array)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[-5000:-1000] = bytes(4000)
    (tmp_path / "a.npz").write_bytes(content)
    stack, sources = open_npz(tmp_path)
    with stack:
        np.testing.assert_array_equal(sources["x"].rows(np.array([5])), array[[5]])
        with pytest.raises(SpecError, match=r"array 'x' of 'a\.npz' cannot be unpacked") as caught:
            sources["x"].whole()
        assert caught.value.problems[0].path == ("npz",)


def test_an_archive_of_many_members_with_one_name_twice_is_refused_by_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for number in [*range(5_000), 4_999]:
            archive.writestr(f"{number}.npy", b"")
    with ExitStack() as stack, pytest.raises(ModelError, match="holds array '4999' twice"):
        Archive(tmp_path / "a.npz", "a.npz", stack)


def test_few_of_very_many_samples_are_drawn_without_numbering_all():
    spec = DatasetSpec.model_validate({"schema": 1, "npz": "a.npz", "samples": 4, "shuffle": True})

    first, second = _order(spec, 10**12, None), _order(spec, 10**12, None)

    assert len(set(first.tolist())) == 4
    assert first.tolist() == second.tolist()
    assert max(first) > 10**9


def ends(*names: str) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in names]


def relu(name: str = "", read: str = "x", made: str = "y", inputs=("x",), outputs=("y",)) -> onnx.ModelProto:
    node = helper.make_node("Relu", [read], [made], name=name)
    graph = helper.make_graph([node], "g", ends(*inputs), ends(*outputs))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def concat(count: int) -> onnx.ModelProto:
    model = relu()
    model.graph.node[0].CopyFrom(helper.make_node("Concat", ["x"] * count, ["y"], axis=0))
    return model


def described(entries: int) -> onnx.ModelProto:
    model = relu()
    for number in range(entries):
        model.metadata_props.add(key=f"k{number}", value="v")
    return model


def listed_weights(count: int) -> onnx.ModelProto:
    """Older exporters list every weight as an input too."""
    model = relu(inputs=("x", *(f"w{number}" for number in range(count))))
    model.graph.initializer.extend(
        helper.make_tensor(f"w{number}", TensorProto.FLOAT, [1], [1.0]) for number in range(count)
    )
    return model


def in_branches(depth: int) -> bytes:
    """A Relu so many If deep; written field by field, as protobuf's own library writes no such depth."""

    def field(number: int, payload: bytes) -> bytes:
        return varint(number << 3 | LEN) + varint(len(payload)) + payload

    node = helper.make_node("Relu", ["x"], ["y"]).SerializeToString()
    for _ in range(depth):
        graph = field(1, node) + field(2, b"g") + field(12, ends("y")[0].SerializeToString())
        branch = field(1, b"then_branch") + field(6, graph) + bytes([0xA0, 1, 5])  # of type GRAPH
        node = field(1, b"c") + field(2, b"y") + field(4, b"If") + field(5, branch)
    model = relu()
    model.graph.ClearField("node")
    return model.SerializeToString() + field(7, field(1, node))


TOO_LARGE = {
    "metadata": (lambda: described(10_001), "has more than 10,000 entries of metadata_props"),
    "inputs": (lambda: relu(inputs=["x", *map(str, range(MANY))]), "has more than 4,096 inputs"),
    "outputs": (lambda: relu(outputs=["y"] * MANY), "has more than 4,096 outputs"),
    "inputs of a node": (lambda: concat(10_001), "has more than 10,000 inputs of one node"),
    "name of a node": (
        lambda: relu("n" * 4096),
        "has a name of 4,096 bytes, and TensorRT takes 4,095 at most",
    ),
    "name of a tensor": (lambda: relu(made="n" * 5000), "has a name of 5,000 bytes"),
    "name of an input": (lambda: relu(inputs=["n" * 5000]), "has a name of 5,000 bytes"),
    "deep": (lambda: in_branches(200), "is nested deeper than 100 levels"),
    "deep and small": (lambda: in_branches(35), "is nested deeper than 100 levels"),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_more_than_any_model_has_is_refused_while_the_file_is_read(tmp_path, case):
    make, told = TOO_LARGE[case]
    made = make()
    (tmp_path / "m.onnx").write_bytes(made if isinstance(made, bytes) else made.SerializeToString())

    with pytest.raises(ModelError, match=f"m.onnx' {told}") as caught:
        read_skeleton(tmp_path / "m.onnx")
    assert [one.code for one in caught.value.problems] == [Code.MODEL_TOO_LARGE]


@pytest.mark.parametrize(
    "model",
    [described(10_000), concat(10_000), relu("n" * 4095), listed_weights(MANY), in_branches(30)],
    ids=["metadata", "inputs of a node", "name", "weights listed as inputs", "deep"],
)
def test_what_is_just_not_too_much_is_read(tmp_path, model):
    (tmp_path / "m.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())

    assert len(read_skeleton(tmp_path / "m.onnx").proto.graph.node) == 1


def test_what_is_asked_of_each_of_many_nodes_is_looked_up_once_in_the_model(monkeypatch):
    """Unknown operators, and those that an import may write out."""
    nodes = [helper.make_node("Nope", [f"v{number}"], [f"v{number + 1}"]) for number in range(200)]
    nodes += [
        helper.make_node("LpPool", ["v200"], [f"p{number}"], p=3, kernel_shape=[1]) for number in range(20)
    ]
    outputs = ends(*(f"p{number}" for number in range(20)))
    model = helper.make_model(
        helper.make_graph(nodes, "g", ends("v0"), outputs), opset_imports=[helper.make_opsetid("", 17)]
    )
    walks, rewrites = [], []
    nodes_of, rewrite = constant_values.nodes_of, written_out.rewrite_misread
    monkeypatch.setattr(constant_values, "nodes_of", lambda model: walks.append(1) or nodes_of(model))
    monkeypatch.setattr(written_out, "rewrite_misread", lambda model: rewrites.append(1) or rewrite(model))

    refused_tail(view_model(model))

    assert (len(walks), len(rewrites)) == (1, 1)


def test_precisions_are_listed_once_however_many_variants_name_one(monkeypatch):
    find_precision("fp32")
    monkeypatch.setattr("pkgutil.iter_modules", lambda path: pytest.fail("listed again"))

    assert find_precision("fp16") is not None
    assert find_precision("fp17") is None
