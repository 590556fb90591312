"""Legalizing: one canonical form, the same results, nothing in it that TensorRT's parser trips over."""

import numpy as np
import onnx
import pytest

from tests.canonical.onnx_text import canonical, operators, parse, run
from trtpipe.canonical import folding
from trtpipe.errors import ModelError

X = np.linspace(-2, 3, 24, dtype=np.float32).reshape(2, 3, 4)


def same_results(text: str, tmp_path, **options) -> onnx.ModelProto:
    model = parse(text, **options)
    result, _ = canonical(model, tmp_path)
    for ours, theirs in zip(run(result, {"x": X}), run(model, {"x": X}), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    return result


def test_shape_arithmetic_becomes_a_constant(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[6,4] y) {
            s = Shape(x)  zero = Constant<value_int = 0>()  one = Constant<value_int = 1>()
            a = Gather(s, zero)  b = Gather(s, one)  ab = Mul(a, b)
            axes = Constant<value_ints = [0]>()  ab1 = Unsqueeze(ab, axes)
            rest = Constant<value_ints = [-1]>()  shape = Concat<axis = 0>(ab1, rest)
            y = Reshape(x, shape) }""",
        tmp_path,
    )
    assert operators(result) == ["Reshape"]
    assert [tensor.name for tensor in result.graph.initializer] == ["shape"]


def test_the_fixed_entries_of_a_dynamic_shape_are_folded(tmp_path):
    result = same_results(
        """g (float[n,3,4] x) => (float[n,12] y) {
            s = Shape(x)  one = Constant<value_ints = [1]>()  c = Gather(s, one)
            four = Constant<value_ints = [4]>()  cd = Mul(c, four)
            minus = Constant<value_ints = [-1]>()  shape = Concat<axis = 0>(minus, cd)
            y = Reshape(x, shape) }""",
        tmp_path,
    )
    assert operators(result) == ["Reshape"]


def test_a_branch_with_a_constant_condition_is_taken(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[a,b,c] y) {
            r = Constant<value_int = 16>()  k = Constant<value_int = 16>()  c = Equal(r, k)
            y = If (c) <
                then_branch = t () => (float[a,b,c] o) { p = Relu(x)  o = Neg(p) },
                else_branch = e () => (float[a,b,c] o) { o = Abs(x) }> }""",
        tmp_path,
    )
    assert operators(result) == ["Relu", "Neg"]
    assert result.graph.output[0].name == "y"


def test_inner_names_that_shadow_each_other_are_told_apart(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[a,b,c] y) {
            t = Constant<value_float = 1.0>()  m = ReduceMax<keepdims = 0>(x)  c = Greater(m, t)
            i = If (c) <
                then_branch = t1 () => (float[a,b,c] o) { p = Relu(x)  o = Neg(p) },
                else_branch = e1 () => (float[a,b,c] o) { p = Abs(x)  o = Neg(p) }>
            y = If (c) <
                then_branch = t2 () => (float[a,b,c] o) { p = Relu(i)  o = Neg(p) },
                else_branch = e2 () => (float[a,b,c] o) { p = Abs(i)  o = Neg(p) }> }""",
        tmp_path,
    )
    inner = [
        name for node in result.graph.node for a in node.attribute for n in a.g.node for name in n.output
    ]
    assert len(inner) == len(set(inner)) == 8


def test_functions_of_two_domains_with_one_name_are_inlined_rightly(tmp_path):
    functions = """<domain: "local", opset_import: ["" : 17]> Relu (a) => (b) { b = Neg(a) }
        <domain: "d", opset_import: ["" : 17]> Relu (a) => (b) { b = Abs(a) }"""
    text = """g (float[2,3,4] x) => (float[2,3,4] y) { p = local.Relu(x)  q = d.Relu(p)  y = Relu(q) }"""
    result, changes = canonical(parse(text, functions=functions), tmp_path)
    assert operators(result) == ["Neg", "Abs", "Relu"]
    assert not result.functions
    assert changes.counts["functions inlined"] == 2


def test_functions_that_call_each_other_in_a_circle_are_refused(tmp_path):
    functions = """<domain: "local", opset_import: ["" : 17, "d" : 1]> F (a) => (b) { b = d.G(a) }
        <domain: "d", opset_import: ["" : 17, "local" : 1]> G (a) => (b) { b = local.F(a) }"""
    text = "g (float[2] x) => (float[2] y) { y = local.F(x) }"
    with pytest.raises(ModelError, match="calls itself"):
        canonical(parse(text, functions=functions), tmp_path)


def test_quantization_nodes_are_never_folded(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[2,3,4] y)
            <float[4] w = {1.0, 2.0, 3.0, 4.0}, float s = {0.5}, int8 z = {0}> {
            q = QuantizeLinear(w, s, z)  d = DequantizeLinear(q, s, z)  y = Mul(x, d) }""",
        tmp_path,
    )
    assert operators(result) == ["QuantizeLinear", "DequantizeLinear", "Mul"]


def test_results_that_depend_on_the_processor_are_not_folded(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[2,3,4] y) <float[4] w = {1.0, 2.0, 3.0, 4.0}> {
            e = Exp(w)  s = Sqrt(w)  z = Add(x, s)  y = Mul(z, e) }""",
        tmp_path,
    )
    assert operators(result) == ["Exp", "Add", "Mul"]


def test_folding_does_not_bloat(tmp_path):
    text = f"""g (float[2,3,4] x) => (float[2,3,4] y, int64[k] z) {{
        n = Constant<value_ints = [{folding.SMALL // 8 + 1}]>()  z0 = ConstantOfShape<value = int64[1] {{7}}>(n)
        z = Identity(z0)  y = Relu(x) }}"""
    result, _ = canonical(parse(text), tmp_path)
    assert "ConstantOfShape" in operators(result)
    assert result.ByteSize() < 1000


def test_what_does_nothing_goes_and_outputs_keep_their_names(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[2,3,4] y, float[2,3,4] z) {
            a = Identity(x)  b = Relu(a)  c, mask = Dropout(b)  d = Identity(c)  y = Identity(d)  z = Identity(x) }""",
        tmp_path,
    )
    assert operators(result) == ["Relu", "Identity"]
    assert [value.name for value in result.graph.output] == ["y", "z"]


def test_outputs_that_nobody_reads_are_trimmed(tmp_path):
    result = same_results(
        """g (float[2,3,4] x) => (float[2,3,4] y) <float[4] s = {1.0, 1.0, 1.0, 1.0}> {
            y, mean, deviation = LayerNormalization(x, s) }""",
        tmp_path,
    )
    assert list(result.graph.node[0].output) == ["y"]


def test_sparse_weights_become_dense(tmp_path):
    model = parse("g (float[2,3,4] x) => (float[2,3,4] y) { y = Add(x, w) }")
    values = onnx.numpy_helper.from_array(np.array([5.0], np.float32), "w")
    indices = onnx.numpy_helper.from_array(np.array([2], np.int64), "w_indices")
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=indices, dims=[4]))
    result, _ = canonical(model, tmp_path)
    np.testing.assert_array_equal(run(result, {"x": X})[0], X + np.array([0, 0, 5, 0], np.float32))


def test_nodes_out_of_order_are_sorted(tmp_path):
    model = parse("g (float[2,3,4] x) => (float[2,3,4] y) { a = Relu(x)  b = Neg(a)  y = Abs(b) }")
    nodes = list(model.graph.node)
    shuffled = onnx.GraphProto(node=[nodes[2], nodes[0], nodes[1]])
    model.graph.ClearField("node")
    model.graph.node.extend(shuffled.node)
    assert operators(canonical(model, tmp_path)[0]) == ["Relu", "Neg", "Abs"]


def test_a_cycle_is_refused_by_node(tmp_path):
    model = parse("g (float[2] x) => (float[2] y) { a = Add(x, y)  y = Neg(a) }")
    with pytest.raises(ModelError, match=r"cycle through node 'a' \(Add\)"):
        canonical(model, tmp_path)


def test_a_wrong_node_is_named(tmp_path):
    model = parse("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.node[0].name = "act"
    model.graph.node[0].input.append("x")
    with pytest.raises(ModelError, match=r"node 'act' \(Relu\) is not valid ONNX"):
        canonical(model, tmp_path)


def test_operators_that_only_plugins_know_are_let_through(tmp_path):
    model = parse("g (float[2] x) => (float[2] y) { a = EfficientNMS_TRT(x)  y = d.Other(a) }")
    assert operators(canonical(model, tmp_path)[0]) == ["EfficientNMS_TRT", "Other"]


def test_an_old_opset_is_raised(tmp_path):
    result = same_results(
        "g (float[2,3,4] x) => (float[2,1,4] y) { y = ReduceSum<axes = [1]>(x) }", tmp_path, opset=11
    )
    assert result.opset_import[0].version == 17
    assert len(result.graph.node[0].input) == 2


def test_a_model_that_cannot_be_raised_keeps_its_opset(tmp_path):
    model = parse("g (float[2] x) => (float[2] y) { a = EfficientNMS_TRT(x)  y = Relu(a) }", opset=11)
    result, changes = canonical(model, tmp_path)
    assert {item.domain: item.version for item in result.opset_import}[""] == 11
    assert any("opset 11 kept" in note for note in changes.notes)


def test_inputs_with_a_default_become_constants(tmp_path):
    model = parse("g (float[4] x, float[4] w = {1.0, 2.0, 3.0, 4.0}) => (float[4] y) { y = Mul(x, w) }")
    model.ir_version = 3
    result, _ = canonical(model, tmp_path)
    assert [value.name for value in result.graph.input] == ["x"]


@pytest.mark.parametrize(
    ("dims", "names"),
    [
        (["?", "?"], ["x_0", "x_1"]),
        ([-1, 3], ["x_0", 3]),
        (["N", "N"], ["x_0", "x_1"]),
        (["batch", "unk__12"], ["batch", "x_1"]),
        ([None, "width * 2"], ["x_0", "width * 2"]),
    ],
)
def test_dimensions_are_equal_only_where_the_model_says_so(tmp_path, dims, names):
    model = parse("g (float[a,b] x) => (float[a,b] y) { y = Relu(x) }")
    model.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, dims))
    result, _ = canonical(model, tmp_path)
    shape = result.graph.input[0].type.tensor_type.shape
    assert [dim.dim_param or dim.dim_value for dim in shape.dim] == names


def test_a_name_shared_between_inputs_is_kept(tmp_path):
    model = parse("g (float[batch,3] x, float[batch,3] z) => (float[batch,3] y) { y = Add(x, z) }")
    result, _ = canonical(model, tmp_path)
    assert [v.type.tensor_type.shape.dim[0].dim_param for v in result.graph.input] == ["batch", "batch"]


def test_nodes_without_a_name_and_with_the_same_get_their_own(tmp_path):
    model = parse("g (float[4] x) => (float[4] y) { a = Relu(x)  b = Neg(a)  c = Neg(b)  y = Abs(c) }")
    for node, name in zip(model.graph.node, ["n", "", "", "n"], strict=True):
        node.name = name
    assert [node.name for node in canonical(model, tmp_path)[0].graph.node] == ["n", "Neg_0", "Neg_1", "n_1"]


def test_the_canonical_form_is_a_fixed_point(tmp_path):
    text = """g (float[?,3,?] x) => (float[a,b] y) {
        s = Shape(x)  one = Constant<value_ints = [1]>()  c = Gather(s, one)  m = Constant<value_ints = [-1]>()
        shape = Concat<axis = 0>(m, c)  i = Identity(x)  y = Reshape(i, shape) }"""
    once, _ = canonical(parse(text.replace("?", "q")), tmp_path)
    twice, _ = canonical(once, tmp_path)
    assert once.SerializeToString(deterministic=True) == twice.SerializeToString(deterministic=True)


def test_what_the_exporter_says_of_itself_leaves_no_trace(tmp_path):
    plain = parse("g (float[4] x) => (float[4] y) { y = Relu(x) }")
    chatty = onnx.ModelProto()
    chatty.CopyFrom(plain)
    chatty.producer_name, chatty.doc_string, chatty.graph.name = "exporter", "made today", "run 17"
    chatty.metadata_props.add(key="time", value="now")
    chatty.graph.node[0].doc_string = "line 5"
    chatty.graph.value_info.append(onnx.helper.make_tensor_value_info("x2", onnx.TensorProto.FLOAT, [4]))
    one, other = (canonical(model, tmp_path)[0] for model in (plain, chatty))
    assert one == other


@pytest.mark.parametrize(("steps", "dtype"), [("", "INT64"), (", one", "INT32")])
def test_int32_indices_of_a_slice_without_steps_are_widened(tmp_path, steps, dtype):
    result = same_results(
        f"""g (float[2,3,4] x) => (float[a,b,c] y)
            <int32[1] from = {{1}}, int32[1] to = {{3}}, int32[1] axis = {{2}}, int32[1] one = {{1}}> {{
            y = Slice(x, from, to, axis{steps}) }}""",
        tmp_path,
    )
    kinds = {onnx.TensorProto.DataType.Name(one.data_type) for one in result.graph.initializer}
    assert kinds == {dtype}
