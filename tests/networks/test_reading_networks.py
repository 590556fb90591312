"""A written network is read as it was written, or refused in a sentence."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from tests.damage import damages
from tests.networks.written_networks import layer, record, small, weights_of, write
from trtpipe.errors import ModelError
from trtpipe.networks.contents import BITS
from trtpipe.networks.network import Conditional, Loop, ParserWarning, TensorName
from trtpipe.networks.reader import read_network


def test_a_network_is_read_with_all_that_was_written(tmp_path):
    network = read_network(write(tmp_path, *small()))

    assert [one.type for one in network.layers][:3] == ["CONSTANT", "ACTIVATION", "RECURRENCE"]
    constant, clip, recurrence, add, output, *_ = network.layers
    assert constant.attributes == {"shape": (2,)}
    assert network.contents.values(constant.weights["weights"]).tolist() == [1.0, 2.0]
    assert (clip.node, clip.attributes) == ("clip", {"alpha": 0.5, "beta": math.inf})
    assert add.inputs == ("r", None, "c")
    assert add.attributes == {"op": "SUM", "start": None}
    assert network.loops == (Loop("loop", (), (), (2,), (4,)),)
    assert network.conditionals == (Conditional("if", (5,), (), ()),)
    assert network.attentions[0].attributes == {"mask": TensorName("c")}
    assert network.unread == (output,)
    assert network.producers["r"] is recurrence
    assert network.tensors["c"].shape is None
    assert network.tensors["c"].dimension_names == (None, "batch")
    assert network.warnings == (ParserWarning("ModelImporter: beware"),)


def test_a_network_with_anything_in_any_place_is_refused_or_read(tmp_path):
    made, data = small()
    made["layers"] = [made["layers"][number] for number in (0, 1, 2, 4, 5, 6)]
    made["layers"][2]["inputs"] = ["a", "c"]
    made["loops"][0]["outputs"], made["conditionals"][0]["conditions"] = [3], [4]
    made["attentions"][0]["input_layers"], made["layers"][3]["inputs"] = [5], ["c"]
    read_network(write(tmp_path, made, data))
    for damage in damages(made):
        write(tmp_path, damage.text, data)
        with damage.assert_raises_only(ModelError):
            network = read_network(tmp_path)
            for one in network.layers:
                for ref in one.weights.values():
                    network.contents.values(ref)


def test_weights_that_are_cut_short_or_missing_are_refused(tmp_path):
    made, data = small()

    with pytest.raises(ModelError, match="outside the file of 7 bytes"):
        read_network(write(tmp_path, made, data[:-1]))
    (tmp_path / "parsed.weights").unlink()
    with pytest.raises(ModelError, match="cannot read the network"):
        read_network(tmp_path)


@pytest.mark.parametrize(
    ("dtype", "numpy_type"),
    [
        ("bfloat16", ml_dtypes.bfloat16), ("float8e4m3fn", ml_dtypes.float8_e4m3fn),
        ("float8e8m0", ml_dtypes.float8_e8m0fnu), ("float4e2m1", ml_dtypes.float4_e2m1fn), ("int4", ml_dtypes.int4),
    ],
)  # fmt: skip
def test_types_that_numpy_lacks_are_widened_without_loss(tmp_path, dtype, numpy_type):
    codes = np.arange(1 << min(BITS[dtype], 16), dtype=np.uint16)
    if BITS[dtype] == 16:
        elements, written = codes.view(numpy_type), codes.tobytes()
    elif BITS[dtype] == 8:
        elements, written = codes.astype(np.uint8).view(numpy_type), codes.astype(np.uint8).tobytes()
    else:
        elements = codes[:15].astype(np.uint8).view(numpy_type)
        written = bytes([0x10, 0x32, 0x54, 0x76, 0x98, 0xBA, 0xDC, 0x0E])
    (ref,), contents, data = weights_of((dtype, len(elements), written))
    constant = layer("c", "CONSTANT", [], ["y"], weights={"weights": ref})
    relu = layer("r", "IDENTITY", ["x"], ["z"])
    network = read_network(write(tmp_path, record(contents, [constant, relu]), data))

    values = network.contents.values(network.layers[0].weights["weights"])

    wanted = elements.astype(np.int8 if dtype == "int4" else np.float32)
    assert values.dtype == wanted.dtype
    np.testing.assert_array_equal(values, wanted)


def test_arrays_that_numpy_has_are_views_of_the_file(tmp_path):
    network = read_network(write(tmp_path, *small()))
    values = network.contents.values(network.layers[0].weights["weights"])

    assert not values.flags.owndata
    assert not values.flags.writeable
