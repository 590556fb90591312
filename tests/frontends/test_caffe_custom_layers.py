"""Custom layers of Caffe: plugins by a layer's type or name, and lowerings that a project writes itself."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.frontends.caffe_files import evaluate, lower, net, run
from trtpipe.errors import ModelError
from trtpipe.frontends.caffe import CaffeOptions

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
MISH = """layer { name: "m" type: "Mish" bottom: "a" top: "y"
  mish_param { scale: 2 mode: FAST tag: "x" shape { dim: 1 dim: 2 } } }"""
LOWERING = '''
import numpy as np

def mish(layer):
    """scale * x * tanh(softplus(x))."""
    x = layer.inputs[0]
    if layer.parameters["mish_param"]["mode"] != "FAST":
        raise layer.refuse("only FAST is known")
    scale = np.float32(layer.parameters["mish_param"]["scale"])
    gate = layer.node("Tanh", [layer.node("Softplus", [x], "softplus")], "gate")
    product = layer.node("Mul", [x, gate], "product")
    return layer.node("Mul", [product, layer.constant(scale, "scale")]).shaped(x.dims)

LAYERS = {"Mish": mish}
'''


DOCUMENTED = re.search(
    r"```python\n(.*?)```", (Path(__file__).resolve().parents[2] / "docs" / "caffe.md").read_text(), re.S
)


def mish(x: np.ndarray) -> np.ndarray:
    return 2 * x * np.tanh(np.log1p(np.exp(x)))


def graph_of(folder) -> onnx.GraphProto:
    return onnx.load(folder / "out" / "model.onnx").graph


def refused(folder, text: str, python: str, blobs=None) -> ModelError:
    (folder / "my_layers.py").write_text(python)
    with pytest.raises(ModelError) as caught:
        lower(folder, net(text, X.shape), blobs, lowering="my_layers.py")
    return caught.value


def test_a_projects_own_lowering_builds_the_layer(tmp_path):
    (tmp_path / "my_layers.py").write_text(LOWERING)
    after = 'layer { name: "f" type: "Flatten" bottom: "y" top: "z" }'

    outputs = evaluate(tmp_path, MISH + after, X, lowering="my_layers.py")

    np.testing.assert_allclose(outputs["z"], mish(X).reshape(2, -1), rtol=1e-5, atol=1e-5)
    assert [node.name for node in graph_of(tmp_path).node] == ["m/softplus", "m/gate", "m/product", "m", "f"]


def test_the_documented_one_does_and_its_weights_are_arrays_there(tmp_path):
    assert DOCUMENTED
    (tmp_path / "my_layers.py").write_text(DOCUMENTED[1])
    factor = np.float32([1, 2, 3])

    lower(tmp_path, net(MISH, X.shape), {"m": [factor]}, lowering="my_layers.py", batch="dynamic")

    outputs = run(tmp_path / "out" / "model.onnx", X)
    np.testing.assert_allclose(outputs["y"], mish(X) * factor[:, None, None], rtol=1e-5, atol=1e-5)


def test_it_may_take_the_place_of_caffes_own_layer(tmp_path):
    (tmp_path / "my_layers.py").write_text('LAYERS = {"ReLU": lambda layer: layer.node("Abs", layer.inputs)}')
    text = 'layer { name: "r" type: "ReLU" bottom: "a" top: "y" }'

    outputs = evaluate(tmp_path, text, X, lowering="my_layers.py")

    np.testing.assert_array_equal(outputs["y"], np.abs(X))


def test_what_the_project_refuses_is_told_at_the_layers_line(tmp_path):
    error = refused(tmp_path, MISH.replace("FAST", "SLOW"), LOWERING)

    assert str(error).startswith("net.prototxt:3:7: layer 'm' (Mish): only FAST is known")


BROKEN = {
    "raises": ("def f(layer):\n    return {}['no']\nLAYERS = {'Mish': f}", "failed: KeyError: 'no' (line 2)"),
    "makes too few tops": ("LAYERS = {'Mish': lambda layer: []}", "it makes 0 tops, and 1 are written"),
    "makes no tensor": (
        "LAYERS = {'Mish': lambda layer: ['y']}",
        "its lowering in my_layers.py gave ['y']\n",
    ),
    "makes nothing": ("LAYERS = {'Mish': lambda layer: None}", "gave None"),
    "does not run": (
        "import nothing_of_this_name",
        "my_layers.py cannot be run: ModuleNotFoundError: No module",
    ),
    "is no Python": ("def f(:", "my_layers.py cannot be run: SyntaxError: "),
    "exits": ("raise SystemExit(0)", "my_layers.py cannot be run: SystemExit: 0"),
    "names nothing": ("x = 1", "my_layers.py has no LAYERS that maps layer types to functions"),
}


@pytest.mark.parametrize(("python", "said"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_wrong_is_told_without_a_traceback(tmp_path, python, said):
    assert said in str(refused(tmp_path, MISH, python))


PLUGIN = {
    "name": "Mish_TRT",
    "version": "2",
    "namespace": "mine",
    "fields": {"scale": 2, "alpha": 0.5, "mode": "fast", "sizes": [1, 2], "ratios": [0.5, 1.0]},
    "outputs": [[-1, 3, 4, 5]],
}


def test_a_type_becomes_a_plugins_node(tmp_path):
    after = 'layer { name: "f" type: "Flatten" bottom: "y" top: "z" flatten_param { axis: 2 } }'

    report = lower(
        tmp_path, net(MISH + after, X.shape), {"m": [np.float32([1, 2])]}, layers={"Mish": {"plugin": PLUGIN}}
    )

    graph = graph_of(tmp_path)
    node = graph.node[0]
    found = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert (node.op_type, node.domain, node.name) == ("Mish_TRT", "trt.plugins", "m")
    assert found == {
        "plugin_version": b"2", "plugin_namespace": b"mine", "scale": 2, "alpha": 0.5, "mode": b"fast",
        "sizes": [1, 2], "ratios": [0.5, 1.0],
    }  # fmt: skip
    assert (list(node.input), list(node.output)) == (["a", "m/blob_0"], ["y"])
    assert [one.name for one in graph.output] == ["z"]
    assert "custom operators trt.plugins::Mish_TRT need a plugin" in report.warnings[0]


def test_options_mean_the_same_after_they_were_written_and_read_again():
    options = CaffeOptions.model_validate({"layers": {"Mish": {"plugin": PLUGIN}}, "batch": "dynamic"})

    again = CaffeOptions.model_validate(json.loads(json.dumps(options.model_dump(mode="json"))))

    assert again == options
    assert [type(one) for one in again.layers["Mish"].plugin.fields.values()] == [
        int,
        float,
        str,
        tuple,
        tuple,
    ]


def test_a_layers_name_comes_before_its_type(tmp_path):
    other = MISH.replace('"m"', '"n"').replace('"y"', '"z"')
    mapping = {
        "Mish": {"plugin": {**PLUGIN, "outputs": []}},
        "n": {"plugin": {"name": "Other", "outputs": []}},
    }

    lower(tmp_path, net(MISH + other, X.shape), layers=mapping)

    assert [node.op_type for node in graph_of(tmp_path).node] == ["Mish_TRT", "Other"]


def test_a_plugin_whose_shape_is_not_said_cannot_be_read_by_a_layer_that_needs_it(tmp_path):
    after = 'layer { name: "f" type: "Flatten" bottom: "y" top: "z" }'
    with pytest.raises(ModelError, match=r"layer 'f' \(Flatten\): the shape of its bottom 'y' is unknown"):
        lower(tmp_path, net(MISH + after, X.shape), layers={"Mish": {"plugin": {"name": "Mish_TRT"}}})


def test_a_plugin_must_have_an_output_for_each_top(tmp_path):
    plugin = {**PLUGIN, "outputs": [[1], [2]]}
    with pytest.raises(ModelError, match="its plugin has 2 outputs, and it has 1 tops"):
        lower(tmp_path, net(MISH, X.shape), layers={"Mish": {"plugin": plugin}})
