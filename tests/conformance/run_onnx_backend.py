"""ONNX's backend suite through trtpipe's import and the RTX builder for sm89, beside the raw parser and builder.

    python -m tests.conformance.run_onnx_backend [--json FILE] [--sample N] [--jobs N] [--only NAME…]

Exit code 1 when a model that builds raw does not build after the import, or ONNX Runtime reproduces the suite's
output with the original and not with the canonical model. Cases run in child processes that a crash or a hang of
one takes down alone (`children.py`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conformance.backend_cases import store_cases
from tests.conformance.children import in_children
from tests.conformance.commands import chosen_names, parser_of


def _lost(name: str, phase: str) -> dict[str, Any]:
    build = {
        "built": False,
        "reason": f"the process crashed in {phase or 'loading'}",
        "node": "",
        "operator": "",
    }
    return {"name": name, "kind": "", "raw": build, "lower": "", "build": build, "bound": [], "ort": "crash"}


def run_cases(store: Path, names: Sequence[str], jobs: int, progress: bool = False) -> list[dict[str, Any]]:
    """The results of the stored cases, in their order."""
    return in_children(["case_phases", str(store)], _lost, names, jobs, progress)


def counts_of(results: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The figures of merit; `regressions` and `ort_mismatches` must be 0."""
    raw = [item["raw"]["built"] for item in results]
    ours = [item["build"]["built"] for item in results]
    ort = [item.get("ort") or "skipped: not imported" for item in results]
    return {
        "cases": len(results),
        "raw_builds": sum(raw),
        "trtpipe_builds": sum(ours),
        "rescued": sum(b and not a for a, b in zip(raw, ours, strict=True)),
        "rescued_by_binding": sum(bool(item.get("bound")) and not item["raw"]["built"] for item in results),
        "regressions": sum(a and not b for a, b in zip(raw, ours, strict=True)),
        "built_only_when_bound": sum(bool(item.get("bound")) and item["raw"]["built"] for item in results),
        "ort_equal": sum(item == "equal" for item in ort),
        "ort_mismatches": sum(item.startswith(("mismatch", "crash")) for item in ort),
        "ort_skipped": sum(item.startswith("skipped") for item in ort),
    }


def _report(results: Sequence[dict[str, Any]]) -> None:
    for item in sorted(results, key=lambda item: str(item["name"])):
        build = item["build"]
        if not build["built"]:
            where = f" at '{build['node']}' ({build['operator']})" if build["operator"] else ""
            mark = "REGRESSION" if item["raw"]["built"] else "refused"
            print(f"{mark} {item['name']}{where}: {' '.join(build['reason'].split())[:200]}")
        if str(item.get("ort", "")).startswith(("mismatch", "crash")):
            print(f"MISMATCH {item['name']}: {' '.join(item['ort'].split())[:300]}")
    for name, count in counts_of(results).items():
        print(f"{name:>22} {count}")


def main() -> int:
    arguments = parser_of(__doc__, "--json", "--sample", "--only", jobs=2).parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        names = chosen_names(store_cases(Path(folder)), arguments)
        results = run_cases(Path(folder), names, arguments.jobs, progress=True)
    _report(results)
    print(f"{'seconds':>22} {time.monotonic() - started:.0f}")
    counts = counts_of(results)
    if arguments.json:
        arguments.json.write_text(json.dumps({"counts": counts, "results": results}, indent=1) + "\n")
    return 1 if counts["regressions"] or counts["ort_mismatches"] else 0


if __name__ == "__main__":
    sys.exit(main())
