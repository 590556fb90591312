"""One naming for nodes: what importing, `check` and the reference call a node that its exporter left without a name."""

from __future__ import annotations

import onnx

from tests.canonical.onnx_text import canonical, parse
from trtpipe.proofs.model import view_model
from trtpipe.runners.cpu.graphs import runnable_model

UNNAMED = parse(
    """
    g (float[N,4] x) => (float[N,4] y)
    <float[4] one = {1, 1, 1, 1}, float[4] two = {2, 2, 2, 2}>
    { k = Mul(one, two)  a = Mul(x, k)  y = Mul(a, a) }
    """
)


def names(model: onnx.ModelProto) -> dict[str, str]:
    return {node.output[0]: node.name for node in model.graph.node}


def test_what_is_folded_does_not_change_the_names_of_the_rest(tmp_path):
    made, _ = canonical(UNNAMED, tmp_path)

    assert names(made) == {"a": "Mul_1", "y": "Mul_2"}


def test_check_and_the_reference_call_nodes_as_importing_does(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(UNNAMED, path)
    made, _ = canonical(UNNAMED, tmp_path)

    assert names(made).items() <= names(view_model(UNNAMED).proto).items()
    assert names(made).items() <= names(runnable_model(path).proto).items()


def test_nodes_in_any_order_have_the_same_names(tmp_path):
    turned = onnx.ModelProto()
    turned.CopyFrom(UNNAMED)
    nodes = list(UNNAMED.graph.node)
    del turned.graph.node[:]
    turned.graph.node.extend(nodes[1:])
    turned.graph.node.extend(nodes[:1])
    onnx.save(turned, tmp_path / "m.onnx")
    made, _ = canonical(turned, tmp_path)

    assert names(made).items() <= names(view_model(turned).proto).items()
    assert names(made).items() <= names(runnable_model(tmp_path / "m.onnx").proto).items()
