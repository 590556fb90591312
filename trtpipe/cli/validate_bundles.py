"""What `trtpipe validate` says of bundles: their engines as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from trtpipe.cli.output import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from trtpipe.json_values import Json
from trtpipe.provenance.manifest import gpu_words
from trtpipe.text.problems import problem_json
from trtpipe.text.tables import one_line

if TYPE_CHECKING:
    from trtpipe.app.prove.bundles import WholeValidated
    from trtpipe.app.prove.engine_places import EnginePlace
    from trtpipe.app.prove.validate import HowToValidate, Prover


def validated_wholes(
    places: Sequence[EnginePlace], how: HowToValidate, prover: Prover
) -> list[WholeValidated]:
    """The bundles of which the command names every cell, validated."""
    workspace = next((one.workspace for one in places if one.workspace is not None), None)
    if workspace is None or not workspace.whole_bundles:
        return []
    from trtpipe.app.prove.bundles import validate_bundles

    return validate_bundles([one.name for one in workspace.whole_bundles], workspace.root, how, prover)


def told_whole(one: WholeValidated) -> Iterator[str]:
    """The lines about a bundle for one target."""
    name = f"{one.bundle} for {one.target}"
    if one.verdict is None or one.engines == "not_run":
        yield f"{name}: the engines were not run as a whole: {one_line(one.why)}"
    else:
        record = one.verdict.record
        yield f"{name}: {one.engines} as a whole on {gpu_words(record)}, TensorRT {record['tensorrt']}"
    if one.error is not None:
        yield from (f"  {line}" for problem in one.error.problems for line in problem.remedy.splitlines())
    if one.verdict is not None:
        yield from (f"  {one_line(problem.fact)}" for problem in one.verdict.problems)
        yield from (f"  not run: {one_line(text)}" for text in one.verdict.not_run)


def closing_of(found: Sequence[WholeValidated]) -> str:
    """How many passed, failed and were not run; nothing without bundles."""
    count = Counter(str(one.engines) for one in found)
    told = {"passed": "passed", "failed": "failed", "not_run": "not run"}
    parts = [f"{count[name]} {words}" for name, words in told.items() if count[name]]
    return f"bundles: {', '.join(parts)}" if parts else ""


def exit_code_of(found: Sequence[WholeValidated]) -> int:
    """1 if one failed, 2 if one was not run."""
    codes = {one.error.exit_code for one in found if one.error is not None}
    if EXIT_FAILED in codes or any(one.engines == "failed" for one in found):
        return EXIT_FAILED
    return EXIT_DONE if all(one.engines == "passed" for one in found) else EXIT_USAGE


def json_of_whole(one: WholeValidated) -> dict[str, Json]:
    """A bundle for one target as a JSON object."""
    record = dict(one.verdict.record) if one.verdict is not None else {}
    problems: list[Json] = [{"fact": fact} for fact in record.get("problems", ())]
    if one.error is not None:
        problems = [problem_json(problem) for problem in one.error.problems]
    return {
        "bundle": one.bundle,
        "target": one.target,
        "engines": one.engines,
        "why": one.why,
        **{name: record.get(name) for name in ("gpu", "machine", "tensorrt")},
        "verdicts": record.get("verdicts", []),
        "problems": problems,
        "not_run": list(one.verdict.not_run) if one.verdict is not None else [],
        "proof": str(one.proof) if one.proof else None,
    }
