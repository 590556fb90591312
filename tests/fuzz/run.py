"""Fuzzes every reader, or some, and prints what came of it.

    python -m tests.fuzz.run [--seconds N] [--reader NAME]… [--seed N] [--keep DIR]

Seconds are for each reader. Exit code 1 when a case crashed, hung, took too much memory or raised anything but a
TrtpipeError; its files are kept.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.fuzzing import available, fuzz


def main() -> int:
    """Run, print, and say whether all is well."""
    parser = argparse.ArgumentParser(description="Fuzz the readers.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--reader", action="append", metavar="NAME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"))
    arguments = parser.parse_args()
    known = available()
    unknown = sorted(set(arguments.reader or ()) - set(known))
    if unknown:
        parser.error(f"no reader {unknown[0]!r}; there are {', '.join(known)}")
    failed = 0
    for name in arguments.reader or known:
        tally = fuzz(name, seed=arguments.seed, keep=arguments.keep, seconds=arguments.seconds)
        counts = ", ".join(f"{tally.counts[kind]} {kind}" for kind in ("ok", "refused", "failed"))
        print(f"{name}: {sum(tally.counts.values())} cases in {tally.seconds:.0f} s: {counts}", flush=True)
        for found in tally.found:
            print(f"  case {found.number} in {found.saved}: {found.why.strip().splitlines()[-1]}")
        failed += len(tally.found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
