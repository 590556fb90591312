"""What a plain YAML scalar means, and how a value is written back.

The unambiguous part of YAML 1.2's core schema: null, true and false, decimal numbers; everything else is text. `on`,
`yes`, `1:30`, `2024-01-01`, `010`, `0x3` and `1_000` stay text: `0x3` is also a shape, and the others mean different
things to different readers. Independent of files and specs.
"""

from __future__ import annotations

import json
import math
import re

from trtpipe.loader.plain import Scalar

_WORDS: dict[str, bool | None] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)

_WHOLE = r"(?:0|[1-9][0-9]*)"
_INTEGER = re.compile(rf"[-+]?{_WHOLE}")
_NUMBER = re.compile(rf"[-+]?(?:\.[0-9]+|{_WHOLE}(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_STARTS = frozenset("+-.0123456789")
_PLAIN = re.compile(r"[\w/.][\w/.*+:-]*")

INTEGER_LIMIT = 2**63
"""Whole numbers must be smaller than this, so that every reader of JSON and C++ can hold them."""


def plain_value(text: str) -> Scalar:
    """The value of an unquoted scalar. Raises ValueError for infinities, NaN and numbers beyond 64 bits."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _NUMBER.fullmatch(text):
        return _finite(text)
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"not a finite number: {text!r}")
    return text


def _integer(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) >= INTEGER_LIMIT:
        raise ValueError(f"a number beyond 64 bits: {shortened(text)!r}")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {shortened(text)!r}")
    return number


def kind_of(value: object) -> str:
    """A readable description of a value: `the number 3`, `the text 'x'`, `a list`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {shortened(value)!r}"
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"


def shortened(text: str, limit: int = 60) -> str:
    """Text that fits in a message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def flow_yaml(value: object) -> str:
    """A value on one line of YAML, quoted only where it must be."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow_yaml(key)}: {flow_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow_yaml(item) for item in value) + "]"
    if isinstance(value, str) and _reads_as_itself(value):
        return value
    text = json.dumps(value, ensure_ascii=False)
    # YAML rejects U+0080 to U+009F and treats U+2028 as a line break
    return text if text.isprintable() else json.dumps(value)


def _reads_as_itself(text: str) -> bool:
    try:
        return _PLAIN.fullmatch(text) is not None and not text.endswith(":") and plain_value(text) == text
    except ValueError:
        return False
