"""`ci matrix`: the cells grouped by the machines that can build or run them, as a job matrix for CI systems.

Reads the specs and resolves their targets; reads no model and plans nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from trtpipe.errors import Problem, SpecError
from trtpipe.plan.planner.facts import TargetFacts
from trtpipe.targets.capabilities import needs_own_gpu
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import Workspace

Purpose = Literal["build", "run"]
NO_GPU = "none"


def matrix_of(workspace: Workspace, purpose: Purpose, most: int | None = None) -> dict[str, Any]:
    """`include`: one job for each kind of machine, or several of at most `most` cells. Raises SpecError.

    A job has a `name`, the `gpu` that its machine needs (`sm89`, or `none`), a `toolchain`, and `cells` in one line, as
    the arguments of `trtpipe build`.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for cell, gpus, toolchain in _cells(workspace, purpose):
        for gpu in gpus:
            groups.setdefault((gpu, toolchain), []).append(cell)
    return {
        "include": [job for (gpu, name), cells in groups.items() for job in _jobs(gpu, name, cells, most)]
    }


def _cells(workspace: Workspace, purpose: Purpose) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Each cell with its toolchain and the GPUs that it can run on; a machine needs only one of them."""
    resolver, problems = TargetResolver(), list[Problem]()
    for loaded in workspace.pipelines:
        spec = loaded.spec
        for target in spec.targets:
            names = [f"{spec.pipeline}/{variant}@{target}" for variant in spec.variants]
            wanted = [name for name in names if workspace.wants(name)]
            found = resolver.resolve(spec, target) if wanted else []
            if isinstance(found, TargetFacts):
                flavour, version = found.toolchain["flavour"], found.toolchain["version"]
                own = purpose == "run" or needs_own_gpu(flavour)
                gpus = found.compute_capabilities if own else (NO_GPU,)
                for name in wanted:
                    yield name, gpus, f"{flavour}-{version}"
            else:
                problems += [loaded.locate(one) for one in found]
    if problems:
        raise SpecError(problems)


def _jobs(gpu: str, toolchain: str, cells: list[str], most: int | None) -> Iterator[dict[str, Any]]:
    size = most or len(cells)
    parts = [cells[start : start + size] for start in range(0, len(cells), size)]
    where = "any machine" if gpu == NO_GPU else gpu
    for number, part in enumerate(parts, 1):
        counted = f", {number} of {len(parts)}" if len(parts) > 1 else ""
        yield {
            "name": f"{where}, {toolchain}{counted}",
            "gpu": gpu,
            "toolchain": toolchain,
            "cells": " ".join(part),
        }
