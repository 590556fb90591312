"""Runs tests with examples that hypothesis has not drawn before, and tells the seed that draws them again.

python tests/explore.py [--seed N] [pytest's arguments]
"""

from __future__ import annotations

import argparse
import secrets
import sys

import pytest


def main(arguments: list[str]) -> int:
    """pytest's exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--seed", type=int, help="that of an earlier run, to see its examples again")
    asked, rest = parser.parse_known_args(arguments)
    seed = secrets.randbits(32) if asked.seed is None else asked.seed
    again = f"repeat with: python tests/explore.py --seed {seed} {' '.join(rest)}".rstrip()
    print(f"hypothesis: profile 'exploring', seed {seed}", flush=True)
    code = pytest.main(["--hypothesis-profile=exploring", f"--hypothesis-seed={seed}", *rest])
    print(again, flush=True)
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
