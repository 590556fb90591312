"""Weights by reference: every kind of file gives the same network, large ones stay in their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.layers.declared_networks import run
from trtpipe.errors import ModelError
from trtpipe.frontends import ModelFiles, lower_model
from trtpipe.frontends.network import frontend
from trtpipe.layers.network import describe_layers, weight_files
from trtpipe.layers.parameters import numpy_type
from trtpipe.spec.network.network import NetworkOptions
from trtpipe.weights.safetensors import Writable, write_safetensors

ROOT = Path(__file__).resolve().parents[2]
WTS = ROOT.parent / "shared" / "testdata" / "wts" / "digits_cnn.wts"
GIVEN = np.load(ROOT / "calibration" / "digits" / "val.npz")["image"][:64].astype(np.float32)
KERNEL = np.random.default_rng(3).normal(size=(64, 32, 3, 3)).astype(np.float32)
X = np.random.default_rng(4).normal(size=(1, 32, 5, 5)).astype(np.float32)


def conv(kernel: str, weights: Any, **more: Any) -> NetworkOptions:
    layer = {
        "layer": "convolution",
        "name": "y",
        "num_output_maps": 64,
        "kernel_size": [3, 3],
        "kernel": kernel,
    }
    inputs = {"x": {"shape": [1, 32, 5, 5]}}
    written = {"weights": weights, "inputs": inputs, "layers": [layer], "outputs": ["y"]}
    return NetworkOptions.model_validate(written | more)


def lower(options: NetworkOptions, folder: Path, **named: Path) -> Path:
    files = {name.replace("__", "."): path for name, path in named.items()}
    lower_model(frontend, ModelFiles(None, files, folder), options, folder / "model.onnx")
    return folder / "model.onnx"


def write_npz(folder: Path) -> tuple[Path, str]:
    np.savez(folder / "w.npz", k=KERNEL)
    return folder / "w.npz", "k"


def write_npy(folder: Path) -> tuple[Path, str]:
    np.save(folder / "k.npy", KERNEL)
    return folder / "k.npy", "k"


def write_tensors(folder: Path) -> tuple[Path, str]:
    write_safetensors(folder / "w.safetensors", {"k": Writable("float32", KERNEL.shape, lambda: KERNEL)})
    return folder / "w.safetensors", "k"


def write_wts(folder: Path) -> tuple[Path, str]:
    words = " ".join(f"{word:08x}" for word in KERNEL.reshape(-1).view(np.uint32))
    (folder / "w.wts").write_text(f"1\nk {KERNEL.size} {words}\n")
    return folder / "w.wts", "k"


def write_onnx(folder: Path) -> tuple[Path, str]:
    tensor = onnx.numpy_helper.from_array(KERNEL, "k")
    value = onnx.helper.make_tensor_value_info("k", 1, KERNEL.shape)
    node = onnx.helper.make_node("Identity", ["k"], ["y"])
    graph = onnx.helper.make_graph(
        [node], "g", [], [onnx.ValueInfoProto(name="y", type=value.type)], [tensor]
    )
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), folder / "w.onnx"
    )
    return folder / "w.onnx", "k"


@pytest.mark.parametrize("write", [write_npz, write_npy, write_tensors, write_wts, write_onnx])
def test_every_kind_of_file_gives_the_same_model(write, tmp_path):
    (tmp_path / "inline").mkdir()
    inline = lower(conv("k", "w.npz"), tmp_path / "inline", weights=write_npz(tmp_path / "inline")[0])
    path, name = write(tmp_path)

    model = lower(conv(name, path.name), tmp_path, weights=path)

    assert model.read_bytes() == inline.read_bytes()


def test_files_may_have_names(tmp_path):
    np.savez(tmp_path / "a.npz", k=KERNEL)
    np.savez(tmp_path / "b.npz", k=KERNEL * 2)
    named = {"weights__one": tmp_path / "a.npz", "weights__other": tmp_path / "b.npz"}
    options = conv("other:k", {"one": "a.npz", "other": "b.npz"}, ignore_weights=["one:*"])

    (found,) = run(lower(options, tmp_path, **named), {"x": X})

    doubled = conv("one:k", {"one": "a.npz", "other": "b.npz"}, ignore_weights=["other:*"])
    np.testing.assert_allclose(found, 2 * run(lower(doubled, tmp_path, **named), {"x": X})[0], rtol=1e-5)


def test_a_name_in_two_nameless_files_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", k=KERNEL)
    np.savez(tmp_path / "b.npz", k=KERNEL)

    with pytest.raises(ModelError, match="weights 'k' are in two of the files") as caught:
        lower(
            conv("k", ["a.npz", "b.npz"]),
            tmp_path,
            weights__0=tmp_path / "a.npz",
            weights__1=tmp_path / "b.npz",
        )

    assert caught.value.problems[0].path == ("model", "options", "weights")


def test_a_damaged_file_is_said_where_it_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", k=KERNEL)
    (tmp_path / "b.npz").write_bytes(b"PK\3\4 nothing")

    with pytest.raises(ModelError) as caught:
        lower(
            conv("k", ["a.npz", "b.npz"]),
            tmp_path,
            weights__0=tmp_path / "a.npz",
            weights__1=tmp_path / "b.npz",
        )

    assert caught.value.problems[0].path == ("model", "options", "weights", 1)


def narrow(dtype: str) -> NetworkOptions:
    """A constant of a type of half a byte, dequantized."""
    layers = [
        {"layer": "constant", "name": "q", "weights": "w", "dtype": dtype},
        {"layer": "dequantize", "name": "d", "scale": 0.5},
        {"layer": "elementwise", "name": "y", "op": "sum", "inputs": ["x", "d"]},
    ]
    inputs = {"x": {"shape": [40, 64]}}
    return NetworkOptions.model_validate(
        {"weights": "w.safetensors", "inputs": inputs, "layers": layers, "outputs": ["y"]}
    )


@pytest.mark.parametrize(
    ("dtype", "stored", "values"),
    [
        ("int4", "int8", np.arange(-8, 8)),
        ("fp4", "float8_e4m3fn", np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.5, -1, -1.5, -2, -3, -4, -6, 0])),
    ],
)
def test_weights_of_half_a_byte_may_be_stored_in_a_wider_type(dtype, stored, values, tmp_path):
    array = np.resize(values, (40, 64)).astype(numpy_type(stored))
    write_safetensors(tmp_path / "w.safetensors", {"w": Writable(stored, array.shape, lambda: array)})

    made = onnx.load(lower(narrow(dtype), tmp_path, weights=tmp_path / "w.safetensors"))

    (tensor,) = (one for one in made.graph.initializer if one.name == "q")
    found = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    np.testing.assert_array_equal(found, array.astype(np.float32))


def test_values_that_half_a_byte_does_not_hold_are_refused(tmp_path):
    array = np.full((40, 64), 9, np.int8)
    write_safetensors(tmp_path / "w.safetensors", {"w": Writable("int8", array.shape, lambda: array)})

    with pytest.raises(ModelError, match="weights 'w' are int8 instead of int4"):
        lower(narrow("int4"), tmp_path, weights=tmp_path / "w.safetensors")


def test_a_network_over_bfloat16_has_the_opset_that_takes_it(tmp_path):
    inputs = {"x": {"shape": [1, 32, 5, 5], "dtype": "bfloat16"}}
    path, name = write_tensors(tmp_path)

    made = onnx.load(lower(conv(name, path.name, inputs=inputs), tmp_path, weights=path))

    assert made.opset_import[0].version == 22


def test_layers_are_described_with_what_they_yield_and_hold(tmp_path):
    path, _ = write_tensors(tmp_path)

    (layer,) = describe_layers(conv("k", path.name), weight_files({"weights": path}), root=tmp_path)

    assert (layer.name, layer.kind, layer.parameters) == ("y", "convolution", KERNEL.size)
    assert layer.outputs == (("y", "float32", (1, 64, 3, 3)),)


def digits(keys: dict[str, str], batch_normalization: bool) -> NetworkOptions:
    layers: list[dict[str, Any]] = []
    for index, maps in enumerate((16, 32, 32), 1):
        layers.append({"layer": "convolution", "name": f"conv{index}", "num_output_maps": maps, "kernel_size": [3, 3],
                       "padding": [1, 1], "kernel": f"{keys['conv']}{index}.weight",
                       "bias": f"{keys['conv']}{index}.bias"})  # fmt: skip
        if batch_normalization:
            layers.append({"layer": "normalization", "name": f"bn{index}", "type": "batch", "scale": f"b{index}.weight",
                           "bias": f"b{index}.bias", "mean": f"b{index}.running_mean",
                           "variance": f"b{index}.running_var"})  # fmt: skip
        layers.append({"layer": "activation", "name": f"relu{index}", "type": "relu"})
        if index > 1:
            layers.append({"layer": "pooling", "name": f"pool{index}", "type": "max", "window_size": [2, 2],
                           "stride": [2, 2]})  # fmt: skip
    layers += [
        {"layer": "flatten", "name": "features"},
        {"layer": "fully_connected", "name": "logits", "num_outputs": 10, "kernel": f"{keys['fc']}.weight",
         "bias": f"{keys['fc']}.bias"},
    ]  # fmt: skip
    inputs = {"image": {"shape": ["batch", 1, 8, 8]}}
    written = {"weights": "w", "inputs": inputs, "layers": layers, "outputs": ["logits"]}
    return NetworkOptions.model_validate(written)


def test_the_digits_network_from_a_wts_file_equals_its_onnx_model(tmp_path):
    if not WTS.exists():
        pytest.skip("no tensorrtx weights in ../shared/testdata")
    model = lower(digits({"conv": "c", "fc": "f"}, True), tmp_path, weights=WTS)

    expected = run(WTS.parents[1] / "accuracy" / "digits_cnn.onnx", {"image": GIVEN})

    np.testing.assert_allclose(run(model, {"image": GIVEN}), expected, rtol=1e-5, atol=1e-5)


def test_the_examples_network_equals_the_model_that_its_weights_are_of(tmp_path):
    models = ROOT / "pipelines" / "models"
    model = lower(
        digits({"conv": "conv", "fc": "fc"}, False), tmp_path, weights=models / "digits.safetensors"
    )

    expected = run(models / "digits_cnn.onnx", {"image": GIVEN})

    np.testing.assert_array_equal(run(model, {"image": GIVEN}), expected)
