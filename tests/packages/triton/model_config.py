"""Reads `config.pbtxt` with Triton's own definition of it, which tritonclient carries, and applies Triton's own rules.

Only the module of the messages is loaded: the client beside it needs grpcio, and pins other packages.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from google.protobuf import text_format

MISSING = "not run: needs tritonclient"


@cache
def definition() -> ModuleType:
    found = importlib.util.find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        pytest.skip(MISSING)
    path = Path(next(iter(found.submodule_search_locations))) / "grpc/model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("triton_model_config_pb2", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parsed(text: str) -> Any:
    """The ModelConfig in a text. Fails on a field that Triton does not have."""
    config = text_format.Parse(text, definition().ModelConfig())
    refuse_as_triton_does(config)
    return config


def type_name(number: int) -> str:
    return str(definition().DataType.Name(number))


def refuse_as_triton_does(config: Any) -> None:
    """What the server itself checks of inputs and outputs before it looks at a model (its `ValidateIOShape`)."""
    assert config.name and (config.platform or config.backend)
    assert config.input and config.output
    for one in (*config.input, *config.output):
        assert one.name
        assert one.data_type != 0
        assert list(one.dims), f"{one.name}: dims may not be empty"
        assert all(dim == -1 or dim >= 1 for dim in one.dims)
        if one.HasField("reshape"):
            assert list(one.reshape.shape) or config.max_batch_size > 0, (
                f"{one.name}: a scalar without a batch"
            )
            assert list(one.dims) == [1] or list(one.reshape.shape)
    for one in config.model_warmup:
        assert one.batch_size >= 1
        assert one.batch_size <= max(config.max_batch_size, 1)
        assert set(one.inputs) == {tensor.name for tensor in config.input}
        for tensor in one.inputs.values():
            assert -1 not in tensor.dims
            assert tensor.WhichOneof("input_data_type")
