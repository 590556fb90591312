"""The network that TensorRT's parser makes of a model, raised to declared layers, computes what it did."""

from __future__ import annotations

import pytest

from tests.networks.kind_models import FEEDS, MODELS
from tests.networks.parsed_models import needs_rtx, parsed
from tests.networks.raised_cases import run_declared
from trtpipe.errors import ModelError
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.raised.network import raise_network
from trtpipe.runners.comparison.readback import compare_lowered
from trtpipe.runners.cpu.graphs import runnable_model

pytestmark = needs_rtx

LOOPS = [f"{op}_{way}" for op in ("RNN", "GRU", "LSTM") for way in ("forward", "reverse", "bidirectional")]
REFUSED = {
    **dict.fromkeys((*LOOPS, "loop", "while", "scan"), "loops have no declared layers"),
    **dict.fromkeys(
        ("attention", "attention_causal", "attention_masked", "attention_few_heads"),
        "attentions are not written as declared layers",
    ),
    "if": "conditionals have no declared layers",
    "Trilu": "makes steps along several axes, which no declared layer does",
    "rotary": "layer 'RotaryEmbedding_y' (ROTARY_EMBEDDING), made for node 'RotaryEmbedding_y', has no declared layer",
}
"""Models of whose network something has no declared layer, and what is said of it."""


@pytest.mark.parametrize("name", [name for name in MODELS if name not in REFUSED])
def test_a_raised_network_computes_what_it_did(tmp_path, name):
    found = parsed(MODELS[name], tmp_path, FEEDS.get(name))

    raised = raise_network(found.network)

    run_declared(raised.declaration, tmp_path, found.feeds[0])
    declared = runnable_model(tmp_path / "net.onnx")
    read = compare_lowered(declared, onnx_of(found.network), found.folder, found.feeds, threads=1)
    assert read.equal


@pytest.mark.parametrize(("name", "why"), REFUSED.items(), ids=REFUSED)
def test_what_has_no_declared_layer_is_said_of_the_layer(tmp_path, name, why):
    found = parsed(MODELS[name], tmp_path, FEEDS.get(name))

    with pytest.raises(ModelError) as caught:
        raise_network(found.network)

    assert all(problem.fact.endswith(why) for problem in caught.value.problems)
