"""From specs and delivered cells of the flavour tensorrt to a repository, by the command: the engines are stand-ins."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.packages.delivered import TENSORRT, deliver
from tests.packages.triton.model_config import parsed
from trtpipe.cli.shipping.package import PackageRequest, package_command
from trtpipe.digests import digest_bytes

SPEC = """\
schema: 1
pipeline: net
model: {source: net.onnx}
variants: {fp16: {precision: fp16}}
targets:
  t4: {gpu: T4, toolchain: trt}
  l4: {gpu: L4, toolchain: trt}
  rtx: {gpu: rtx4090, toolchain: trt}
toolchains: {trt: {flavour: tensorrt, version: "10.13.3.9"}}
package:
  labels: {scores: names.txt}
  triton: {dynamic_batching: true, warmup: true, instance_groups: [{count: 2}]}
"""
GPUS = {"t4": ("sm75", "Tesla T4"), "l4": ("sm89", "NVIDIA L4"), "rtx": ("sm89", "NVIDIA GeForce RTX 4090")}


def net() -> bytes:
    """What the delivered cells say of themselves: x [n, 3] → scores [n, 2], boxes [n, 4]."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        onnx.numpy_helper.from_array(np.ones((3, width), np.float32), name)
        for name, width in (("a", 2), ("b", 4))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["scores"]),
        helper.make_node("MatMul", ["x", "b"], ["boxes"]),
    ]
    x = helper.make_tensor_value_info("x", kind, ["n", 3])
    outputs = [
        helper.make_tensor_value_info(name, kind, ["n", width])
        for name, width in (("scores", 2), ("boxes", 4))
    ]
    graph = helper.make_graph(nodes, "net", [x], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose cells look delivered."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/net.yaml").write_text(SPEC)
    (tmp_path / "net.onnx").write_bytes(b"never read")
    (tmp_path / "names.txt").write_text("no\nyes\n")
    model = net()
    for target, (sm, gpu) in GPUS.items():
        digest = {"model.onnx": {"blake3": digest_bytes(model).hex, "bytes": len(model)}}
        folder = deliver(
            tmp_path,
            f"net/fp16@{target}",
            sm,
            toolchain=TENSORRT,
            model=digest,
            options={"gpu": {"name": gpu}},
        )
        (folder / "model.onnx").write_bytes(model)
    return tmp_path


def package(*names):
    assert package_command(PackageRequest(names, "triton"), as_json=False) == 0


def config_of(root, model):
    return parsed((root / f"dist/net-triton/repository/{model}/config.pbtxt").read_text())


def test_two_gpus_of_different_capabilities_are_one_model(project, capsys):
    package("net/fp16@t4", "net/fp16@l4")

    home = project / "dist/net-triton/repository/net"
    config = config_of(project, "net")
    assert dict(config.cc_model_filenames) == {"7.5": "t4.plan", "8.9": "l4.plan"}
    assert (home / "1/l4.plan").read_bytes() == (project / "build/net/fp16@l4/model.engine").read_bytes()
    assert {path.name for path in (home / "1").iterdir()} == {"t4.plan", "l4.plan"}
    assert config.max_batch_size == 8  # by shape inference of the typed model, and by the profile
    assert config.HasField("dynamic_batching")
    assert [(one.count, one.kind) for one in config.instance_group] == [(2, 1)]  # KIND_GPU
    assert (home / config.output[0].label_filename).read_text() == "no\nyes\n"
    assert not config.output[1].label_filename
    (request,) = config.model_warmup
    assert (request.batch_size, list(request.inputs["x"].dims)) == (4, [3])
    assert request.inputs["x"].zero_data  # there is no data set: the profile's opt is filled
    out = capsys.readouterr().out
    assert "packaged net: 2 engines for t4 l4" in out
    assert "tritonserver --model-repository=/models \\\n      --disable-auto-complete-config\n" in out


def test_two_gpus_of_one_capability_are_models_of_their_own(project, capsys):
    package("net")

    assert {path.name for path in (project / "dist/net-triton/repository").iterdir()} == {
        "net-t4", "net-l4", "net-rtx",
    }  # fmt: skip
    assert dict(config_of(project, "net-rtx").cc_model_filenames) == {"8.9": "rtx.plan"}
    out = capsys.readouterr().out
    assert (
        "note: load one of net-t4, net-l4, net-rtx: they are for different GPUs of one compute capability"
        in out
    )
    assert "--model-control-mode=explicit" in out
