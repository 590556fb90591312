"""Whether the interpreter that runs TensorRT-RTX changes its engines: ResNet-50 and the same of a quarter of the width.

    python -m tests.conformance.prove_interpreters [--write] [--versions V…] [--work FOLDER] INTERPRETER…

For each version of TensorRT-RTX and each interpreter (a command; the first is the one that the others are compared
with), pip puts the packages into a folder of `--work`, and the worker builds both models for sm89 at fixed addresses.
An interpreter counts as equal when both engines have the bytes that the first one's have.

With `--write` the result becomes `trtpipe/targets/equal_interpreters.json`: what stands there is left out of keys. An
interpreter that is not there, or not equal, stays in the key.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from trtpipe.toolchains.engine_worker.watch import Supervision

HERE = Path(__file__).resolve().parent

from tests import models  # noqa: E402
from tests.worker_requests import worker_request  # noqa: E402
from trtpipe.digests import digest_file  # noqa: E402
from trtpipe.targets.operator_types import tried_versions  # noqa: E402
from trtpipe.toolchains.engine_worker.launch import run_worker  # noqa: E402

OUT = HERE.parents[1] / "trtpipe" / "targets" / "equal_interpreters.json"
SHAPES = {"x": {"min": [1, 3, 224, 224], "opt": [4, 3, 224, 224], "max": [8, 3, 224, 224]}}
WIDTHS = (0.25, 1.0)
_ASK = "import platform, sys; print(sys.implementation.name, platform.python_version())"


def main() -> None:
    """Build, compare, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("interpreters", nargs="+")
    parser.add_argument("--versions", nargs="*", default=list(tried_versions()))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    work = asked.work or Path(tempfile.mkdtemp(prefix="interpreters-"))
    made = {width: models.resnet50_like(_file(work, f"{width}.onnx"), width=width) for width in WIDTHS}
    table = {version: dict(proved(work, made, version, asked.interpreters)) for version in asked.versions}
    print(json.dumps(table, indent=1))
    if asked.write:
        record = {"schema": 1, "platform": _platform(), "tensorrt_rtx": table}
        OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def proved(
    work: Path, made: dict[float, Path], version: str, interpreters: list[str]
) -> Iterator[tuple[str, str]]:
    """Each interpreter's name (`cpython 3.11.7`) → `equal`, `differs`, or why it was not run."""
    libraries = work / f"libs-{version}"
    _install(interpreters[0], libraries, f"tensorrt-rtx-cu13=={version}")
    reference: list[str] | None = None
    for python in interpreters:
        name = _said_by(python)
        site = work / f"bindings-{version}-{name.replace(' ', '-')}"
        failed = _install(python, site, "--no-deps", f"tensorrt-rtx-cu13-bindings=={version}")
        if failed:
            yield name, f"not run: no package for it ({failed})"
            continue
        found = [_engine(work, python, [site, libraries], made[width]) for width in WIDTHS]
        reference = reference or found
        print(version, name, [one[:12] for one in found], flush=True)
        yield name, "equal" if found == reference else "differs"


def _engine(work: Path, python: str, site: list[Path], model: Path) -> str:
    """The digest of the engine that this interpreter builds; raises when addresses could not be fixed."""
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        (folder / "model.onnx").hardlink_to(model)
        request = worker_request([str(one) for one in site], profiles=[SHAPES], network_name="trtpipe")
        done = run_worker([python], request, folder, Supervision())
        if done.facts["address_randomisation"] != "off" or done.facts.get("addresses") != "fixed":
            raise SystemExit(f"{python}: addresses cannot be fixed here: {done.facts}")
        return digest_file(folder / "model.engine").hex


def _install(python: str, target: Path, *what: str) -> str:
    """Have packages in a folder; what pip says when it cannot."""
    if target.exists():
        return ""
    command = [python, "-m", "pip", "install", "--quiet", "--target", str(target), *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (
        "" if not done.returncode else (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    )


def _said_by(python: str) -> str:
    done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _file(work: Path, name: str) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    return work / name


def _platform() -> str:
    import platform

    return f"{platform.system()} {platform.machine()}".lower()


if __name__ == "__main__":
    main()
