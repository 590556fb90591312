"""The memory that a build of very many cells takes beside its workers'."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CODE = """
import sys
from tests.building.world import World, plan, step

def peak():
    status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

world = World()
world.source(b"model")
steps = [step("import", source=b"model")]
for number in range(50):
    steps.append(step(f"v{number}:quantize", "import", level=number))
    for target in range(20):
        options = {"level": target, "builder": dict.fromkeys(map(str, range(30)), 1)}
        steps.append(step(f"v{number}@t{target}:build", f"v{number}:quantize", **options))
before = peak()
world.build(plan(*steps))
world.build(plan(*steps))
print(peak() - before)
"""


def test_a_thousand_cells_take_little_memory():
    """Their workers are fakes here; what is kept of each is a trace, a decision and a few events."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=HERE,
        env={"PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 60  # MiB
