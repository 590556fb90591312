"""docs/parser-bugs.md holds for the TensorRT that is installed: its models go wrong, the import does what it says."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import pytest

from tests.conformance.backend_cases import Case
from tests.conformance.run_readback import one_import, read_back
from tests.networks.parsed_models import RTX, needs_rtx, random_feed

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [needs_rtx, pytest.mark.engine]

BLOCK = re.compile(r"```onnx\n(.*?)```", re.DOTALL)
WRITTEN_OUT, LEFT = "Import: writes it out", "Import: leaves it as it is"


@dataclass(frozen=True)
class Bug:
    """A section with models."""

    title: str
    text: str

    @property
    def models(self) -> list[str]:
        return BLOCK.findall(self.text)

    @property
    def versions(self) -> list[str]:
        (seen,) = re.findall(r"- Seen in: ([^\n]*?\d)\.(?:\s|$)", self.text)
        return seen.split(", ")


def bugs():
    sections = (ROOT / "docs" / "parser-bugs.md").read_text(encoding="utf-8").split("\n## ")[1:]
    made = [Bug(*section.split("\n", 1)) for section in sections]
    return [one for one in made if one.models]


def cases():
    """A case for each model, by its section."""
    for bug in bugs():
        for number, text in enumerate(bug.models):
            model = onnx.parser.parse_model(text)
            yield (
                bug,
                Case(
                    f"{bug.title} {number}",
                    "bug",
                    model.SerializeToString(),
                    random_feed(model, 2),
                    {},
                    1e-4,
                    1e-6,
                ),
            )


def verdicts(folder, made):
    for number, case in enumerate(made):
        (folder / f"{number}.case").write_bytes(pickle.dumps(case))
    return [one["verdict"] for one in read_back(folder, [str(number) for number in range(len(made))], jobs=1)]


def here(bug):
    """Whether the installed version is one that it was seen in."""
    return any(RTX.version.startswith(version) for version in bug.versions)


def test_each_model_goes_wrong_in_the_versions_that_are_named(tmp_path):
    given = list(cases())

    found = verdicts(tmp_path, [case for _, case in given])

    wrong = ("mismatch", "crashed")
    assert {case.name: verdict in wrong for (_, case), verdict in zip(given, found, strict=True)} == {
        case.name: here(bug) for bug, case in given
    }


def test_the_import_writes_out_what_is_said_to_be_written_out(tmp_path):
    with one_import() as imported:
        given = [(bug, replace(imported(case), outputs={})) for bug, case in cases()]

    found = verdicts(tmp_path, [case for _, case in given])

    assert all(bug.text.count(WRITTEN_OUT) + bug.text.count(LEFT) == 1 for bug, _ in given)
    assert {case.name: verdict == "equal" for (_, case), verdict in zip(given, found, strict=True)} == {
        case.name: WRITTEN_OUT in bug.text or not here(bug) for bug, case in given
    }
