"""`trtpipe inspect` and `trtpipe doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, say, say_json
from trtpipe.errors import Problem, SpecError, TrtpipeError
from trtpipe.problem_codes import Code

if TYPE_CHECKING:
    from trtpipe.inspection.inspect_model import Asked
    from trtpipe.shapes import Shape
    from trtpipe.targets.compute_capability import ComputeCapability
    from trtpipe.toolchains.doctor import Finding


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks to see of a model, as it was written."""

    shapes: Sequence[str] = ()
    """`INPUT=SHAPE`."""
    gpus: Sequence[str] = ()
    layers: bool = False
    weights: bool = False


def inspect_command(
    target: str, wanted: Wanted, *, companion: Path | None = None, as_json: bool = False
) -> int:
    """Describe a file, a directory or a cell, told apart by content."""
    from trtpipe.app.look.inspect import Subject, describe, find_subject

    asked = _asked(wanted)
    record = describe(Subject(find_subject(target, Path.cwd()), asked, companion))
    if as_json:
        say_json(record)
    else:
        from trtpipe.text.descriptions import description_lines

        say("\n".join(description_lines(record)))
    return EXIT_DONE


def _asked(wanted: Wanted) -> Asked:
    """The selected options. Raises SpecError with all their problems."""
    from trtpipe.inspection.inspect_model import Asked

    problems: list[Problem] = []
    found = Asked(
        _shapes(wanted.shapes, problems), _capabilities(wanted.gpus, problems), wanted.layers, wanted.weights
    )
    if problems:
        raise SpecError(problems)
    return found


def _shapes(texts: Sequence[str], problems: list[Problem]) -> dict[str, Shape]:
    from trtpipe.shapes import parse_shape

    found: dict[str, Shape] = {}
    for text in texts:
        name, equals, written = text.rpartition("=")
        try:
            shape = parse_shape(written)
            if not equals or not name or any(size < 0 for size in shape):
                raise ValueError("no name" if not name else "a size below 0")
        except ValueError:
            fact = f"--shape must be INPUT=SHAPE, not {text!r}"
            problems.append(Problem(Code.BAD_ARGUMENT, fact, "for example --shape x=1x3x224x224"))
            continue
        if name in found:
            problems.append(
                Problem(Code.LISTED_TWICE, f"--shape names {name!r} twice", "give each input one shape")
            )
        found[name] = shape
    return found


def _capabilities(texts: Sequence[str], problems: list[Problem]) -> tuple[ComputeCapability, ...]:
    from trtpipe.targets.gpus import resolve_gpu

    found = []
    for name in (one.strip() for text in texts for one in text.split(",")):
        capability = (
            resolve_gpu(name)
            if name
            else Problem(Code.BAD_ARGUMENT, "--for names no GPU", "for example --for sm89,sm120")
        )
        if isinstance(capability, Problem):
            problems.append(capability)
        else:
            found.append(capability)
    return tuple(found)


def _store_of(root: Path) -> tuple[tuple[Path, ...], tuple[Finding, ...]]:
    """The directory of the project's store, if it has one, and remarks about it."""
    from trtpipe.loader.project import load_project
    from trtpipe.toolchains.doctor import Finding
    from trtpipe.workspace.former_stores import former_line, store_line
    from trtpipe.workspace.stores import open_store

    try:
        project = load_project(root)
        store = open_store(project)
    except TrtpipeError as error:
        return (), (Finding("store", "warn", error.problems[0].fact, error.problems[0].remedy),)
    former = former_line(project, store)
    found = [
        Finding("store", "ok", store_line(store)),
        *(Finding("store", "warn", one) for one in store.warnings),
    ]
    return (store.root,), (*found, *([Finding("store", "warn", former)] if former else []))


def doctor_command(*, as_json: bool) -> int:
    """Print what this machine can do, line by line."""
    from trtpipe.loader.project import find_root
    from trtpipe.toolchains.doctor import examine

    root = find_root(Path.cwd())
    store, findings = _store_of(root)
    report = examine((root, *store), findings)
    if as_json:
        say_json(report.to_json())
        return EXIT_DONE
    for finding in report.findings:
        say(f"{finding.status:<4}  {finding.topic}: {finding.fact}")
        if finding.reason:
            say(f"      {finding.reason}")
    return EXIT_DONE
