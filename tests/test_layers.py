"""The architecture as a test: a module imports its own room and lower ones, and stays small."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from tests.package_source import PACKAGE, ROOT, modules, nodes_of, tree_of

LAYERS = (
    "unions arrays deferred_imports problem_codes digests homes launcher figures timings",
    "errors",
    "files json_values shapes permissions",
    "spec targets",
    "plan",
    "loader lockfile metrics canonical calibration.scales search",
    "calibration.caches legalization weights text",
    "plan.planner layers reports provenance",
    "proofs networks",
    "inspection reduction",
    "precisions fetch executors",
    "datasets stores toolchains",
    "runners",
    "frontends calibration.calibrators",
    "stages",
    "processes",
    "git fleet",
    "hosts",
    "workspace",
    "delivery",
    "building",
    "checks",
    "app.author app.debug app.engines app.look app.prove app.report app.store app.upgrade",
    "agent",
    "cli",
    "__main__",
)
"""The rooms, lowest first. A module imports its own room and rooms of lower lines; the rooms of a line know nothing of
each other. `docs/architecture.md` has the same table with what each room is for."""
RANKS = {room: rank for rank, line in enumerate(LAYERS) for room in line.split()}
FRONTS = ("app", "calibration")
"""Packages that only hold rooms."""

PURE = {
    "errors",
    "problem_codes",
    "digests",
    "shapes",
    "spec",
    "plan",
    "plan.planner",
    "targets",
    "text",
    "reports",
    "search",
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

LONGEST = 40
LONGER = {
    "reduce_accuracy in trtpipe/app/debug/reduce_accuracy.py": 44,  # one reduction, told in its order
    "_parse in trtpipe/building/performer.py": 43,
    "plan_types in trtpipe/precisions/__init__.py": 46,
    "manifest_of in trtpipe/provenance/manifest.py": 48,  # a record, field by field
}
"""The functions that may have more lines, and how many. A command has as many as its options take."""
MOST_EXCEPTIONS = 10
"""Functions that may exceed any of the three limits: of lines, and of complexity and arguments in pyproject.toml."""


def room_of(module: str) -> str | None:
    """The room that a module of trtpipe belongs to, `a.b` before `a`; None for the package itself and for others'."""
    parts = module.split(".")
    if parts[0] != "trtpipe" or len(parts) == 1:
        return None
    return next((room for n in (2, 1) if (room := ".".join(parts[1 : n + 1])) in RANKS), parts[1])


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imported_modules(path: Path) -> frozenset[str]:
    """The modules of trtpipe that a module imports, at any place."""
    return modules_in(nodes_of(path)) - {name_of(path)}


def modules_at_work(path: Path) -> frozenset[str]:
    """Those of them that it needs to run: without what it imports for annotations alone."""
    typing = [
        inner
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    ]
    return modules_in(node for node in nodes_of(path) if node not in typing) - {name_of(path)}


def modules_in(nodes: Iterable[ast.AST]) -> frozenset[str]:
    names = all_names()
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one if one in names else node.module for one in whole}
    return frozenset(found & names - {"trtpipe"})


@cache
def all_names() -> frozenset[str]:
    return frozenset(name_of(path) for path in modules())


def top_level_imports(path: Path) -> set[str]:
    found = set()
    for node in tree_of(path).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def too_high(path: Path) -> list[str]:
    """What a module imports that is neither of its own room nor lower; the front of several rooms imports nothing."""
    own = room_of(name_of(path))
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for name in sorted(imported_modules(path))
        if own in (None, *FRONTS) or (room_of(name) != own and RANKS[str(room_of(name))] >= RANKS[str(own)])
    ]


def test_a_module_imports_only_its_own_room_and_lower_ones():
    assert [line for path in modules() for line in too_high(path)] == []


def test_no_module_imports_itself_by_way_of_others():
    """Modules that import each other cannot be read, or tested, alone."""
    graphlib.TopologicalSorter({name_of(path): modules_at_work(path) for path in modules()}).prepare()


def test_every_room_has_its_place_here_and_in_the_documentation():
    rooms = {room_of(name_of(path)) for path in modules()} - {None, *FRONTS}
    table = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("## From a spec")[0]
    lines = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]

    assert rooms == set(RANKS)
    assert [re.findall(r"`([\w.]+)`", line) for line in lines] == [line.split() for line in LAYERS]


def test_what_a_plan_needs_imports_nothing_heavy():
    pure = [path for path in modules() if room_of(name_of(path)) in PURE]
    heavy = {path: {name.split(".")[0] for name in top_level_imports(path)} & HEAVY for path in pure}

    assert pure and {path: names for path, names in heavy.items() if names} == {}


def test_a_module_stays_small_and_says_its_job():
    for path in modules():
        text = path.read_text()
        # The worker is one file by contract: any interpreter runs it, without trtpipe.
        limit = 1320 if path.name == "worker.py" else 400

        assert text.count("\n") <= limit, path
        assert ast.get_docstring(tree_of(path)) or not text.strip(), path


def test_a_folder_stays_small():
    for folder in sorted({path.parent for path in modules()}):
        lines = sum(path.read_text().count("\n") for path in folder.glob("*.py"))

        assert lines <= 4000, f"{folder.relative_to(ROOT)} has {lines} lines"


def test_functions_stay_small():
    found = []
    for path in modules():
        file = path.relative_to(ROOT).as_posix()
        for node in nodes_of(path):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                size = (node.end_lineno or 0) - node.lineno + 1
                name = f"{node.name} in {file}"
                most = 60 if "cli/commands/" in file else LONGER.get(name, LONGEST)
                found += [f"{name} has {size} lines"] if size > most else []

    assert found == []


def test_few_functions_are_excepted_from_the_limits():
    said = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in modules()
        for line in path.read_text().splitlines()
        if re.search(r"noqa:.*(C901|PLR09)", line)
    ]
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    ignored = re.findall(r'^"(trtpipe/.*)" = \[(.*?)\]', text, re.MULTILINE)
    assert ignored, "where rules are ignored is not found any more"
    said += [
        f"{name}: {rule}"
        for name, rules in ignored
        for rule in re.findall(r"C901|PLR09\d+", rules)
        if "cli/commands" not in name
    ]

    assert len(said) + len(LONGER) <= MOST_EXCEPTIONS, said


@pytest.mark.parametrize("name", ["LocalExecutor", "Performer", "Dispatcher", "Scheduler", "Steps"])
def test_there_is_one_way_to_run_a_step(name):
    """Whatever needs a step's result goes through `building/steps.py`, which alone puts these together."""
    made = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]

    elsewhere = ["trtpipe/agent/performing.py"] if name == "Performer" else []  # what a client's steps sent
    assert made == [*elsewhere, "trtpipe/building/steps.py"]


def test_there_is_one_way_to_start_a_process():
    """`launcher` starts all children, so that each ends with its parent and sees only the variables meant for it.

    The stage server forks itself, and the worker starts itself again; neither starts a program.
    """
    starts = {"Popen", "run", "call", "check_call", "check_output", "fork", "posix_spawn", "system", "prctl"}
    owners = {"subprocess", "os", "multiprocessing"}
    calls = {
        (node.func, path.relative_to(ROOT).as_posix())
        for path in modules()
        for node in nodes_of(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    found = {
        f"{ast.unparse(called)} in {file}"
        for called, file in calls
        if called.attr in starts and ast.unparse(called.value) in owners
    }
    prctl = [path.name for path in modules() if ".prctl(" in path.read_text()]

    assert prctl == ["lifeline.py"]
    assert found == {
        "subprocess.Popen in trtpipe/launcher/children.py",
        "subprocess.run in trtpipe/launcher/children.py",
        "os.fork in trtpipe/processes/stage_server.py",
    }


def test_when_knows_nothing_of_whether():
    """A scheduler that asked the rebuilder's module would have to change with it."""
    for name in ("scheduler", "dispatcher"):
        assert "trtpipe.plan.rebuilder" not in imported_modules(PACKAGE / f"plan/{name}.py")
        assert f"trtpipe.plan.{name}" not in imported_modules(PACKAGE / "plan/rebuilder.py")
