"""Attention over some of the keys, and over packed sequences, as TensorRT documents them: beside plain NumPy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.networks.kind_models import INT32, value
from tests.networks.parsed_models import RTX, needs_rtx
from trtpipe.networks.lowering.network import onnx_of
from trtpipe.networks.reader import read_network
from trtpipe.runners.comparison.readback import network_model
from trtpipe.runners.cpu.onnxruntime import open_runner
from trtpipe.toolchains.engine_worker.parser_runs import parse_network

pytestmark = [needs_rtx, pytest.mark.engine]

RNG = np.random.default_rng(12)


def lowered(folder, inputs, **attributes):
    """The network of TensorRT's own operator; it reads query, key, value, mask, and the lengths of both."""
    given = {one.name for one in inputs}
    reads = [name if name in given else "" for name in ("q", "k", "v", "m", "a", "b")]
    while not reads[-1]:
        reads.pop()
    made = helper.make_node("TRT_Attention", reads, ["y"], domain="trt", name="att", **attributes)
    graph = helper.make_graph([made], "net", inputs, [value("y", None)])
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("trt", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "source.onnx")
    place = folder / "parsed"
    place.mkdir()
    parse_network(RTX, folder / "source.onnx", place)
    return onnx_of(read_network(place)), place


def computed(found, feed):
    model, place = found
    assert (model.unread, model.contradictions) == ((), ())
    with open_runner(network_model(model, place), threads=1) as runner:
        return runner.infer({name: feed[name] for name in runner.inputs})["y"]


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def attended(query, keys, values, mask=0.0):
    """Heads x tokens x size; keys and values of fewer heads are repeated."""
    times = len(query) // len(keys)
    keys, values = np.repeat(keys, times, axis=0), np.repeat(values, times, axis=0)
    products = query @ keys.transpose(0, 2, 1) + mask
    weights = np.exp(products - products.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True) @ values


def causal(queries, keys, shift=0):
    """Minus infinity behind each query's own place."""
    return np.where(np.arange(keys) <= np.arange(queries)[:, None] + shift, 0.0, -np.inf)


@pytest.mark.parametrize("kind", ["none", "upper_left"])
def test_keys_behind_the_length_of_a_batch_are_not_seen(tmp_path, kind):
    counts = np.array([3, 6], np.int32)
    feed = {"q": floats(2, 4, 5, 8), "k": floats(2, 2, 6, 8), "v": floats(2, 2, 6, 8), "b": counts}
    inputs = [value(name, feed[name].shape) for name in "qkv"]

    found = lowered(tmp_path, [*inputs, value("b", (2,), INT32)], causal_kind=kind)

    mask = causal(5, 6) if kind == "upper_left" else np.zeros((5, 6))
    wanted = [
        attended(feed["q"][one], feed["k"][one][:, :count], feed["v"][one][:, :count], mask[:, :count])
        for one, count in enumerate(counts)
    ]
    np.testing.assert_allclose(computed(found, feed), np.stack(wanted), rtol=1e-5, atol=1e-6)


def test_a_last_key_that_is_not_told_is_not_guessed(tmp_path):
    inputs = [*(value(name, (2, 4, 5, 8)) for name in "qkv"), value("b", (2,), INT32)]

    (model, _) = lowered(tmp_path, inputs, causal_kind="lower_right")

    assert "which key is the last" in model.unread[0].why


@pytest.mark.parametrize("kind", ["none", "upper_left", "lower_right"])
def test_packed_sequences_do_not_see_each_other(tmp_path, kind):
    begins = {"a": np.array([0, 2, 3, 7], np.int32), "b": np.array([0, 2, 5, 9], np.int32)}
    feed = {"q": floats(7, 4, 8), "k": floats(9, 2, 8), "v": floats(9, 2, 8), **begins}
    inputs = [value(name, feed[name].shape) for name in "qkv"]
    lengths = [value(name, (4,), INT32) for name in "ab"]

    found = lowered(
        tmp_path, [*inputs, *lengths], query_form="packed_nhd", kv_form="packed_nhd", causal_kind=kind
    )

    wanted = []
    for one in range(3):
        queries, keys = (slice(begins[name][one], begins[name][one + 1]) for name in "ab")
        query, key, of = (
            feed[name][part].transpose(1, 0, 2)
            for name, part in zip("qkv", (queries, keys, keys), strict=True)
        )
        shift = key.shape[1] - query.shape[1] if kind == "lower_right" else 0
        mask = 0.0 if kind == "none" else causal(query.shape[1], key.shape[1], shift)
        wanted.append(attended(query, key, of, mask).transpose(1, 0, 2))
    np.testing.assert_allclose(computed(found, feed), np.concatenate(wanted), rtol=1e-5, atol=1e-6)
