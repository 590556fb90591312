"""What comes of the forms that exporters write: imported, made fp32 and fp16, checked and built; and as they came.

    python -m tests.conformance.sweep_exporters [--only WORD…] [--jobs N] [--toolchain VERSION=SITE]

Prints each form (`exporter_forms.py`) whose outcome is not what its line says, and exits with 1 when there is one.
"""

from __future__ import annotations

import json
import pickle
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.backend_cases import Case
from tests.conformance.children import in_children
from tests.conformance.commands import parser_of
from tests.conformance.exporter_forms import Form, forms
from tests.conformance.form_models import arrays_for
from tests.conformance.typed_phases import keep

PRECISIONS = ("fp32", "fp16")


def outcomes(
    chosen: Sequence[Form], folder: Path, jobs: int, toolchain: tuple[str, str]
) -> list[dict[str, Any]]:
    """For each form and precision what `check` refuses, how far the typed model came, and the form as it is."""
    version, site = toolchain
    cases = [_case(number, form) for number, form in enumerate(chosen)]
    for case in cases:
        (folder / f"{case.name}.case").write_bytes(pickle.dumps(case))
    names = [case.name for case in cases]
    index = folder / "typed.json"
    made = _run("typed_phases", names, jobs, folder, folder, "plain", ",".join(PRECISIONS))
    index.write_text(json.dumps(made))
    said = _run("check_phases", names, jobs, folder, folder, index, version)
    raw = [keep(folder, case.model, case.arrays) for case in cases]
    digests = {one["model"] for case in made for one in case["models"].values() if "model" in one}
    build = [folder, *([site] if site else [])]
    built = {one["name"]: one for one in _run("build_phases", sorted(digests | {*raw}), jobs, *build)}
    return [
        {"form": form, "precision": precision, "refused": one["verdicts"][f"plain/{precision}"],
         "made": built.get(typed["models"][f"plain/{precision}"].get("model", "")), "raw": built[digest]}
        for form, typed, one, digest in zip(chosen, made, said, raw, strict=True)
        for precision in PRECISIONS
    ]  # fmt: skip


def _case(number: int, form: Form) -> Case:
    return Case(f"{number:03}", "form", form.model.SerializeToString(), arrays_for(form.model), {}, 0.0, 0.0)


def _run(script: str, names: Sequence[str], jobs: int, *arguments: object) -> list[dict[str, Any]]:
    return in_children([script, *map(str, arguments)], _lost, names, jobs)


def _lost(name: str, phase: str) -> dict[str, Any]:
    died = {f"plain/{one}": {"refused": "the process died"} for one in PRECISIONS}
    refused = {key: ["the process died"] for key in died}
    return {"name": name, "models": died, "verdicts": refused, "stage": phase, "reason": "died", "op": ""}


def wrong(outcome: Mapping[str, Any]) -> str:
    """In what an outcome is not what the form's line says; empty when it is."""
    form, refused, made = outcome["form"], outcome["refused"], outcome["made"]
    built = made is not None and made["stage"] == "built"
    if form.refused and not refused:
        return "is not refused" + ("" if built else f", and does not build: {_why(made)}")
    if form.refused and form.refused not in refused[0]:
        return f"is refused for something else: {refused[0]}"
    if form.refused and (built or (made is None and outcome["raw"]["stage"] == "built")):
        return f"builds, and is refused: {refused[0]}"
    if not form.refused and refused:
        return f"is refused: {refused[0]}; raw: {_why(outcome['raw'])}; typed: {_why(made)}"
    if not form.refused and not built:
        return f"does not build: {_why(made)}; raw: {_why(outcome['raw'])}"
    return ""


def _why(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "is not made"
    if result["stage"] == "built":
        return "built"
    return f"{result['stage']} {' '.join(str(result['reason']).split())[:200]}"


def main() -> int:
    parser = parser_of(__doc__, "--toolchain", jobs=1)
    parser.add_argument(
        "--only", nargs="*", default=[], metavar="WORD", help="forms with one of these in them"
    )
    arguments = parser.parse_args()
    version, _, site = arguments.toolchain.partition("=")
    chosen = [
        one
        for one in forms()
        if not arguments.only or any(word in f"{one.exporter} {one.name}" for word in arguments.only)
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes(chosen, Path(folder), arguments.jobs, (version, site))
    bad = 0
    for one in found:
        why = wrong(one)
        bad += bool(why)
        if why:
            print(f"{one['form'].exporter} {one['form'].name} {one['precision']}: {why}")
    print(f"{len(chosen)} forms in {len(PRECISIONS)} precisions, {bad} not as said")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
