"""A home for the tests alone, and what hypothesis draws: the same in every run unless `explore.py` asks for more.

Nothing of the developer's decides here, and nothing is written into the developer's home: configuration and cache are
in a directory that is removed at the end. By that configuration each project keeps a store of its own, as tests expect
who build the same thing anew. `tests/hostile` and those about the user's store have other homes.

A test's own `settings(...)` take the rest from the profile that is loaded when its module is imported, so the profiles
are loaded here, before any test module. pytest-xdist's workers import this file too and are given the same options.
"""

from __future__ import annotations

import atexit
import fnmatch
import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

os.environ["TRTPIPE_ALLOW_PROJECT_CODE"] = "1"  # `tests/hostile` takes it away again

# Tests start hundreds of interpreters: each would compile all of trtpipe anew, which is half of what most of them do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def _use_own_home() -> None:
    home = Path(tempfile.mkdtemp(prefix="trtpipe-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    config = home / "config" / "trtpipe" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("schema: 1\nstore: project\n")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # What others keep there is only slow to make again; toolchains that were installed are looked for where they are.
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    os.environ.setdefault("TRTPIPE_TOOLCHAINS", str(cache / "trtpipe" / "toolchains"))
    os.environ.setdefault(
        "TRTPIPE_TESTS_SHARED", str(home / "shared")
    )  # pytest-xdist's workers have that of the first
    os.environ["XDG_CONFIG_HOME"] = str(home / "config")
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    if sys.platform == "win32":
        os.environ["LOCALAPPDATA"] = str(home / "config")


_use_own_home()

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


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait for the processes that they start, a sixth of the time on two cores."""
    return 1 + (len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Without the garbage collector, which looks through thousands of tests that stay, again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


SKIPS = Path(__file__).with_name("skips.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--known-skips",
        action="store_true",
        help="print what was skipped, and fail where tests/skips.txt does not have it with its reason",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.getoption("--known-skips") and not hasattr(session.config, "workerinput"):
        told = session.config.pluginmanager.get_plugin("terminalreporter")
        if any(not _is_known(one) for one in _skipped(told)) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _skipped(terminalreporter: pytest.TerminalReporter) -> list[str]:
    """`test: reason` of all that was skipped, without parameters: each once."""
    reports = [one for one in terminalreporter.stats.get("skipped", ()) if isinstance(one.longrepr, tuple)]
    lines = (
        f"{one.nodeid.partition('[')[0]}: {one.longrepr[2].removeprefix('Skipped: ')}" for one in reports
    )
    return sorted(set(lines))


def _is_known(skip: str) -> bool:
    lines = [line for line in SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    return any(fnmatch.fnmatchcase(skip, line) for line in lines)


def _tell_skips(terminalreporter: pytest.TerminalReporter) -> None:
    for skip in _skipped(terminalreporter):
        terminalreporter.write_line(f"skipped{'' if _is_known(skip) else ', NOT IN tests/skips.txt'}: {skip}")


def _remedies() -> str:
    """How many places offer a remedy, and for how many a test applies it: `remedies/offered_places.py`."""
    from tests.remedies import offered_places

    return offered_places.summary()


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
    if terminalreporter.config.getoption("--known-skips"):
        _tell_skips(terminalreporter)

    if any("tests/remedies/" in one.nodeid for one in terminalreporter.stats.get("passed", ())):
        terminalreporter.write_line(_remedies())
    attacks = Counter(
        outcome
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if "tests/hostile/" in getattr(report, "nodeid", "")
    )
    if attacks:
        terminalreporter.write_line(f"attacks: {attacks['passed']} held, {attacks['failed']} did not")
