"""What hypothesis draws: the same examples in every run, unless `tests/explore.py` asks for others.

A test's own `settings(...)` take the rest from the profile that is loaded when its module is imported, so the profiles
are loaded here, before any test module. pytest-xdist's workers import this file too and are given the same options.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

os.environ["TRTPIPE_ALLOW_PROJECT_CODE"] = "1"  # `tests/hostile` takes it away again
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"  # the developer's own configuration decides nothing here

FIXED, EXPLORING = "fixed", "exploring"

SLOW = [hypothesis.HealthCheck.too_slow]
"""Drawing examples takes long on a machine that does something else as well; that is no failure."""

hypothesis.settings.register_profile(
    FIXED, derandomize=True, database=None, deadline=None, suppress_health_check=SLOW
)
hypothesis.settings.register_profile(
    EXPLORING, derandomize=False, database=None, deadline=None, print_blob=True, suppress_health_check=SLOW
)
hypothesis.settings.load_profile(FIXED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which examples this run saw; at its end, since a quiet run has no header."""
    seed = terminalreporter.config.getoption("--hypothesis-seed")
    if hypothesis.settings.default.derandomize:
        drawn = "derandomised"
    elif seed is None:
        drawn = "random, without a seed: use tests/explore.py"
    else:
        drawn = f"seed {seed}"
    name = hypothesis.settings.get_current_profile_name()
    terminalreporter.write_line(f"hypothesis: profile '{name}', {drawn}")
