"""Tests that build engines need a TensorRT."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = importlib.util.find_spec("tensorrt_rtx") is None
    for item in items:
        if here in item.path.parents and missing and item.get_closest_marker("engine"):
            item.add_marker(pytest.mark.skip(reason="not run: needs a tensorrt_rtx wheel"))
