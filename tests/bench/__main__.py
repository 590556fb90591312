"""Measures trtpipe beside its peers: `python -m tests.bench [--quick] [--only TEXT] [--write] [--compare COMMIT]`.

Peers are installed into environments of their own below the user's cache directory, once; one that cannot be installed
is named. Prints one table of ratios with the facts of the machine; `--write` puts it into docs/measurements.md, too.
`--compare` measures the trtpipe of another commit in place of the peers, and names what changed by more than 10 %.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.harness import Part, Row, changes, compared, machine, measure, table, written_into
from tests.bench.parts import ALONE, PARTS
from tests.bench.peers import QUICK

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "measurements.md"
_QUICK_SECONDS, _SECONDS = 4.0, 120.0
"""How long the rounds with one peer may go on for a narrow ratio."""
_QUICK_IN_ALL = 130.0
"""After so many seconds --quick begins no other part."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only short parts, and few rounds")
    parser.add_argument("--only", action="append", default=[], help="only parts whose name contains this")
    parser.add_argument("--write", action="store_true", help="put the table into docs/measurements.md")
    parser.add_argument("--compare", metavar="COMMIT", help="compare with trtpipe of this commit")
    asked = parser.parse_args()
    if asked.quick:
        os.environ[QUICK] = "1"
    seconds = _QUICK_SECONDS if asked.quick else _SECONDS
    parts = [one for one in PARTS if one.quick or not asked.quick]
    parts = [one for one in parts if not asked.only or any(text in one.name for text in asked.only)]
    rows = _beside_commit(parts, asked.compare, seconds) if asked.compare else _beside_peers(parts, seconds)
    text = f"{machine()}.\n\n{table(rows)}"
    print(text)
    if asked.compare:
        print("\n".join(changes(rows)) or "nothing changed by more than 10 %")
        return
    print(f"\nwith tables of their own: {', '.join(f'python -m tests.bench.{name}' for name in ALONE)}")
    if asked.write:
        PAGE.write_text(written_into(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")


def _beside_peers(parts: Sequence[Part], seconds: float) -> list[Row]:
    rows: list[Row] = []
    began = time.perf_counter()
    for part in parts:
        if QUICK in os.environ and time.perf_counter() - began > _QUICK_IN_ALL:
            rows.append(_late(part))
            continue
        print(f"{part.name} …", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as folder:
            rows += measure(part, Path(folder), ROOT, seconds)
    return rows


def _late(part: Part) -> Row:
    why_not = "--quick had no time left on this busy machine"
    return Row(part.name, part.peers[0], part.demanded, None, None, why_not=why_not)


def _beside_commit(parts: Sequence[Part], commit: str, seconds: float) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bench-tree-") as name:
        tree = Path(name) / "tree"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            for part in parts:
                print(f"{part.name} …", file=sys.stderr)
                with (
                    tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as new,
                    tempfile.TemporaryDirectory(prefix="bench-", dir=Path.cwd()) as old,
                ):
                    rows.append(compared(part, (Path(new), Path(old)), (ROOT, tree), seconds))
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    return rows


if __name__ == "__main__":
    main()
