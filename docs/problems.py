"""Makes `problems.md` of the registry of problems: `python docs/problems.py` from the repository's root."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from trtpipe.problem_codes import all_codes

PAGE = Path(__file__).with_suffix(".md")
SUBJECTS = {
    1: "The spec: YAML, keys and values, names, sources, profiles",
    2: "The model: ONNX, its graph, declared layers",
    3: "Other formats: converters, Caffe, UFF, TensorFlow, PyTorch, weights files",
    4: "Precision, calibration, data sets",
    5: "Plan, lockfile, store, delivery",
    6: "Toolchains, targets, building and running engines",
    7: "Validation, inference, benchmarks, debugging",
    8: "The command line, files, the environment",
    9: "The system: interruptions, disks, crashes",
}
INTRODUCTION = """\
# Problems and their codes

Every problem that trtpipe tells has a code. In JSON (`trtpipe check --json`, the event `end` of a build) it is the key
`code` beside `fact` and `remedy`. The wording of a problem may change from one version to the next; its code does not,
and the code of a kind of problem that no longer exists is not given to another.

This page is made of `trtpipe/problem_codes.py` by `python docs/problems.py`.
"""


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for subject, codes in groupby(all_codes(), key=lambda code: int(code.value[2:]) // 100):
        rows = [f"| {code} | {code.name.lower().replace('_', '-')} | {code.meaning} |" for code in codes]
        parts.append(
            "\n".join(
                [f"## {SUBJECTS[subject]}\n", "| code | name | meaning |", "| --- | --- | --- |", *rows, ""]
            )
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
