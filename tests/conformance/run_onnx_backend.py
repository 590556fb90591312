"""ONNX's backend suite through trtpipe's import and the RTX builder for sm89, beside the raw parser and builder.

    python tests/conformance/run_onnx_backend.py [--json FILE] [--sample N] [--jobs N] [--only NAME…]

Exit code 1 when a model that builds raw does not build after the import, or ONNX Runtime reproduces the suite's
output with the original and not with the canonical model. Cases run in child processes that a crash or a hang of
one takes down alone.
"""

from __future__ import annotations

import argparse
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from backend_cases import store_cases  # noqa: E402

_PATIENCE = 120.0  # seconds without a word from a child before its phase counts as hung


class Child:
    """One process of `case_phases`; replaced when it dies."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.process: subprocess.Popen[str] | None = None
        self.lines: queue.Queue[str] = queue.Queue()

    def run(self, name: str) -> dict[str, Any]:
        """The result of one case; a phase that takes the process down is skipped on the next try."""
        skip: list[str] = []
        while True:
            result, phase = self._try(name, skip)
            if result is not None:
                return result
            if phase in ("", *skip):
                return _lost(name, phase)
            skip.append(phase)

    def _try(self, name: str, skip: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin is not None
        phase = ""
        try:
            self.process.stdin.write(json.dumps({"name": name, "skip": list(skip)}) + "\n")
            self.process.stdin.flush()
            while True:
                line = self.lines.get(timeout=_PATIENCE)
                if line.startswith("result "):
                    return json.loads(line.removeprefix("result ")), phase
                if not line:
                    break
                phase = line.removeprefix("phase ").strip()
        except (OSError, queue.Empty):
            pass
        self.stop()
        return None, phase

    def _start(self) -> None:
        self.lines = queue.Queue()
        command = [sys.executable, str(HERE / "case_phases.py"), str(self.store)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        threading.Thread(target=_forward, args=(self.process.stdout, self.lines), daemon=True).start()

    def stop(self) -> None:
        """Ends the process, if there is one."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                _close(stream)


def _close(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        return


def _forward(stream: Any, lines: queue.Queue[str]) -> None:
    try:
        for line in stream:
            lines.put(line)
    except ValueError:
        return
    lines.put("")


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
    waiting: queue.Queue[tuple[int, str]] = queue.Queue()
    for item in enumerate(names):
        waiting.put(item)
    results: list[dict[str, Any]] = [{} for _ in names]

    def work() -> None:
        child = Child(store)
        try:
            while True:
                index, name = waiting.get_nowait()
                started = time.monotonic()
                results[index] = child.run(name) | {"seconds": round(time.monotonic() - started, 2)}
                if progress and index % 100 == 0:
                    print(f"{index} of {len(names)}", file=sys.stderr)
        except queue.Empty:
            return
        finally:
            child.stop()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


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


def sample(names: Sequence[str], size: int) -> list[str]:
    """`size` names, evenly spread over the sorted list: the same ones every time."""
    ordered = sorted(names)
    return [ordered[index * len(ordered) // size] for index in range(min(size, len(ordered)))]


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result to FILE")
    parser.add_argument("--sample", type=int, metavar="N", help="only N cases, always the same")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these cases")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="cases at once (default 2)")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        names = store_cases(Path(folder))
        names = [name for name in names if name in set(arguments.only)] if arguments.only else names
        names = sample(names, arguments.sample) if arguments.sample else names
        results = run_cases(Path(folder), names, arguments.jobs, progress=True)
    _report(results)
    print(f"{'seconds':>22} {time.monotonic() - started:.0f}")
    counts = counts_of(results)
    if arguments.json:
        arguments.json.write_text(json.dumps({"counts": counts, "results": results}, indent=1) + "\n")
    return 1 if counts["regressions"] or counts["ort_mismatches"] else 0


if __name__ == "__main__":
    sys.exit(main())
