"""The architecture as a test: a module imports its own folder and lower layers only."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from package_source import PACKAGE, ROOT, modules, nodes_of, tree_of

LAYERS = {
    "errors": 0, "problem_codes": 0, "digests": 0, "shapes": 0, "files": 0, "json_values": 0, "arrays": 0, "unions": 0,
    "permissions": 0, "homes": 0, "deferred_imports": 0,
    "spec": 1, "plan": 1, "targets": 1,
    "loading": 2, "canonical": 2, "comparing": 2, "measuring": 2, "proofs": 2, "describing": 2, "rendering": 2,
    "weights": 2, "layering": 2, "searching": 2, "reducing": 2, "differing": 2,
    "deciding": 2, "planning": 2, "lockfile": 2, "manifest": 2, "scales": 2, "legacy_caches": 2,
    "provenance": 2, "reporting": 2, "networks": 2,
    "stages": 3, "scheduler": 3, "dispatcher": 3,
    "frontends": 4, "precisions": 4, "datasets": 4, "stores": 4, "executors": 4, "toolchains": 4, "runners": 4,
    "fetching": 4, "calibrators": 4,
    "system": 5,
    "cli": 6, "__main__": 7,
}  # fmt: skip

WITHIN_LAYER = {
    ("errors", "problem_codes"), ("permissions", "errors"), ("permissions", "problem_codes"),
    ("shapes", "errors"), ("shapes", "problem_codes"),
    ("proofs", "canonical"), ("proofs", "loading"), ("proofs", "weights"),
    ("describing", "canonical"), ("describing", "loading"), ("describing", "proofs"),
    ("targets", "spec"), ("runners", "datasets"), ("weights", "canonical"),
    ("reducing", "canonical"), ("reducing", "searching"), ("reducing", "proofs"), ("describing", "weights"),
    ("differing", "canonical"), ("differing", "weights"), ("differing", "lockfile"),
    ("layering", "canonical"), ("layering", "loading"), ("layering", "weights"),
    ("networks", "canonical"), ("networks", "layering"), ("networks", "weights"), ("networks", "comparing"),
    ("networks", "loading"),
    ("calibrators", "datasets"), ("calibrators", "runners"), ("stores", "fetching"), ("runners", "toolchains"),
    ("reporting", "rendering"), ("reporting", "comparing"), ("rendering", "comparing"),
    ("plan", "spec"), ("plan", "targets"),
    ("legacy_caches", "loading"), ("legacy_caches", "scales"), ("planning", "legacy_caches"), ("planning", "searching"),
}  # fmt: skip
"""Folders of one layer that may see another one: a problem has a code, a shape that is none is a problem,
proofs and descriptions are about models, their weights and specs,
validation feeds data sets, calibrators run models on them, weights may be those of an ONNX model, networks are
written with theirs, engines run in a toolchain's interpreter, shared stores are reached as sources are, reports use the
tables of other texts, and a plan has steps that search and steps that read caches."""

PURE = {
    "errors",
    "problem_codes",
    "digests",
    "shapes",
    "spec",
    "plan",
    "targets",
    "rendering",
    "reporting",
    "deciding",
    "planning",
    "searching",
    "scheduler",
    "dispatcher",
}
"""What a no-op build and `plan` load must not import these."""
HEAVY = {
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "numpy",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "rich",
    "obstore",
    "matplotlib",
}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@cache
def imports_of(path: Path) -> set[str]:
    found = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top_level_imports(path: Path) -> set[str]:
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def too_high(path: Path) -> list[str]:
    """What a module imports that is neither of its own folder nor lower."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return []
    layer, found = LAYERS[own], []
    for name in sorted(imports_of(path)):
        other = part_of(name) if name.startswith("trtpipe.") else ""
        if other in ("", own) or other.startswith("__version__"):
            continue
        allowed = LAYERS[other] < layer or (own, other) in WITHIN_LAYER or (layer == 4 and LAYERS[other] == 0)
        flat = layer == LAYERS[other] == 2 and (PACKAGE / f"{own}.py").exists()
        if not (allowed or flat):
            found.append(f"{path.relative_to(ROOT)} (layer {layer}) imports {name}")
    return found


def test_a_module_imports_only_lower_layers():
    assert [line for path in modules() for line in too_high(path)] == []


def test_what_a_plan_needs_imports_nothing_heavy():
    pure = [path for path in modules() if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in PURE]
    heavy = {path: {name.split(".")[0] for name in top_level_imports(path)} & HEAVY for path in pure}

    assert pure and {path: names for path, names in heavy.items() if names} == {}


def test_a_module_stays_small_and_says_its_job():
    for path in modules():
        text = path.read_text()
        # The worker is one file by contract: any interpreter runs it, without trtpipe.
        limit = 1320 if path.name == "worker.py" else 400

        assert text.count("\n") <= limit, path
        assert ast.get_docstring(tree_of(path)) or not text.strip(), path


def test_functions_stay_small():
    for path in modules():
        for node in nodes_of(path):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = (node.end_lineno or 0) - node.lineno + 1
                assert size <= 60, f"{node.name} in {path.name} has {size} lines"


def test_every_part_of_the_package_has_a_layer():
    parts = {p.relative_to(PACKAGE).parts[0].removesuffix(".py") for p in modules()} - {"__init__"}
    assert parts == set(LAYERS)


@pytest.mark.parametrize("name", ["LocalExecutor", "Performer", "Dispatcher", "Scheduler", "Steps"])
def test_there_is_one_way_to_run_a_step(name):
    """Whatever needs a step's result goes through `building/steps.py`, which alone puts these together."""
    made = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]

    assert made == ["trtpipe/building/steps.py"]


def test_when_knows_nothing_of_whether():
    for name in ("scheduler.py", "dispatcher.py"):
        assert not any("deciding" in one for one in imports_of(PACKAGE / name))
    assert not any("scheduler" in one or "dispatcher" in one for one in imports_of(PACKAGE / "rebuilder.py"))
