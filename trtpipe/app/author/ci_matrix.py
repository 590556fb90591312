"""`ci matrix`: the cells grouped by the machines that can build or run them, as a job matrix for CI systems.

Reads the specs and resolves their targets; reads no model and plans nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trtpipe.errors import Problem, SpecError
from trtpipe.plan.planner.facts import TargetFacts
from trtpipe.problem_codes import Code
from trtpipe.targets.capabilities import needs_own_gpu
from trtpipe.targets.gpus import resolve_gpu
from trtpipe.workspace.target_facts import TargetResolver
from trtpipe.workspace.workspace import Workspace

Purpose = Literal["build", "run"]
Runners = Mapping[str, tuple[str, ...]]
"""A machine's GPU (`sm89`, or `none`) -> the labels of the runners that have it."""
NO_GPU = "none"
OPTION = "--gpu-runner"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A cell and the GPUs of the machines that can build or run it."""

    cell: str
    gpus: tuple[str, ...]
    toolchain: str
    own: bool
    """Whether its engine can only be built on the GPU that it is for."""


@dataclass(slots=True)
class Matrix:
    """The jobs, and the cells of machines that nobody has."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """GPU -> cells that would need a machine with it."""

    def cells_for(self, gpu: str) -> list[str]:
        """The cells of all jobs whose machine has this GPU."""
        return [cell for job in self.jobs if job["gpu"] == gpu for cell in job["cells"].split()]


def matrix_of(
    workspace: Workspace, purpose: Purpose, most: int | None = None, runners: Runners | None = None
) -> Matrix:
    """One job for each kind of machine, or several of at most `most` cells. Raises SpecError.

    A job has a `name`, the `gpu` that its machine needs (`sm89`, or `none`), a `toolchain`, and `cells` in one line, as
    the arguments of `trtpipe build`. `build` is `here` where only this GPU can build its engines, else `anywhere`. With
    `runners` a job has the `runner` that it is for, and there are no jobs for other machines; to run engines, it is an
    error then that one of them can be built nowhere.
    """
    groups: dict[tuple[str, str, bool], list[str]] = {}
    for one in _placed(workspace, purpose):
        for gpu in one.gpus:
            groups.setdefault((gpu, one.toolchain, one.own), []).append(one.cell)
    matrix = Matrix()
    for (gpu, toolchain, own), cells in groups.items():
        if runners is None or gpu in runners:
            runner = _runner(runners[gpu]) if runners else {}
            build = "here" if own else "anywhere"
            matrix.jobs += [{**job, "build": build, **runner} for job in _jobs(gpu, toolchain, cells, most)]
        elif own and purpose == "run":
            raise SpecError(
                Code.NO_RUNNER,
                f"the engines of {_some(cells)} can only be built on {gpu}, and no runner with that GPU is named",
                f"name its label: {OPTION} {gpu}=LABEL",
            )
        else:
            matrix.left_out.setdefault(gpu, []).extend(cells)
    return matrix


def runners_of(texts: Sequence[str]) -> Runners:
    """The runners that OPTION names: `sm89=gpu-l4`, with several labels `sm89=self-hosted,l4`. Raises SpecError."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        gpu, _, labels = text.partition("=")
        names = tuple(labels.split(","))
        if not all(_LABEL.fullmatch(name) for name in names):
            raise SpecError(
                Code.BAD_ARGUMENT,
                f"{OPTION} {text!r} names no label of a runner",
                f"write {OPTION} sm89=LABEL; a label has letters, digits, '.', '_' and '-', and commas part several",
            )
        found[gpu_key(gpu)] = names
    return found


def gpu_key(text: str) -> str:
    """What jobs call a machine with this GPU: `sm89` for any name of a GPU, or `none`. Raises SpecError."""
    if text == NO_GPU:
        return NO_GPU
    found = resolve_gpu(text)
    if isinstance(found, Problem):
        raise SpecError(found)
    return found.sm


def _runner(labels: tuple[str, ...]) -> dict[str, object]:
    return {"runner": labels[0] if len(labels) == 1 else list(labels)}


def _some(cells: Sequence[str]) -> str:
    return ", ".join(cells[:3]) + (f" and {len(cells) - 3} more" if len(cells) > 3 else "")


def _placed(workspace: Workspace, purpose: Purpose) -> Iterator[_Placed]:
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
                own = needs_own_gpu(flavour)
                gpus = found.compute_capabilities if own or purpose == "run" else (NO_GPU,)
                for name in wanted:
                    yield _Placed(name, gpus, f"{flavour}-{version}", own)
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
