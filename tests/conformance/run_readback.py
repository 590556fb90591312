"""ONNX's backend suite through TensorRT's parser and back: does the network that it makes compute what ONNX says?

    python -m tests.conformance.run_readback [--form FORM] [--json FILE] [--sample N] [--jobs N] [--only NAME…]
                                             [--site FOLDER]

Each model is parsed, its network read, lowered to ONNX and run on the case's own inputs, beside the model in ONNX
Runtime and beside the output that the suite expects. The model is parsed as it came (where the parser wants constants,
with its parameters as constants), or in one of two other forms: `dynamic`, with no size of an input known, and
`imported`, as trtpipe's import makes it.

`readback_faults.json` says of every case whose network departs, or whose process dies, whose fault that is; rows of
cases that only depart in one of the other forms say which. Exit code 1 when a case departs or dies that has no row, or
a row is of a case that no longer does.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

HERE = Path(__file__).resolve().parent

from tests.conformance.backend_cases import Case, bound, dynamic, store_cases  # noqa: E402
from tests.conformance.children import in_children  # noqa: E402
from tests.conformance.commands import chosen_names, parser_of  # noqa: E402
from tests.conformance.typed_phases import import_model  # noqa: E402
from trtpipe.canonical.evaluation import Evaluator  # noqa: E402

FAULTS = HERE / "readback_faults.json"
KINDS = ("parser", "reader", "reference", "semantics silent")
"""Who errs: TensorRT's parser, trtpipe's reading, ONNX Runtime or the suite; or TensorRT does not say what it means."""
BAD = ("mismatch", "crashed")
FORMS = ("plain", "dynamic", "imported")


def read_faults() -> dict[str, dict[str, str]]:
    """The table: case → `fault`, one of KINDS, `why`, a sentence of evidence, and the `form`, if it is one only.

    In the file cases that have the same fault share a row.
    """
    rows = json.loads(FAULTS.read_text(encoding="utf-8"))
    for row in rows:
        whole = row["fault"] in KINDS and row["why"].endswith(".") and row.get("form", FORMS[1]) in FORMS[1:]
        assert whole, f"the row of {row['cases']} is not whole"
    table = {name: {key: row[key] for key in row if key != "cases"} for row in rows for name in row["cases"]}
    assert len(table) == sum(len(row["cases"]) for row in rows), "a case has two rows"
    return table


def store_imported(store: Path) -> list[str]:
    """Stores the cases as trtpipe's import makes them, parameters bound; without a model where it is refused.

    One child evaluates the constants of them all: to start one takes longer than to import a small model.
    """
    with one_import() as imported:
        return store_cases(store, imported)


@contextmanager
def one_import() -> Iterator[Callable[[Case], Case]]:
    """Makes of a case what trtpipe's import makes of it; one child evaluates for all of them."""
    with tempfile.TemporaryDirectory() as place, Evaluator(Path(place)) as evaluator:
        yield lambda case: _imported(case, Path(place), evaluator)


def _imported(case: Case, folder: Path, evaluator: Evaluator) -> Case:
    made = bound(case)
    source, target = folder / "source.onnx", folder / "model.onnx"
    source.write_bytes(made.model)
    if import_model(source, target, evaluator):
        return replace(made, model=b"")
    model = onnx.load(target)  # with what the import keeps in files
    return replace(made, model=model.SerializeToString())


def read_back(
    store: Path, names: Sequence[str], jobs: int, site: str = "", progress: bool = False
) -> list[dict[str, Any]]:
    """The results of the stored cases, in their order."""
    command = ["readback_phases", str(store), *([site] if site else [])]
    return in_children(command, _lost, names, jobs, progress)


def _lost(name: str, phase: str) -> dict[str, Any]:
    why = f"the process died in {phase or 'loading'}"
    return {"name": name, "kind": "", "verdict": "crashed", "why": why, "layers": {}, "unread": {}}


def counts_of(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures: cases by verdict, and how many of all layers were read."""
    verdicts = Counter(item["verdict"] for item in results)
    layers, unread = (_summed(item[name] for item in results) for name in ("layers", "unread"))
    total, missing = sum(layers.values()), sum(unread.values())
    return {
        "cases": len(results),
        "parsed": len(results) - verdicts["refused"] - verdicts["crashed"],
        **{
            name: verdicts[name]
            for name in ("refused", "crashed", "equal", "mismatch", "unread", "not compared")
        },
        "layers": total,
        "layers_read": total - missing,
        "share_read": round(1 - missing / total, 6) if total else 1.0,
        "share_read_by_type": {
            kind: round(1 - unread[kind] / count, 6) for kind, count in sorted(layers.items())
        },
    }


def _summed(counters: Any) -> Counter[str]:
    return sum((Counter(one) for one in counters), Counter())


def judged(
    results: Sequence[dict[str, Any]], table: Mapping[str, Mapping[str, str]], form: str = FORMS[0]
) -> list[str]:
    """Puts into each result whose fault it is; what the table lacks, and which rows nothing needs any more."""
    wrong = []
    for item in results:
        row = table.get(item["name"])
        if item["verdict"] in BAD:
            item["fault"] = dict(row) if row else None
            if row is None:
                wrong.append(f"{item['name']} has no row in {FAULTS.name}: {item['verdict']}, {item['why']}")
        elif row is not None and row.get("form", FORMS[0]) == form:
            wrong.append(f"{item['name']} has a row in {FAULTS.name} and is now: {item['verdict']}")
    return wrong


def _report(results: Sequence[Mapping[str, Any]], counts: Mapping[str, Any], wrong: Sequence[str]) -> None:
    for item in results:
        if item["verdict"] in BAD:
            fault = item.get("fault") or {"fault": "NOBODY'S YET", "why": item["why"]}
            print(f"{item['verdict']} {item['name']}: {fault['fault']}: {fault['why'][:300]}")
        elif item["verdict"] in ("unread", "not compared"):
            print(f"{item['verdict']} {item['name']}: {item['why'][:200]}")
    for name, value in counts.items():
        if not isinstance(value, Mapping):
            print(f"{name:>22} {value}")
    partly = {kind: share for kind, share in counts["share_read_by_type"].items() if share < 1}
    print(f"{'not read in full':>22} {partly or 'none'}")
    for line in wrong:
        print(f"WRONG {line}")


_STORED: Mapping[str, Callable[[Path], list[str]]] = {
    "plain": store_cases,
    "dynamic": lambda store: store_cases(store, dynamic),
    "imported": store_imported,
}


def main() -> int:
    parser = parser_of(__doc__, "--json", "--sample", "--only", jobs=1)
    parser.add_argument("--form", choices=FORMS, default=FORMS[0], help="how models are given to the parser")
    parser.add_argument("--site", default="", metavar="FOLDER", help="a folder with another tensorrt_rtx")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        names = chosen_names(_STORED[arguments.form](Path(folder)), arguments)
        results = read_back(Path(folder), names, arguments.jobs, arguments.site, progress=True)
    wrong = judged(results, read_faults(), arguments.form)
    counts = counts_of(results)
    _report(results, counts, wrong)
    print(f"{'seconds':>22} {time.monotonic() - started:.0f}")
    if arguments.json:
        record = {"counts": counts, "wrong": wrong, "results": results}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
