"""A layer of each type becomes the line of a spec that says the same; what none says is refused, all at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.networks.networks_by_hand import Network
from tests.networks.raised_cases import CASES, PLAIN, ROWS, X, floats, raised, run_declared, shown
from trtpipe.errors import ModelError
from trtpipe.layers.table import LOWERINGS
from trtpipe.networks.network import Conditional, Loop
from trtpipe.networks.raised.layers import raised_types
from trtpipe.networks.raised.network import raise_network
from trtpipe.problem_codes import Code


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_layer_becomes_the_line_that_says_the_same(tmp_path, case):
    made = raised(case, tmp_path)

    assert case.line in shown(made)
    wanted = case.network.run(*case.outputs)
    found = run_declared(made.declaration, tmp_path, case.network.feed)
    for one, other in zip(wanted, found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def test_every_type_that_is_raised_has_a_case():
    assert {name.split()[0] for name in CASES} == set(raised_types())


def test_every_declared_layer_that_a_network_can_hold_is_raised(tmp_path):
    raised_kinds = {
        one["layer"] for case in CASES.values() for one in raised(case, tmp_path).declaration.layers
    }
    declared = {model.model_fields["layer"].annotation.__args__[0] for model in LOWERINGS}
    not_in_networks = {"fully_connected", "flatten", "rnn", "gru", "lstm", "plugin", "attention"}

    assert declared - raised_kinds == not_in_networks


def refusals(network, *outputs):
    with pytest.raises(ModelError) as caught:
        raise_network(network.parsed(*(outputs or ("y",))))
    assert {problem.code for problem in caught.value.problems} == {Code.NOT_DECLARABLE}
    return [problem.fact for problem in caught.value.problems]


def test_every_layer_that_is_refused_is_named_at_once():
    made = Network({"x": ROWS, "s": floats(1, 8), "c": ROWS > 0})
    made.add("PARAMETRIC_RELU", "x s", "a", ROWS.shape)
    made.add("RAGGED_SOFTMAX", "a s", "b", ROWS.shape)
    made.add("ROTARY_EMBEDDING", "b s s", "d", ROWS.shape)
    made.layers[-1] = replace(made.layers[-1], node="/rope/Rotary")
    made.add("ELEMENTWISE", "d s", "y", ROWS.shape, op="SUM")

    assert refusals(made) == [
        "layer 'PARAMETRIC_RELU 0' (PARAMETRIC_RELU) has no declared layer: has its slopes computed, by 's': "
        "a declared layer has it constant",
        "layer 'RAGGED_SOFTMAX 1' (RAGGED_SOFTMAX) has no declared layer",
        "layer 'ROTARY_EMBEDDING 2' (ROTARY_EMBEDDING), made for node '/rope/Rotary', has no declared layer",
    ]


def test_a_loop_and_a_conditional_are_refused_by_all_their_borders(tmp_path):
    made = Network({"x": floats(2), "c": np.array(True)}, folder=tmp_path)
    made.constant("n", np.array(3, np.int32))
    made.add("TRIP_LIMIT", "n", "", (), loop=0, kind="COUNT")
    made.add("RECURRENCE", "x next", "r", (2,), loop=0)
    made.add("ELEMENTWISE", "r x", "next", (2,), op="SUM")
    made.add("LOOP_OUTPUT", "r", "last", (2,), loop=0, kind="LAST_VALUE", axis=0)
    made.add("CONDITION", "c", "", (), conditional=0)
    made.add("CONDITIONAL_OUTPUT", "last x", "y", (2,), conditional=0)
    made.loops = (Loop("", (1,), (), (2,), (4,)),)
    made.conditionals = (Conditional("", (5,), (), (6,)),)

    assert [fact.split("(")[1].split(")")[0] for fact in refusals(made)] == [
        "TRIP_LIMIT", "RECURRENCE", "LOOP_OUTPUT", "CONDITION", "CONDITIONAL_OUTPUT",
    ]  # fmt: skip
    assert all("loops" in fact or "conditionals" in fact for fact in refusals(made))


def computed(kind, inputs, **attributes):
    """A layer some input of which is not a constant."""
    made = Network({"x": X, "s": floats(1, 4, 1, 1), "i": np.array([1]), "c": X > 0})
    made.add(
        kind, inputs, "y", attributes.pop("dims", X.shape), attributes.pop("dtype", "float32"), **attributes
    )
    return made


FILLED = {"shape": (2, 3), "alpha": 0.0, "beta": 1.0, "to_type": "float32", "dims": (2, 3)}
REFUSED = {
    "axes that are computed": (
        computed("UNSQUEEZE", "x i", dims=(2, 1, 4, 6, 5)),
        "has its axes computed, by 'i': a declared layer has it constant",
    ),
    "a scale that is computed": (
        computed("QUANTIZE", "x s", dtype="int8", to_type="int8", axis=1, block_shape=None),
        "has its scale computed, by 's': a declared layer has it constant",
    ),
    "a scale of another type": (
        computed("DEQUANTIZE", "x s", dtype="float16", to_type="float16", axis=1, block_shape=None),
        "has a scale of float32 and makes float16: a declared layer makes the scale's type",
    ),
    "normalization by tensors": (
        computed("NORMALIZATION", "x s s", axes=12, num_groups=1, epsilon=0.1),
        "has its scale computed, by 's': a declared layer has it constant",
    ),
    "a choice of booleans": (
        computed("SELECT", "c c c", dtype="bool"), "chooses among booleans, which ONNX Runtime does not do on a CPU",
    ),
    "random numbers": (
        computed("FILL", "", operation="RANDOM_UNIFORM", **FILLED),
        "cannot be declared: random_uniform yields different outputs each time; generate the numbers once and "
        "read them from a weights file",
    ),
    "steps along several axes": (
        computed("FILL", "", operation="LINSPACE", **FILLED),
        "steps along more than one axis, which has no ONNX form",
    ),
    "gather in batches": (
        computed("GATHER", "x i", mode="DEFAULT", axis=1, num_elementwise_dims=1),
        "has num_elementwise_dims 1 with mode default, which takes 0",
    ),
    "a bound that is infinite": (
        computed("ACTIVATION", "x", type="CLIP", alpha=0.0, beta=float("inf")),
        "cannot be declared: beta: Input should be a finite number",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("made", "why"), REFUSED.values(), ids=REFUSED)
def test_what_a_declared_layer_cannot_say_is_refused_with_its_reason(made, why):
    (fact,) = refusals(made)

    assert fact.endswith(f"has no declared layer: {why}")


def test_a_network_without_inputs_is_refused(tmp_path):
    made = Network({}, folder=tmp_path)
    made.constant("y", np.array([1.0], np.float32))

    assert refusals(made) == ["the network has no inputs, so it cannot be written as declared layers"]


def test_what_could_not_be_read_is_refused():
    made = Network({"x": ROWS})
    made.add("SOFTMAX", "x", "y", ROWS.shape, axes=2)
    made.layers[0] = replace(made.layers[0], unread={"axes": "it raised"})

    assert refusals(made) == ["layer 'SOFTMAX 0' (SOFTMAX) has no declared layer: axes: it raised"]


def test_what_no_output_needs_is_left_out_and_cannot_be_refused(tmp_path):
    made = Network({"x": ROWS, "s": floats(1, 8)}, folder=tmp_path)
    made.add("RAGGED_SOFTMAX", "x s", "unused", ROWS.shape)
    made.add("ASSERTION", "x", "", ())
    made.constant("axes", np.array([0]))
    made.add("UNSQUEEZE", "x axes", "y", (1, 3, 8))

    found = raise_network(made.parsed("y"))

    assert [one["layer"] for one in found.declaration.layers] == ["unsqueeze"]
    assert found.left_out == {"ASSERTION": 1, "CONSTANT": 1, "RAGGED_SOFTMAX": 1}


def test_layers_stand_behind_what_they_read_and_have_names_of_their_own(tmp_path):
    made = Network({"x": ROWS}, folder=tmp_path)
    made.add("ELEMENTWISE", "a b", "y", ROWS.shape, op="SUM")
    made.add("UNARY", "x", "a", ROWS.shape, op="EXP")
    made.add("UNARY", "x", "b", ROWS.shape, op="ABS")
    made.layers = [replace(layer, name="same") for layer in made.layers]

    found = raise_network(made.parsed("y"))

    named = [(one["name"], one["outputs"]) for one in found.declaration.layers]
    assert named == [("same_1", ["a"]), ("same_2", ["b"]), ("same", ["y"])]


def test_equal_weights_stand_in_the_file_once(tmp_path):
    made = Network({"x": ROWS}, folder=tmp_path)
    shared = floats(3, 8)
    for name in ("a", "b"):
        made.constant(name, shared)
    made.add("ELEMENTWISE", "a b", "c", ROWS.shape, op="SUM")
    made.add("ELEMENTWISE", "c x", "y", ROWS.shape, op="SUM")

    declaration = raise_network(made.parsed("y")).declaration

    assert list(declaration.weights) == ["CONSTANT 0"]
    assert [one.get("weights") for one in declaration.layers[:2]] == ["CONSTANT 0", "CONSTANT 0"]


def test_dims_that_are_reckoned_of_constants_are_numbers(tmp_path):
    made = Network({"x": ROWS}, folder=tmp_path)
    made.constant("a", np.array([1, 9]))
    made.constant("b", np.array([2, 4], np.int32))
    made.add("CAST", "b", "wide", (2,), "int64", to_type="int64")
    made.add("ELEMENTWISE", "a wide", "size", (2,), "int64", op="MIN")
    made.add(
        "SLICE",
        "x - size",
        "y",
        (1, 4),
        start=(0, 1),
        shape=None,
        stride=(1, 1),
        axes=None,
        mode="STRICT_BOUNDS",
    )

    assert shown(raise_network(made.parsed("y"))) == [
        "{layer: slice, name: SLICE 4, outputs: [y], input: x, start: [0, 1], shape: [1, 4]}"
    ]


def test_a_constant_that_a_shuffle_turns_is_no_constant(tmp_path):
    made = Network({"x": X}, folder=tmp_path)
    made.constant("s", floats(4, 2))
    turned = {**PLAIN, "first_transpose": (1, 0, 0, 0, 0, 0, 0, 0)}
    made.add(
        "SHUFFLE", "s", "t", (1, 8, 1, 1), reshape_dims=(1, 8, 1, 1), zero_is_placeholder=False, **turned
    )
    made.add("PARAMETRIC_RELU", "x t", "y", X.shape)

    (fact,) = refusals(made)

    assert "has its slopes computed, by 't'" in fact
