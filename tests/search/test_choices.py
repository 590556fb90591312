"""Assignments as plain choices: what is named, in what, and that globs match the node they stand for and no other."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.damage import damages
from tests.search.synthetic_models import KEEPS, LADDER, units
from trtpipe.errors import ModelError
from trtpipe.json_values import Malformed
from trtpipe.search.choices import Choice, choice_of, exactly, ladders_of, read_choice
from trtpipe.search.units import Unit


@pytest.mark.parametrize(
    ("candidates", "levels"),
    [
        (["int8", "fp16"], [("int8", "fp16", "fp32")]),
        (["int8"], [("int8", "fp32")]),
        (["fp16"], [("fp16", "fp32")]),
        (["fp8", "int8", "fp16"], [("fp8", "fp16", "fp32"), ("int8", "fp16", "fp32")]),
        (["fp16", "int8"], [("fp16", "fp32"), ("int8", "fp32")]),
    ],
    ids=["int8 and fp16", "int8", "fp16", "two quantized", "the wrong way round"],
)
def test_every_candidate_heads_a_ladder_or_stands_on_one(candidates, levels):
    found = ladders_of(candidates, ["int8", "fp8"], KEEPS)

    assert [ladder.levels for ladder in found] == levels


def test_a_unit_kept_in_the_base_names_what_is_quantized_and_a_wider_one_all_its_nodes():
    choice = choice_of(LADDER, units(3), (0, 1, 2))

    assert choice == Choice("int8", "fp16", {"fp16": ("conv1",), "fp32": ("conv2", "relu2")})


def test_where_nothing_is_quantized_the_next_type_is_the_precision():
    assert choice_of(LADDER, units(2), (1, 1)) == Choice("fp16")
    assert choice_of(LADDER, units(2), (1, 2)) == Choice("fp16", None, {"fp32": ("conv1", "relu1")})
    assert choice_of(LADDER, units(2), (2, 2)) == Choice("fp32")


def test_what_the_spec_keeps_is_kept_whatever_is_chosen():
    held = {"fp32": ("op:Softmax",)}

    assert choice_of(LADDER, units(2), (0, 1), held).keep == {"fp16": ("conv1",), "fp32": ("op:Softmax",)}
    assert choice_of(LADDER, units(2), (1, 1), held) == Choice("fp16", None, held)


def test_what_the_spec_holds_in_the_chosen_type_stays_held_there():
    """Normalizations and the like compute in fp32 by default: holding them in fp16 says something even in fp16."""
    held = {"fp16": ("op:Softmax",), "fp32": ("head",)}

    assert choice_of(LADDER, units(1), (1,), held) == Choice("fp16", None, held)
    assert choice_of(LADDER, units(1), (2,), {"fp32": ("head",)}) == Choice("fp32")


def test_what_no_floating_type_can_keep_stays_with_the_quantized_one():
    held = {"bf16": ("norm",)}

    choice = choice_of(LADDER, units(1), (1,), held)

    assert choice == Choice("int8", "fp16", {"bf16": ("norm",), "fp16": ("conv0",)})


def test_a_unit_that_is_never_quantized_starts_at_the_base():
    float_only = Unit("softmax", "Softmax", ("softmax",))

    assert LADDER.uniform((*units(1), float_only), 0) == (0, 1)


@given(st.text(min_size=1, max_size=12), st.text(min_size=1, max_size=12))
def test_a_glob_matches_its_node_only(node, other):
    glob = exactly(node)

    assert fnmatchcase(node, glob)
    assert fnmatchcase(other, glob) == (other == node)
    assert not glob.startswith("op:")


def test_a_choice_comes_back_from_json():
    choice = Choice("int8", "fp16", {"fp16": ("a", "b")})

    assert Choice.from_json(choice.to_json()) == choice


def test_a_choice_with_anything_in_any_place_is_refused_or_read(tmp_path):
    path = tmp_path / "precision.json"
    for damage in damages(Choice("int8", "fp16", {"fp32": ("head*",)}).to_json()):
        with damage.assert_raises_only(ModelError):
            path.write_text(damage.text)
            assert read_choice(path, ("int8", "fp16", "fp32")).to_json()


def test_a_unit_with_anything_in_any_place_is_refused_or_read():
    for damage in damages(units(1)[0].to_json()):
        if isinstance(damage.record, dict):
            with damage.assert_raises_only(Malformed):
                hash(Unit.from_json(damage.record))
