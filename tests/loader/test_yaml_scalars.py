"""Plain scalars read as YAML 1.2's core schema reads them, less what could surprise."""

import math

import pytest

from trtpipe.loader.scalars import flow_yaml, kind_of, plain_value


@pytest.mark.parametrize(
    "text",
    ["yes", "no", "on", "off", "y", "n", "Yes", "tRUE", "1:30", "12:30:45", "2024-01-01", "010", "-01",
     "0x3", "0o17", "0b1", "1_000", "1e", "e5", ".", "+", "-", "1.7.1.116", "nan", "inf", "NULL ", "1x3x224"],
)  # fmt: skip
def test_text_that_other_readers_take_for_something_else_stays_text(text: str) -> None:
    assert plain_value(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("~", None), ("null", None), ("true", True), ("False", False), ("0", 0), ("-7", -7), ("+7", 7),
     ("8.9", 8.9), (".5", 0.5), ("1.", 1.0), ("1e-3", 0.001), ("-2.5E+2", -250.0),
     ("9223372036854775807", 2**63 - 1)],
)  # fmt: skip
def test_words_and_decimal_numbers_have_their_value(text: str, value: object) -> None:
    found = plain_value(text)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [".inf", "-.Inf", ".nan", ".NaN", "1e999", "-1e999"])
def test_numbers_that_are_not_finite_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        plain_value(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775808", "1" * 100_000])
def test_whole_numbers_beyond_64_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="beyond 64 bits"):
        plain_value(text)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "nothing"), (True, "true"), (3, "the number 3"), (8.9, "the number 8.9"), ("x", "the text 'x'"),
     ([], "a list"), ({}, "a mapping"), ("y" * 99, f"the text '{'y' * 59}…'")],
)  # fmt: skip
def test_values_are_called_what_a_reader_calls_them(value: object, words: str) -> None:
    assert kind_of(value) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [("fp16", "fp16"), ("1.7.1.116", "1.7.1.116"), ("10.12", '"10.12"'), ("true", '"true"'), ("", '""'),
     ("a: b", '"a: b"'), ("*", '"*"'), ("/head/*", "/head/*"), ("op:Softmax", "op:Softmax"), ("1e999", '"1e999"'),
     ({"x": [1, -1], "y": True}, "{x: [1, -1], y: true}"), (math.pi, "3.141592653589793")],
)  # fmt: skip
def test_written_values_are_quoted_only_where_they_must_be(value: object, text: str) -> None:
    assert flow_yaml(value) == text
