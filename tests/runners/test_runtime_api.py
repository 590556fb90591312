"""Every TensorRT name with which engines are run exists in every TensorRT that may run them, or stands behind a guard.

`runtime_api.json` lists the names of nine versions, read from their binding wheels: for each class (`*module` is the
module itself) and name, the versions that lack it. What an expression is follows from its variable's name. The
stand-in engine is held against the same names.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import trtpipe.runners.inference.engine_process as process
from tests.runners.engine_bench import STAND_IN
from trtpipe.runners.inference.engine_process.main import CHOICES

SOURCES = sorted(Path(process.__file__).parent.glob("*.py"))
API = json.loads(Path(__file__).with_name("runtime_api.json").read_text())
RECEIVERS = {
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "config": "IRuntimeConfig",
    "cache": "IRuntimeCache",
    "inspector": "EngineInspector",
    "registry": "IPluginRegistry",
}
GUARDED = {
    "Runtime.get_engine_validity": 'hasattr(runtime, "get_engine_validity")',
    "*module.EngineValidity": 'hasattr(runtime, "get_engine_validity")',
    "EngineValidity.INVALID": 'hasattr(runtime, "get_engine_validity")',
    "IExecutionContext.is_stream_capturable": 'hasattr(context, "is_stream_capturable")',
    "ICudaEngine.create_runtime_config": 'request["flavour"] != "tensorrt_rtx"',
    "IRuntimeConfig.create_runtime_cache": 'request["flavour"] != "tensorrt_rtx"',
    "IRuntimeConfig.set_runtime_cache": 'request["flavour"] != "tensorrt_rtx"',
    "IRuntimeConfig.cuda_graph_strategy": 'request["flavour"] != "tensorrt_rtx"',
    "IRuntimeConfig.dynamic_shapes_kernel_specialization_strategy": 'request["flavour"] != "tensorrt_rtx"',
    "*module.CudaGraphStrategy": 'request["flavour"] != "tensorrt_rtx"',
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE": 'request["flavour"] != "tensorrt_rtx"',
    "*module.DynamicShapesKernelSpecializationStrategy": 'request["flavour"] != "tensorrt_rtx"',
    "IRuntimeCache.deserialize": 'request["flavour"] != "tensorrt_rtx"',
    "IRuntimeCache.serialize": "cache is None",
}
"""What some version lacks, and the guard that stands before it in the same module."""


def name_of(node: ast.expr) -> str:
    """`x` of `x`, `self.x`, `self._x` and `trt.x`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr.removeprefix("_") if isinstance(node, ast.Attribute) else ""


def uses_in(source: str) -> Iterator[tuple[str, str]]:
    """TensorRT classes and the names that are used of them."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
            continue
        receiver = name_of(node.value)
        if receiver == "trt":
            yield "*module", node.attr
        elif isinstance(node.value, ast.Attribute) and name_of(node.value.value) == "trt":
            yield receiver, node.attr
        elif receiver in RECEIVERS and isinstance(node.value, ast.Name):
            yield RECEIVERS[receiver], node.attr


def lacking(owner: str, name: str) -> list[str]:
    return API["lacking"].get(owner, {}).get(name, API["versions"])


def missing(source: str) -> set[str]:
    """Uses that some version lacks."""
    return {f"{owner}.{name}" for owner, name in uses_in(source) if lacking(owner, name)}


def test_every_name_is_there_in_every_version_or_guarded():
    assert set().union(*(missing(path.read_text()) for path in SOURCES)) == set(GUARDED)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_guards_stand_in_the_module_that_needs_them(path):
    source = path.read_text()
    assert all(GUARDED[use] in source for use in missing(source))


def test_what_rtx_alone_has_is_there_in_all_its_versions():
    for use in GUARDED:
        owner, _, name = use.rpartition(".")
        assert not [version for version in lacking(owner, name) if version.startswith("tensorrt_rtx")], use


def test_the_specializations_that_a_request_can_name_are_tensorrts():
    names = {name.upper() for name in CHOICES["specialization"] if name}
    assert names == set(API["lacking"]["DynamicShapesKernelSpecializationStrategy"])


def test_the_collection_sees_the_whole_api():
    seen = {owner for path in SOURCES for owner, _ in uses_in(path.read_text())}
    assert seen >= {
        *RECEIVERS.values(),
        "*module",
        "ILogger",
        "TensorIOMode",
        "TensorLocation",
        "TensorFormat",
    }


@pytest.mark.parametrize(
    ("file", "right", "wrong", "use"),
    [
        ("lanes.py", "context.infer_shapes", "context.infer_all", "IExecutionContext.infer_all"),
        ("lanes.py", "execute_async_v3", "execute_async_v2", "IExecutionContext.execute_async_v2"),
        ("signature.py", "trt.TensorIOMode.INPUT", "trt.TensorIOMode.IN", "TensorIOMode.IN"),
        ("signature.py", "get_tensor_dtype", "get_binding_dtype", "ICudaEngine.get_binding_dtype"),
        ("engine_files.py", "trt.Runtime(", "trt.CudaRuntime(", "*module.CudaRuntime"),
    ],
)
def test_a_name_that_some_version_lacks_is_noticed(file, right, wrong, use):
    source = next(path for path in SOURCES if path.name == file).read_text()
    assert right in source

    assert use in missing(source.replace(right, wrong))


def test_the_stand_in_has_no_names_of_its_own_invention():
    tree = ast.parse((STAND_IN / "engines/stand_in_engine.py").read_text())
    own = {"record", "tensors", "logger", "output_shape", "nbytes", "host_values", "refuse"}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in API["lacking"]:
            methods = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            assert {name for name in methods if name not in API["lacking"][node.name]} <= own | {
                "__del__",
                "__init__",
            }
