"""Every TensorRT name that the worker uses exists in every TensorRT it may meet, or stands behind a guard.

`trt_api.json` lists the names of nine versions, read from their binding wheels: for each class (`*module` is the
module itself) and name, the versions that lack it. What an expression is follows from its variable's name.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import trtpipe.toolchains.engine_worker.worker as worker_module

WORKER = Path(worker_module.__file__)
API = json.loads(WORKER.with_name("trt_api.json").read_text())
RECEIVERS = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "parser_error": "ParserError",
    "tensor": "ITensor",
    "layer": "ILayer",
    "profile": "IOptimizationProfile",
    "registry": "IPluginRegistry",
    "timing_cache": "ITimingCache",
    "flags": "BuilderFlag",
}
FAMILIES = {"Rtx": "tensorrt_rtx ", "Enterprise": "tensorrt "}
BEFORE_EDITABLE = ["tensorrt 10.0.1", "tensorrt 10.3.0"]
BEFORE_STREAMS = ["tensorrt 10.0.1", "tensorrt 10.3.0", "tensorrt 10.9.0.34"]
GUARDED = {
    ("Builder", "build_serialized_network_to_stream"): BEFORE_STREAMS,
    ("*module", "IStreamWriter"): BEFORE_STREAMS,  # made only when the builder has the method above
    ("IStreamWriter", "__init__"): BEFORE_STREAMS,
    ("IStreamWriter", "write"): BEFORE_STREAMS,
    ("BuilderFlag", "EDITABLE_TIMING_CACHE"): BEFORE_EDITABLE,
    ("ITimingCache", "queryKeys"): BEFORE_EDITABLE,
    ("ITimingCache", "query"): BEFORE_EDITABLE,  # as the next ones: only behind one of those two
    ("ITimingCache", "update"): BEFORE_EDITABLE,
    ("*module", "TimingCacheKey"): BEFORE_EDITABLE,
    ("TimingCacheKey", "parse"): BEFORE_EDITABLE,
    ("*module", "TimingCacheValue"): BEFORE_EDITABLE,
}
PYTHONS_OWN = {"__version__", "__name__", "__class__"}
Use = tuple[str, str]


def name_of(node: ast.expr) -> str:
    """`x` of `x`, `self.x` and `trt.x`."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def class_of(node: ast.expr) -> str | None:
    """The TensorRT class of an expression, `*module` for the module; None for anything else."""
    if name_of(node) == "trt":
        return "*module"
    if isinstance(node, ast.Attribute) and name_of(node.value) == "trt":
        return node.attr
    return RECEIVERS.get(name_of(node))


def uses_in(tree: ast.AST, family: str = "") -> Iterator[tuple[str, Use]]:
    """Every use with the flavour family in whose class it stands ("" is all)."""
    for node in ast.iter_child_nodes(tree):
        inner = FAMILIES.get(node.name, family) if isinstance(node, ast.ClassDef) else family
        if isinstance(node, ast.Attribute) and node.attr not in PYTHONS_OWN:
            owner = class_of(node.value)
            if owner:
                yield family, (owner, node.attr)
        if isinstance(node, ast.ClassDef):
            yield from ((family, use) for use in overrides(node))
        yield from uses_in(node, inner)


def overrides(node: ast.ClassDef) -> Iterator[Use]:
    """The methods by which a subclass of a TensorRT class answers TensorRT."""
    for base in node.bases:
        if isinstance(base, ast.Attribute) and name_of(base.value) == "trt":
            yield from ((base.attr, item.name) for item in node.body if isinstance(item, ast.FunctionDef))


def missing(source: str) -> dict[Use, list[str]]:
    """Uses that some version lacks, with the versions; a name unknown to all lacks in all."""
    found: dict[Use, list[str]] = {}
    for family, (owner, name) in uses_in(ast.parse(source)):
        lacking = API["lacking"].get(owner, {}).get(name, API["versions"])
        lacking = [version for version in lacking if version.startswith(family)]
        if lacking:
            found[owner, name] = lacking
    return found


def test_every_name_is_there_in_every_version_or_guarded():
    assert missing(WORKER.read_text()) == GUARDED


def test_what_reads_networks_uses_names_that_every_version_has():
    assert missing(WORKER.with_name("network_reading.py").read_text()) == {}


def test_guards_are_asked_for_by_name():
    calls = [node for node in ast.walk(ast.parse(WORKER.read_text())) if isinstance(node, ast.Call)]
    asked = {
        call.args[1].value for call in calls if name_of(call.func) == "hasattr" and class_of(call.args[0])
    }
    assert asked == {"build_serialized_network_to_stream", "EDITABLE_TIMING_CACHE", "queryKeys"}


def test_the_collection_sees_the_whole_api():
    seen = {owner for _, (owner, _) in uses_in(ast.parse(WORKER.read_text()))}
    assert seen >= {*RECEIVERS.values(), "*module", "ILogger", "IProgressMonitor", "IStreamWriter"}


@pytest.mark.parametrize(
    ("right", "wrong", "use"),
    [
        ("flags.TF32", "flags.FP16", ("BuilderFlag", "FP16")),
        ("parser_error.desc()", "parser_error.description()", ("ParserError", "description")),
        ("network.num_outputs", "network.outputs", ("INetworkDefinition", "outputs")),
        ("trt.MemoryPoolType.WORKSPACE", "trt.MemoryPoolType.WORK", ("MemoryPoolType", "WORK")),
        (
            "config.max_aux_streams",
            "config.remote_auto_tuning_config",
            ("IBuilderConfig", "remote_auto_tuning_config"),
        ),
        ("def step_complete", "def step_completed", ("IProgressMonitor", "step_completed")),
        ("trt.OnnxParser(", "trt.Parser(", ("*module", "Parser")),
    ],
)
def test_a_name_that_some_version_lacks_is_noticed(right, wrong, use):
    source = WORKER.read_text()
    assert right in source

    assert use in missing(source.replace(right, wrong))


def test_a_name_of_one_flavour_may_not_be_used_for_both():
    source = WORKER.read_text().replace("class Rtx", "class Any")

    assert ("IBuilderConfig", "num_compute_capabilities") in missing(source)
