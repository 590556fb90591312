"""`check` tells without TensorRT what only its builder would refuse; and what it then advises builds."""

from __future__ import annotations

import onnx
import pytest

from tests.projects import Project

SPEC = """\
schema: 1
pipeline: net
model: {{source: models/net.onnx}}
variants: {{{variant}}}
targets: {{ada: {{gpu: sm89{toolchain}}}}}
toolchains: {{old: {{flavour: tensorrt_rtx, version: 1.4.0.76}}}}
{more}"""

SWISH = "g (float[1,3,8,8] x) => (float[1,3,8,8] y) { r = Relu(x)  h = HardSwish(r)  y = Neg(h) }"
GATES = """g (float[5,2,4] x) => (float[5,1,2,1] y) <float[1,3,4] w = {1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4},
    float[1,3,1] r = {1, 2, 3}> { a = Relu(x)  y = GRU<hidden_size = 1>(a, w, r) }"""
DECONVOLUTION = """g (float[1,1,4,4] x) => (float[1,1,10,10] y) <float[1,1,2,2] w = {1, 2, 3, 4}> {
    r = Relu(x)  y = ConvTranspose<strides = [2, 2], dilations = [3, 3]>(r, w) }"""


@pytest.fixture
def net(tmp_path):
    """Makes a project of a model, with a variant and further lines of the spec."""

    def make(text, variant, more="", toolchain=""):
        project = Project(tmp_path / "project")
        (project.root / "models").mkdir(parents=True, exist_ok=True)
        model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}')
        onnx.save(model, project.root / "models/net.onnx")
        project.write("pipelines/net.yaml", SPEC.format(variant=variant, more=more, toolchain=toolchain))
        return project

    return make


def test_a_node_that_has_no_kernel_in_the_type_stays_in_float32_unless_it_is_named(net):
    plain = net(SWISH, "bf16: {precision: bf16}").run("check", "--no-parse")
    named = net(SWISH, 'bf16: {precision: bf16, keep: {bf16: ["op:HardSwish"]}}').run("check", "--no-parse")

    assert plain.code == 0, plain.err
    assert named.code == 2
    told = "node 'HardSwish_0' cannot be kept in bf16: TensorRT's parser does not take HardSwish in bfloat16"
    assert told in named.err
    assert "leave out 'op:HardSwish'" in named.err  # the variant above


@pytest.mark.slow
def test_what_an_older_version_lacks_is_told_with_what_helps(net):
    newest = net(GATES, "fp16: {precision: fp16}").run("check", "--no-parse")
    refused = net(GATES, "fp16: {precision: fp16}", toolchain=", toolchain: old").run("check", "--no-parse")
    wider = net(
        GATES,
        "fp16: {precision: fp16, min_low_precision: 0, keep: {fp32: [GRU_0]}}",
        toolchain=", toolchain: old",
    )

    assert newest.code == 0, newest.err
    assert refused.code == 2
    assert (
        "node 'GRU_0' (GRU): it computes in float16, and the parser of 1.4.0.76 takes float32 there"
        in refused.err
    )
    assert "keep: {fp32: [GRU_0]}" in refused.err
    assert "or build with TensorRT-RTX 1.7" in refused.err
    assert wider.run("check", "--no-parse").code == 0


def test_what_the_builder_alone_refuses_is_told_and_cutting_the_graph_helps(net):
    refused = net(DECONVOLUTION, "fp32: {}").run("check", "--no-parse")
    cut = net(DECONVOLUTION, "fp32: {}", "transform: {outputs: [r]}").run("check", "--no-parse")

    assert refused.code == 2
    told = "node 'ConvTranspose_0' (ConvTranspose): it has strides and dilations, and TensorRT's builder takes one"
    assert told in refused.err
    assert "pipelines/net.yaml:3" in refused.err
    assert cut.code == 0, cut.err


def test_nodes_out_of_order_and_a_graph_without_a_name_are_no_mistake(net):
    project = net("g (float[4] x) => (float[4] y) { r = Relu(x)  y = Neg(r) }", "fp32: {}")
    model = onnx.load(project.root / "models/net.onnx")
    first, last = model.graph.node
    swapped = onnx.GraphProto(node=[last, first])
    del model.graph.node[:]
    model.graph.node.extend(swapped.node)
    model.graph.ClearField("name")
    onnx.save(model, project.root / "models/net.onnx")

    checked = project.run("check", "--no-parse")

    assert checked.code == 0, checked.err
