"""A plugin layer becomes the node that TensorRT's ONNX parser looks up in the plugin registry."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.layers.declared_networks import lowered
from trtpipe.canonical.summary import tensor_info
from trtpipe.errors import ModelError
from trtpipe.spec.network.network import NetworkOptions

PLUGIN = {
    "layer": "plugin",
    "name": "detect",
    "plugin": "MyDetector",
    "version": "2",
    "namespace": "mine",
    "inputs": ["scaled"],
    "fields": {
        "threshold": {"type": "float32", "value": 0.25},
        "anchors": {"type": "float32", "value": [1, 2.5]},
        "classes": {"type": "int32", "value": 80},
        "sizes": {"type": "dims", "value": [4, 4]},
        "mode": {"type": "char", "value": "fast"},
    },
    "outputs": [
        {"name": "boxes", "shape": ["batch", -1, 4]},
        {"name": "count", "dtype": "int32", "shape": ["batch"]},
    ],
}


def network(**changes: object) -> NetworkOptions:
    return NetworkOptions.model_validate(
        {
            "inputs": {"image": {"shape": ["batch", 3, 8, 8]}},
            "layers": [
                {"layer": "scale", "name": "scaled", "mode": "uniform", "scale": 2.0},
                PLUGIN | changes,
                {"layer": "unsqueeze", "name": "more", "input": "boxes", "axes": [0]},
            ],
            "outputs": ["more", "count"],
        }
    )


def test_it_is_a_node_of_the_plugins_name_with_its_fields_as_attributes(tmp_path):
    model = onnx.load(lowered(network(), {}, tmp_path))

    (node,) = [node for node in model.graph.node if node.domain]
    assert (node.domain, node.op_type, node.name) == ("trt.plugins", "MyDetector", "detect")
    assert list(node.output) == ["boxes", "count"]
    assert {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute} == {
        "plugin_version": b"2",
        "plugin_namespace": b"mine",
        "threshold": 0.25,
        "anchors": [1.0, 2.5],
        "classes": 80,
        "sizes": [4, 4],
        "mode": b"fast",
    }


def test_the_declared_outputs_are_what_later_layers_and_outputs_are_inferred_from(tmp_path):
    model = onnx.load(lowered(network(), {}, tmp_path))

    found = {info.name: (info.dtype, info.dims) for info in map(tensor_info, model.graph.output)}
    assert found == {"more": ("float32", (1, "batch", "boxes_1", 4)), "count": ("int32", ("batch",))}


def test_a_field_that_the_parser_takes_for_its_own_is_refused(tmp_path):
    fields = {"plugin_version": {"type": "char", "value": "3"}}

    with pytest.raises(ModelError, match="has a field 'plugin_version'"):
        lowered(network(fields=fields), {}, tmp_path)


@pytest.mark.engine
def test_tensorrts_parser_asks_the_plugin_of_that_name_version_and_namespace_with_its_fields(tmp_path):
    asks = Path(__file__).with_name("rtx_plugin.py")
    done = subprocess.run(
        [sys.executable, str(asks), str(lowered(network(), {}, tmp_path))],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {
        "layer": "detect",
        "threshold": [0.25],
        "anchors": [1.0, 2.5],
        "classes": [80],
        "sizes": [4, 4],
        "mode": "fast",
    }
