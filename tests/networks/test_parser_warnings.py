"""Warnings of TensorRT's parser are known by their words, and dangerous where the network computes otherwise."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.damage import damages
from tests.networks.kind_models import BOOL, FLOAT, INT64, const, lone, model, node, value
from tests.networks.parsed_models import needs_rtx, parsed
from trtpipe.json_values import Malformed, read_object
from trtpipe.networks.network import ParserWarning
from trtpipe.networks.warnings import KNOWN, NAMES, ClassedWarning, classed, names_of_dangerous

PAGE = Path(__file__).resolve().parents[2] / "docs/parser_warnings.py"

SAID = {  # verbatim: heard of TensorRT-RTX 1.7.1, unless the line says otherwise
    "ModelImporter.cpp:1071: Make sure input input_ids has Int64 binding.": "int64-binding",
    "ModelImporter.cpp:1303: Make sure output idx has Int64 binding.": "int64-binding",
    "[04/08/2025-23:14:02] [W] [TRT] ModelImporter.cpp:804: Make sure output output has Int64 binding.": (
        "int64-binding"  # TensorRT 10, as its command line tool logs it
    ),
    "ImporterContext.hpp:501: A node named identical already exists, the output tensors of this new instance will "
    "not be queryable.": "duplicate-node-name",
    "WeightsContext.cpp:525: Empty initializer e was provided with non-empty data. Overriding data to nullptr": (
        "empty-initializer"
    ),
    "onnxOpImporters.cpp:6725: node_of_y: Using attribute allowzero with opset < 14 is a TensorRT extension.": (
        "allowzero-before-opset-14"
    ),
    "ModelImporter.cpp:1360: TensorRT-RTX does not support TensorLocation::kHOST. Tensor 'y' is configured as "
    "TensorLocation::kHOST but will be treated as TensorLocation::kDEVICE.": "host-location-ignored",
    # by the parser's source, TensorRT 10
    "Node nms has duplicate shape input index: -1": "plugin-shape-input-twice",
    "Initializer conv1.weight was previously provided. Overwriting previous data.": "initializer-replaced",
    # TensorRT 8
    "ShapedWeights.cpp:173: Weights resnet50/predictions/MatMul/ReadVariableOp:0 has been transposed with permutation "
    "of (1, 0)! If you plan on overwriting the weights with the Refitter API, the new weights must be "
    "pre-transposed.": "weights-transposed",
    "onnxOpImporters.cpp:1980: TensorRT supports QuantizeLinear/DequantizeLinear with UINT8 zero_point only on DLA "
    "(version >= 3.16). Defaulting to INT8 instead. To import as UINT8, set the kIMPORT_UINT8_QUANTIZATION flag.": (
        "uint8-quantization"
    ),
    # TensorRT 10
    "onnxOpImporters.cpp:1499: TensorRT doesn't support QuantizeLinear/DequantizeLinear with UINT8 zero_point. "
    "TensorRT will use INT8 instead.": "uint8-quantization",
    "onnxOpImporters.cpp:1988: For zero_point with type int32 TensorRT will use INT8 instead.": "zero-point-type",
    "ModelImporter.cpp:416: UINT8 data w is being converted to INT32.": "uint8-constant",
    "onnxOpImporters.cpp:4022: For loop node /decoder/Loop both a trip limit and a loop termination condition was set! "
    "If the number of iterations of the loop is less than the trip limit during runtime, scan output ys may have the "
    "wrong shape. For consistent results it's recommended to export loops with only a trip limit.": (
        "loop-stops-early"
    ),
    'onnxOpImporters.cpp:5202: TensorRT currently ignores the "seed" field in RandomUniform or RandomNormal op. Random '
    "seeds will be used.": "seed-ignored",
    "ModelImporter.cpp:1231: TensorRT supports ONNX graphs generated with at least opset 7. Models using older opsets "
    "are not guaranteed to work.": "opset-before-7",
    "WeightsContext.cpp:73: Weight at index 0: 1e+300 is out of range. Clamping to: 3.40282e+38": "weights-clamped",
    "WeightsContext.cpp:73: Weight at index 0: -inf is out of range. Clamping to: -3.40282e+38": "weights-clamped",
    "WeightsContext.cpp:80: One or more weights outside the range of FLOAT was clamped": "weights-clamped",
    # TensorRT 8
    "onnx2trt_utils.cpp:400: One or more weights outside the range of INT32 was clamped": "weights-clamped",
    "onnx2trt_utils.cpp:374: Your ONNX model has been generated with INT64 weights, while TensorRT does not natively "
    "support INT64. Attempting to cast down to INT32.": "int64-narrowed",
    "IElementWiseLayer with inputs (Unnamed Layer* 32) [Matrix Multiply]_output and (Unnamed Layer* 33) [Matrix "
    "Multiply]_output: first input has type DataType{-1} but second input has type Int32.": "mixed-types",
    "ISelectLayer with inputs ONNXTRT_unsqueezeTensor_11_output and ONNXTRT_unsqueezeTensor_output and (Unnamed "
    "Layer* 20) [Constant]_output: thenInput input has type Half but elseInput has type Float.": "mixed-types",
    # TensorRT 10
    "onnxOpImporters.cpp:6641: Attribute pType not found in plugin node! Ensure that the plugin creator has a default "
    "value defined or the engine may fail to build.": "plugin-attribute-missing",
    "Node nms has shape input indices defined, but plugin creator is for an IPluginV2-derivative plugin. Ignoring "
    "shape input indices.": "plugin-shape-inputs-ignored",
}  # fmt: skip


def classes_of(*messages):
    return classed(map(ParserWarning, messages))


def said_without_prefix(message):
    return re.sub(r"^(\[.*\] )?\w+\.[ch]pp:\d+: ", "", message)


@pytest.mark.parametrize("message", SAID)
def test_each_message_is_known_by_one_row(message):
    sentence = said_without_prefix(message)

    (found,) = classes_of(message)

    row = next(row for row in KNOWN if row.name == SAID[message])
    assert found == ClassedWarning(sentence, row.name, row.kind, row.meaning, 1)
    assert [row.name for row in KNOWN if row.pattern.fullmatch(sentence)] == [SAID[message]]


def test_each_row_knows_a_message():
    assert set(SAID.values()) == set(NAMES)


def test_names_are_unique_and_can_be_written_in_a_spec():
    assert len(set(NAMES)) == len(NAMES)
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) for name in NAMES)
    assert set(names_of_dangerous()) == {row.name for row in KNOWN if row.kind == "dangerous"}


def test_a_name_of_the_model_is_not_taken_for_a_warning():
    (found,) = classes_of("A node named UINT8 data w is being converted to INT32. is fine")

    assert (found.kind, found.name, found.meaning) == ("unknown", "", "")


@pytest.mark.parametrize(
    "message", ["ModelImporter.cpp:9: Something new.", "", "[W] ", "Make sure input x has Int32 binding."]
)
def test_what_no_row_knows_is_unknown_and_shown_as_it_is(message):
    (found,) = classes_of(message)

    assert found == ClassedWarning(said_without_prefix(message.replace("[W] ", "")), "", "unknown", "", 1)


def test_equal_sentences_are_counted_where_the_first_one_stood():
    found = classes_of(
        "a.cpp:1: UINT8 data w is being converted to INT32.", "new", "UINT8 data v is being converted to INT32.",
        "b.cpp:2: UINT8 data w is being converted to INT32.", "new", "new",
    )  # fmt: skip

    assert [(one.message.split()[-1 if one.kind == "unknown" else 2], one.count) for one in found] == [
        ("w", 2),
        ("new", 3),
        ("v", 1),
    ]
    assert classes_of() == ()


def test_names_with_line_breaks_do_not_hide_a_warning():
    (found,) = classes_of("UINT8 data a\nb is being converted to INT32.")

    assert found.name == "uint8-constant"


def test_a_record_is_read_back():
    for one in classes_of(*SAID, "new"):
        assert ClassedWarning.from_json(read_object(json.dumps(one.to_json()))) == one


def test_a_warning_of_another_version_is_read_back():
    record = {"message": "m", "name": "of-tomorrow", "kind": "dangerous", "meaning": "", "count": 2}

    assert ClassedWarning.from_json(record) == ClassedWarning("m", "of-tomorrow", "dangerous", "", 2)


@pytest.mark.parametrize("message", ["UINT8 data w is being converted to INT32.", "new"])
def test_a_damaged_record_is_read_or_refused(message):
    (good,) = classes_of(message)

    for damage in damages(good.to_json()):
        with damage.assert_raises_only(Malformed):
            found = ClassedWarning.from_json(read_object(damage.text))
            assert found.count > 0 and bool(found.name) == (found.kind != "unknown")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        ({"kind": "fatal"}, "kind is none of harmless, dangerous, unknown"),
        ({"kind": "unknown"}, "name is empty, or should be"),
        ({"name": ""}, "name is empty, or should be"),
        ({"count": 0}, "count is less than 1"),
        ({"message": 1}, "message is not a text"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(damage, why):
    (good,) = classes_of("UINT8 data w is being converted to INT32.")

    with pytest.raises(Malformed, match=why):
        ClassedWarning.from_json({**good.to_json(), **damage})


def test_the_page_is_up_to_date_and_quotes_tensorrt():
    spec = importlib.util.spec_from_file_location("parser_warnings_page", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/parser_warnings.py"
    assert [(classes_of(module.SAYS[name])[0].name) for name in NAMES] == list(NAMES)


def quantizing(*before, zero_point):
    """Values that leave int8 and not uint8, quantized and back."""
    nodes = [
        node("QuantizeLinear", f"x s {zero_point}", "q"),
        node("DequantizeLinear", f"q s {zero_point}", "y"),
    ]
    constants = [const("s", 0.1, np.float32), const("z", 0, np.uint8)]
    return model([*before, *nodes], [value("x", (2,))], [value("y", (2,))], constants)


def with_constants(op, dtype, *values):
    """Constants by an operator, as float32, added to the input."""
    constants = [const(f"c{number}", one, dtype) for number, one in enumerate(values)]
    made = [node(op, " ".join(one.name for one in constants), "made")] if len(values) > 1 else []
    cast = node("Cast", "made" if made else "c0", "f", to=FLOAT)
    return model([*made, cast, node("Add", "x f", "y")], [value("x", (2,))], [value("y", (2,))], constants)


def stopping_early():
    """At most 10 rounds, and 3 for inputs of 1 and 1: the state, and a row for each round."""
    body = helper.make_graph(
        [node("Add", "h one", "next"), node("ReduceSum", "next", "sum", keepdims=0),
         node("Less", "sum limit", "go_on"), node("Identity", "next", "row")],
        "body",
        [value("round", (), INT64), value("going", (), BOOL), value("h", (2,))],
        [value("go_on", (), BOOL), value("next", (2,)), value("row", (2,))],
    )  # fmt: skip
    constants = [const("most", 10), const("true", True, np.bool_), const("one", 1, np.float32),
                 const("limit", 6, np.float32)]  # fmt: skip
    loop = node("Loop", "most true x", "state rows", body=body)
    return model([loop], [value("x", (2,))], [value("state", (2,)), value("rows", (None, 2))], constants)


def twins():
    nodes = [helper.make_node("Relu", ["x"], ["a"], "twin"), helper.make_node("Neg", ["a"], ["y"], "twin")]
    return model(nodes, [value("x", (2,))], [value("y", (2,))])


def random_noise():
    nodes = [node("RandomNormalLike", "x", "noise", seed=1.0), node("Add", "x noise", "y")]
    return model(nodes, [value("x", (2,))], [value("y", (2,))])


HEARD = {
    "int64-binding": lambda: lone("Neg", shape=(2,), kind=INT64, out=INT64),
    "duplicate-node-name": twins,
    "empty-initializer": lambda: lone("ReduceSum", "x none", [const("none", [])], (2, 3)),
    "uint8-quantization": lambda: quantizing(zero_point="z"),
    "zero-point-type": lambda: quantizing(node("Identity", "z", "zero"), zero_point="zero"),
    "uint8-constant": lambda: with_constants("Add", np.uint8, [200, 1], [100, 1]),
    "loop-stops-early": stopping_early,
    "weights-clamped": lambda: with_constants("", np.float64, [-np.inf, 1e300]),
}
"""Small models that bring a warning out, and which ONNX Runtime runs."""
FEED = {"x": np.array([20.0, -3.0], np.float32)}
FEEDS = {
    "int64-binding": {"x": np.array([1 << 40, -3])},
    "empty-initializer": None,
    "loop-stops-early": {"x": np.ones(2, np.float32)},
}


@needs_rtx
@pytest.mark.engine
@pytest.mark.parametrize("name", HEARD)
def test_a_network_departs_from_its_model_where_a_warning_is_dangerous(tmp_path, name):
    feed = FEEDS.get(name, FEED)
    case = parsed(HEARD[name](), tmp_path, feed and [feed])

    found = classed(case.network.warnings)

    assert name in {one.name for one in found}
    assert {one.kind for one in found} == {"dangerous" if name in names_of_dangerous() else "harmless"}
    assert case.compared().equal == (name not in names_of_dangerous())


@needs_rtx
@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("seed-ignored", random_noise),
        ("opset-before-7", lambda: lone("Relu", shape=(2,), opset=6, kind=FLOAT)),
        (
            "allowzero-before-opset-14",
            lambda: lone("Reshape", "x to", [const("to", [3, 2])], (2, 3), opset=13, allowzero=1),
        ),
    ],
)
def test_what_onnx_runtime_cannot_hold_against_the_model_is_known(tmp_path, name, make):
    case = parsed(make(), tmp_path, [])

    assert [one.name for one in classed(case.network.warnings)] == [name]


@needs_rtx
@pytest.mark.engine
def test_a_plain_model_is_not_warned_of(tmp_path):
    case = parsed(lone("Relu", kind=FLOAT), tmp_path, [])

    assert classed(case.network.warnings) == ()
