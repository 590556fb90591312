"""Closed unions: values of one of a fixed set of classes, with a `match` that must handle all of them."""

from __future__ import annotations

from typing import NoReturn


def assert_never(value: NoReturn) -> NoReturn:
    """Belongs after the last case of a `match`: mypy reports the call as long as a class has no case.

    It is `typing.assert_never`, which Python 3.10 does not have.
    """
    raise AssertionError(f"no case for {value!r}")
