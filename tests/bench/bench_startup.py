"""`trtpipe --help` beside a bare typer app: prints both medians and their ratio.

Run: python -m tests.bench.bench_startup [RUNS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.bench.timing import interleaved, keep_stores_apart

BARE = """
import typer
app = typer.Typer()
@app.command()
def build(spec: str, jobs: int = 1) -> None: ...
@app.command()
def check(spec: str) -> None: ...
app()
"""


def main(runs: int) -> None:
    keep_stores_apart()
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)

        def run(*argv: str) -> None:
            subprocess.run([sys.executable, *argv, "--help"], check=True, stdout=subprocess.DEVNULL)

        ours, theirs = interleaved(runs, lambda: run("-m", "trtpipe"), lambda: run(str(bare)))
    print(f"trtpipe --help  {median(ours) * 1000:6.0f} ms")
    print(f"bare typer app  {median(theirs) * 1000:6.0f} ms")
    print(f"ratio           {median(ours) / median(theirs):6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
