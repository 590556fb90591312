"""The network that TensorRT's parser makes of a model, lowered again, computes what the model does, or is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.networks.kind_models import FEEDS, INT64, MODELS, const, lone, model, node, value, weights
from tests.networks.mutation_table import mutation_table
from tests.networks.parsed_models import needs_rtx, parsed
from trtpipe.networks.lowering.network import onnx_of

pytestmark = needs_rtx
REAL = Path(__file__).resolve().parents[3] / "shared" / "testdata" / "onnx"
WITHIN = 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_a_network_computes_what_its_model_does(tmp_path, name):
    found = parsed(MODELS[name], tmp_path, FEEDS.get(name))

    read = found.compared()

    assert read.share == 1.0
    assert read.not_compared == {}
    assert read.contradictions == ()
    assert {one.tensor: one.error for one in read.outputs if one.departs} == {}
    assert {one.bound for one in read.outputs} == {WITHIN} or name in (
        "int8",
        "fp8",
        "int4_blocks",
        "Cast_half",
    )


REAL_MODELS = sorted(REAL.rglob("*.onnx"))


@pytest.mark.skipif(not REAL_MODELS, reason="no real models in ../shared/testdata")
@pytest.mark.parametrize("path", sorted((REAL / "real").glob("*.onnx")), ids=lambda path: path.stem)
def test_networks_of_real_models_are_read_in_full_and_equal(tmp_path, path):
    recorded = np.load(path.with_suffix(".npz"))
    feed = {name[3:]: recorded[name] for name in recorded if name.startswith("in:")}

    read = parsed(path, tmp_path, [feed]).compared()

    assert read.share == 1.0
    assert read.equal
    assert max(one.error for one in read.outputs) < WITHIN


def uint8_activations():
    """Activations of uint8, which the parser takes for int8: 0 to 255 becomes 0 to 127."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("Relu", "d", "y"),
    ]
    return model(
        nodes,
        [value("x", (4, 64))],
        [value("y", None)],
        [const("s", 0.005, np.float32), const("z", 0, np.uint8)],
    )


def transposed_by_output_shape():
    """A transposed convolution by its output's shape: the parser puts the surplus padding at the other end."""
    attributes = {"output_shape": [32, 32], "strides": [2, 2], "kernel_shape": [3, 3]}
    return lone("ConvTranspose", "x w", [weights("w", 4, 1, 3, 3)], (1, 4, 16, 16), **attributes)


def reduction_without_axes():
    """A reduction over nothing that keeps its element-wise part: the parser leaves that out."""
    return lone("ReduceL2", noop_with_empty_axes=1)


def triangle_by_default():
    """Trilu without `upper`, which is 1 then: the parser takes 0."""
    return lone("Trilu", shape=(4, 5))


def pool_with_a_last_window_in_the_padding():
    """Rounded up, ONNX leaves out a window that starts in the padding at the end: TensorRT keeps it."""
    return lone(
        "MaxPool", shape=(1, 4, 9, 8), kernel_shape=[3, 2], pads=[1, 1, 2, 0], strides=[2, 2], ceil_mode=1
    )


def attention_over_padded_keys():
    """Attention that is told how many keys are not padding: the parser takes all of them."""
    inputs = [value(name, (2, 2, 5, 8)) for name in "qkv"]
    made = node("Attention", "q k v - - - n", "y")
    return model([made], inputs, [value("y", None)], [const("n", [3, 4])], 24)


def early_exit():
    """A loop with a limit and a condition: what it collects has the limit's length."""
    body = onnx.helper.make_graph(
        [
            node("Add", "s one", "next"), node("ReduceSum", "next", "sum", keepdims=0),
            node("Less", "sum limit", "on"), node("Identity", "next", "seen"),
        ],
        "body",
        [value("i", [], INT64), value("go", [], onnx.TensorProto.BOOL), value("s", (3,))],
        [value("on", [], onnx.TensorProto.BOOL), value("next", (3,)), value("seen", (3,))],
    )  # fmt: skip
    constants = [
        const("one", 1.0, np.float32),
        const("limit", 6.0, np.float32),
        const("trips", 10),
        const("yes", True, np.bool_),
    ]
    made = node("Loop", "trips yes x", "last all", body=body)
    return model([made], [value("x", (3,))], [value("last", (3,)), value("all", ("l", 3))], constants)


SILENT = {
    "uint8 taken for int8": (uint8_activations, "q", "QuantizeLinear_q"),
    "padding at the other end": (transposed_by_output_shape, "y", "ConvTranspose_y"),
    "a scan output of the limit's length": (early_exit, "all", "Loop_last"),
    "a reduction without its element-wise part": (reduction_without_axes, "y", "ReduceL2_y"),
    "the other triangle": (triangle_by_default, "y", "Trilu_y"),
    "keys that are padding": (attention_over_padded_keys, "y", "Attention_y"),
    "a window more": (pool_with_a_last_window_in_the_padding, "y", "MaxPool_y"),
}
"""What the parser changes in silence: the model, the first tensor that departs, its node."""


@pytest.mark.parametrize("made", SILENT.values(), ids=SILENT)
def test_what_the_parser_changes_in_silence_is_found_where_it_begins(tmp_path, made):
    build, tensor, named = made
    read = parsed(build(), tmp_path).compared(locate=True)

    assert not read.equal
    assert read.first is not None
    assert (read.first.tensor, read.first.node) == (tensor, named)
    assert read.share == 1.0


def test_a_layer_without_a_reader_is_named_and_what_stands_behind_it_is_cut(tmp_path):
    nodes = [node("RandomNormalLike", "x", "noise"), node("Add", "x noise", "y"), node("Neg", "x", "z")]
    found = parsed(model(nodes, [value("x", (2, 3))], [value("y", None), value("z", None)]), tmp_path)

    lowered = onnx_of(found.network)
    read = found.compared()

    assert [(one.type, one.node) for one in lowered.unread] == [("FILL", "RandomNormalLike_noise")]
    assert "random" in lowered.unread[0].why
    assert lowered.cut == ("y",)
    assert list(read.not_compared) == ["y"]
    assert [one.tensor for one in read.outputs if not one.departs] == ["z"]
    assert lowered.share == 1 - 1 / lowered.layers
    assert not read.equal


def test_large_weights_stay_in_the_network_s_file(tmp_path):
    kernel = numpy_helper.from_array(np.ones((64, 64, 3, 3), np.float32), "w")
    found = parsed(lone("Conv", "x w", [kernel], (1, 64, 8, 8)), tmp_path)

    (tensor,) = onnx_of(found.network).model.graph.initializer

    entries = {one.key: one.value for one in tensor.external_data}
    assert Path(entries["location"]) == found.folder / "parsed.weights"
    assert found.compared().equal


ONE_OF_EACH = (
    "conv", "deconv", "average_counting", "max_pool", "Clip", "HardSigmoid", "PRelu", "Sub", "Acosh", "whole_numbers",
    "Cast_int32", "Where", "Reshape", "Squeeze", "Concat", "Slice_computed", "Pad_reflect", "Gather", "GatherND",
    "ScatterElements", "OneHot", "ReverseSequence", "ReduceMean", "TopK", "Softmax", "CumSum", "MatMul", "Gemm",
    "Einsum", "BatchNormalization", "GroupNormalization", "LRN", "linear_half_pixel", "grid_linear", "LSTM_reverse",
    "loop", "scan", "if", "int8", "attention_causal", "rotary",
)  # fmt: skip


FEW = ("conv", "Concat", "linear_half_pixel", "loop", "int8", "attention_causal")


def test_a_change_of_one_attribute_is_noticed_or_explained(tmp_path):
    table = mutation_table(FEW, tmp_path)

    assert table.missed_share() <= 0.02, table.survivors


@pytest.mark.slow
def test_a_change_of_one_attribute_is_noticed_in_every_kind_of_layer(tmp_path):
    table = mutation_table(ONE_OF_EACH, tmp_path)

    assert table.missed_share() <= 0.02, table.survivors
    assert set(table.kinds()) >= {
        "CONVOLUTION", "DECONVOLUTION", "SLICE", "LOOP_OUTPUT", "ITERATOR", "QUANTIZE", "ROTARY_EMBEDDING",
        "ATTENTION_OUTPUT",
    }  # fmt: skip


def test_no_model_that_is_read_rightly_is_called_wrong(tmp_path):
    """A verdict that is always "failed" would catch every mutant."""
    for name in ONE_OF_EACH:
        place = tmp_path / name
        place.mkdir()

        verdict = parsed(MODELS[name], place, FEEDS.get(name)).judged()

        assert (name, verdict.outcome, verdict.problems) == (name, "proved", ())
