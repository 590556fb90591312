"""The network that TensorRT's parser makes, as the worker writes it down and trtpipe reads it: nothing is lost."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.toolchains.layer_type_models import MODELS, NOT_REACHED, const, model, node, simple, value, weights
from trtpipe.errors import Interrupted, ModelError, StepFailed
from trtpipe.networks.reader import NETWORK, WEIGHTS, read_network
from trtpipe.plan.control import Control
from trtpipe.spec.pipeline import BuilderSpec
from trtpipe.targets.toolchain import Toolchain
from trtpipe.toolchains.engine_worker import parser_runs
from trtpipe.toolchains.engine_worker.parser_runs import parse_network
from trtpipe.toolchains.engine_worker.watch import Supervision

pytestmark = pytest.mark.engine

REAL = Path(__file__).resolve().parents[3] / "shared/testdata/onnx/real"
ATTRIBUTES = {  # model → attributes of the first layer of the first type that it is there for
    "activation": {"type": "HARD_SIGMOID", "alpha": np.float32(0.3), "beta": np.float32(0.4)},
    "cast": {"to_type": "float16"},
    "concat": {"axis": 2},
    "convolution": {
        "kernel_size_nd": (3, 3), "num_groups": 2, "num_output_maps": 6, "stride_nd": (2, 1), "dilation_nd": (1, 2),
        "pre_padding": (1, 0), "post_padding": (2, 1), "padding_nd": (1, 0), "padding_mode": "EXPLICIT_ROUND_DOWN",
    },
    "cumulative": {"op": "SUM", "exclusive": True, "reverse": False},
    "dynamic_quantize": {
        "axis": 1, "block_size": 16, "block_shape": (), "to_type": "float4e2m1", "scale_type": "float8e4m3fn",
    },
    "dynamic_slice": {"start": None, "shape": None, "stride": (1, 1), "axes": (0, 1), "mode": "STRICT_BOUNDS"},
    "einsum": {"equation": "ij,jk->ki"},
    "elementwise": {"op": "POW"},
    "fill": {
        "operation": "RANDOM_UNIFORM", "alpha": -1.0, "beta": 2.0, "is_alpha_beta_int64": False, "to_type": "float32",
        "shape": (1, 4, 8, 8),
    },
    "gather": {"mode": "ND", "axis": 0, "num_elementwise_dims": 1},
    "grid_sample": {"align_corners": False, "interpolation_mode": "LINEAR", "sample_mode": "CLAMP"},
    "lrn": {"window_size": 3, "alpha": np.float32(0.01), "beta": np.float32(0.7), "k": 1.5},
    "lstm": {"axis": 0, "reverse": False},
    "matmul": {"op0": "NONE", "op1": "TRANSPOSE"},
    "nms": {"bounding_box_format": "CORNER_PAIRS", "indices_type": "int64", "topk_box_limit": 5000},
    "normalization": {"axes": 12, "epsilon": np.float32(1e-3), "num_groups": 2, "is_v2": False},
    "one_hot": {"axis": 0},
    "pad": {
        "mode": "REFLECT", "start": (0, 0, -1, -2), "shape": (1, 4, 12, 14), "stride": (1, 1, 1, 1),
        "axes": (0, 1, 2, 3),
    },
    "pooling": {
        "type": "AVERAGE", "window_size_nd": (3, 3), "stride_nd": (1, 1), "pre_padding": (1, 1), "post_padding": (1, 1),
        "padding_nd": (1, 1), "padding_mode": "EXPLICIT_ROUND_UP", "average_count_excludes_padding": False,
        "blend_factor": 0.0,
    },
    "quantized": {"axis": 1, "block_shape": None, "to_type": "int8"},
    "reduce": {"op": "MAX", "axes": 10, "keep_dims": False},
    "resize": {
        "resize_mode": "CUBIC", "cubic_coeff": -0.5, "scales": (1.0, 1.0, 1.5, 2.0), "exclude_outside": False,
        "coordinate_transformation": "HALF_PIXEL", "nearest_rounding": "HALF_DOWN", "shape": None,
        "selector_for_single_pixel": "FORMULA",
    },
    "reverse_sequence": {"batch_axis": 1, "sequence_axis": 0},
    "rotary": {"interleaved": False, "rotary_embedding_dim": 0},
    "scale": {"mode": "CHANNEL", "channel_axis": 1},
    "scatter": {"mode": "ELEMENT", "axis": 1},
    "shuffle": {
        "first_transpose": (0, 2, 3, 1, 4, 5, 6, 7), "second_transpose": (0, 1, 2, 3, 4, 5, 6, 7), "reshape_dims": None,
        "zero_is_placeholder": True,
    },
    "softmax": {"axes": 2},
    "topk": {"op": "MIN", "axes": 1, "k": -1, "indices_type": "int64"},
    "unary": {"op": "ERF"},
}  # fmt: skip
API_ONLY = """
import json, numpy, sys
sys.path += sys.argv[1:]
import tensorrt_rtx as trt
from network_reading import write_network
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
x = network.add_input("x", trt.float32, (1, 2, 4, 4))
padded = network.add_padding_nd(x, (1, -1), (2, 0)).get_output(0)
found = network.add_non_zero(x, trt.int64).get_output(0)
counted = network.add_shape(x).get_output(0)
same = network.add_elementwise(counted, counted, trt.ElementWiseOperation.EQUAL).get_output(0)
network.add_assertion(same, "equal")
bounds = network.add_constant((1, 1, 1), numpy.ones(1, numpy.int32))
rows = network.add_input("rows", trt.float32, (1, 3, 5))
soft = network.add_ragged_softmax(rows, bounds.get_output(0)).get_output(0)
for one in (padded, found, soft):
    network.mark_output(one)
print(json.dumps(write_network(trt, network, dtypes={"FLOAT": "float32"}, warnings=[], hear=list)))
"""


@pytest.fixture
def toolchain(rtx_site):
    return Toolchain("tensorrt_rtx", "1", (sys.executable,), (rtx_site,), "cpython")


def parsed(made, folder, toolchain):
    """The network of a model."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(made, folder / "model.onnx")
    parse_network(toolchain, folder / "model.onnx", folder)
    return read_network(folder)


def first(network, kind):
    return next(one for one in network.layers if one.type == kind)


# -- layers and attributes


@pytest.mark.parametrize("name", MODELS)
def test_each_type_of_layer_is_read_in_full(tmp_path, toolchain, name):
    made = MODELS[name]
    network = parsed(made.model, tmp_path, toolchain)

    assert set(made.types) <= {one.type for one in network.layers}
    assert network.inputs == tuple(one.name for one in made.model.graph.input)
    assert network.outputs == tuple(one.name for one in made.model.graph.output)
    if name == "dist":
        assert set(network.layers[0].unread) == {"collective_operation", "reduce_op", "root", "groups"}
        return
    assert network.unread == ()
    if name in ATTRIBUTES:
        assert first(network, made.types[0]).attributes == ATTRIBUTES[name]


def test_every_type_of_layer_is_reached_or_known_not_to_be(rtx_site):
    code = "import sys; sys.path.append(sys.argv[1]); import tensorrt_rtx; print(*tensorrt_rtx.LayerType.__members__)"
    done = subprocess.run([sys.executable, "-c", code, rtx_site], capture_output=True, text=True, check=True)

    reached = {kind for one in MODELS.values() for kind in one.types}

    assert reached.isdisjoint(NOT_REACHED)
    assert set(done.stdout.split()) == reached | set(NOT_REACHED)


def test_layers_that_only_the_api_makes_are_read_too(tmp_path, rtx_site):
    code = [sys.executable, "-c", API_ONLY, rtx_site, str(Path(parser_runs.__file__).parent)]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=True)
    network = read_network(tmp_path)

    assert json.loads(done.stdout.splitlines()[-1])["unread"] == 0
    assert first(network, "PADDING").attributes == {"pre_padding_nd": (1, -1), "post_padding_nd": (2, 0)}
    assert first(network, "NON_ZERO").attributes == {"indices_type": "int64"}
    assert first(network, "ASSERTION").attributes == {"message": "equal"}
    assert first(network, "RAGGED_SOFTMAX").attributes == {}


def test_a_layer_says_which_node_made_it_and_which_tensors_it_joins(tmp_path, toolchain):
    network = parsed(simple("Relu", ["n", 3]), tmp_path, toolchain)
    (relu,) = network.layers

    assert (relu.node, relu.inputs, relu.outputs) == ("Relu_y", ("x",), ("y",))
    x = network.tensors["x"]
    assert (x.dtype, x.shape, x.dimension_names, x.shape_tensor) == ("float32", (-1, 3), ("n", None), False)


def test_an_absent_input_leaves_its_place(tmp_path, toolchain):
    """Resize takes its sizes as the second input; a slice that fills has its value as the fifth."""
    pad = simple(
        "Pad",
        extra=["p", "v"],
        initializers=[const("p", [0, 0, 1, 1, 0, 0, 1, 1]), const("v", 2, np.float32)],
    )
    network = parsed(pad, tmp_path, toolchain)
    (slicing,) = (one for one in network.layers if one.type == "SLICE")

    assert slicing.attributes["mode"] == "FILL"
    assert slicing.inputs[0] == "x"
    assert slicing.inputs[1:4] == (None, None, None)
    filled = network.producers[slicing.inputs[4]]
    assert network.contents.values(filled.weights["weights"]).tolist() == [2.0]


def test_shape_tensors_are_told(tmp_path, toolchain):
    network = parsed(MODELS["dynamic_slice"].model, tmp_path, toolchain)

    assert network.tensors["b"].shape_tensor
    assert not network.tensors["x"].shape_tensor
    assert network.tensors["x"].execution_tensor


def test_an_attention_is_read_with_its_attributes(tmp_path, toolchain):
    network = parsed(MODELS["attention"].model, tmp_path, toolchain)
    (attention,) = network.attentions

    assert attention.attributes["causal"] is True
    assert attention.attributes["mask"] is None
    assert attention.attributes["norm_op"] == "SOFTMAX"
    (begin,), (end,) = attention.input_layers, attention.output_layers
    assert network.layers[begin].inputs == attention.inputs
    assert network.layers[end].outputs == attention.outputs == ("y",)
    assert "trtpipe" not in (tmp_path / NETWORK).read_text()


def test_warnings_of_the_parser_are_kept(tmp_path, toolchain):
    network = parsed(MODELS["loop_early"].model, tmp_path, toolchain)

    (warning,) = network.warnings
    assert "both a trip limit and a loop termination condition was set" in warning.message


# -- loops and conditionals


def test_a_loop_is_read_with_its_parts(tmp_path, toolchain):
    network = parsed(MODELS["loop"].model, tmp_path, toolchain)
    (loop,) = network.loops

    assert loop.name == "Loop_last"
    assert [network.layers[one].attributes["kind"] for one in loop.trip_limits] == ["COUNT", "WHILE"]
    assert len(loop.recurrences) == 3  # the counter, the condition, s
    outputs = [network.layers[one] for one in loop.outputs]
    assert [one.attributes["kind"] for one in outputs] == ["LAST_VALUE", "CONCATENATE"]
    assert [network.layers[one].outputs for one in loop.outputs] == [("last",), ("all",)]


def test_a_recurrent_layer_becomes_a_loop_with_an_iterator(tmp_path, toolchain):
    network = parsed(MODELS["lstm"].model, tmp_path, toolchain)
    (loop,) = network.loops

    assert [network.layers[one].type for one in loop.iterators] == ["ITERATOR"]
    assert [network.layers[one].type for one in loop.recurrences] == ["RECURRENCE"] * 2


def test_a_nested_if_has_a_number_of_its_own(tmp_path, toolchain):
    network = parsed(MODELS["nested_ifs"].model, tmp_path, toolchain)
    outer, inner = network.conditionals

    assert (outer.name, inner.name) == ("If_y", "If_e")
    assert [network.layers[one].outputs for one in (*outer.outputs, *inner.outputs)] == [("y",), ("e",)]
    assert network.layers[outer.conditions[0]].inputs == ("c",)
    (entered,) = network.layers[inner.conditions[0]].inputs  # through the outer one's boundary
    assert network.producers[entered].inputs == ("d",)
    assert network.producers[entered].number in outer.inputs
    assert set(outer.inputs).isdisjoint(inner.inputs)


def test_an_if_in_a_loop_belongs_to_no_loop_but_its_boundary(tmp_path, toolchain):
    network = parsed(MODELS["loop_nested"].model, tmp_path, toolchain)

    assert len(network.loops) == len(network.conditionals) == 1
    assert {one.loop for one in network.layers if one.conditional is not None} == {None}


# -- weights


def test_kernels_and_constants_of_real_models_are_the_initializers(tmp_path, toolchain):
    if not REAL.is_dir():
        pytest.skip("not run: needs the shared test data")
    compared = {}
    for path in sorted(REAL.glob("*.onnx")):
        source = onnx.load(path)
        folder = tmp_path / path.stem
        network = parsed(source, folder, toolchain)
        assert network.unread == ()
        initializers = {one.name: numpy_helper.to_array(one) for one in source.graph.initializer}
        initializers |= {
            one.output[0]: numpy_helper.to_array(one.attribute[0].t)
            for one in source.graph.node
            if one.op_type == "Constant" and one.attribute[0].name == "value"
        }
        nodes = {one.name: one for one in source.graph.node}
        compared[path.stem] = 0
        for one in network.layers:
            for ref, wanted in wanted_weights(one, nodes, initializers):
                stored = network.contents.stored(ref)
                assert (ref.dtype, stored.tobytes()) == (str(wanted.dtype), wanted.tobytes())
                compared[path.stem] += 1

    assert len(compared) == 4
    assert min(compared.values()) > 5


def wanted_weights(layer, nodes, initializers):
    """The weights of a layer that stem from one initializer, and that initializer."""
    if layer.type == "CONSTANT" and layer.name in initializers:
        yield layer.weights["weights"], initializers[layer.name]
    if layer.type == "CONVOLUTION" and layer.weights["kernel"].count and layer.node in nodes:
        names = nodes[layer.node].input[1:]
        for ref, name in zip((layer.weights["kernel"], layer.weights["bias"]), names, strict=False):
            if name in initializers:
                yield ref, initializers[name]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bfloat16", "bfloat16"),
        ("fp8", "float8e4m3fn"),
        ("int4", "int4"),
        ("int4_odd", "int4"),
        ("fp4", "float4e2m1"),
    ],
)
def test_weights_of_types_that_numpy_lacks_are_right_to_the_byte(tmp_path, toolchain, name, dtype):
    made = MODELS[name].model
    network = parsed(made, tmp_path, toolchain)
    ref = next(one.weights["weights"] for one in network.layers if one.type == "CONSTANT" and one.name == "c")

    assert (ref.dtype, ref.count) == (dtype, made.graph.initializer[0].dims[0])
    assert network.contents.raw(ref).tobytes() == made.graph.initializer[0].raw_data


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64", "int8", "bool"])
def test_weights_of_types_that_numpy_has_are_right_to_the_byte(tmp_path, toolchain, dtype):
    values = np.arange(-3, 4).astype(dtype)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [node("Identity", ["c"], ["y"]), node("Identity", ["x"], ["z"])]
    made = model(
        nodes, [value("x", [1])], [value("y", [7], kind), value("z", [1])], [const("c", values, dtype)]
    )
    network = parsed(made, tmp_path, toolchain)

    read = network.contents.values(first(network, "CONSTANT").weights["weights"])
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_a_scalar_and_an_empty_constant_are_read(tmp_path, toolchain):
    nodes = [node("Add", ["x", "one"], ["y"]), node("Concat", ["x", "none"], ["z"], axis=0)]
    constants = [const("one", 1, np.float32), const("none", np.empty(0), np.float32)]
    network = parsed(
        model(nodes, [value("x", [3])], [value("y", [3]), value("z", None)], constants), tmp_path, toolchain
    )
    read = {one.name: one for one in network.layers if one.type == "CONSTANT"}

    assert (read["one"].attributes["shape"], read["one"].weights["weights"].count) == ((), 1)
    if "none" in read:
        assert read["none"].weights["weights"].count == 0


def test_equal_contents_are_kept_once(tmp_path, toolchain):
    same = weights("a", 64, 64)
    other = onnx.TensorProto.FromString(same.SerializeToString())
    other.name = "b"
    nodes = [node("MatMul", ["x", "a"], ["m"]), node("MatMul", ["m", "b"], ["y"])]
    network = parsed(
        model(nodes, [value("x", [1, 64])], [value("y", [1, 64])], [same, other]), tmp_path, toolchain
    )

    digests = [one.weights["weights"].digest for one in network.layers if one.type == "CONSTANT"]
    assert digests == [hashlib.sha256(same.raw_data).hexdigest()] * 2
    assert (tmp_path / WEIGHTS).stat().st_size == 64 * 64 * 4


def test_external_data_is_read(tmp_path, toolchain):
    made = model(
        [node("MatMul", ["x", "w"], ["y"])],
        [value("x", [1, 64])],
        [value("y", [1, 64])],
        [weights("w", 64, 64)],
    )
    wanted = numpy_helper.to_array(made.graph.initializer[0]).copy()
    (tmp_path / "source").mkdir()
    source, folder = tmp_path / "source/net.onnx", tmp_path / "parsed"
    onnx.save(made, source, save_as_external_data=True, location="net.bin", size_threshold=0)

    parse_network(toolchain, source, folder)
    network = read_network(folder)

    np.testing.assert_array_equal(
        network.contents.values(first(network, "CONSTANT").weights["weights"]), wanted.reshape(-1)
    )


# -- the action


def test_equal_models_give_equal_files(tmp_path, toolchain):
    for name in ("loop_nested", "attention", "quantized"):
        files = []
        for number in range(2):
            folder = tmp_path / name / ("deep" * 20 * number + "x")
            parsed(MODELS[name].model, folder, toolchain)
            files.append([(folder / one).read_bytes() for one in (NETWORK, WEIGHTS)])
        assert files[0] == files[1]


def test_the_result_counts_what_was_read(tmp_path, toolchain):
    onnx.save(MODELS["matmul"].model, tmp_path / "model.onnx")
    files = parse_network(toolchain, tmp_path / "model.onnx", tmp_path)

    assert files.facts["read"] == {"layers": 2, "unread": 0, "weights_bytes": 48}
    assert files.facts["seconds"].keys() == {"import", "parse", "read"}
    assert (files.network, files.weights) == (tmp_path / NETWORK, tmp_path / WEIGHTS)


def test_a_toolchain_without_numpy_is_given_that_of_its_interpreter(tmp_path, rtx_site, monkeypatch):
    alone = tmp_path / "site"
    alone.mkdir()
    for name in ("tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs"):
        if (Path(rtx_site) / name).exists():
            (alone / name).symlink_to(Path(rtx_site) / name)
    bare = Toolchain("tensorrt_rtx", "1", (sys.executable,), (str(alone),), "cpython")
    made = simple("Conv", extra=["w"], initializers=[weights("w", 6, 4, 3, 3)])

    assert parsed(made, tmp_path / "with", bare).unread == ()
    monkeypatch.setattr(parser_runs, "numpy_of", lambda python: ())
    (unread,) = parsed(made, tmp_path / "without", bare).unread
    assert unread.unread.keys() == {"kernel", "bias"}
    assert "No module named 'numpy'" in unread.unread["kernel"]


def test_numpy_is_found_in_any_interpreter():
    here = str(Path(np.__file__).parents[1])

    assert parser_runs.numpy_of([sys.executable]) == (here,)
    assert parser_runs.numpy_of(["env", sys.executable]) == (here,)
    assert parser_runs.numpy_of(["/nonexistent"]) == ()
    assert parser_runs.numpy_of([sys.executable, "-S", "-I"]) == ()


def test_what_tensorrt_refuses_is_told_as_in_a_build(tmp_path, toolchain):
    onnx.save(simple("TopK", extra=["k"], initializers=[const("k", [1])]), tmp_path / "model.onnx")

    with pytest.raises(StepFailed, match=r"node 'TopK_y' \(TopK\)"):
        parse_network(toolchain, tmp_path / "model.onnx", tmp_path)


def test_limits_are_those_of_a_build(tmp_path, toolchain):
    onnx.save(simple("Relu"), tmp_path / "model.onnx")

    with pytest.raises(StepFailed, match="memory"):
        parse_network(toolchain, tmp_path / "model.onnx", tmp_path, limits=BuilderSpec(memory_limit=1 << 20))
    control = Control()
    control.killed.set()
    with pytest.raises(Interrupted):
        parse_network(toolchain, tmp_path / "model.onnx", tmp_path, supervision=Supervision(control=control))


def test_a_model_that_is_none_is_refused(tmp_path, toolchain):
    (tmp_path / "net.onnx").write_bytes(b"\xff" * 99)

    with pytest.raises(ModelError):
        parse_network(toolchain, tmp_path / "net.onnx", tmp_path / "parsed")


def test_numbers_of_bits_agree_on_both_sides():
    from trtpipe.networks.contents import BITS
    from trtpipe.toolchains.engine_worker.network_reading import BITS as LACKING

    assert LACKING.items() <= BITS.items()
